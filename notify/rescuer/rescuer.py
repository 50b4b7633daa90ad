"""Finds what the queue forgot and puts it back, without anyone asking (DESIGN rule 2).

Everything is found in the database, so it does not matter how it was lost: a queue flushed or
restarted, a service killed between two steps, a chunk that could not be read.

lost queue       no epoch, or one that was not rebuilt yet: every queued delivery becomes
                 pending and the Feeder queues it again
unsplit message  accepted, but without delivery rows, and older than anything in the ingest
                 stream: it gets a new ingest chunk
forgotten        a queued delivery that is older than everything in its queue and everything
                 on its way to the Marker, by a grace: it becomes pending
"""

import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry

from notify.config import QueueConfig, RescuerConfig
from notify.domain.errors import QueueError
from notify.domain.model import LedgerRow
from notify.domain.ports import Clock, Push, Queue, Random, Storage, Stream, StreamKind
from notify.rescuer.feeder import Feeder, parts
from notify.runtime.directory import DirectoryCache
from notify.runtime.metrics import Figure, export
from notify.runtime.steps import Stopping, run_every
from notify_core import chunk, ids
from notify_core.records import MessageRecord

LEASE: Final = "rescuer"
LEASE_MS: Final = 10_000
FOREVER_MS: Final = ids.EPOCH_MS + (1 << 41) - 1
UNSPLIT_ROWS_MAX: Final = 1000
# A commit may come later than its message's id by as long as the database stalls: each sweep
# looks back so far, and every so many sweeps one looks back further.
COMMIT_MS: Final = 35_000
DEEP_EVERY: Final = 60
DEEP_MS: Final = 600_000

INGEST: Final = Stream(StreamKind.INGEST, 0)
MARK: Final = Stream(StreamKind.MARK, 0)

log = logging.getLogger(__name__)


