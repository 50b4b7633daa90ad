"""Ingest chunks to delivery rows, then to the queues of the subscriptions.

Killed before the rows are stored: the ingest chunk is taken over and split again. Killed
between the rows and the push: likewise; rows that exist stay as they are and what is not
finished is pushed. Killed between push and acknowledgement: likewise, so what the database does
not yet show as finished is pushed a second time. Stopped for longer than the lease, it pushes
nothing any more: whoever took over has done it.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry

from notify.config import MakerConfig, QueueConfig
from notify.domain.model import DeliveryStatus, SubscriptionStatus
from notify.domain.policy import Ordering
from notify.domain.ports import Claim, Clock, Push, Queue, Random, Storage, Stream, StreamKind
from notify.runtime.chunks import ChunkWorker
from notify.runtime.directory import DirectoryCache
from notify.runtime.metrics import Figure, export
from notify.runtime.steps import Stopping
from notify.runtime.streams import INGEST
from notify_core import chunk, fanout

_MODES: Final = {
    SubscriptionStatus.NORMAL: fanout.QUEUE,
    SubscriptionStatus.PAUSED: fanout.HOLD,
    SubscriptionStatus.DISCARDED: fanout.DISCARD,
}


# Bits of an id that say nothing about its span: all.
_ONE_SPAN: Final = 63


class _Routes(NamedTuple):
    """By what a batch is split. A second split of it goes by the same, whatever changed since."""

    table: fanout.Table
    modes: dict[int, int]
    ordered: set[int]
    now_ms: int


class Maker:
    """One worker of the ingest streams; any number may run.

    helps: another one of this process, which calls this one in when more waits than it takes.
    """

    def __init__(
        self,
        storage: Storage,
        queue: Queue,
        directory: DirectoryCache,
        clock: Clock,
        random: Random,
        config: MakerConfig,
        queue_config: QueueConfig,
        worker: str,
        helps: "Maker | None" = None,
    ) -> None:
        self._storage = storage
        self._queue = queue
        self._directory = directory
        self._clock = clock
        self._random = random
        self._limits = queue_config
        self._spilling: set[int] = set()
        self.chunks: ChunkWorker = ChunkWorker(
            queue,
            clock,
            [INGEST],
            worker,
            queue_config.lease_ms,
            config.batch_chunks_max,
            self._split_claims,
            helps=helps.chunks if helps else None,
        )
        self.messages = 0
        self.deliveries = 0

    async def run(self, stopping: Stopping) -> None:
        """Split until stopping."""
        await self.chunks.run("maker", stopping, self._random)

    def export(self, registry: CollectorRegistry, beside: Sequence["Maker"] = ()) -> None:
        """Show what it counts on /metrics, together with other workers of the process."""

        def messages() -> int:
            return self.messages + sum(maker.messages for maker in beside)

        def deliveries() -> int:
            return self.deliveries + sum(maker.deliveries for maker in beside)

        export(
            registry,
            [
                Figure("notify_maker_messages", "Messages split", messages),
                Figure("notify_maker_deliveries", "Rows made of them", deliveries),
            ],
        )

    async def _split_claims(self, claims: Sequence[Claim]) -> None:
        for redelivered in (False, True):
            batch = [claim for claim in claims if claim.redelivered is redelivered]
            if batch:
                await self._split_batch(batch, redelivered)

    async def _split_batch(self, claims: Sequence[Claim], redelivered: bool) -> None:
        chunks = [claim.chunk for claim in claims]
        routes, split, overflowing = await self._fan_out(chunks)
        if overflowing:
            # Said before the rows are stored: whoever reads the flag keeps the order.
            streams = [Stream(StreamKind.SUBSCRIPTION, sub_id) for sub_id in overflowing]
            await self._queue.spill(streams, True)
        known = await self._storage.insert_deliveries(split)
        if known:
            # Split before: by the Rescuer's copy of this chunk, or by a holder of this very
            # one that failed. Only in the second case nobody else pushes what is still open.
            keys = {(row[0], row[1]) for row in split.rows if row[0] in known}
            skip = await self._to_skip(keys) if redelivered else keys
            split = self._split(chunks, routes, skip)
        self.chunks.check_held()
        await self._queue.ack(claims, _pushes(split) + _hints(split, routes.ordered))
        self.messages += split.messages
        self.deliveries += split.row_count

    async def _fan_out(self, chunks: Sequence[bytes]) -> tuple[_Routes, fanout.Split, set[int]]:
        """How it was split, the split, and the subscriptions that begin to spill with it."""
        routes = self._routes()
        split = self._split(chunks, routes)
        if split.config_version > self._directory.version:
            await self._directory.refresh()
            routes = self._routes()
            split = self._split(chunks, routes)
        counts: dict[int, int] = dict.fromkeys(self._spilling, 0)
        for sub_id, count, _ in split.queued:
            counts[sub_id] = counts.get(sub_id, 0) + count
        for sub_id, _, _ in split.delayed:
            counts[sub_id] = counts.get(sub_id, 0) + 1
        if not counts:
            return routes, split, set()
        gauges = await self._queue.gauges(
            [Stream(StreamKind.SUBSCRIPTION, sub_id) for sub_id in counts]
        )
        spilling, overflowing = set(), set()
        for (sub_id, count), gauge in zip(counts.items(), gauges, strict=True):
            if gauge.spilling:
                spilling.add(sub_id)
            elif gauge.depth + count > self._limits.depth_max:
                spilling.add(sub_id)
                overflowing.add(sub_id)
        if spilling != self._spilling:
            self._spilling = spilling
            routes = self._routes()
            split = self._split(chunks, routes)
        return routes, split, overflowing

    def _routes(self) -> _Routes:
        modes = {}
        ordered = set()
        for subscription in self._directory.live_subscriptions.values():
            if subscription.status is not SubscriptionStatus.NORMAL:
                modes[subscription.id] = _MODES[subscription.status]
            elif subscription.ordering is not Ordering.NONE:
                # Its Sender reads them from the database, in their order.
                modes[subscription.id] = fanout.HOLD
                ordered.add(subscription.id)
        for sub_id in self._spilling:
            modes.setdefault(sub_id, fanout.HOLD)
        return _Routes(self._directory.table, modes, ordered, self._clock.now_ms())

    def _split(
        self, chunks: Sequence[bytes], routes: _Routes, skip: Collection[tuple[int, int]] = ()
    ) -> fanout.Split:
        return fanout.split(
            routes.table,
            chunks,
            routes.modes,
            routes.now_ms,
            self._limits.delay_horizon_ms,
            skip,
            self._limits.chunk_rows_max,
            self._limits.chunk_bytes_max,
        )

    async def _to_skip(self, keys: set[tuple[int, int]]) -> set[tuple[int, int]]:
        """Deliveries that need no push: finished, or waiting in the database."""
        standings = await self._storage.standings(keys)
        return {
            key
            for key, standing in standings.items()
            if standing.status is not DeliveryStatus.QUEUED
        }


def _pushes(split: fanout.Split) -> list[Push]:
    pushes = [
        Push(Stream(StreamKind.SUBSCRIPTION, sub_id), chunk, count)
        for sub_id, count, chunk in split.queued
    ]
    pushes += [
        Push(Stream(StreamKind.SUBSCRIPTION, sub_id), chunk, 1, due_ms)
        for sub_id, due_ms, chunk in split.delayed
    ]
    return pushes


def _hints(split: fanout.Split, ordered: Collection[int]) -> list[Push]:
    """Empty chunks, which tell the Senders of ordered subscriptions to look into the database."""
    if not ordered:
        return []
    return [
        Push(Stream(StreamKind.SUBSCRIPTION, sub_id), chunk.pack_deliveries(sub_id, []), 1)
        for sub_id in {count[0] for count in split.counts(_ONE_SPAN)} & set(ordered)
    ]
