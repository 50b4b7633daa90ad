"""Messages that nobody splits: stored, without delivery rows, not in the ingest stream."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from notify.config import QueueConfig
from notify.domain.ports import Clock, Queue, Storage
from notify.fsck.findings import EXAMPLES_MAX, Check, Finding, Watcher, finding
from notify.fsck.looks import held
from notify.runtime.rescue import UNSPLIT_FROM, UNSPLIT_ROWS_MAX, ingest_pushes
from notify.runtime.streams import INGEST
from notify_core import ids
from notify_core.records import UNMATCHED_SUB, MessageRecord

# No Api takes so long from an id to the ingest chunk: what is older needs no second look.
COMMIT_MS: Final = 600_000
_WRONG: Final = "accepted, not split, and in no ingest chunk"


class Unsplit:
    """Looks through all messages, between the ends of the pages of delivery rows."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        watcher: Watcher,
        limits: QueueConfig,
        settle_s: float,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._settle_s = settle_s
        self._watcher = watcher
        self._limits = limits

    async def check(
        self, queue: Queue, page_ends: Sequence[int], before_ms: int, repair: bool
    ) -> list[Finding]:
        """The difference, of messages made before before_ms."""
        count = 0
        examples: list[int] = []
        room = self._limits.ingest_depth_max - (await queue.gauges([INGEST]))[0].depth
        async for suspects in self._unsplit(page_ends, before_ms):
            lost = await self._lost(queue, suspects)
            if lost and ids.id_ms(lost[-1].id) > self._clock.now_ms() - COMMIT_MS:
                await self._clock.sleep(self._settle_s)
                lost = await self._lost(queue, lost)
            count += len(lost)
            examples += [one.id for one in lost[: EXAMPLES_MAX - len(examples)]]
            if repair and room > 0:
                version = await self._storage.config_version()
                await queue.push(ingest_pushes(version, lost[:room], self._limits))
                room -= len(lost)
        if not count:
            return []
        text = f"{_WRONG}; the repair puts as many there as fit into the ingest stream"
        return [finding(Check.UNSPLIT, UNMATCHED_SUB, examples, text, count)]

    async def check_stopped(
        self, page_ends: Sequence[int], before_ms: int, repair: bool
    ) -> tuple[list[Finding], int]:
        """As check, where the queue ended with its process; how many the next start will split.

        It looks for unsplit messages from a noted time on.
        """
        from_ms = await self._storage.note(UNSPLIT_FROM)
        found: list[int] = []
        count = coming = 0
        async for messages in self._unsplit(page_ends, before_ms):
            lost = [one.id for one in messages if ids.id_ms(one.id) < from_ms]
            count += len(lost)
            coming += len(messages) - len(lost)
            found += lost[: EXAMPLES_MAX - len(found)]
        if not count:
            return [], coming
        if repair:
            await self._storage.set_note(UNSPLIT_FROM, ids.id_ms(found[0]))
        text = f"{_WRONG}, and older than what the next start looks at; the repair has it look"
        return [finding(Check.UNSPLIT, UNMATCHED_SUB, found, text, count)], coming

    async def _unsplit(
        self, page_ends: Sequence[int], before_ms: int
    ) -> AsyncIterator[list[MessageRecord]]:
        """Messages without delivery rows, rising; each statement reads about a page of rows."""
        after, top = -1, ids.id_floor(before_ms)
        ends = [end + 1 for end in page_ends if end + 1 < top]
        for done, below in enumerate([*ends, top]):
            self._watcher.step("Looking for unsplit messages", done, len(ends) + 1)
            while True:
                page = await self._storage.unsplit(
                    after, below, UNSPLIT_ROWS_MAX, self._limits.inline_bytes_max
                )
                if page:
                    yield page
                    after = page[-1].id
                if len(page) < UNSPLIT_ROWS_MAX:
                    break
            after = below - 1

    async def _lost(self, queue: Queue, suspects: Sequence[MessageRecord]) -> list[MessageRecord]:
        """Those that are not in the ingest stream, and behind that look still not split."""
        waiting = await held(queue, INGEST, UNMATCHED_SUB, {one.id for one in suspects})
        suspects = [one for one in suspects if one.id not in waiting]
        if not suspects:
            return []
        first, last = suspects[0].id, suspects[-1].id
        page = await self._storage.unsplit(first - 1, last + 1, UNSPLIT_ROWS_MAX, 0)
        left = {one.id for one in page}
        return [one for one in suspects if one.id in left]
