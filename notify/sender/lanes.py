"""The consumers that a Sender holds, and the lanes of their subscriptions, as configured now."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from notify.config import QueueConfig, SenderConfig
from notify.domain.model import SubscriptionStatus
from notify.domain.policy import Ordering
from notify.domain.ports import Clock, Queue, Random, Storage, Stream, StreamKind
from notify.domain.retry import Retry
from notify.runtime.directory import DirectoryCache
from notify.sender.admission import Admission
from notify.sender.destination import Destination
from notify.sender.flight import Flights
from notify.sender.frontier import Frontier
from notify.sender.lane import Lane
from notify.sender.ordered import OrderedLane
from notify.sender.outcomes import Outcomes
from notify.sender.pace import Pace
from notify.sender.targets import Targets
from notify.sender.verdict import Policies

# How long the outcomes of an ordered lane are waited for at least, beyond its tries.
SAVING_S: Final = 0.5


class Lanes:
    """One lane for each subscription that something was claimed for, or that is ordered.

    valid: whether the consumers are surely held at a time (unix ms). hungry: told of a lane that
    has nothing to do.
    """

    def __init__(
        self,
        storage: Storage,
        queue: Queue,
        directory: DirectoryCache,
        clock: Clock,
        random: Random,
        config: SenderConfig,
        queue_config: QueueConfig,
        flights: Flights,
        admission: Admission,
        outcomes: Outcomes,
        valid: Callable[[int], bool],
        hungry: Callable[[int], None],
    ) -> None:
        self._storage = storage
        self._queue = queue
        self._directory = directory
        self._clock = clock
        self._random = random
        self._config = config
        self._limits = queue_config
        self._parts = (flights, admission, outcomes, clock, valid, hungry)
        self._frontier = Frontier(storage, clock)
        self._targets = Targets(config.origin)
        self._policies = Policies(
            Retry(schedule_ms=config.retry_schedule_ms, jitter=config.retry_jitter),
            config.retry_after_ms_max,
            queue_config.delay_horizon_ms,
        )
        self._destinations: dict[int, Destination] = {}
        self._lanes: dict[int, Lane] = {}
        self._given_up: set[int] = set()
        self._configured = -1
        self._changing = False
        self._streams_of: tuple[int, frozenset[int]] = (-2, frozenset())
        self._streams: list[Stream] = []

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    @property
    def consumers(self) -> frozenset[int]:
        """The consumers that are worked for here, those being given up included."""
        return frozenset(self._destinations)

    @property
    def ordered(self) -> list[OrderedLane]:
        """The lanes that read the database themselves."""
        return [lane for lane in self._lanes.values() if isinstance(lane, OrderedLane)]

    @property
    def breakers_open(self) -> int:
        """How many consumers are tried by one delivery at a time."""
        return sum(one.pace.is_open for one in self._destinations.values())

    def take(self, consumer_ids: Iterable[int]) -> list[Stream]:
        """Begin to work for these consumers; the queues of their subscriptions, of all of them."""
        now_ms = self._clock.now_ms()
        taken = set(consumer_ids)
        for id_ in taken:
            self._given_up.discard(id_)
            pace = Pace(self._config, self._random)
            self._destinations[id_] = Destination(id_, pace, now_ms)
        self.configure()
        return [
            Stream(StreamKind.SUBSCRIPTION, one.id)
            for one in self._directory.current.subscriptions.values()
            if one.consumer_id in taken
        ]

    def give_up(self, consumer_id: int) -> list[Lane]:
        """Make no new lanes for a consumer; those that it has."""
        self._given_up.add(consumer_id)
        return self.of(consumer_id)

    def drop(self, consumer_id: int) -> None:
        """Work for a consumer no more; what was not begun goes back."""
        for lane in self.of(consumer_id):
            lane.close()
            del self._lanes[lane.sub_id]
        self._destinations.pop(consumer_id, None)
        self._given_up.discard(consumer_id)

    def of(self, consumer_id: int) -> list[Lane]:
        """The lanes of a consumer."""
        destination = self._destinations.get(consumer_id)
        return list(destination.lanes) if destination else []

    def get(self, sub_id: int) -> Lane | None:
        """The lane of a subscription, where there is one."""
        return self._lanes.get(sub_id)

    def lane(self, sub_id: int) -> Lane | None:
        """The lane of a subscription, made if need be; None: its consumer is not worked for."""
        lane = self._lanes.get(sub_id)
        if lane is not None:
            return lane
        subscription = self._directory.current.subscriptions.get(sub_id)
        if subscription is None or subscription.consumer_id in self._given_up:
            return None
        destination = self._destinations.get(subscription.consumer_id)
        if destination is None:
            return None
        if subscription.ordering is Ordering.NONE or subscription.deleted_ms:
            lane = Lane(sub_id, destination, *self._parts)
        else:
            lane = OrderedLane(
                subscription.ordering,
                self._storage,
                self._queue,
                self._frontier,
                self._limits,
                sub_id,
                destination,
                *self._parts,
            )
        self._lanes[sub_id] = lane
        destination.lanes.append(lane)
        self._configure_lane(lane)
        return lane

    def keep_configured(self) -> None:
        """Go by the present directory, where it changed or a lane has still to change."""
        if self._changing or self._configured != self._directory.version:
            self.configure()

    def configure(self) -> None:
        """Go by the present directory; ordered lanes are there before anything was pushed."""
        self._changing = False
        current = self._directory.current
        for id_, destination in self._destinations.items():
            consumer = current.consumers.get(id_)
            if consumer is not None:
                destination.aim(consumer, self._targets)
        for subscription in self._directory.live_subscriptions.values():
            lane = self._lanes.get(subscription.id)
            if lane is not None and lane.ordering is not subscription.ordering:
                lane.close()
                if lane.flights:
                    self._changing = True  # its tries have to end first
                    continue
                lane.destination.lanes.remove(lane)
                del self._lanes[subscription.id]
            if subscription.ordering is not Ordering.NONE:
                self.lane(subscription.id)
        for lane in list(self._lanes.values()):
            self._configure_lane(lane)
        self._configured = self._directory.version

    def streams(self) -> list[Stream]:
        """The queues to read: of consumers held, all but paused ones, deleted ones included."""
        known = (self._directory.version, self.consumers)
        if known != self._streams_of:
            self._streams_of = known
            self._streams = [
                Stream(StreamKind.SUBSCRIPTION, one.id)
                for one in self._directory.current.subscriptions.values()
                if one.consumer_id in self._destinations
                and (one.deleted_ms or one.status is not SubscriptionStatus.PAUSED)
            ]
        return self._streams

    def _configure_lane(self, lane: Lane) -> None:
        subscription = self._directory.live_subscriptions.get(lane.sub_id)
        lane.configure(subscription, self._policies.of(subscription) if subscription else None)
        lane.pump()


async def drain(lanes: Iterable[Lane], wait_s: float) -> None:
    """Hand back what was not begun, wait for what is under way, cut off the rest."""
    lanes = list(lanes)
    loop = asyncio.get_running_loop()
    end_s = loop.time() + wait_s
    for lane in lanes:
        lane.close()
    waiting = [asyncio.ensure_future(lane.ended.wait()) for lane in lanes if lane.flights]
    try:
        if waiting:
            await asyncio.wait(waiting, timeout=wait_s)
    finally:
        for one in waiting:
            one.cancel()
    for lane in lanes:
        lane.cancel()
    left_s = max(SAVING_S, end_s - loop.time())
    await asyncio.gather(*[one.saved(left_s) for one in lanes if isinstance(one, OrderedLane)])
