"""What is fetched: once for all who wait, again in time, and never in a storm."""

import asyncio
from typing import Any

import pytest

from notify.domain.errors import TransportError
from notify.sender.fetched import FAILURE_PAUSE_MS, Fetched, Lease
from tests.simulation.loop import SimulatedClock

LIFE_MS = 100_000
RENEW_MS = 80_000
ASKING_S = 0.5


class Source:
    """Gives numbers, each for LIFE_MS; or the failure that is set."""

    def __init__(self) -> None:
        self.given = 0
        self.failure: TransportError | None = None

    async def fetch(self, _: Any, now_ms: int) -> Lease[int]:
        self.given += 1
        number = self.given
        await asyncio.sleep(ASKING_S)
        if self.failure:
            raise self.failure
        return Lease(number, now_ms, now_ms + RENEW_MS, now_ms + LIFE_MS)


class Case:
    def __init__(self) -> None:
        self.clock = SimulatedClock()
        self.source = Source()
        self.fetched = Fetched(self.source.fetch)

    async def get(self) -> int:
        return await self.fetched.get(None, self.clock)  # type: ignore[arg-type]

    def is_due(self) -> bool:
        return self.fetched.is_due(self.clock.now_ms())


def test_all_who_wait_share_one_answer_and_it_is_kept(simulate: Any) -> None:
    async def work() -> None:
        case = Case()
        assert case.is_due()
        assert await asyncio.gather(*(case.get() for _ in range(50))) == [1] * 50
        assert not case.is_due()
        await asyncio.sleep((RENEW_MS - 1) / 1000 - ASKING_S)
        assert await case.get() == 1
        assert case.source.given == 1

    simulate(work())


def test_it_is_renewed_before_its_end(simulate: Any) -> None:
    async def work() -> None:
        case = Case()
        await case.get()
        await asyncio.sleep(RENEW_MS / 1000)
        assert case.is_due()
        assert await case.get() == 2

    simulate(work())


def test_what_cannot_be_renewed_is_used_until_its_end(simulate: Any) -> None:
    async def work() -> None:
        case = Case()
        await case.get()
        case.source.failure = TransportError("timeout", "no answer")
        await asyncio.sleep(RENEW_MS / 1000)
        assert await case.get() == 1
        assert not case.is_due()  # nobody is asked again just now
        await asyncio.sleep(LIFE_MS / 1000)
        with pytest.raises(TransportError, match="timeout: no answer") as caught:
            await case.get()
        assert caught.value.stage == "auth"

    simulate(work())


def test_a_failure_reaches_all_who_wait_and_is_not_asked_for_again_at_once(simulate: Any) -> None:
    async def work() -> None:
        case = Case()
        case.source.failure = TransportError("auth", "wrong secret")
        for _ in range(3):
            found = await asyncio.gather(*(case.get() for _ in range(9)), return_exceptions=True)
            assert {str(error) for error in found} == {"wrong secret"}
        assert case.source.given == 1
        assert case.is_due()
        await asyncio.sleep(FAILURE_PAUSE_MS / 1000)
        case.source.failure = None
        assert await case.get() == 2

    simulate(work())


def test_who_gives_up_waiting_takes_nothing_from_the_others(simulate: Any) -> None:
    async def work() -> None:
        case = Case()
        first, second = asyncio.create_task(case.get()), asyncio.create_task(case.get())
        await asyncio.sleep(ASKING_S / 2)
        first.cancel()
        assert await second == 1
        assert first.cancelled()

    simulate(work())


def test_a_refused_value_is_forgotten_once(simulate: Any) -> None:
    """Answers of requests that carried the one before it still come in for a while."""

    async def work() -> None:
        case = Case()
        await case.get()
        case.fetched.forget(case.clock.now_ms(), 10_000)
        assert await case.get() == 1
        await asyncio.sleep(10)
        for _ in range(5):
            case.fetched.forget(case.clock.now_ms(), 10_000)
            assert await case.get() == 2

    simulate(work())
