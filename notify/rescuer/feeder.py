"""Pending deliveries into their queues: after a pause, a spill, a long wait, a lost queue.

Killed between the status and the push: the deliveries are queued in the database and not in
the queue, which the Rescuer finds out.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from notify.config import QueueConfig, RescuerConfig
from notify.domain.model import DeliveryStatus, LedgerRow, Reason, SubscriptionStatus
from notify.domain.policy import Ordering
from notify.domain.ports import Clock, Gauge, Push, Queue, Storage, Stream, StreamKind
from notify.runtime.directory import DirectoryCache
from notify.runtime.rescue import parts
from notify_core import chunk
from notify_core.records import DeliveryRecord

DROP_ROWS_MAX: Final = 1000


class Feeder:
    """Keeps every queue supplied from the database, oldest message first."""

    def __init__(
        self,
        storage: Storage,
        queue: Queue,
        directory: DirectoryCache,
        clock: Clock,
        config: RescuerConfig,
        queue_config: QueueConfig,
        keep_lease: Callable[[], Awaitable[bool]],
    ) -> None:
        self._storage = storage
        self._queue = queue
        self._directory = directory
        self._clock = clock
        self._config = config
        self._limits = queue_config
        self._keep_lease = keep_lease
        self.more = False

    async def feed(self, ledger: Sequence[LedgerRow]) -> int:
        """One round over all subscriptions with pending deliveries; how many were moved.

        A page of each at most; `more` says whether one was full, so that the next round is due.
        """
        self.more = False
        waiting = [row for row in ledger if row.pending]
        if not waiting:
            return 0
        streams = [Stream(StreamKind.SUBSCRIPTION, row.subscription_id) for row in waiting]
        gauges = await self._queue.gauges(streams)
        moved = 0
        for stream, gauge in zip(streams, gauges, strict=True):
            moved += await self._feed_one(stream, gauge)
        return moved

    async def _feed_one(self, stream: Stream, gauge: Gauge) -> int:
        subscription = self._directory.current.subscriptions.get(stream.number)
        if subscription is None:
            return 0  # newer than what is known here
        if subscription.deleted_ms:
            return await self._drop(stream, Reason.DELETED)
        if subscription.status is SubscriptionStatus.DISCARDED:
            return await self._drop(stream, Reason.DISCARDED)
        if subscription.status is SubscriptionStatus.PAUSED:
            # So that after the resume new messages line up behind the old ones.
            await self._set_spilling(stream, gauge, True)
            return 0
        if subscription.ordering is not Ordering.NONE:
            return 0  # its Sender reads them itself, in their order
        room = self._limits.depth_max - gauge.depth
        if 2 * room < self._limits.depth_max:
            return 0  # half empty before it is filled again: fewer, larger rounds
        limit = min(room, self._config.feed_rows_max)
        deliveries = await self._storage.pending(
            stream.number, self._clock.now_ms(), limit, self._limits.inline_bytes_max
        )
        # Off too early is harmless: a Maker that still saw the flag adds a pending row after
        # this, and the next round finds it.
        full = len(deliveries) == limit
        self.more = self.more or full
        await self._set_spilling(stream, gauge, full)
        if deliveries:
            await self._queue_up(stream, deliveries)
        return len(deliveries)

    async def _set_spilling(self, stream: Stream, gauge: Gauge, on: bool) -> None:
        if gauge.spilling is not on:
            await self._queue.spill([stream], on)

    async def _queue_up(self, stream: Stream, deliveries: Sequence[DeliveryRecord]) -> None:
        ids = [delivery.message.id for delivery in deliveries]
        changed = await self._storage.set_queued(stream.number, ids, self._clock.now_ms())
        if changed != len(ids):
            # Some were marked since they were read: they were under way when a queue was lost.
            standings = await self._storage.standings([(id_, stream.number) for id_ in ids])
            deliveries = [
                delivery
                for delivery in deliveries
                if (standing := standings.get((delivery.message.id, stream.number))) is not None
                and standing.status is DeliveryStatus.QUEUED
            ]
        if not await self._keep_lease():
            # Stopped for longer than the lease: another one may have put these back by now, as
            # it does with what is in no queue.
            return
        await self._queue.push(
            [
                Push(stream, chunk.pack_deliveries(stream.number, part), len(part))
                for part in parts(
                    deliveries, _size, self._limits.chunk_rows_max, self._limits.chunk_bytes_max
                )
            ]
        )

    async def _drop(self, stream: Stream, reason: Reason) -> int:
        return await self._storage.drop_pending(
            stream.number, int(reason), self._clock.now_ms(), DROP_ROWS_MAX
        )


def _size(delivery: DeliveryRecord) -> int:
    return len(delivery.message.payload or b"")
