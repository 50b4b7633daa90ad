"""One subscription's jobs: never more at a time than allowed, none left lying."""

import asyncio
from typing import Any

import msgspec
import pytest

from notify.config import load
from notify.domain.model import Reason, Subscription, SubscriptionStatus
from notify.domain.policy import Batch, BatchFormat
from notify.domain.ports import Claim, Stream, StreamKind
from notify.queue.memory import MemoryQueue
from notify.sender.admission import Admission
from notify.sender.destination import Destination
from notify.sender.lane import Job, Lane
from notify.sender.outcomes import Held, Outcomes
from notify.sender.pace import Answered, Pace
from notify_core.records import (
    DELIVERED,
    DROPPED,
    DeliveryRecord,
    MessageRecord,
    OutcomeRecord,
)
from tests.simulation.loop import START_MS, SeededRandom, SimulatedClock

PLAIN = Subscription(id=1, created_ms=0, updated_ms=0, producer_id=1, consumer_id=1)
CLAIM = Claim(Stream(StreamKind.SUBSCRIPTION, 1), "1", b"", 1, False, START_MS)


def job(number: int, expires_ms: int = 0, payload: bytes | None = b"{}") -> Job:
    message = MessageRecord(number, 1, "a", "", b"", "", 0, expires_ms, payload)
    return Job(Held(CLAIM, 1), DeliveryRecord(0, message))


class Try:
    """A try that ends well after a second."""

    def __init__(self, rig: "Rig", lane: Lane, jobs: list[Job], now_ms: int) -> None:
        self.rig, self.lane, self.jobs, self.started_ms = rig, lane, jobs, now_ms
        self.handle = asyncio.get_running_loop().call_later(rig.lasts_s, self.end)

    def end(self) -> None:
        self.leave()
        now_ms = self.rig.clock.now_ms()
        self.lane.destination.pace.ended(Answered.WELL, self.jobs[0], self.started_ms, now_ms)  # type: ignore[arg-type]
        for one in self.jobs:
            self.lane.settle(one, self.rig.outcome(one, DELIVERED, Reason.NONE, now_ms))
        self.lane.destination.pump()

    def cancel(self) -> None:
        self.handle.cancel()
        self.leave()
        self.lane.destination.pace.given_up()
        self.lane.hand_back(self.jobs)

    def leave(self) -> None:
        self.lane.flights.discard(self)
        self.rig.admission.leave(self.lane)


class Rig:
    """A lane whose tries take a second."""

    def __init__(self, admission_max: int = 1000, **fields: Any) -> None:
        self.clock = SimulatedClock()
        self.lasts_s = 1.0
        self.batches: list[list[int]] = []
        self.begun_s: list[float] = []
        self.most = 0
        self.hungry = 0
        self.valid = True
        self.outcomes = Outcomes(MemoryQueue(self.clock), load(environ={}, flags={}).sender)
        self.admission = Admission(admission_max)
        pace = Pace(load(environ={}, flags={}).sender, SeededRandom(1))
        self.destination = Destination(1, pace, 0)
        self.lane = self.add_lane(**fields)

    def add_lane(self, **fields: Any) -> Lane:
        lane = Lane(
            1, self.destination, self, self.admission, self.outcomes, self.clock,
            lambda _: self.valid, self.be_hungry,
        )  # fmt: skip
        self.destination.lanes.append(lane)
        self.configure(lane, **fields)
        return lane

    def configure(self, lane: Lane, **fields: Any) -> None:
        lane.configure(msgspec.structs.replace(PLAIN, **fields), None)
        lane.pump()

    def be_hungry(self, _: int) -> None:
        self.hungry += 1

    def begin(self, lane: Lane, jobs: list[Job], now_ms: int) -> None:
        lane.flights.add(Try(self, lane, jobs, now_ms))
        self.batches.append([one.delivery.message.id for one in jobs])
        self.begun_s.append(asyncio.get_running_loop().time())
        self.most = max(self.most, len(lane.flights))

    def outcome(self, one: Job, status: int, reason: int, now_ms: int) -> OutcomeRecord:
        id_ = one.delivery.message.id
        return OutcomeRecord(id_, 1, status, 1, now_ms, 0, 0, 200, int(reason), "", b"")

    def without_try(
        self, lane: Lane, delivery: DeliveryRecord, now_ms: int, reason: Reason
    ) -> OutcomeRecord:
        return self.outcome(Job(None, delivery), DROPPED, reason, now_ms)

    @property
    def begun(self) -> list[int]:
        return [number for batch in self.batches for number in batch]

    def decided(self) -> list[tuple[int, int]]:
        """Message and status of every outcome."""
        return [(one.msg_id, one.status) for one in self.outcomes._outcomes]


