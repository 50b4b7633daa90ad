"""Claims the subscriptions' chunks, has them delivered, hands the outcomes on.

Killed at any point: the chunks it held are taken over after lease_ms, and their new holder
leaves out what the database shows finished. What was answered but not yet marked is sent
again: at least once, with the same id.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry

from notify.config import QueueConfig, SenderConfig
from notify.domain.errors import NotifyError, QueueError, QueueLost
from notify.domain.model import DeliveryStatus, SubscriptionStatus
from notify.domain.ports import (
    Claim,
    Clock,
    Queue,
    Random,
    Storage,
    Stream,
    StreamKind,
    Transport,
)
from notify.runtime.directory import DirectoryCache
from notify.runtime.metrics import Figure, export
from notify.runtime.steps import Stopping, run_every, run_steps
from notify.sender.admission import Admission
from notify.sender.attempt import Attempts
from notify.sender.lane import Job, Lane
from notify.sender.outcomes import Held, Outcomes
from notify_core import chunk
from notify_core.errors import ChunkError
from notify_core.records import DeliveryRecord

IDLE_MS: Final = 1000
# Delayed chunks may be late by so much, so that many of them cost few looks.
DUE_STEP_MS: Final = 10
TROUBLE_PAUSE_S: Final = 0.5

log = logging.getLogger(__name__)


class Sender:
    """One worker over all subscriptions; any number may run."""

    def __init__(
        self,
        storage: Storage,
        queue: Queue,
        transport: Transport,
        directory: DirectoryCache,
        clock: Clock,
        random: Random,
        config: SenderConfig,
        queue_config: QueueConfig,
        drain_ms: int,
        worker: str,
    ) -> None:
        self._storage = storage
        self._queue = queue
        self._directory = directory
        self._clock = clock
        self._random = random
        self._config = config
        self._queue_config = queue_config
        self._drain_s = drain_ms / 1000
        self._worker = worker
        self._attempts = Attempts(
            storage, transport, directory, clock, random, config, queue_config
        )
        self._admission = Admission(config.in_flight_max)
        self._outcomes = Outcomes(queue, config)
        self._lanes: dict[int, Lane] = {}
        self._held: dict[tuple[Stream, str], Held] = {}
        self._pushed: Sequence[Stream] = ()
        self._scan_ms = 0
        self._scanned_version = -1
        self._stopping = Stopping(clock)
        self.attempts_made = 0

    @property
    def in_flight(self) -> int:
        """HTTP tries under way."""
        return self._admission.in_flight

    def export(self, registry: CollectorRegistry) -> None:
        """Show what it counts on /metrics."""
        export(
            registry,
            [
                Figure("notify_sender_attempts", "HTTP tries begun", lambda: self.attempts_made),
                Figure(
                    "notify_sender_in_flight",
                    "HTTP tries under way",
                    lambda: self.in_flight,
                    counts=False,
                ),
                Figure(
                    "notify_sender_held_chunks",
                    "Chunks held under a lease",
                    lambda: len(self._held),
                    counts=False,
                ),
            ],
        )

    async def run(self, stopping: Stopping) -> None:
        """Deliver until stopping, then finish or hand back what is held."""
        self._stopping = stopping
        tend_ms = self._queue_config.lease_ms // 3
        drained = Stopping(self._clock)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    run_steps(
                        "sender outcomes", lambda: self._hand_on(drained), drained, self._random
                    )
                )
                async with asyncio.TaskGroup() as claiming:
                    claiming.create_task(run_steps("sender", self._step, stopping, self._random))
                    claiming.create_task(
                        run_every("sender leases", self._tend, tend_ms, stopping, self._random)
                    )
                # Draining may take longer than a lease, which would give the rest to another.
                group.create_task(
                    run_every("sender leases", self._renew, tend_ms, drained, self._random)
                )
                await self._drain()
                # Not cancelled: what was cut off while it is handed on would be pushed again.
                drained.set()
            await self._flush_last()
        finally:
            for lane in self._lanes.values():
                lane.cancel()

    async def _step(self) -> None:
        """Claim for subscriptions that have nothing to do here; wait where nothing came."""
        try:
            await self._claim_or_wait()
        except QueueLost:
            self._lose()
            raise

    def _lose(self) -> None:
        """Drop what was not begun: it is gone from the queue, and the Rescuer queues it anew."""
        for held in self._held.values():
            held.lost = True
        for lane in self._lanes.values():
            lane.take_all()
        self._held.clear()
        self._outcomes.queue_lost()

    async def _claim_or_wait(self) -> None:
        version = self._directory.version
        streams = self._streams()
        # Only where something was pushed there is something new; every so often all are looked
        # at, for what was missed, and for delayed chunks that are due.
        now_ms = self._clock.now_ms()
        scan = self._pushed
        # Later than IDLE_MS from now, it was said by a clock that was set back since.
        in_time = self._scan_ms - IDLE_MS <= now_ms < self._scan_ms
        if not in_time or version != self._scanned_version:
            scan = streams
            self._scan_ms, self._scanned_version = now_ms + IDLE_MS, version
        due_ms = await self._queue.promote(scan, now_ms)
        if due_ms:
            self._scan_ms = min(self._scan_ms, max(due_ms, now_ms + DUE_STEP_MS))
        self._pushed = ()
        claims = await self._queue.claim(
            [stream for stream in scan if self._is_hungry(stream.number)], self._worker, 1
        )
        await self._begin(claims)
        timeout_s = max(0, self._scan_ms - self._clock.now_ms()) / 1000
        await self._stopping.cut_short(
            self._wait(streams, timeout_s),
            # A subscription may be new, or resumed: then there are more streams to wait for.
            self._directory.wait_change(version),
        )

    async def _wait(self, streams: Sequence[Stream], timeout_s: float) -> None:
        self._pushed = await self._queue.wait(streams, self._worker, timeout_s)

    def _streams(self) -> list[Stream]:
        """The queues to read: all but those of paused subscriptions, deleted ones included."""
        return [
            Stream(StreamKind.SUBSCRIPTION, sub_id)
            for sub_id in self._directory.current.subscriptions
            if not self._is_paused(sub_id)
        ]

    def _is_paused(self, sub_id: int) -> bool:
        subscription = self._directory.live_subscriptions.get(sub_id)
        return subscription is not None and subscription.status is SubscriptionStatus.PAUSED

    def _is_hungry(self, sub_id: int) -> bool:
        if self._is_paused(sub_id):
            return False
        lane = self._lanes.get(sub_id)
        return lane is None or (
            not lane.jobs and lane.quiet_until_ms <= self._clock.now_ms() and not self._stopping
        )

    async def _begin(self, claims: Sequence[Claim]) -> None:
        """Give claims to their lanes. What is not begun is not held: its lease runs out."""
        for claim in claims:
            try:
                sub_id, deliveries = chunk.unpack_deliveries(claim.chunk)
            except ChunkError as error:
                # Its deliveries stay queued in the database: the Rescuer queues them again.
                log.error("%s: a chunk is left to the Rescuer: %s", claim.stream, error)
                sub_id, deliveries = claim.stream.number, []
            held = Held(claim, len(deliveries))
            if claim.redelivered:
                try:
                    deliveries = await self._unfinished(sub_id, deliveries)
                except NotifyError as error:
                    log.warning("%s: %s; a chunk is left to the next holder", claim.stream, error)
                    continue
            self._held[claim.stream, claim.entry] = held
            self._outcomes.skip(held, held.open - len(deliveries))
            self._add(sub_id, [(held, delivery) for delivery in deliveries])

    async def _unfinished(
        self, sub_id: int, deliveries: list[DeliveryRecord]
    ) -> list[DeliveryRecord]:
        """What of a redelivered chunk is still to be done: not finished, not tried since."""
        standings = await self._storage.standings([(d.message.id, sub_id) for d in deliveries])
        return [
            delivery
            for delivery in deliveries
            if (standing := standings.get((delivery.message.id, sub_id))) is not None
            and standing.status is DeliveryStatus.QUEUED
            and standing.attempts <= delivery.attempts
        ]

    def _add(self, sub_id: int, jobs: list[Job]) -> None:
        lane = self._lanes.get(sub_id)
        if lane is None:
            lane = self._lanes[sub_id] = Lane(sub_id, self._deliver, self._refill)
        subscription = self._directory.live_subscriptions.get(sub_id)
        own = subscription.concurrency_max if subscription else None
        lane.add(jobs, own or self._config.concurrency_max)

    async def _refill(self, lane: Lane) -> None:
        stream = Stream(StreamKind.SUBSCRIPTION, lane.sub_id)
        if not self._is_hungry(lane.sub_id):
            return
        try:
            await self._begin(await self._queue.claim([stream], self._worker, 1))
        except QueueLost:
            self._lose()  # a worker is told once, here as well as in the main step
        except NotifyError:
            # The main step meets the same trouble, and says so.
            await self._clock.sleep(TROUBLE_PAUSE_S)

    async def _deliver(self, lane: Lane, job: Job) -> None:
        held, delivery = job
        if self._settled(lane, job):
            return
        try:
            await self._admission.enter(lane.sub_id)
        except BaseException:
            self._hand_back(lane.sub_id, [job])
            raise
        try:
            if self._settled(lane, job):
                return  # the wait may have been long
            self.attempts_made += 1
            subscription = self._directory.live_subscriptions[lane.sub_id]
            outcome, quiet_until_ms = await self._attempts.attempt(subscription, delivery)
        except BaseException as error:
            # No verdict, so nothing may be lost: somebody tries it again.
            self._hand_back(lane.sub_id, [job])
            if not isinstance(error, Exception):
                raise
            if isinstance(error, NotifyError):
                log.warning("subscription %d: %s; the delivery goes back", lane.sub_id, error)
            else:
                log.exception("subscription %d: a bug; the delivery goes back", lane.sub_id)
            await self._clock.sleep(TROUBLE_PAUSE_S)
            return
        finally:
            self._admission.leave(lane.sub_id)
        self._outcomes.decide(held, delivery, outcome)
        if quiet_until_ms:
            lane.keep_quiet(quiet_until_ms)
        elif outcome.status == DeliveryStatus.DELIVERED:
            lane.succeeded()

    def _settled(self, lane: Lane, job: Job) -> bool:
        """Settle a job for which no request shall be made now; whether it was one."""
        held, delivery = job
        outcome = self._attempts.without_try(lane.sub_id, delivery)
        if outcome is not None:
            self._outcomes.decide(held, delivery, outcome)
            return True
        subscription = self._directory.live_subscriptions[lane.sub_id]
        quiet = lane.quiet_until_ms > self._clock.now_ms()
        if self._stopping or quiet or subscription.status is SubscriptionStatus.PAUSED:
            due_ms = lane.quiet_until_ms if quiet else 0
            self._hand_back(lane.sub_id, [job, *lane.take_all()], due_ms)
            return True
        return False

    def _hand_back(self, sub_id: int, jobs: list[Job], due_ms: int = 0) -> None:
        by_held: dict[int, tuple[Held, list[DeliveryRecord]]] = {}
        for held, delivery in jobs:
            by_held.setdefault(id(held), (held, []))[1].append(delivery)
        for held, deliveries in by_held.values():
            self._outcomes.hand_back(held, sub_id, deliveries, due_ms)

    async def _hand_on(self, drained: Stopping) -> None:
        await drained.cut_short(self._outcomes.wait(IDLE_MS / 1000))
        for claim in await self._outcomes.flush():
            self._held.pop((claim.stream, claim.entry), None)

    async def _renew(self) -> None:
        """Prolong the leases of what is held."""
        if self._held:
            held = [one.claim for one in self._held.values()]
            await self._queue.renew(held, self._worker)

    async def _tend(self) -> None:
        """Renew what is held; take over what a dead Sender left; forget idle lanes."""
        await self._renew()
        lease_ms = self._queue_config.lease_ms
        taken = await self._queue.takeover(self._streams(), self._worker, lease_ms, 1)
        await self._begin(taken)
        self._lanes = {sub_id: lane for sub_id, lane in self._lanes.items() if not lane.idle}

    async def _drain(self) -> None:
        """Hand back what was not begun, wait for what is under way, cut off the rest."""
        for lane in self._lanes.values():
            self._hand_back(lane.sub_id, lane.take_all())
        under_way = {task for lane in self._lanes.values() for task in lane.tasks}
        if under_way:
            await asyncio.wait(under_way, timeout=self._drain_s)
        for lane in self._lanes.values():
            lane.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _flush_last(self) -> None:
        try:
            await self._outcomes.flush()
        except QueueError as error:
            log.warning("sender: %s; what it held is taken over after the lease", error)
