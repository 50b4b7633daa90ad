"""What the in-memory queue keeps, and how long its calls take, does not grow with its past."""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable, Coroutine
from typing import Any

from notify.domain.ports import Push, Stream, StreamKind
from notify.queue.memory import MemoryQueue
from notify.queue.memory.backlog import Backlog

Run = Callable[[Coroutine[Any, Any, Any]], Any]
SUB = Stream(StreamKind.SUBSCRIPTION, 1)


class HandClock:
    """A clock that the test sets; sleeping on it never ends."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms

    async def sleep(self, seconds: float) -> None:
        await asyncio.get_running_loop().create_future()


def traced_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def come_and_go(queue: MemoryQueue, numbers: range) -> None:
    """Use many streams in every way, and empty them."""
    streams = [Stream(StreamKind.SUBSCRIPTION, number) for number in numbers]
    await queue.push([Push(stream, b"chunk", 1) for stream in streams])
    await queue.push([Push(stream, b"later", 1, 5) for stream in streams])
    await queue.wait(streams, "w1", 0)
    await queue.spill(streams, on=True)
    await queue.promote(streams, 5)
    await queue.ack(await queue.claim(streams, "w1", 2))
    await queue.spill(streams, on=False)


def test_streams_that_came_and_went_cost_nothing(run: Run) -> None:
    async def scenario() -> None:
        queue = MemoryQueue(HandClock())
        await queue.begin_epoch("e")
        tracemalloc.start()
        try:
            await come_and_go(queue, range(1000))
            before = traced_bytes()
            for first in range(0, 20_000, 1000):
                await come_and_go(queue, range(first, first + 1000))
            after = traced_bytes()
        finally:
            tracemalloc.stop()
        assert after - before < 50_000, "something is kept of empty streams"

    run(scenario())


def test_cancelled_and_finished_waits_cost_nothing(run: Run) -> None:
    async def wait_and_cancel(queue: MemoryQueue, rounds: int) -> None:
        for n in range(rounds):
            wait = asyncio.create_task(queue.wait([SUB, SUB._replace(number=n)], f"w{n}", 60))
            await asyncio.sleep(0)
            wait.cancel()
            await asyncio.gather(wait, return_exceptions=True)
        await asyncio.sleep(0)

    async def scenario() -> None:
        queue = MemoryQueue(HandClock())
        await queue.begin_epoch("e")
        tracemalloc.start()
        try:
            await wait_and_cancel(queue, 100)
            before = traced_bytes()
            await wait_and_cancel(queue, 1000)
            after = traced_bytes()
        finally:
            tracemalloc.stop()
        assert after - before < 50_000, "something is kept of waits that ended"

    run(scenario())


class Number(int):
    """A stream's number that counts how often it is looked up."""

    looks = 0

    def __hash__(self) -> int:
        Number.looks += 1
        return super().__hash__()


def test_a_wait_looks_only_at_what_was_pushed(run: Run) -> None:
    async def scenario() -> None:
        queue = MemoryQueue(HandClock())
        await queue.begin_epoch("e")
        streams = [Stream(StreamKind.SUBSCRIPTION, Number(n)) for n in range(2000)]
        await queue.push([Push(stream, b"chunk", 1) for stream in streams])
        assert len(await queue.wait(streams, "w1", 0)) == 2000
        Number.looks = 0
        assert await queue.wait(streams, "w1", 0) == []
        await queue.push([Push(streams[7], b"chunk", 1)])
        assert await queue.wait(list(streams), "w1", 60) == [streams[7]]
        wait = asyncio.create_task(queue.wait(streams, "w1", 60))
        await asyncio.sleep(0)
        await queue.push([Push(streams[9], b"chunk", 1)])
        assert await wait == [streams[9]]
        assert Number.looks < 50

    run(scenario())


def test_shares_that_ran_out_cost_nothing(run: Run) -> None:
    async def scenario() -> None:
        clock = HandClock()
        queue = MemoryQueue(clock)
        tracemalloc.start()
        try:
            before = traced_bytes()
            for n in range(1000):
                share = await queue.share(f"group {n % 7}", f"w{n}", 2, range(20))
                assert n % 7 or len(share.held) == 20
                clock.ms += 1
            after = traced_bytes()
        finally:
            tracemalloc.stop()
        assert after - before < 50_000, "something is kept of members whose time ran out"

    run(scenario())


def test_leases_that_ran_out_cost_nothing(run: Run) -> None:
    async def scenario() -> None:
        clock = HandClock()
        queue = MemoryQueue(clock)
        tracemalloc.start()
        try:
            before = traced_bytes()
            for n in range(5000):
                assert await queue.lease(f"feeder {n}", "a", 10)
                clock.ms += 1
            after = traced_bytes()
        finally:
            tracemalloc.stop()
        assert after - before < 50_000, "something is kept of leases that ran out"

    run(scenario())


def _drain_s(chunks: int) -> float:
    """Seconds per chunk to work a backlog off one by one, watching its age."""
    backlog = Backlog()
    for number in range(chunks):
        backlog.push(number, Push(SUB, b"", 1, due_ms=number % 2), number)
    backlog.promote(1)
    started = time.perf_counter()
    for _ in range(chunks):
        (entry,) = backlog.claim(1, 0)
        backlog.renew(entry.number, entry.holding, 1)
        backlog.ack(entry.number, entry.holding)
        assert backlog.oldest_ms >= 0
    return (time.perf_counter() - started) / chunks


def test_a_long_backlog_is_worked_off_as_fast_as_a_short_one() -> None:
    short = min(_drain_s(1000) for _ in range(5))
    long = min(_drain_s(64_000) for _ in range(2))
    assert long < short * 10, "a call looks at more than the chunks it names"
