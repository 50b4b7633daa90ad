"""The limit follows what an endpoint can take; the breaker opens for outages, and only for them."""

import heapq
from typing import Any

import pytest

from notify.config import load
from notify.sender.pace import LIMIT_FIRST, PROBE_FIRST_MS, ROUND_MIN, Answered, Pace
from tests.simulation.loop import START_MS, SeededRandom

WELL, OVERLOADED, STRAINED, FAILED = Answered


def pace(**flags: Any) -> Pace:
    config = load(environ={}, flags={f"sender.{name}": value for name, value in flags.items()})
    return Pace(config.sender, SeededRandom(3))


def rounds(one: Pace, latency_ms: int, answers: int, now_ms: int = START_MS) -> int:
    """So many good answers, as many at a time as the limit allows; the time after them."""
    while answers > 0:
        count = min(answers, int(one.limit))
        for _ in range(count):
            one.began()
        for number in range(count):
            one.ended(WELL, number, now_ms, now_ms + latency_ms)
        answers -= count
        now_ms += latency_ms
    return now_ms


def fail(one: Pace, delivery: int, now_ms: int, how: Answered = FAILED) -> bool:
    one.began()
    return one.ended(how, delivery, now_ms, now_ms)


def opened(one: Pace, now_ms: int = START_MS) -> None:
    while not one.is_open:
        fail(one, len(one._failing), now_ms)


def test_the_limit_grows_while_latency_is_flat_up_to_the_bound() -> None:
    one = pace(concurrency_max=100)
    assert one.limit == LIMIT_FIRST
    rounds(one, 20, 16)
    assert one.limit == 32
    rounds(one, 20, 2000)
    assert one.limit == 100


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    one = pace()
    for number in range(1000):
        one.began()
        one.ended(WELL, number, START_MS, START_MS + 5)
    assert one.limit == LIMIT_FIRST


def test_the_limit_shrinks_when_answers_come_late_and_grows_again() -> None:
    one = pace()
    now_ms = rounds(one, 20, 2000)
    high = one.limit
    now_ms = rounds(one, 200, 300, now_ms)
    assert one.limit < high / 2
    low = one.limit
    rounds(one, 20, 2000, now_ms)
    assert one.limit > 2 * low


def test_a_lasting_change_becomes_the_usual_time() -> None:
    """The endpoint moved further away: that is no strain."""
    one = pace()
    now_ms = rounds(one, 20, 2000)
    rounds(one, 200, 20_000, now_ms)
    assert one.limit > 100


@pytest.mark.parametrize("how", [OVERLOADED, STRAINED])
def test_strain_halves_the_limit_once_a_round(how: Answered) -> None:
    one = pace(breaker_failures=1000)
    now_ms = rounds(one, 20, 100)
    before = one.limit
    for _ in range(8):
        one.began()
    for number in range(8):  # all of them were under way before the first was refused
        one.ended(how, number, now_ms, now_ms + 20)
    assert one.limit == before / 2
    one.began()
    one.ended(how, 9, now_ms + 21, now_ms + 40)
    assert one.limit == before / 4
    rounds(one, 20, 4000, now_ms + 40)
    assert one.limit > before


def test_the_limit_never_falls_below_one() -> None:
    one = pace(breaker_failures=1000)
    for number in range(50):
        one.began()
        one.ended(STRAINED, number, START_MS + number, START_MS + number)
    assert one.limit == 1
    assert one.room(START_MS)


def test_other_failures_do_not_touch_the_limit() -> None:
    one = pace()
    for number in range(5):
        fail(one, number, START_MS)
    assert one.limit == LIMIT_FIRST


@pytest.mark.parametrize("how", [STRAINED, FAILED])
def test_so_many_different_deliveries_open_the_breaker(how: Answered) -> None:
    one = pace(breaker_failures=5)
    assert [fail(one, number, START_MS, how) for number in range(5)] == [False] * 4 + [True]
    assert one.is_open


def test_one_poison_delivery_never_opens_it() -> None:
    one = pace(breaker_failures=5)
    assert not any(fail(one, 7, START_MS + n) for n in range(500))
    assert not one.is_open


