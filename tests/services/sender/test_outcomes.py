"""Chunks are let go only when every delivery is decided, and together with what follows."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from notify.config import load
from notify.domain.errors import QueueLost, QueueUnavailable
from notify.domain.ports import Claim, Push, Stream, StreamKind
from notify.queue.memory import MemoryQueue
from notify.runtime.streams import MARK
from notify.sender.outcomes import Held, Outcomes
from notify_core import chunk
from notify_core.records import (
    DELIVERED,
    PENDING,
    QUEUED,
    DeliveryRecord,
    MessageRecord,
    OutcomeRecord,
)
from tests.simulation.loop import START_MS, SimulatedClock

STREAM = Stream(StreamKind.SUBSCRIPTION, 1)


def delivery(number: int, attempts: int = 0) -> DeliveryRecord:
    message = MessageRecord(number, 1, "a", "", b"", "", 0, 0, b"{}")
    return DeliveryRecord(attempts, message)


def outcome(number: int, status: int = DELIVERED, due_ms: int = 0) -> OutcomeRecord:
    return OutcomeRecord(number, 1, status, 3, START_MS, due_ms, 5, 200, 0, "", b"")


class FailingQueue(MemoryQueue):
    """A queue whose acknowledgement fails, before or after it was carried out."""

    fail = ""

    async def ack(self, claims: Sequence[Claim], pushes: Sequence[Push] = ()) -> None:
        if self.fail == "before":
            raise QueueUnavailable("away")
        if self.fail == "late":
            await asyncio.sleep(1)
        await super().ack(claims, pushes)
        if self.fail == "after":
            raise QueueUnavailable("the answer is lost")


class Rig:
    """A claimed chunk of so many deliveries."""

    def __init__(self) -> None:
        self.queue = FailingQueue(SimulatedClock())
        flags = {"sender.outcome_rows_max": 3, "sender.outcome_wait_ms": 50}
        self.outcomes = Outcomes(self.queue, load(environ={}, flags=flags).sender)

    async def held(self, *numbers: int) -> Held:
        packed = chunk.pack_deliveries(1, [delivery(number) for number in numbers])
        await self.queue.push([Push(STREAM, packed, len(numbers))])
        [claim] = await self.queue.claim([STREAM], "w", 1)
        return Held(claim, len(numbers))

    async def depths(self) -> tuple[int, int]:
        """What the subscription's queue and the mark stream hold."""
        one, other = await self.queue.gauges([STREAM, MARK])
        return one.depth, other.depth

    async def marks(self) -> list[list[int]]:
        claims = await self.queue.claim([MARK], "marker", 100)
        return [[o.msg_id for o in chunk.unpack_outcomes(claim.chunk)] for claim in claims]


async def rig() -> Rig:
    made = Rig()
    await made.queue.begin_epoch("1")
    return made


