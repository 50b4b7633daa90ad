"""Finds what the queue forgot and puts it back, without anyone asking (DESIGN rule 2).

Everything is found in the database, so it does not matter how it was lost: a queue flushed or
restarted, a service killed between two steps, a chunk that could not be read.

lost queue       no epoch, or one that was not rebuilt yet: every queued delivery becomes
                 pending and the Feeder queues it again
unsplit message  accepted, but without delivery rows, and older than anything in the ingest
                 stream: it gets a new ingest chunk
forgotten        a subscription has more queued deliveries in the database than the queue and
                 the outcomes under way account for, for a while: those older than anything in
                 its queue become pending
"""

import logging
from collections.abc import Sequence
from typing import Final

from notify.config import QueueConfig, RescuerConfig
from notify.domain.model import LedgerRow
from notify.domain.ports import Clock, Push, Queue, Random, Storage, Stream, StreamKind
from notify.rescuer.feeder import Feeder
from notify.runtime.directory import DirectoryCache
from notify_core import chunk, ids

LEASE: Final = "rescuer"
LEASE_MS: Final = 10_000
UNSPLIT_ROWS_MAX: Final = 1000
# A commit may come later than its message's id by as long as the database stalls. So every
# so many sweeps, one looks this far back again.
DEEP_EVERY: Final = 60
DEEP_MS: Final = 600_000

INGEST: Final = Stream(StreamKind.INGEST, 0)
MARK: Final = Stream(StreamKind.MARK, 0)

log = logging.getLogger(__name__)


class Rescuer:
    """One of any number; a named lease lets one work at a time."""

    def __init__(
        self,
        storage: Storage,
        queue: Queue,
        directory: DirectoryCache,
        clock: Clock,
        random: Random,
        config: RescuerConfig,
        queue_config: QueueConfig,
        worker: str,
    ) -> None:
        self._storage = storage
        self._queue = queue
        self._directory = directory
        self._clock = clock
        self._random = random
        self._config = config
        self._limits = queue_config
        self._worker = worker
        self._feeder = Feeder(storage, queue, directory, clock, config, queue_config)
        self._suspects: dict[int, int] = {}
        self._rescued: dict[int, int] = {}
        self._sweeps = 0
        self._swept_ms = 0
        self.messages_rescued = 0
        self.deliveries_rescued = 0

    async def step(self) -> None:
        """One round: rebuild, sweep when it is time, feed. Call it every feed_interval_ms."""
        if not await self._queue.lease(LEASE, self._worker, LEASE_MS):
            return
        await self._rebuild_if_lost()
        ledger = await self._storage.ledger()
        now_ms = self._clock.now_ms()
        if now_ms - self._swept_ms >= self._config.interval_ms:
            self._swept_ms = now_ms
            await self._sweep_unsplit(now_ms)
            await self._sweep_forgotten(ledger, now_ms)
        await self._feeder.feed(ledger)

    async def close(self) -> None:
        """Let another one take over at once."""
        await self._queue.release(LEASE, self._worker)

    async def _rebuild_if_lost(self) -> None:
        epoch = await self._queue.epoch()
        if epoch is None:
            # The time in the token says which rows are older than the queue's contents.
            token = f"{self._clock.now_ms()}-{self._random.token_bytes(8).hex()}"
            await self._queue.begin_epoch(token)
            epoch = await self._queue.epoch()
        if epoch is None:
            return
        begun_ms = int(epoch.partition("-")[0])
        if await self._storage.note("rebuilt_epoch_ms") == begun_ms:
            return
        now_ms = self._clock.now_ms()
        self._rescued.clear()
        self._suspects.clear()
        deliveries = await self._storage.forget_queued(None, begun_ms, now_ms)
        messages = await self._rescue_unsplit(await self._unsplit_from(), begun_ms)
        # Last, so that a Rescuer that dies before it is done is followed by one that does it.
        await self._storage.set_note("rebuilt_epoch_ms", begun_ms)
        self.deliveries_rescued += deliveries
        if deliveries or messages:
            log.warning(
                "the queue was lost and is rebuilt: %d deliveries and %d unsplit messages put back",
                deliveries,
                messages,
            )

    async def _sweep_unsplit(self, now_ms: int) -> None:
        gauge = (await self._queue.gauges([INGEST]))[0]
        until_ms = now_ms - self._config.unsplit_grace_ms
        if gauge.oldest_ms:
            until_ms = min(until_ms, gauge.oldest_ms - self._config.unsplit_grace_ms)
        from_ms = await self._unsplit_from()
        self._sweeps += 1
        if self._sweeps % DEEP_EVERY == 0:
            from_ms = min(from_ms, until_ms - DEEP_MS)
        expired = now_ms - self._limits.lease_ms * 2
        if gauge.oldest_ms:
            # What was pushed since then may wait in the stream still.
            expired = min(expired, gauge.oldest_ms - 1)
        self._rescued = {k: at_ms for k, at_ms in self._rescued.items() if at_ms > expired}
        if until_ms > from_ms:
            await self._rescue_unsplit(from_ms, until_ms)
            await self._storage.set_note("unsplit_from_ms", until_ms - self._limits.lease_ms)

    async def _unsplit_from(self) -> int:
        return await self._storage.note("unsplit_from_ms")

    async def _rescue_unsplit(self, from_ms: int, until_ms: int) -> int:
        """Push ingest chunks of unsplit messages made in this span of time; how many."""
        after, below, found = ids.id_floor(from_ms) - 1, ids.id_floor(until_ms), 0
        while True:
            messages = await self._storage.unsplit(
                after, below, UNSPLIT_ROWS_MAX, self._limits.inline_bytes_max
            )
            new = [message for message in messages if message.id not in self._rescued]
            if new:
                packed = chunk.pack_messages(self._directory.version, new)
                await self._queue.push([Push(INGEST, packed, len(new))])
                now_ms = self._clock.now_ms()
                self._rescued.update((message.id, now_ms) for message in new)
                found += len(new)
                self.messages_rescued += len(new)
            if len(messages) < UNSPLIT_ROWS_MAX:
                return found
            after = messages[-1].id

    async def _sweep_forgotten(self, ledger: Sequence[LedgerRow], now_ms: int) -> None:
        queued = {row.subscription_id: row.queued for row in ledger if row.queued}
        if not queued:
            self._suspects.clear()
            return
        streams = [Stream(StreamKind.SUBSCRIPTION, sub_id) for sub_id in queued]
        mark, *gauges = await self._queue.gauges([MARK, *streams])
        suspects = {}
        for (sub_id, in_database), gauge in zip(queued.items(), gauges, strict=True):
            if in_database <= gauge.depth + mark.depth:
                continue
            since_ms = self._suspects.get(sub_id, now_ms)
            suspects[sub_id] = since_ms
            before_ms = now_ms - self._config.forgotten_grace_ms
            if since_ms > before_ms:
                continue
            if gauge.oldest_ms:
                before_ms = min(before_ms, gauge.oldest_ms)
            count = await self._storage.forget_queued([sub_id], before_ms, now_ms)
            self.deliveries_rescued += count
            if count:
                log.warning("subscription %d: %d forgotten deliveries put back", sub_id, count)
        self._suspects = suspects