class _Rescue(NamedTuple):
    """messages: how many were pushed. clean_ms: before it, nothing is unsplit."""

    messages: int
    clean_ms: int


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
        self._rescued: dict[int, int] = {}
        self._sweeps = 0
        self._swept_ms = 0
        self._swept_forgotten_ms = 0
        self._clean_id = -1
        self.messages_rescued = 0
        self.deliveries_rescued = 0
        self.deliveries_fed = 0
        self.leads = False

    async def start_alone(self) -> None:
        """Rebuild before anything else runs on this database: whatever is queued is in no queue."""
        await self._rebuild_if_lost(alone=True)

    async def run(self, stopping: Stopping) -> None:
        """Rescue and feed until stopping."""
        interval_ms = self._config.feed_interval_ms
        await run_every("rescuer", self.step, interval_ms, stopping, self._random)
        await self.close()

    async def close(self) -> None:
        """Let another one take over at once."""
        try:
            await self._queue.release(LEASE, self._worker)
        except QueueError as error:
            log.warning("the Rescuer's lease is not given back, it runs out: %s", error)

    def export(self, registry: CollectorRegistry) -> None:
        """Show what it counts on /metrics."""
        export(
            registry,
            [
                Figure(
                    "notify_rescuer_messages",
                    "Messages that nobody had split, put back",
                    lambda: self.messages_rescued,
                ),
                Figure(
                    "notify_rescuer_deliveries",
                    "Queued deliveries that no queue held, put back",
                    lambda: self.deliveries_rescued,
                ),
                Figure(
                    "notify_rescuer_fed",
                    "Pending deliveries brought into a queue, or dropped",
                    lambda: self.deliveries_fed,
                ),
                Figure(
                    "notify_rescuer_leads",
                    "1 while this is the Rescuer that works",
                    lambda: self.leads,
                    counts=False,
                ),
            ],
        )

    async def step(self) -> None:
        """One round: rebuild, sweep when it is time, feed. Call it every feed_interval_ms."""
        self.leads = await self._queue.lease(LEASE, self._worker, LEASE_MS)
        if not self.leads:
            return
        await self._rebuild_if_lost(alone=False)
        ledger = await self._storage.ledger()
        now_ms = self._clock.now_ms()
        if now_ms - self._swept_ms >= self._config.interval_ms:
            self._swept_ms = now_ms
            await self._sweep_unsplit(now_ms)
        if now_ms - self._swept_forgotten_ms >= self._config.forgotten_grace_ms // 3:
            self._swept_forgotten_ms = now_ms
            await self._sweep_forgotten(ledger, now_ms)
        self.deliveries_fed += await self._feeder.feed(ledger)

    async def _rebuild_if_lost(self, alone: bool) -> None:
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
        # Where others run, what is younger than the epoch may be in the new queue already. Where
        # nobody does, no time is asked for: the clock may have been set back since.
        until_ms = FOREVER_MS if alone else begun_ms
        self._rescued.clear()
        self._clean_id = -1
        deliveries = await self._storage.forget_queued(None, until_ms, now_ms)
        room = self._limits.ingest_depth_max
        from_ms = await self._unsplit_from(now_ms - DEEP_MS)
        rescue = await self._rescue_unsplit(from_ms, until_ms, room)
        # Last, so that a Rescuer that dies before it is done is followed by one that does it.
        await self._storage.set_note("rebuilt_epoch_ms", begun_ms)
        self.deliveries_rescued += deliveries
        if deliveries or rescue.messages:
            log.warning(
                "the queue was lost and is rebuilt: %d deliveries and %d unsplit messages put back",
                deliveries,
                rescue.messages,
            )

    async def _sweep_unsplit(self, now_ms: int) -> None:
        gauge = (await self._queue.gauges([INGEST]))[0]
        until_ms = now_ms - self._config.unsplit_grace_ms
        if gauge.oldest_ms:
            until_ms = min(until_ms, gauge.oldest_ms - self._config.unsplit_grace_ms)
        self._sweeps += 1
        deep = self._sweeps % DEEP_EVERY == 0
        expired = now_ms - self._limits.lease_ms * 2
        if gauge.oldest_ms:
            # What was pushed since then may wait in the stream still.
            expired = min(expired, gauge.oldest_ms - 1)
        self._rescued = {k: at_ms for k, at_ms in self._rescued.items() if at_ms > expired}
        last_id = await self._storage.last_message_id()
        room = self._limits.ingest_depth_max - gauge.depth
        if room <= 0 or (last_id == self._clean_id and not deep):
            return  # nothing new can be unsplit: an idle system reads and writes next to nothing
        from_ms = await self._unsplit_from(until_ms - (DEEP_MS if deep else COMMIT_MS))
        rescue = await self._rescue_unsplit(from_ms, until_ms, room)
        await self._storage.set_note("unsplit_from_ms", rescue.clean_ms)
        if rescue.clean_ms == until_ms and ids.id_ms(last_id) < until_ms - COMMIT_MS:
            self._clean_id = last_id

    async def _unsplit_from(self, latest_ms: int) -> int:
        return min(latest_ms, await self._storage.note("unsplit_from_ms"))

    async def _rescue_unsplit(self, from_ms: int, until_ms: int, room: int) -> _Rescue:
        """Push ingest chunks of unsplit messages made in this span of time, as many as fit."""
        after, below = ids.id_floor(from_ms) - 1, ids.id_floor(until_ms)
        pushed, clean_ms = 0, until_ms
        while pushed < room:
            messages = await self._storage.unsplit(
                after, below, UNSPLIT_ROWS_MAX, self._limits.inline_bytes_max
            )
            if messages:
                # What was pushed is not split yet: until it is, the search begins there again.
                clean_ms = min(clean_ms, ids.id_ms(messages[0].id))
            new = [message for message in messages if message.id not in self._rescued]
            await self._queue.push(
                [
                    Push(INGEST, chunk.pack_messages(self._directory.version, part), len(part))
                    for part in parts(new, _size, UNSPLIT_ROWS_MAX, self._limits.chunk_bytes_max)
                ]
            )
            now_ms = self._clock.now_ms()
            self._rescued.update((message.id, now_ms) for message in new)
            pushed += len(new)
            self.messages_rescued += len(new)
            if len(messages) < UNSPLIT_ROWS_MAX:
                break
            after = messages[-1].id
            await self._queue.lease(LEASE, self._worker, LEASE_MS)
        return _Rescue(pushed, clean_ms)

    async def _sweep_forgotten(self, ledger: Sequence[LedgerRow], now_ms: int) -> None:
        streams = [
            Stream(StreamKind.SUBSCRIPTION, row.subscription_id) for row in ledger if row.queued
        ]
        if not streams:
            return
        gauges = await self._queue.gauges(streams)
        # Asked after the queues: what left one of them meanwhile is here, or in the database.
        (mark,) = await self._queue.gauges([MARK])
        for stream, gauge in zip(streams, gauges, strict=True):
            oldest_ms = min(gauge.oldest_ms or now_ms, mark.oldest_ms or now_ms)
            before_ms = oldest_ms - self._config.forgotten_grace_ms
            count = await self._storage.forget_queued([stream.number], before_ms, now_ms)
            self.deliveries_rescued += count
            if count:
                log.warning(
                    "subscription %d: %d forgotten deliveries put back", stream.number, count
                )


def _size(message: MessageRecord) -> int:
    return len(message.payload or b"")
