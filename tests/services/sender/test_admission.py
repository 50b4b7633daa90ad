"""Tries in flight: bounded, shared, and no wake-up lost."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.sender.admission import Admission
from tests.simulation.loop import SimulatedLoop


def test_one_subscription_alone_gets_half_and_leaves_half_free(simulate: Any) -> None:
    async def work() -> None:
        admission = Admission(8)
        hanging = [asyncio.create_task(admission.enter(1)) for _ in range(20)]
        await asyncio.sleep(1)
        assert sum(task.done() for task in hanging) == admission.in_flight == 4

    simulate(work())


def test_subscriptions_that_hang_cannot_shut_out_another(simulate: Any) -> None:
    """Every subscription but one hangs; their tries time out after 10 s and are made again."""

    async def work() -> None:
        admission = Admission(16)

        async def hang(sub_id: int) -> None:
            while True:
                await admission.enter(sub_id)
                try:
                    await asyncio.sleep(10)
                finally:
                    admission.leave(sub_id)

        hanging = [asyncio.create_task(hang(sub)) for sub in range(10) for _ in range(16)]
        await asyncio.sleep(30)
        assert admission.in_flight <= 16
        async with asyncio.timeout(0):
            for _ in range(100):
                await admission.enter(99)
                admission.leave(99)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        assert admission.in_flight == 0

    simulate(work())


def test_subscriptions_that_want_everything_get_equal_shares(simulate: Any) -> None:
    async def work() -> None:
        admission = Admission(40)
        running: Counter[int] = Counter()

        async def want(sub_id: int) -> None:
            while True:
                await admission.enter(sub_id)
                running[sub_id] += 1
                await asyncio.sleep(1)
                running[sub_id] -= 1
                admission.leave(sub_id)

        tasks = [asyncio.create_task(want(sub)) for sub in range(3) for _ in range(40)]
        await asyncio.sleep(100.5)
        assert running == {0: 10, 1: 10, 2: 10}
        for task in tasks:
            task.cancel()

    simulate(work())


def test_a_place_given_to_somebody_cancelled_is_given_on(simulate: Any) -> None:
    async def work() -> None:
        admission = Admission(1)
        await admission.enter(1)
        second, third = (asyncio.create_task(admission.enter(sub)) for sub in (2, 3))
        await asyncio.sleep(0)
        admission.leave(1)  # the second has its place now, but did not run yet
        second.cancel()
        await third
        with pytest.raises(asyncio.CancelledError):
            await second
        assert admission.in_flight == 1

    simulate(work())


def test_who_was_cancelled_while_waiting_takes_no_place(simulate: Any) -> None:
    async def work() -> None:
        admission = Admission(1)
        await admission.enter(1)
        second, third = (asyncio.create_task(admission.enter(2)) for _ in range(2))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        admission.leave(1)
        await third
        admission.leave(2)
        assert admission.in_flight == 0
        async with asyncio.timeout(0):
            await admission.enter(1)

    simulate(work())


acts = st.tuples(st.sampled_from(["enter", "leave", "cancel"]), st.integers(0, 3))


@given(st.integers(1, 6), st.lists(acts, max_size=60))
def test_bounds_hold_and_nobody_waits_who_could_go(
    in_flight_max: int, script: list[tuple[str, int]]
) -> None:
    async def work() -> None:
        admission = Admission(in_flight_max)
        waiting: list[tuple[int, asyncio.Task[None]]] = []
        inside: Counter[int] = Counter()

        async def settle() -> None:
            for _ in range(6):
                await asyncio.sleep(0)
            for sub, task in list(waiting):
                if task.done():
                    waiting.remove((sub, task))
                    if not task.cancelled():
                        inside[sub] += 1

        for act, sub in script:
            if act == "enter":
                waiting.append((sub, asyncio.create_task(admission.enter(sub))))
            elif act == "leave" and inside[sub]:
                inside[sub] -= 1
                admission.leave(sub)
            elif act == "cancel" and waiting:
                waiting[sub % len(waiting)][1].cancel()
            await settle()
            assert inside.total() == admission.in_flight <= in_flight_max
            free = in_flight_max - admission.in_flight
            assert all(inside[sub] >= free for sub, _ in waiting)
        while waiting:
            sub = next(sub for sub in inside if inside[sub])
            inside[sub] -= 1
            admission.leave(sub)
            await settle()

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(work())
