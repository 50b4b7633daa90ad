"""A subscription's rate: never more than it allows, whoever sends."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.policy import Batch, BatchFormat, burst_of
from notify.sender.rate import Rate
from tests.services.rig import Rig
from tests.services.sender.test_sender import Running, until


def excess(times_ms: Sequence[int], per_s: float, burst: float) -> float:
    """By how much the busiest window exceeds rate * its length + burst."""
    worst = -burst
    for first, start_ms in enumerate(times_ms):
        for last in range(first, len(times_ms)):
            allowed = per_s * (times_ms[last] - start_ms) / 1000 + burst
            worst = max(worst, last - first + 1 - allowed)
    return worst


steps = st.lists(st.integers(0, 3000), max_size=60)


@given(st.floats(0.01, 2000), st.none() | st.integers(1, 20), st.booleans(), steps)
def test_no_window_has_more_than_rate_and_burst(
    per_s: float, burst: int | None, fresh: bool, waits: list[int]
) -> None:
    """Whoever asks, however often; and it is never said to wait longer than it takes."""
    rate, now_ms = Rate(per_s, burst_of(per_s, burst), 0, fresh), 0
    taken = []
    for wait_ms in waits:
        now_ms += wait_ms
        if not rate.wait_ms(now_ms):
            rate.take()
            taken.append(now_ms)
            continue
        asked_ms = rate.wait_ms(now_ms)
        assert rate.wait_ms(now_ms + asked_ms) <= 1
        now_ms += asked_ms
    allowed = burst or max(1, -int(-per_s // 1))
    assert excess(taken, per_s, allowed) < 1e-6
    if not fresh and taken:
        assert taken[0] * per_s / 1000 > 1 - 1e-6, "nothing was saved up"


def test_its_whole_rate_can_be_used() -> None:
    rate, now_ms, taken = Rate(7.0, 1, 0, fresh=True), 0, 0
    while now_ms < 100_000:
        if wait_ms := rate.wait_ms(now_ms):
            now_ms += wait_ms
        else:
            rate.take()
            taken += 1
    assert taken == pytest.approx(700, rel=0.01)


def test_a_clock_set_back_gives_nothing_and_takes_nothing() -> None:
    rate = Rate(1.0, 2, 1_000_000, fresh=True)
    rate.take(2)
    assert rate.wait_ms(1_000_000) == 1000
    assert rate.wait_ms(0) == 1000
    assert rate.wait_ms(500) == 500
    assert rate.wait_ms(1000) == 0


def test_a_batch_owes_what_it_took_too_much() -> None:
    rate = Rate(10.0, 5, 0, fresh=True)
    rate.take(25)
    assert rate.wait_ms(0) == 2100
    assert rate.wait_ms(2100) == 0


def begun_ms(r: Rig) -> list[int]:
    return [round(request.at_s * 1000) for request in r.consumers.requests]


def test_a_rate_holds_through_a_rebalance_and_a_kill(simulate: Any) -> None:
    """Who takes over begins with nothing saved up: the one before may have just used it."""

    async def work() -> None:
        r = Rig(**{"queue.depth_max": 1000, "sender.concurrency_max": 50})
        await r.open(0)
        for _ in range(4):
            await r.subscribe(rate_per_s=10.0, rate_burst=5)
        await r.queued(150)
        async with Running(r, r.sender("one")):
            await asyncio.sleep(3)
            other = Running(r, r.sender("two"))
            async with other:
                await asyncio.sleep(3)
                killed = Running(r, r.sender("three"))
                await killed.__aenter__()
                await asyncio.sleep(2)
                await killed.kill()
                await asyncio.sleep(8)
        for sub_id in (1, 2, 3, 4):
            times = [round(q.at_s * 1000) for q in r.consumers.requests if q.sub_id == sub_id]
            assert len(times) > 50
            assert excess(times, 10.0, 5) <= 0.1  # the alarm's millisecond
        assert other.sender.attempts_made > 20

    simulate(work())


def test_a_new_subscription_may_begin_with_its_burst(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(**{"sender.concurrency_max": 50})
        await r.open(0)
        async with Running(r):
            await asyncio.sleep(1)
            before = r.clock.now_ms()
            await r.subscribe(rate_per_s=1.0, rate_burst=4, created_ms=before)
            await asyncio.sleep(1)
            await r.queued(6)
            await until(lambda: _made(r, 6))
        times = [at - begun_ms(r)[0] for at in begun_ms(r)]
        assert times == pytest.approx([0, 0, 0, 0, 1000, 2000], abs=15)

    simulate(work())


async def _made(r: Rig, n: int) -> bool:
    return len(r.consumers.requests) == n


def test_a_batch_counts_its_deliveries(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(**{"queue.depth_max": 100, "queue.chunk_rows_max": 100})
        await r.open(0)
        await r.subscribe(rate_per_s=10.0, batch=Batch(size_max=5, format=BatchFormat.JSON))
        await r.queued(50)
        async with Running(r):
            await until(lambda: _made(r, 10))
        # Two of what was saved up, the third with the next token; then each debt is paid first.
        assert begun_ms(r)[-1] == pytest.approx(100 + 7 * 500, abs=60)

    simulate(work())
