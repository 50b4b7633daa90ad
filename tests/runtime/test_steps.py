"""Services go on through errors and bugs, and stop when they are told to."""

import asyncio
import logging
from itertools import pairwise
from typing import Any

import pytest

from notify.domain.errors import QueueLost, StorageUnavailable
from notify.runtime.steps import Stopping, run_every, run_steps
from tests.simulation.loop import SimulatedClock


class Middle:
    """Randomness that makes a pause as long as it is announced."""

    def random(self) -> float:
        return 0.5

    def token_bytes(self, n: int) -> bytes:
        return bytes(n)


def elapsed() -> float:
    return round(asyncio.get_running_loop().time(), 3)


class Script:
    """A step that does one thing after the other and then stops its service."""

    def __init__(self, *acts: Exception | None) -> None:
        self.stopping = Stopping(SimulatedClock())
        self.acts = list(acts)
        self.times: list[float] = []

    async def step(self) -> None:
        self.times.append(elapsed())
        act = self.acts.pop(0)
        if not self.acts:
            self.stopping.set()
        if act is not None:
            raise act

    async def run(self) -> list[float]:
        await run_steps("test", self.step, self.stopping, Middle())
        return self.times


OUTAGE = StorageUnavailable("away")


def test_pauses_double_up_to_their_maximum_and_start_anew_after_a_success(simulate: Any) -> None:
    async def work() -> None:
        times = await Script(*[OUTAGE] * 8, None, OUTAGE, None).run()
        pauses = [round(after - before, 3) for before, after in pairwise(times)]
        assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 0.0, 0.1]

    simulate(work())


def test_a_long_outage_does_not_overflow_the_pause(simulate: Any) -> None:
    async def work() -> None:
        times = await Script(*[OUTAGE] * 2000).run()
        assert times[-1] - times[-2] == pytest.approx(5.0)

    simulate(work())


def test_an_outage_is_a_warning_and_a_bug_has_its_traceback(
    simulate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        await Script(OUTAGE, ZeroDivisionError("oops"), None).run()

    simulate(work())
    outage, bug = caplog.records
    assert (outage.levelno, outage.exc_info) == (logging.WARNING, None)
    assert outage.getMessage() == "test: away; trying until it works"
    assert bug.levelno == logging.ERROR
    assert bug.exc_info
    assert bug.exc_info[0] is ZeroDivisionError


def test_the_same_error_is_told_once_and_its_end(
    simulate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        bug = ZeroDivisionError("oops")
        await Script(*[OUTAGE] * 50, *[bug] * 50, OUTAGE, None, OUTAGE, None).run()

    with caplog.at_level(logging.INFO):
        simulate(work())
    told = [
        record.getMessage().removesuffix("; trying until it works") for record in caplog.records
    ]
    assert told == [
        "test: away",
        "test: a bug",
        "test: away",
        "test: goes on",
        "test: away",
        "test: goes on",
    ]


def test_a_lost_queue_is_waited_for_silently_and_without_growing_pauses(
    simulate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        times = await Script(*[QueueLost("gone")] * 4, None).run()
        assert times == [0.0, 0.1, 0.2, 0.3, 0.4]

    simulate(work())
    assert not caplog.records


def test_stopping_ends_a_pause_at_once(simulate: Any) -> None:
    async def work() -> None:
        stopping = Stopping(SimulatedClock())

        async def step() -> None:
            raise OUTAGE

        running = asyncio.create_task(run_steps("test", step, stopping, Middle()))
        await asyncio.sleep(3.5)  # within a pause of 3.2 s
        stopping.set()
        await running
        assert elapsed() == 3.5

    simulate(work())


def test_cancelling_is_not_taken_for_an_error(simulate: Any) -> None:
    async def work() -> None:
        running = asyncio.create_task(
            run_steps("test", lambda: asyncio.sleep(100), Stopping(SimulatedClock()), Middle())
        )
        await asyncio.sleep(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    simulate(work())


def test_every_repeats_with_a_pause_between(simulate: Any) -> None:
    async def work() -> None:
        stopping = Stopping(SimulatedClock())
        times: list[float] = []

        async def step() -> None:
            times.append(elapsed())
            await asyncio.sleep(0.5)
            if len(times) == 3:
                stopping.set()

        await run_every("test", step, 2000, stopping, Middle())
        assert times == [0.0, 2.5, 5.0]
        assert elapsed() == 5.5

    simulate(work())


class Sleeper:
    """Something that waits; tells how it ended."""

    def __init__(self, seconds: float, error: Exception | None = None) -> None:
        self.ended = ""
        self._seconds = seconds
        self._error = error

    async def wait(self) -> None:
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise
        self.ended = "by itself"
        if self._error:
            raise self._error


def test_a_wait_is_cut_short_by_stopping(simulate: Any) -> None:
    async def work() -> None:
        stopping, sleeper = Stopping(SimulatedClock()), Sleeper(10)
        asyncio.get_running_loop().call_later(1, stopping.set)
        await stopping.cut_short(sleeper.wait())
        await asyncio.sleep(0)
        assert (elapsed(), sleeper.ended) == (1, "cancelled")
        assert stopping
        await stopping.wait()

    simulate(work())


def test_a_wait_that_ends_by_itself_passes_on_its_error(simulate: Any) -> None:
    async def work() -> None:
        stopping = Stopping(SimulatedClock())
        await stopping.cut_short(Sleeper(1).wait())
        with pytest.raises(StorageUnavailable):
            await stopping.cut_short(Sleeper(1, OUTAGE).wait())
        assert elapsed() == 2
        assert not stopping

    simulate(work())


def test_cancelling_a_wait_cancels_what_it_waits_for(simulate: Any) -> None:
    async def work() -> None:
        sleeper = Sleeper(10)
        waiting = asyncio.create_task(Stopping(SimulatedClock()).cut_short(sleeper.wait()))
        await asyncio.sleep(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0)
        assert sleeper.ended == "cancelled"
        assert len(asyncio.all_tasks()) == 1

    simulate(work())
