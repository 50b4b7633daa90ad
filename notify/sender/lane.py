"""The deliveries of one subscription inside the Sender that holds it.

Nothing here waits: `pump` begins what may begin, and is called again by whatever may have changed
that: a try that ended, new jobs, a free place, an alarm.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from notify.domain.model import Reason, Subscription, SubscriptionStatus
from notify.domain.policy import Batch, Ordering
from notify.domain.ports import Clock
from notify.sender.admission import Admission
from notify.sender.batch import Place
from notify.sender.destination import Destination
from notify.sender.outcomes import Held, Outcomes
from notify.sender.rate import Rate
from notify.sender.verdict import Policy
from notify_core.records import DeliveryRecord, OutcomeRecord


class Job:
    """A delivery to make. held: the chunk that it came in. place, extra: of an ordered one only."""

    __slots__ = ("delivery", "expires_ms", "extra", "held", "message", "place")

    def __init__(self, held: Held | None, delivery: DeliveryRecord) -> None:
        self.held = held
        self.delivery = delivery
        self.message = delivery.message
        self.expires_ms = self.message.expires_ms
        self.place: Place | None = None
        self.extra = b""


class Try(Protocol):
    """A try under way."""

    jobs: list[Job]

    def cancel(self) -> None:
        """Cut it off: its connection is closed, and nothing comes of it."""


class Begin(Protocol):
    """How a lane has tries made."""

    def begin(self, lane: "Lane", jobs: list[Job], now_ms: int) -> None:
        """Begin one try of these jobs; `lane.flights` has it until it ends."""

    def without_try(
        self, lane: "Lane", delivery: DeliveryRecord, now_ms: int, reason: Reason
    ) -> OutcomeRecord:
        """The outcome of a delivery that is dropped without one."""


class Lane:
    """Works off one subscription's jobs as fast as its limits and its endpoint allow.

    valid: whether this Sender holds the consumer at a time (unix ms). hungry: told when no jobs
    are left.
    """

    ordering = Ordering.NONE

    def __init__(
        self,
        sub_id: int,
        destination: Destination,
        begin: Begin,
        admission: Admission,
        outcomes: Outcomes,
        clock: Clock,
        valid: Callable[[int], bool],
        hungry: Callable[[int], None],
    ) -> None:
        self.sub_id = sub_id
        self.destination = destination
        self.flights: set[Try] = set()
        self.ended = asyncio.Event()  # it is closed, and nothing is under way any more
        self.places = 0  # that it has of the admission
        self.claim_chunks = 1  # how many it takes at a time
        self.claimed_ms = 0  # when it took as many as that last
        self.policy: Policy | None = None
        self.batch: Batch | None = None
        self.subscription: Subscription | None = None
        self._begin = begin
        self._admission = admission
        self._outcomes = outcomes
        self._clock = clock
        self._valid = valid
        self._hungry = hungry
        self._jobs: deque[Job] = deque()
        self._jobs_since_ms = 0
        self._status: SubscriptionStatus | None = None  # None: deleted
        self._is_normal = False
        self._concurrency_max: int | None = None
        self._rate: Rate | None = None
        self._timed = False  # by a rate or a batch
        self._hold_until_ms = 0
        self._closing = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_ms = 0

    def configure(self, subscription: Subscription | None, policy: Policy | None) -> None:
        """Go by what is configured now; None: the subscription was deleted."""
        before, self.subscription = self.subscription, subscription
        self.policy = policy
        self._status = subscription.status if subscription else None
        self._is_normal = self._status is SubscriptionStatus.NORMAL
        if subscription is None:
            return
        self._concurrency_max = subscription.concurrency_max
        self.batch = subscription.batch
        rate = (subscription.rate_per_s, subscription.rate_burst)
        if before is None or rate != (before.rate_per_s, before.rate_burst):
            now_ms = self._clock.now_ms()
            fresh = subscription.created_ms >= self.destination.held_since_ms
            per_s = subscription.rate_per_s
            self._rate = Rate(per_s, subscription.burst, now_ms, fresh) if per_s else None
        self._timed = self._rate is not None or self.batch is not None

    @property
    def waiting(self) -> int:
        """How many jobs wait here."""
        return len(self._jobs)

    def wants_more(self) -> bool:
        """Whether chunks shall be claimed for it now: no try could be made, or no full batch."""
        if self._closing or (self._jobs and self.batch is None):
            return False
        wanted = self.batch.size_max if self.batch is not None else 1
        return len(self._jobs) < wanted and self._status is not SubscriptionStatus.PAUSED

    def add(self, jobs: Sequence[Job]) -> None:
        """Take jobs."""
        if not self._jobs:
            self._jobs_since_ms = self._clock.now_ms()
        self._jobs.extend(jobs)
        self.pump()

    def pump(self, now_ms: int = 0) -> None:
        """Begin what may begin now; now_ms: for who knows what time it is."""
        now_ms = now_ms or self._clock.now_ms()
        if self._closing:
            self._let_go()
            if not self.flights:
                self.ended.set()
        elif not self._is_normal:
            self._let_go()
        else:
            while self._first(now_ms) is not None and self._may_begin(now_ms):
                jobs = self._take(now_ms)
                if not self._admission.enter(self):
                    self.put_first(jobs)
                    break
                self.destination.pace.began()
                if self._rate is not None:
                    self._rate.take(len(jobs))
                if self.destination.rate is not None:
                    self.destination.rate.take()
                self._jobs_since_ms = now_ms
                self._begin.begin(self, jobs, now_ms)
        if self.wants_more():
            self._hungry(self.sub_id)

    def settle(self, job: Job, outcome: OutcomeRecord) -> None:
        """A try of this job came to an end with this outcome."""
        assert job.held is not None
        self._outcomes.decide(job.held, job.delivery, outcome)

    def put_back(self, jobs: Sequence[Job]) -> None:
        """A try that does not count: the others come first, so that one stands in no one's way."""
        self._jobs.extend(_kept(jobs))

    def put_first(self, jobs: Sequence[Job]) -> None:
        """These were taken, and not begun after all."""
        self._jobs.extendleft(reversed(_kept(jobs)))

    def hand_back(self, jobs: Sequence[Job]) -> None:
        """Give jobs back to the queue."""
        by_held: dict[Held, list[DeliveryRecord]] = {}
        for job in jobs:
            if job.held is not None:
                by_held.setdefault(job.held, []).append(job.delivery)
        for held, deliveries in by_held.items():
            self._outcomes.hand_back(held, self.sub_id, deliveries, 0)

    def hold(self, until_ms: int) -> None:
        """Begin nothing until then."""
        self._hold_until_ms = until_ms

    def close(self) -> None:
        """Give back what was not begun, and begin nothing any more."""
        self._closing = True
        self._admission.forget(self)
        if self._alarm is not None:
            self._alarm.cancel()
        self._let_go()
        if not self.flights:
            self.ended.set()

    def cancel(self) -> None:
        """Cut off what is under way."""
        for flight in list(self.flights):
            flight.cancel()

    def queue_lost(self) -> None:
        """The queue was lost: what waits here comes again."""
        self.forget()

    def forget(self) -> None:
        """The lease of this consumer was lost: what waits here is others' now."""
        for jobs in (self._jobs, *(flight.jobs for flight in self.flights)):
            for job in jobs:
                if job.held is not None:
                    job.held.lost = True
        self._jobs.clear()

    # What an ordered lane does in its own way.

    def _first(self, now_ms: int) -> Job | None:
        """The job that is next; what expired before it is dropped."""
        while self._jobs:
            job = self._jobs[0]
            if not 0 < job.expires_ms <= now_ms:
                return job
            self._jobs.popleft()
            self._drop(job, now_ms, Reason.EXPIRED)
        return None

    def _take(self, now_ms: int) -> list[Job]:
        batch = self.batch
        if batch is None:
            return [self._jobs.popleft()]
        jobs: list[Job] = []
        size = 0
        while len(jobs) < batch.size_max and (job := self._first(now_ms)) is not None:
            size += len(job.message.payload or b"")
            if jobs and size > batch.bytes_max:  # one is taken however large it is
                break
            jobs.append(self._jobs.popleft())
        return jobs

    # Why not now.

    def _may_begin(self, now_ms: int) -> bool:
        pace = self.destination.pace
        if not pace.room(now_ms, self._concurrency_max is not None):
            if at_ms := pace.next_ms(now_ms):
                self._wake_at(at_ms, now_ms)
            return False
        if self._concurrency_max is not None and len(self.flights) >= self._concurrency_max:
            return False
        if not self._valid(now_ms):
            return False
        at_ms = self._hold_until_ms
        if self._timed or self.destination.rate is not None:
            at_ms = max(at_ms, self._batch_ms(), self._rate_ms(now_ms))
        if at_ms > now_ms:
            self._wake_at(at_ms, now_ms)
            return False
        return True

    def _batch_ms(self) -> int:
        """Until when a batch that is not full waits for more."""
        batch = self.batch
        if batch is None or not batch.wait_ms or self.waiting >= batch.size_max:
            return 0
        return self._jobs_since_ms + batch.wait_ms

    def _rate_ms(self, now_ms: int) -> int:
        waits = [
            rate.wait_ms(now_ms) for rate in (self._rate, self.destination.rate) if rate is not None
        ]
        return now_ms + max(waits) if waits else 0

    def _wake_at(self, at_ms: int, now_ms: int) -> None:
        if self._alarm is not None:
            if now_ms < self._alarm_ms <= at_ms:
                return
            self._alarm.cancel()
        self._alarm_ms = at_ms
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later((at_ms - now_ms) / 1000, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.pump()

    def _let_go(self) -> None:
        """Nothing may begin: deleted or discarded jobs are dropped, others go back."""
        jobs = list(self._jobs)
        self._jobs.clear()
        if self._closing or self._status is SubscriptionStatus.PAUSED:
            self.hand_back(jobs)
            return
        reason = Reason.DELETED if self._status is None else Reason.DISCARDED
        now_ms = self._clock.now_ms()
        for job in jobs:
            self._drop(job, now_ms, reason)

    def _drop(self, job: Job, now_ms: int, reason: Reason) -> None:
        if job.held is not None and job.held.lost:
            return
        self.settle(job, self._begin.without_try(self, job.delivery, now_ms, reason))


def _kept(jobs: Sequence[Job]) -> list[Job]:
    """Those that are not others' by now."""
    return [job for job in jobs if job.held is None or not job.held.lost]