@pytest.mark.parametrize("concurrency_max", [1, 2, 7, 40])
def test_a_fixed_concurrency_is_used_and_never_exceeded(
    simulate: Any, concurrency_max: int
) -> None:
    async def work() -> None:
        r = Rig(concurrency_max=concurrency_max)
        r.lane.add([job(n) for n in range(30)])
        r.lane.add([job(n) for n in range(30, 60)])
        await asyncio.sleep(100)
        assert r.most == concurrency_max
        assert r.begun == list(range(60))
        assert r.begun_s[-1] == pytest.approx(59 // concurrency_max)

    simulate(work())


def test_two_lanes_of_a_consumer_take_turns_within_its_limit(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        other = r.add_lane()
        r.destination.pace.limit = 4.0
        r.destination.pace._max = 4
        r.lane.add([job(n) for n in range(40)])
        other.add([job(n) for n in range(100, 140)])
        await asyncio.sleep(8.5)
        assert r.destination.pace.in_flight == 4
        assert min(sum(n < 100 for n in r.begun), sum(n >= 100 for n in r.begun)) >= 12

    simulate(work())


def test_it_says_when_it_has_nothing_left(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(concurrency_max=2)
        r.hungry = 0
        r.lane.add([job(n) for n in range(5)])
        assert not r.hungry
        assert not r.lane.wants_more()
        await asyncio.sleep(1.5)
        assert not r.hungry
        await asyncio.sleep(1)
        assert r.hungry, "the last one has begun: time to claim more"
        assert r.lane.wants_more()

    simulate(work())


def test_a_rate_spaces_tries_and_wakes_up_by_itself(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(rate_per_s=2.0, rate_burst=3, created_ms=START_MS)
        r.lane.add([job(n) for n in range(7)])
        await asyncio.sleep(60)
        assert r.begun_s == pytest.approx([0, 0, 0, 0.5, 1.0, 1.5, 2.0], abs=0.01)

    simulate(work())


def test_a_quiet_endpoint_is_left_alone_and_then_asked_gently(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(concurrency_max=5)
        r.destination.pace.keep_quiet(START_MS + 3000)
        r.lane.add([job(n) for n in range(5)])
        await asyncio.sleep(60)
        assert r.begun_s[0] == pytest.approx(3, abs=0.01)
        assert r.begun_s[1] >= 4, "one at first, although the limit is fixed"
        assert r.begun == list(range(5))

    simulate(work())


def test_nothing_begins_without_the_lease(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        r.valid = False
        r.lane.add([job(1)])
        await asyncio.sleep(1)
        assert not r.begun
        r.valid = True
        r.destination.pump()
        assert r.begun == [1]

    simulate(work())


def test_who_found_no_place_is_pumped_when_there_is_one(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(admission_max=2)
        r.lane.add([job(n) for n in range(4)])
        assert r.begun == [0]
        await asyncio.sleep(10)
        assert r.begun == [0, 1, 2, 3]

    simulate(work())


def test_what_expired_before_its_turn_is_dropped(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(concurrency_max=1)
        r.lane.add([job(1), job(2, expires_ms=START_MS + 500), job(3)])
        await asyncio.sleep(10)
        assert r.begun == [1, 3]
        assert sorted(r.decided()) == [(1, DELIVERED), (2, DROPPED), (3, DELIVERED)]

    simulate(work())


def test_closing_hands_back_what_was_not_begun_and_begins_nothing(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(concurrency_max=2)
        jobs = [job(n) for n in range(5)]
        r.lane.add(jobs)
        r.lane.close()
        assert [one.held.open for one in jobs if one.held] == [1, 1, 0, 0, 0]
        r.lane.add([late := job(9)])
        assert late.held is not None
        assert late.held.open == 0
        await asyncio.sleep(10)
        assert r.begun == [0, 1]
        assert sorted(r.decided()) == [(0, DELIVERED), (1, DELIVERED)]

    simulate(work())


def test_cancelling_cuts_off_what_is_under_way(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(concurrency_max=2)
        r.lane.add([job(n) for n in range(2)])
        r.lane.cancel()
        await asyncio.sleep(10)
        assert not r.lane.flights
        assert not r.decided()
        assert r.admission.in_flight == r.destination.pace.in_flight == 0

    simulate(work())


@pytest.mark.parametrize("put_back", [False, True])
def test_what_was_lost_is_begun_no_more(simulate: Any, put_back: bool) -> None:
    """Neither what waits nor a probe that failed: somebody else has them."""

    async def work() -> None:
        r = Rig(concurrency_max=1)
        jobs = [job(n) for n in range(3)]
        r.lane.add(jobs)
        r.lane.forget()
        if put_back:
            r.lane.put_back(jobs[:1])
        await asyncio.sleep(10)
        assert r.begun == [0]

    simulate(work())


@pytest.mark.parametrize(
    ("status", "dropped"),
    [(SubscriptionStatus.PAUSED, False), (SubscriptionStatus.DISCARDED, True), (None, True)],
)
def test_a_change_of_the_subscription_empties_the_lane(
    simulate: Any, status: SubscriptionStatus | None, dropped: bool
) -> None:
    async def work() -> None:
        r = Rig(concurrency_max=1)
        r.lane.add([job(n) for n in range(3)])
        if status:
            r.configure(r.lane, status=status)
        else:
            r.lane.configure(None, None)
            r.lane.pump()
        assert r.lane.waiting == 0
        assert r.decided() == ([(1, DROPPED), (2, DROPPED)] if dropped else [])
        assert r.lane.wants_more() is (status is not SubscriptionStatus.PAUSED)

    simulate(work())


def batch_of(size_max: int, wait_ms: int = 0, bytes_max: int = 1 << 20) -> Batch:
    return Batch(size_max=size_max, format=BatchFormat.JSON, wait_ms=wait_ms, bytes_max=bytes_max)


def test_a_batch_takes_up_to_its_size(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(batch=batch_of(3))
        r.lane.add([job(n) for n in range(7)])
        assert r.batches == [[0, 1, 2], [3, 4, 5], [6]]

    simulate(work())


def test_a_batch_that_is_not_full_waits_for_more(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(batch=batch_of(3, wait_ms=200))
        r.lane.add([job(0)])
        await asyncio.sleep(0.15)
        assert not r.batches
        r.lane.add([job(1)])
        await asyncio.sleep(0.1)
        assert r.batches == [[0, 1]]
        r.lane.add([job(2), job(3)])
        await asyncio.sleep(0.1)
        r.lane.add([job(4), job(5)])
        assert r.batches == [[0, 1], [2, 3, 4]]
        await asyncio.sleep(0.3)
        assert r.batches[2:] == [[5]]

    simulate(work())


def test_a_batch_that_found_no_place_does_not_wait_anew(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(admission_max=1, batch=batch_of(3, wait_ms=5000))
        other = r.add_lane()
        other.add([job(9)])
        r.lane.add([job(0)])
        r.clock.ahead_ms = 5000
        r.lane.pump()  # the place is taken
        await asyncio.sleep(1.1)
        assert r.batches == [[9], [0]]

    simulate(work())


def test_a_batch_keeps_to_its_bytes_but_one_goes_however_large_it_is(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(batch=batch_of(10, bytes_max=100))
        sizes = (40, 40, 40, 300, 10)
        r.lane.add([job(n, payload=b"x" * size) for n, size in enumerate(sizes)])
        assert r.batches == [[0, 1], [2], [3], [4]]

    simulate(work())


def test_a_batch_leaves_out_what_expired(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(batch=batch_of(3))
        r.lane.add([job(0), job(1, expires_ms=START_MS), job(2), job(3)])
        assert r.batches == [[0, 2, 3]]
        assert r.decided() == [(1, DROPPED)]

    simulate(work())
