"""The queues of the subscriptions against the deliveries that the database shows as queued.

Everything moves meanwhile, so nothing counts that was not seen in two looks with a pause between.
The looks go in the direction of the flow: what leaves one place is met in the next.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Final

from notify.domain.model import DeliveryStatus
from notify.domain.ports import (
    Clock,
    Queue,
    QueuedRow,
    QueuedSpan,
    Storage,
    Stream,
    StreamKind,
)
from notify.fsck.findings import EXAMPLES_MAX, Check, Finding, Watcher, finding
from notify.fsck.looks import Look, contents, deliveries_of, held, look
from notify.runtime.streams import INGEST, MARK
from notify_core import chunk

PAGE_ROWS: Final = 999
# So many suspects are looked at together.
SUSPECTS_MAX: Final = 10_000
_FINAL: Final = (DeliveryStatus.DELIVERED, DeliveryStatus.DROPPED)


class Queues:
    """Looks at one subscription at a time. settle_s: the pause between two looks."""

    def __init__(
        self, storage: Storage, queue: Queue, clock: Clock, watcher: Watcher, settle_s: float
    ) -> None:
        self._storage = storage
        self._queue = queue
        self._clock = clock
        self._watcher = watcher
        self._settle_s = settle_s

    async def check(
        self,
        subscriptions: Collection[int],
        spans: Sequence[QueuedSpan],
        before_ms: int,
        repair: bool,
    ) -> list[Finding]:
        """The differences of all queues; what was touched since before_ms is passed over."""
        by_sub: dict[int, list[QueuedSpan]] = {}
        for span in spans:
            by_sub.setdefault(span.subscription_id, []).append(span)
        sub_ids = sorted({*subscriptions, *by_sub})
        streams = [Stream(StreamKind.SUBSCRIPTION, sub_id) for sub_id in sub_ids]
        gauges = await self._queue.gauges(streams)
        findings: list[Finding] = []
        for done, (stream, gauge) in enumerate(zip(streams, gauges, strict=True)):
            self._watcher.step("Comparing queues", done, len(streams))
            own = by_sub.get(stream.number, [])
            if gauge.depth or own:
                findings += await self._check_one(stream, own, before_ms, repair)
        return findings

    async def _check_one(
        self, stream: Stream, spans: Sequence[QueuedSpan], before_ms: int, repair: bool
    ) -> list[Finding]:
        first = await look(self._queue, stream)
        findings = await self._surplus(stream, first, repair)
        ids: list[int] = []
        count = 0
        async for rows in self._forgotten(stream, spans, before_ms, first):
            count += len(rows)
            ids += [row.message_id for row in rows[: EXAMPLES_MAX - len(ids)]]
            if repair:
                now_ms = self._clock.now_ms()
                await self._storage.forget_rows(stream.number, rows, now_ms)
        if count:
            text = (
                "queued in the database, but in no queue and not on the way to the Marker; the"
                " repair makes them pending, and the Rescuer feeds them"
            )
            findings.append(finding(Check.FORGOTTEN, stream.number, ids, text, count))
        return findings

    # What the queue forgot.

    async def _forgotten(
        self, stream: Stream, spans: Sequence[QueuedSpan], before_ms: int, first: Look
    ) -> AsyncIterator[list[QueuedRow]]:
        suspects: list[QueuedRow] = []
        for span in spans:
            async for page in self._pages(span, before_ms):
                suspects += [row for row in page if row.message_id not in first]
                if len(suspects) >= SUSPECTS_MAX:
                    yield await self._still_missing(stream, suspects, before_ms)
                    suspects = []
        if suspects:
            yield await self._still_missing(stream, suspects, before_ms)

    async def _still_missing(
        self, stream: Stream, suspects: Sequence[QueuedRow], before_ms: int
    ) -> list[QueuedRow]:
        """Those that are on no way to anywhere, and stand in the database as they did."""
        sub_id = stream.number
        missing = {row.message_id for row in suspects}
        for place in (INGEST, stream, MARK):
            missing -= await held(self._queue, place, sub_id, missing)
        await self._clock.sleep(self._settle_s)
        for place in (INGEST, stream, MARK):
            missing -= await held(self._queue, place, sub_id, missing)
        if not missing:
            return []
        around = QueuedSpan(sub_id, min(missing) - 1, max(missing))
        unchanged: set[QueuedRow] = set()
        async for page in self._pages(around, before_ms):
            unchanged.update(row for row in page if row.message_id in missing)
        return [row for row in suspects if row in unchanged]

    async def _pages(self, span: QueuedSpan, before_ms: int) -> AsyncIterator[list[QueuedRow]]:
        while True:
            page = await self._storage.queued(span, before_ms, PAGE_ROWS)
            if page:
                yield page
                span = span._replace(after_id=page[-1].message_id)
            if len(page) < PAGE_ROWS:
                return

    # What the queue holds too much.

    async def _surplus(self, stream: Stream, first: Look, repair: bool) -> list[Finding]:
        """Deliveries that wait twice, or although they are finished: they would be sent again."""
        finished = await self._finished(stream.number, first.waiting)
        if not finished and not first.doubled:
            return []
        await self._clock.sleep(self._settle_s)
        second = await look(self._queue, stream)
        trims: dict[str, set[int]] = {}
        stay: dict[int, str] = {}
        ended, twice = [], []
        for id_ in sorted(finished | set(first.doubled)):
            before = {copy.entry for copy in first.copies(id_)}
            copies = [copy for copy in second.copies(id_) if copy.entry in before]
            if id_ in finished:
                ended += [id_] if copies else []
            elif len(copies) > 1:
                # The one that is furthest stays; of equal ones the first.
                stay[id_] = max(copies, key=lambda copy: copy.attempts).entry
                twice.append(id_)
            else:
                continue
            for copy in copies:
                trims.setdefault(copy.entry, set()).add(id_)
        if repair:
            await self._trim(stream, trims, stay)
        return _surplus_findings(stream.number, twice, ended)

    async def _finished(self, sub_id: int, ids: Collection[int]) -> set[int]:
        if not ids:
            return set()
        standings = await self._storage.standings([(id_, sub_id) for id_ in ids])
        return {id_ for (id_, _), standing in standings.items() if standing.status in _FINAL}

    async def _trim(self, stream: Stream, trims: dict[str, set[int]], stay: dict[int, str]) -> None:
        """Take deliveries out of chunks; each stays once in the chunk that `stay` says."""
        async for content in contents(self._queue, stream):
            surplus = trims.pop(content.entry, None)
            if surplus is None:
                continue
            stays = {id_ for id_ in surplus if stay.get(id_) == content.entry}
            kept = []
            for delivery in deliveries_of(content):
                id_ = delivery.message.id
                if id_ not in surplus or id_ in stays:
                    stays.discard(id_)
                    kept.append(delivery)
            packed = chunk.pack_deliveries(stream.number, kept) if kept else b""
            if len(kept) < content.items:
                await self._queue.replace(stream, content, packed, len(kept))


def _surplus_findings(sub_id: int, twice: Sequence[int], ended: Sequence[int]) -> list[Finding]:
    findings = []
    if twice:
        text = "more than once in the queue: they would be sent again; the repair leaves one"
        findings.append(finding(Check.TWICE, sub_id, twice, text))
    if ended:
        text = (
            "in the queue although they are delivered or dropped: they would be sent again; the"
            " repair takes them out"
        )
        findings.append(finding(Check.FINISHED, sub_id, ended, text))
    return findings
