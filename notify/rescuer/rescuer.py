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

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry

from notify.config import QueueConfig, RescuerConfig
from notify.domain.errors import QueueError
from notify.domain.model import LedgerRow
from notify.domain.ports import Clock, Queue, Random, Storage, Stream, StreamKind
from notify.rescuer.feeder import Feeder
from notify.rescuer.unsplit import Unsplit
from notify.runtime.directory import DirectoryCache
from notify.runtime.metrics import Figure, export
from notify.runtime.rescue import LEASE, REBUILT_EPOCH, epoch_begun_ms
from notify.runtime.steps import Stopping, run_every, run_steps
from notify.runtime.streams import MARK
from notify_core import ids

LEASE_MS: Final = 10_000
FOREVER_MS: Final = ids.EPOCH_MS + (1 << 41) - 1

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
        self._worker = worker
        self._feeder = Feeder(
            storage, queue, directory, clock, config, queue_config, self._take_lease
        )
        self._unsplit = Unsplit(storage, queue, directory, clock, config, queue_config)
        self._ledger: list[LedgerRow] = []
        self._looked_ms = 0
        self._swept_forgotten_ms = 0
        self.deliveries_rescued = 0
        self.deliveries_fed = 0
        self.leads = False

    @property
    def messages_rescued(self) -> int:
        """Messages that nobody had split, put back."""
        return self._unsplit.messages

    async def start_alone(self) -> None:
        """Rebuild before anything else runs on this database: whatever is queued is in no queue."""
        self.leads = True
        await self._rebuild_if_lost(alone=True)

    async def run(self, stopping: Stopping) -> None:
        """Rescue and feed until stopping."""
        pause_s = self._config.feed_interval_ms / 1000

        async def step_and_pause() -> None:
            if not await self.step():
                await stopping.pause(pause_s)

        await asyncio.gather(
            run_steps("rescuer", step_and_pause, stopping, self._random),
            run_every("rescuer lease", self._keep_lease, LEASE_MS // 3, stopping, self._random),
        )
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

    async def step(self) -> bool:
        """One round: rebuild, sweep when it is time, feed. Call it every feed_interval_ms.

        Whether more waits that could be fed at once.
        """
        now_ms = self._clock.now_ms()
        due = _is_over(self._looked_ms, self._config.interval_ms, now_ms)
        if not due and not any(row.pending for row in self._ledger):
            return False  # an idle system asks next to nothing
        led, self.leads = self.leads, await self._take_lease()
        if not self.leads:
            self._ledger = []
            self._looked_ms = now_ms
            return False
        if not led:
            self._unsplit.begin()
        await self._rebuild_if_lost(alone=False)
        self._ledger = await self._storage.ledger()
        if due:
            await self._unsplit.sweep(now_ms)
            self._looked_ms = now_ms
        if _is_over(self._swept_forgotten_ms, self._config.forgotten_grace_ms // 3, now_ms):
            self._swept_forgotten_ms = now_ms
            await self._sweep_forgotten(self._ledger, now_ms)
        self.deliveries_fed += await self._feeder.feed(self._ledger)
        return self._feeder.more

    async def _take_lease(self) -> bool:
        return await self._queue.lease(LEASE, self._worker, LEASE_MS)

    async def _keep_lease(self) -> None:
        """A step over many deliveries takes longer than a lease."""
        if self.leads:
            self.leads = await self._take_lease()

    async def _rebuild_if_lost(self, alone: bool) -> None:
        epoch = await self._queue.epoch()
        if epoch is None:
            # The time in the token says which rows are older than the queue's contents.
            token = f"{self._clock.now_ms()}-{self._random.token_bytes(8).hex()}"
            await self._queue.begin_epoch(token)
            epoch = await self._queue.epoch()
        if epoch is None:
            return
        begun_ms = epoch_begun_ms(epoch)
        if await self._storage.note(REBUILT_EPOCH) == begun_ms:
            return
        now_ms = self._clock.now_ms()
        # Where others run, what is younger than the epoch may be in the new queue already. Where
        # nobody does, no time is asked for: the clock may have been set back since.
        until_ms = FOREVER_MS if alone else begun_ms
        deliveries = await self._storage.forget_queued(None, until_ms, now_ms)
        messages = await self._unsplit.rebuild(until_ms, now_ms)
        # Last, so that a Rescuer that dies before it is done is followed by one that does it.
        await self._storage.set_note(REBUILT_EPOCH, begun_ms)
        self.deliveries_rescued += deliveries
        if deliveries or messages:
            log.warning(
                "the queue was lost and is rebuilt: %d deliveries and %d unsplit messages put back",
                deliveries,
                messages,
            )

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


def _is_over(since_ms: int, interval_ms: int, now_ms: int) -> bool:
    """Whether an interval has passed; also where the clock was set back to before it began."""
    return not since_ms <= now_ms < since_ms + interval_ms