@pytest.mark.parametrize("alive", [WELL, OVERLOADED])
def test_an_answer_of_a_live_endpoint_begins_the_count_anew(alive: Answered) -> None:
    one = pace(breaker_failures=5)
    for number in range(100):
        fail(one, number, START_MS)
        if number % 4 == 3:
            fail(one, 1000 + number, START_MS, alive)
    assert not one.is_open


def test_probes_come_one_at_a_time_after_doubling_bounded_pauses() -> None:
    one = pace(probe_ms_max=20_000)
    opened(one)
    now_ms, pauses = START_MS, []
    for number in range(8):
        assert not one.room(now_ms)
        at_ms = one.next_ms(now_ms)
        assert not one.room(at_ms - 1)
        assert one.room(at_ms)
        assert one.room(at_ms, fixed=True)
        one.began()
        assert not one.room(at_ms + 60_000, fixed=True), "one at a time"
        assert one.next_ms(at_ms) == 0, "it is the end of the probe that is waited for"
        one.ended(FAILED, number, at_ms, at_ms + 100)
        pauses.append(at_ms - now_ms)
        now_ms = at_ms + 100
    expected = [min(PROBE_FIRST_MS * 2**n, 20_000) for n in range(8)]
    for pause, usual in zip(pauses, expected, strict=True):
        assert 0.75 * usual <= pause <= 1.25 * usual
    assert len({pause / usual for pause, usual in zip(pauses, expected, strict=True)}) == 8


def test_what_was_under_way_when_it_opened_does_not_lengthen_the_pause() -> None:
    one = pace(breaker_failures=5)
    for _ in range(16):
        one.began()
    for number in range(16):
        one.ended(STRAINED, number, START_MS, START_MS + 1000)
    assert one.next_ms(START_MS + 1000) <= START_MS + 1000 + 1.25 * PROBE_FIRST_MS


def test_a_probe_that_says_nothing_leaves_everything_as_it_is() -> None:
    one = pace()
    opened(one)
    at_ms = one.next_ms(START_MS)
    one.began()
    one.given_up()
    assert one.room(at_ms)


@pytest.mark.parametrize("how", [WELL, OVERLOADED])
def test_an_answer_closes_it_and_it_begins_gently(how: Answered) -> None:
    one = pace()
    rounds(one, 20, 1000)
    opened(one)
    at_ms = one.next_ms(START_MS)
    one.began()
    assert one.ended(how, 1, at_ms, at_ms + 20)
    assert not one.is_open
    one.began()
    assert not one.room(at_ms + 20, fixed=True), "one at a time at first, a fixed limit too"
    one.ended(WELL, 2, at_ms + 20, at_ms + 40)
    now_ms = rounds(one, 20, 4 * LIMIT_FIRST, at_ms + 40)
    assert one.limit >= LIMIT_FIRST
    for _ in range(200):
        one.began()
    assert one.room(now_ms, fixed=True)


def test_after_it_was_open_it_takes_as_many_failures_as_before() -> None:
    one = pace(breaker_failures=5)
    opened(one)
    fail(one, 1, one.next_ms(START_MS), WELL)
    assert [fail(one, number, START_MS) for number in range(5)] == [False] * 4 + [True]


def test_quiet_holds_for_probes_and_fixed_limits_too() -> None:
    one = pace()
    one.keep_quiet(START_MS + 60_000)
    one.keep_quiet(START_MS + 10_000)
    opened(one)
    assert not one.room(START_MS + 59_999, fixed=True)
    assert one.next_ms(START_MS) == START_MS + 60_000
    assert one.room(START_MS + 60_000)


