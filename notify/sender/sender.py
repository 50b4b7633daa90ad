"""Claims the chunks of what it holds, has them delivered, hands the outcomes on.

Killed at any point: the leases of its consumers run out after share_ms, and who takes one takes
over its chunks too, without what the database shows finished. What was answered but not yet marked
is sent again: at least once, with the same id. Stopped for longer than that, it begins nothing
more of what it held.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Final

from prometheus_client import CollectorRegistry

from notify.config import QueueConfig, SenderConfig
from notify.domain.errors import NotifyError, QueueError, QueueLost
from notify.domain.model import DeliveryStatus
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
from notify.sender.flight import Flights
from notify.sender.holdings import Holdings
from notify.sender.lane import Job
from notify.sender.lanes import Lanes, drain
from notify.sender.outcomes import Held, Outcomes
from notify_core import chunk
from notify_core.errors import ChunkError
from notify_core.records import DeliveryRecord

IDLE_MS: Final = 1000
# Delayed chunks may be late by so much, so that many of them cost few looks.
DUE_STEP_MS: Final = 10
TEND_MS: Final = 5000
# Small chunks are claimed several at a time, up to so many; whoever works off what it claimed
# within CLAIM_SOON_MS, claims so many times as much.
CLAIM_CHUNKS_MAX: Final = 32
CLAIM_SOON_MS: Final = 50
CLAIM_MORE: Final = 4
# A consumer that becomes another Sender's is given up when nothing of it is under way any more:
# what takes longer than any time-out is cut off.
RELEASE_S: Final = 65.0
HURRY_S: Final = 0.5
SETTLE_S: Final = 0.01

log = logging.getLogger(__name__)


class Sender:
    """One worker over the consumers that it holds; any number may run."""

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
        self._limits = queue_config
        self._drain_s = drain_ms / 1000
        self._worker = worker
        self._admission = Admission(config.in_flight_max)
        self._outcomes = Outcomes(queue, config)
        self._flights = Flights(
            storage, transport, directory, clock, random, config, self._admission
        )
        self._holdings = Holdings(queue, directory, clock, worker, config.share_ms)
        self._lanes = Lanes(
            storage, queue, directory, clock, random, config, queue_config, self._flights,
            self._admission, self._outcomes, self._holdings.valid, self._is_hungry,
        )  # fmt: skip
        self._held: dict[tuple[Stream, str], Held] = {}
        # Subscriptions whose queue may hold something that nobody claimed; that have nothing to do.
        self._ready: set[int] = set()
        self._starving: set[int] = set()
        self._hungry = asyncio.Event()
        self._taking_over: set[asyncio.Task[None]] = set()
        self._regained = asyncio.Event()
        self._releasing: dict[int, asyncio.Task[None]] = {}
        self._claiming = 0
        self._scan_ms = 0
        self._scanned_version = -1
        self._closing = False

    @property
    def in_flight(self) -> int:
        """HTTP tries under way."""
        return self._admission.in_flight

    @property
    def attempts_made(self) -> int:
        """HTTP tries begun."""
        return self._flights.made

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
                    "notify_sender_consumers",
                    "Consumers that this Sender delivers to",
                    lambda: len(self._holdings.held),
                    counts=False,
                ),
                Figure(
                    "notify_sender_breakers_open",
                    "Consumers that are tried by one delivery at a time until they are back",
                    lambda: self._lanes.breakers_open,
                    counts=False,
                ),
            ],
        )

    async def run(self, stopping: Stopping) -> None:
        """Deliver until stopping, then finish or hand back what is held."""
        drained = Stopping(self._clock)
        renew_ms = self._limits.lease_ms // 3
        random = self._random
        try:
            async with asyncio.TaskGroup() as group:
                # Until it is drained, which may take longer than a lease.
                for holding in (
                    run_steps("sender outcomes", lambda: self._hand_on(drained), drained, random),
                    run_steps("sender leases", lambda: self._hold(drained), drained, random),
                    run_every("sender chunks", self._renew, renew_ms, drained, random),
                ):
                    group.create_task(holding)
                async with asyncio.TaskGroup() as claiming:
                    for work in (
                        run_steps("sender", lambda: self._look(stopping), stopping, random),
                        run_steps("sender claims", lambda: self._claim(stopping), stopping, random),
                        run_every("sender lines", self._tend, TEND_MS, stopping, random),
                    ):
                        claiming.create_task(work)
                self._closing = True
                await drain(self._lanes, self._drain_s)
                await self._flights.close()
                # Not cancelled: what was cut off while it is handed on would be pushed again.
                drained.set()
            await self._give_up()
        finally:
            lanes = list(self._lanes)
            for lane in lanes:
                lane.close()
            for lane in lanes:
                lane.cancel()
            for task in (*self._taking_over, *self._releasing.values()):
                task.cancel()

    # What is held.

    async def _hold(self, drained: Stopping) -> None:
        """A heartbeat, and what follows from it."""
        held, version = self._holdings.held, self._directory.version
        if not self._holdings.valid(self._clock.now_ms()) and held:
            # Too late: another one may hold it by now. What is under way may come twice.
            self._lose(held)
            held = frozenset()
        done = [id_ for id_, task in self._releasing.items() if task.done()]
        for id_ in done:
            del self._releasing[id_]
        await self._holdings.beat(done)
        self._lose(held - self._holdings.held)
        mine = self._holdings.held - self._lanes.consumers - self._releasing.keys()
        await self._gain(mine)
        for id_ in self._holdings.surplus:
            if id_ not in self._releasing:
                self._releasing[id_] = asyncio.create_task(self._release(id_))
        if not self._closing:
            await drained.cut_short(
                self._clock.sleep(self._holdings.pause_s), self._directory.wait_change(version)
            )
        else:
            await drained.pause(self._holdings.pause_s)

    async def _gain(self, consumer_ids: Collection[int]) -> None:
        """Take over what the holder before left, then begin with what waits."""
        if not consumer_ids or self._closing:
            return
        streams = self._lanes.take(consumer_ids)
        try:
            # Nobody else holds anything of it now, however short a time ago he did.
            claims = await self._queue.takeover(streams, self._worker, 0, self._limits.depth_max)
        except BaseException:
            for id_ in consumer_ids:
                self._lanes.drop(id_)
            raise
        if claims:
            # Apart, because it waits for the database, and leases do not.
            task = asyncio.create_task(self._begin(claims))
            self._taking_over.add(task)
            task.add_done_callback(self._taking_over.discard)
        self._note_ready(streams)
        self._regained.set()

    def _lose(self, consumer_ids: Collection[int]) -> None:
        for id_ in consumer_ids:
            for lane in self._lanes.of(id_):
                lane.forget()
            self._lanes.drop(id_)
        # Prolonged no more: whoever has them now may die, and then they are taken over.
        self._held = {key: held for key, held in self._held.items() if not held.lost}

    async def _release(self, consumer_id: int) -> None:
        """Bring a consumer to an end here, for another Sender."""
        lanes = self._lanes.give_up(consumer_id)
        while self._claiming:  # what comes of it has to be handed back before
            await self._clock.sleep(SETTLE_S)
        await drain(lanes, RELEASE_S)
        while True:
            try:
                await self._flush()
                break
            except QueueError:
                await self._clock.sleep(HURRY_S)
        self._lanes.drop(consumer_id)

    # Claiming.

    async def _look(self, stopping: Stopping) -> None:
        """Note where something was pushed, or is due; every so often, look at all queues."""
        version = self._directory.version
        self._lanes.keep_configured()
        self._regained.clear()
        streams = self._lanes.streams()
        now_ms = self._clock.now_ms()
        # Later than IDLE_MS from now, it was said by a clock that was set back since.
        in_time = self._scan_ms - IDLE_MS <= now_ms < self._scan_ms
        if not in_time or version != self._scanned_version:
            await self._promote(streams, now_ms + IDLE_MS)
            self._scanned_version = version
        timeout_s = max(0, self._scan_ms - self._clock.now_ms()) / 1000
        await stopping.cut_short(
            self._wait(streams, timeout_s),
            # A subscription may be new, or resumed: then there are more streams to wait for.
            self._directory.wait_change(version),
            self._regained.wait(),
        )

    async def _wait(self, streams: Sequence[Stream], timeout_s: float) -> None:
        pushed = await self._queue.wait(streams, self._worker, timeout_s)
        if pushed:
            await self._promote(pushed, self._scan_ms)

    async def _promote(self, streams: Sequence[Stream], scan_ms: int) -> None:
        now_ms = self._clock.now_ms()
        due_ms = await self._queue.promote(streams, now_ms)
        self._scan_ms = min(scan_ms, max(due_ms, now_ms + DUE_STEP_MS)) if due_ms else scan_ms
        self._note_ready(streams)

    def _note_ready(self, streams: Sequence[Stream]) -> None:
        """There may be something in these queues."""
        for _, sub_id in streams:
            self._ready.add(sub_id)
            lane = self._lanes.get(sub_id)
            if lane is None or lane.wants_more():
                self._starving.add(sub_id)
        self._hungry.set()

    def _is_hungry(self, sub_id: int) -> None:
        """A lane has nothing to do; its queue may have."""
        self._starving.add(sub_id)
        if sub_id in self._ready:
            self._hungry.set()

    async def _claim(self, stopping: Stopping) -> None:
        """Claim for lanes that have nothing to do, where there may be something."""
        if not self._hungry.is_set():
            await stopping.cut_short(self._hungry.wait())
            if stopping:
                return
        self._hungry.clear()
        by_count: dict[int, list[Stream]] = {}
        for sub_id in self._ready & self._starving:
            # Before it is asked: what is pushed meanwhile is noted again.
            self._starving.discard(sub_id)
            lane = self._lanes.lane(sub_id)
            if lane is None:
                self._ready.discard(sub_id)
            elif lane.wants_more():
                self._ready.discard(sub_id)
                stream = Stream(StreamKind.SUBSCRIPTION, sub_id)
                by_count.setdefault(lane.claim_chunks, []).append(stream)
        self._claiming += 1
        try:
            for count, streams in by_count.items():
                claims = await self._queue.claim(streams, self._worker, count)
                self._note_full(claims, count)
                await self._begin(claims)
        except QueueLost:
            self._queue_lost()
            raise
        except BaseException:
            for streams in by_count.values():
                self._note_ready(streams)
            raise
        finally:
            self._claiming -= 1

    def _note_full(self, claims: Sequence[Claim], count: int) -> None:
        """Where all that was asked for came, there may be more; of small chunks, ask for many."""
        found: dict[int, list[int]] = {}
        now_ms = self._clock.now_ms()
        for claim in claims:
            found.setdefault(claim.stream.number, []).append(claim.items)
        for sub_id, items in found.items():
            if len(items) < count:
                continue
            self._ready.add(sub_id)
            lane = self._lanes.lane(sub_id)
            if lane is not None:
                self._starving.add(sub_id)
                rows = self._limits.chunk_rows_max
                if 0 <= now_ms - lane.claimed_ms < CLAIM_SOON_MS:
                    rows *= CLAIM_MORE
                lane.claimed_ms = now_ms
                chunks = rows * len(items) // max(1, sum(items))
                lane.claim_chunks = max(1, min(CLAIM_CHUNKS_MAX, chunks))

    def _queue_lost(self) -> None:
        """Let go of what was not begun: it is gone from the queue, the Rescuer queues it anew."""
        for lane in self._lanes:
            lane.queue_lost()
        self._held.clear()
        self._outcomes.queue_lost()

    async def _begin(self, claims: Sequence[Claim]) -> None:
        """Give claims to their lanes."""
        by_lane: dict[int, list[Job]] = {}
        for claim in claims:
            sub_id = claim.stream.number
            try:
                _, deliveries = chunk.unpack_deliveries(claim.chunk)
            except ChunkError as error:
                # Its deliveries stay queued in the database: the Rescuer queues them again.
                log.error("%s: a chunk is left to the Rescuer: %s", claim.stream, error)
                deliveries = []
            held = self._held[claim.stream, claim.entry] = Held(claim, len(deliveries))
            if claim.redelivered and deliveries:
                deliveries = await self._unfinished(sub_id, deliveries)
            self._outcomes.skip(held, held.open - len(deliveries))
            by_lane.setdefault(sub_id, []).extend(Job(held, delivery) for delivery in deliveries)
        for sub_id, jobs in by_lane.items():
            lane = self._lanes.lane(sub_id)
            if lane is not None:
                lane.add(jobs)
                continue
            for job in jobs:  # claimed while it became another Sender's
                assert job.held is not None
                self._outcomes.hand_back(job.held, sub_id, [job.delivery], 0)

    async def _unfinished(
        self, sub_id: int, deliveries: list[DeliveryRecord]
    ) -> list[DeliveryRecord]:
        """What of a redelivered chunk is still to be done: not finished, not tried since."""
        while True:
            try:
                keys = [(d.message.id, sub_id) for d in deliveries]
                standings = await self._storage.standings(keys)
                break
            except NotifyError as error:
                # It is claimed already: nobody else would take it.
                log.warning("subscription %d: %s; its chunks wait", sub_id, error)
                await self._clock.sleep(HURRY_S)
        return [
            delivery
            for delivery in deliveries
            if (standing := standings.get((delivery.message.id, sub_id))) is not None
            and standing.status is DeliveryStatus.QUEUED
            and standing.attempts <= delivery.attempts
        ]

    async def _tend(self) -> None:
        """Have ordered lanes read what no hint told them of; change lanes whose tries ended."""
        lines = self._lanes.ordered
        if lines:
            pending = {row.subscription_id: row.pending for row in await self._storage.ledger()}
            for line in lines:
                if pending.get(line.sub_id, 0) > line.known or line.unmarked:
                    line.read(whole=True)
        self._lanes.keep_configured()
        # What somebody claimed who did not hold it any more, and then died.
        left = await self._queue.takeover(
            self._lanes.streams(), self._worker, self._limits.lease_ms, 1
        )
        await self._begin(left)

    async def _renew(self) -> None:
        """Prolong the leases of the chunks that are held."""
        if self._held:
            await self._queue.renew([one.claim for one in self._held.values()], self._worker)

    # Coming to an end.

    async def _hand_on(self, drained: Stopping) -> None:
        await drained.cut_short(self._outcomes.wait(IDLE_MS / 1000))
        await self._flush()

    async def _flush(self) -> None:
        for claim in await self._outcomes.flush():
            self._held.pop((claim.stream, claim.entry), None)

    async def _give_up(self) -> None:
        try:
            await self._flush()
            await self._holdings.leave()
        except QueueError as error:
            log.warning("sender: %s; what it held is taken over after its lease", error)