def test_a_chunk_is_let_go_with_the_last_of_its_deliveries(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        held = await r.held(1, 2)
        r.outcomes.decide(held, delivery(1), outcome(1))
        assert await r.outcomes.flush() == []
        assert await r.depths() == (2, 1)
        r.outcomes.decide(held, delivery(2), outcome(2))
        assert await r.outcomes.flush() == [held.claim]
        assert await r.depths() == (0, 2)
        assert await r.outcomes.flush() == []
        assert await r.marks() == [[1], [2]]

    simulate(work())


def test_a_retry_goes_back_to_its_queue_with_the_attempts_made(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        held = await r.held(1, 2)
        r.outcomes.decide(held, delivery(1), outcome(1, QUEUED, START_MS + 900))
        r.outcomes.decide(held, delivery(2), outcome(2, PENDING, START_MS + 900_000))
        await r.outcomes.flush()
        assert await r.depths() == (1, 2)  # what waits far away waits in the database
        assert await r.queue.promote([STREAM], START_MS) == START_MS + 900
        await r.queue.promote([STREAM], START_MS + 900)
        [again] = await r.queue.claim([STREAM], "w", 9)
        assert chunk.unpack_deliveries(again.chunk) == (1, [delivery(1, attempts=3)])

    simulate(work())


def test_what_is_handed_back_leaves_no_outcome(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        held = await r.held(1, 2, 3)
        r.outcomes.skip(held, 1)
        r.outcomes.hand_back(held, 1, [delivery(2), delivery(3, attempts=1)], 0)
        assert await r.outcomes.flush() == [held.claim]
        assert await r.depths() == (2, 0)
        [again] = await r.queue.claim([STREAM], "w", 9)
        assert chunk.unpack_deliveries(again.chunk)[1] == [delivery(2), delivery(3, attempts=1)]

    simulate(work())


def test_a_chunk_without_deliveries_is_let_go(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        held = await r.held()
        r.outcomes.skip(held, 0)
        assert await r.outcomes.flush() == [held.claim]

    simulate(work())


@pytest.mark.parametrize("fail", ["before", "after"])
def test_a_failed_flush_keeps_everything(simulate: Any, fail: str) -> None:
    async def work() -> None:
        r = await rig()
        held = await r.held(1)
        r.outcomes.decide(held, delivery(1), outcome(1, QUEUED, START_MS))
        r.queue.fail = fail
        with pytest.raises(QueueUnavailable):
            await r.outcomes.flush()
        assert len(r.outcomes) == 1
        async with asyncio.timeout(1):
            await r.outcomes.wait(100)  # there is something to hand on
        second = await r.held(2)
        r.outcomes.decide(second, delivery(2), outcome(2))
        r.queue.fail = ""
        assert await r.outcomes.flush() == [held.claim, second.claim]
        marks = await r.marks()
        assert marks[-1] == [1, 2]
        assert len(marks) == (1 if fail == "before" else 2)

    simulate(work())


@pytest.mark.parametrize("under_way", [False, True])
def test_a_retry_that_the_queue_lost_is_kept_by_the_database(
    simulate: Any, under_way: bool
) -> None:
    """Marked queued it would be in no queue, until the sweep of the forgotten comes by."""

    async def work() -> None:
        r = await rig()
        held = await r.held(1, 2)
        r.outcomes.decide(held, delivery(1), outcome(1, QUEUED, START_MS))
        r.outcomes.decide(held, delivery(2), outcome(2))
        r.queue.flush()
        if under_way:
            r.queue.fail = "late"
            flushing = asyncio.create_task(r.outcomes.flush())
            await asyncio.sleep(0.5)
        r.outcomes.queue_lost()
        if under_way:
            with pytest.raises(QueueLost):
                await flushing
            r.queue.fail = ""
        await r.queue.begin_epoch("2")
        assert await r.outcomes.flush() == []
        assert await r.depths() == (0, 2)
        [claim] = await r.queue.claim([MARK], "marker", 9)
        assert [o.status for o in chunk.unpack_outcomes(claim.chunk)] == [PENDING, DELIVERED]

    simulate(work())


def test_outcome_chunks_are_bounded(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        held = await r.held(*range(1, 9))
        for number in range(1, 9):
            r.outcomes.decide(held, delivery(number), outcome(number))
        await r.outcomes.flush()
        assert await r.marks() == [[1, 2, 3], [4, 5, 6], [7, 8]]

    simulate(work())


@pytest.mark.parametrize(("number", "waited_s"), [(1, 2.05), (2, 2.05), (3, 2.0)])
def test_a_batch_waits_a_moment_unless_it_is_full(
    simulate: Any, number: int, waited_s: float
) -> None:
    async def work() -> None:
        r = await rig()
        held = await r.held(*range(number))
        loop = asyncio.get_running_loop()
        for n in range(number):
            loop.call_later(2, r.outcomes.decide, held, delivery(n), outcome(n))
        await r.outcomes.wait(100)
        assert loop.time() == pytest.approx(waited_s)
        await r.outcomes.flush()
        await r.outcomes.wait(5)
        assert loop.time() == pytest.approx(waited_s + 5)

    simulate(work())