class TestClockSetBack:
    """By an hour: nothing that was to last seconds may last that long."""

    BACK_MS = START_MS - 3_600_000

    def test_probes_go_on(self) -> None:
        one = pace()
        opened(one)
        assert not one.room(self.BACK_MS)
        assert one.next_ms(self.BACK_MS) <= self.BACK_MS + 1.25 * 30_000
        at_ms = one.next_ms(self.BACK_MS)
        assert one.room(at_ms)
        one.began()
        one.ended(FAILED, 1, at_ms, at_ms)
        assert at_ms < one.next_ms(at_ms) <= at_ms + 1.25 * 30_000

    def test_strain_still_halves(self) -> None:
        one = pace(breaker_failures=1000)
        one.began()
        one.ended(STRAINED, 1, START_MS, START_MS)
        before = one.limit
        assert one.room(self.BACK_MS)
        one.began()
        one.ended(STRAINED, 2, self.BACK_MS, self.BACK_MS + 5)
        assert one.limit == before / 2

    def test_quiet_ends(self) -> None:
        one = pace(retry_after_ms_max=60_000)
        one.keep_quiet(START_MS + 60_000)
        assert not one.room(START_MS)
        assert not one.room(self.BACK_MS)
        assert one.next_ms(self.BACK_MS) <= self.BACK_MS + 60_000
        assert one.room(self.BACK_MS + 60_000)


class Endpoint:
    """Works on `capacity` requests at a time for work_ms each; more wait in its line."""

    def __init__(self, capacity: int, work_ms: int) -> None:
        self.work_ms = work_ms
        self.free_at = [float(START_MS)] * capacity

    def resize(self, capacity: int, now_ms: float) -> None:
        kept = sorted(self.free_at)[-capacity:] if capacity < len(self.free_at) else self.free_at
        self.free_at = kept + [now_ms] * (capacity - len(kept))
        heapq.heapify(self.free_at)

    def take(self, now_ms: float) -> float:
        done = max(now_ms, heapq.heappop(self.free_at)) + self.work_ms
        heapq.heappush(self.free_at, done)
        return done


class Play:
    """A Pace before an endpoint, always something to send; time-outs after 5 s."""

    TIMEOUT_MS = 5000

    def __init__(self, endpoint: Endpoint) -> None:
        self.pace = pace(breaker_failures=1000)
        self.endpoint = endpoint
        self.now_ms = float(START_MS)
        self.under_way: list[tuple[float, int, float]] = []
        self.number = 0

    def run(self, seconds: float) -> tuple[float, float]:
        """Answers a second, and the mean number under way."""
        until_ms, answers, weighed = self.now_ms + 1000 * seconds, 0, 0.0
        while self.now_ms < until_ms:
            while self.pace.room(round(self.now_ms)):
                self.pace.began()
                self.number += 1
                ended = self.endpoint.take(self.now_ms)
                heapq.heappush(self.under_way, (ended, self.number, self.now_ms))
            ended, number, begun = heapq.heappop(self.under_way)
            ended = max(ended, self.now_ms)
            weighed += self.pace.in_flight * (ended - self.now_ms)
            self.now_ms = ended
            in_time = ended - begun < self.TIMEOUT_MS
            how = WELL if in_time else STRAINED
            answers += in_time
            self.pace.ended(how, number, round(begun), round(ended))
        return answers / seconds, weighed / 1000 / seconds


@pytest.mark.parametrize(("capacity", "work_ms"), [(1, 100), (4, 50), (20, 100), (100, 200)])
def test_it_comes_near_the_capacity_of_an_endpoint(capacity: int, work_ms: int) -> None:
    play = Play(Endpoint(capacity, work_ms))
    play.run(30)
    per_s, under_way = play.run(60)
    best = capacity * 1000 / work_ms
    assert per_s >= 0.9 * best
    # Bounded: no more than some two times of answering wait in the endpoint's own line.
    assert under_way <= 3.5 * capacity + ROUND_MIN


def test_it_follows_an_endpoint_that_changes() -> None:
    play = Play(Endpoint(40, 100))
    play.run(30)
    play.endpoint.resize(5, play.now_ms)
    play.run(30)
    per_s, _ = play.run(30)
    assert per_s >= 0.9 * 50
    play.endpoint.resize(40, play.now_ms)
    play.run(60)
    per_s, _ = play.run(30)
    assert per_s >= 0.9 * 400
