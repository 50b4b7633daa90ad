"""Tries in flight: bounded, shared, and no wake-up lost."""

import asyncio
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from notify.sender.admission import Admission


class Guest:
    """A lane that wants so many tries; each lasts as long as the test says."""

    def __init__(self, admission: Admission, wanted: int = 0, lasts_s: float = 0.0) -> None:
        self.admission = admission
        self.wanted = wanted
        self.lasts_s = lasts_s
        self.places = 0
        self.made = 0

    def pump(self) -> None:
        while self.wanted and self.admission.enter(self):
            self.wanted -= 1
            self.made += 1
            if self.lasts_s:
                asyncio.get_running_loop().call_later(self.lasts_s, self.end)

    def end(self) -> None:
        self.admission.leave(self)
        self.pump()

    def want(self, count: int = 1) -> None:
        self.wanted += count
        self.pump()


def test_one_lane_alone_gets_half_and_leaves_half_free() -> None:
    admission = Admission(8)
    hanging = Guest(admission)
    hanging.want(20)
    assert hanging.places == admission.in_flight == 4


def test_the_last_place_goes_to_who_has_none() -> None:
    admission = Admission(2)
    greedy, late = Guest(admission), Guest(admission)
    greedy.want(9)
    assert greedy.places == 1
    late.want()
    assert late.places == 1


def test_lanes_that_hang_cannot_shut_out_another(simulate: Any) -> None:
    """Every lane but one hangs; their tries time out after 10 s and are made again."""

    async def work() -> None:
        admission = Admission(16)
        hanging = [Guest(admission, 10_000, 10.0) for _ in range(10)]
        for guest in hanging:
            guest.pump()
            await asyncio.sleep(1)
        healthy = Guest(admission, 10_000, 0.01)
        healthy.pump()
        await asyncio.sleep(100)
        assert admission.in_flight <= 16
        assert all(guest.made >= 10 for guest in hanging)
        assert healthy.made >= 9_000, "it hardly ever waited"

    simulate(work())


def test_lanes_that_want_everything_get_equal_shares(simulate: Any) -> None:
    async def work() -> None:
        admission = Admission(40)
        guests = [Guest(admission, 10_000, 1.0) for _ in range(3)]
        for guest in guests:
            guest.pump()
        await asyncio.sleep(100.5)
        assert [guest.places for guest in guests] == [10, 10, 10]

    simulate(work())


def test_who_forgot_takes_no_place() -> None:
    admission = Admission(1)
    first, second, third = (Guest(admission) for _ in range(3))
    for guest in (first, second, third):
        guest.want()
    admission.forget(second)
    second.wanted = 0
    first.end()
    assert (first.places, second.places, third.places) == (0, 0, 1)
    third.end()
    assert admission.in_flight == 0


def test_a_place_that_is_not_taken_is_given_on() -> None:
    admission = Admission(1)
    first, second, third = (Guest(admission) for _ in range(3))
    for guest in (first, second, third):
        guest.want()
    second.wanted = 0  # paused meanwhile
    first.end()
    assert third.places == 1


acts = st.tuples(st.sampled_from(["want", "end", "forget"]), st.integers(0, 3))


@given(st.integers(1, 6), st.lists(acts, max_size=60))
def test_bounds_hold_and_nobody_waits_who_could_go(
    in_flight_max: int, script: list[tuple[str, int]]
) -> None:
    admission = Admission(in_flight_max)
    guests = [Guest(admission) for _ in range(4)]
    wanted: Counter[int] = Counter()

    def check() -> None:
        inside = sum(guest.places for guest in guests)
        assert inside == admission.in_flight <= in_flight_max
        free = in_flight_max - inside
        assert all(guest.places >= free for guest in guests if guest.wanted)

    for act, number in script:
        guest = guests[number]
        if act == "want":
            guest.want()
            wanted[number] += 1
        elif act == "end" and guest.places:
            guest.end()
        elif act == "forget":
            admission.forget(guest)
            wanted[number] -= guest.wanted
            guest.wanted = 0
        check()
    while admission.in_flight:
        next(guest for guest in guests if guest.places).end()
        check()
    assert [guest.made for guest in guests] == [wanted[number] for number in range(4)]
