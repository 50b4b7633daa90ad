"""Claim, work, acknowledge: failures repeat the same chunks, unreadable ones do not stop it."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from notify.domain.errors import QueueLost, StorageUnavailable
from notify.domain.ports import Claim, Push, Stream, StreamKind
from notify.queue.memory import MemoryQueue
from notify.runtime.chunks import ChunkWorker
from notify.runtime.steps import Stopping
from notify_core.errors import ChunkError
from tests.simulation.loop import SeededRandom, SimulatedClock

STREAM = Stream(StreamKind.MARK, 0)
LEASE_MS = 3000


class Rig:
    """A queue with one worker, whose work the test scripts."""

    def __init__(self, chunks_max: int = 10, pause_ms: int = 0) -> None:
        self.clock = SimulatedClock()
        self.queue = MemoryQueue(self.clock)
        self.stopping = Stopping(self.clock)
        self.seen: list[list[tuple[bytes, bool]]] = []
        self.errors: list[Exception] = []
        self.worker = self.another(chunks_max, pause_ms)

    def another(self, chunks_max: int = 10, pause_ms: int = 0) -> ChunkWorker:
        return ChunkWorker(
            self.queue, self.clock, [STREAM], "w", LEASE_MS, chunks_max, self.work, pause_ms
        )

    async def work(self, claims: Sequence[Claim]) -> None:
        self.seen.append([(claim.chunk, claim.redelivered) for claim in claims])
        if self.errors:
            raise self.errors.pop(0)
        if any(claim.chunk.startswith(b"bad") for claim in claims):
            raise ChunkError("unreadable")
        await self.queue.ack(claims)

    async def push(self, *chunks: bytes) -> None:
        await self.queue.push([Push(STREAM, chunk, 1) for chunk in chunks])

    async def depth(self) -> int:
        return (await self.queue.gauges([STREAM]))[0].depth


async def rig(chunks_max: int = 10, pause_ms: int = 0) -> Rig:
    made = Rig(chunks_max, pause_ms)
    await made.queue.begin_epoch("1")
    return made


def test_what_waits_is_worked_on_in_bounded_batches(simulate: Any) -> None:
    async def work() -> None:
        r = await rig(chunks_max=2)
        await r.push(b"1", b"2", b"3")
        await r.worker.step(r.stopping)
        await r.worker.step(r.stopping)
        assert r.seen == [[(b"1", False), (b"2", False)], [(b"3", False)]]
        assert await r.depth() == 0

    simulate(work())


def test_what_comes_during_the_pause_after_a_small_batch_is_worked_on_together(
    simulate: Any,
) -> None:
    async def work() -> None:
        r = await rig(pause_ms=25)
        loop = asyncio.get_running_loop()
        await r.push(b"1")
        await r.worker.step(r.stopping)
        assert (loop.time(), r.seen) == (0, [[(b"1", False)]])  # the first does not wait
        gathering = asyncio.create_task(r.worker.step(r.stopping))
        for chunk in (b"2", b"3"):
            await r.push(chunk)
            await asyncio.sleep(0.01)
        await gathering
        assert loop.time() == pytest.approx(0.025)
        assert r.seen[1:] == [[(b"2", False), (b"3", False)]]
        await asyncio.sleep(0.025)
        await r.push(b"4")
        await r.worker.step(r.stopping)
        assert loop.time() == pytest.approx(0.05)  # nor does what comes after the pause

    simulate(work())


def test_a_pause_is_cut_short_when_it_shall_stop(simulate: Any) -> None:
    async def work() -> None:
        r = await rig(pause_ms=25)
        await r.push(b"1")
        await r.worker.step(r.stopping)
        await r.push(b"2")
        r.stopping.set()
        await r.worker.step(r.stopping)
        assert asyncio.get_running_loop().time() == 0
        assert len(r.seen) == 2

    simulate(work())


def test_a_full_batch_is_followed_by_no_pause(simulate: Any) -> None:
    async def work() -> None:
        r = await rig(chunks_max=2, pause_ms=25)
        await r.push(b"1", b"2", b"3")
        await r.worker.step(r.stopping)
        await r.worker.step(r.stopping)
        assert len(r.seen) == 2
        assert asyncio.get_running_loop().time() == 0

    simulate(work())


def test_an_idle_worker_waits_until_something_is_pushed_or_it_shall_stop(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(r.worker.step(r.stopping))
        await asyncio.sleep(0.25)
        await r.push(b"1")
        await waiting
        await r.worker.step(r.stopping)
        assert (loop.time(), r.seen) == (0.25, [[(b"1", False)]])
        waiting = asyncio.create_task(r.worker.step(r.stopping))
        await asyncio.sleep(0.25)
        r.stopping.set()
        await waiting
        assert loop.time() == 0.5

    simulate(work())


@pytest.mark.parametrize("error", [StorageUnavailable("away"), ZeroDivisionError("a bug")])
def test_what_failed_is_repeated_as_redelivered_before_anything_new(
    simulate: Any, error: Exception
) -> None:
    async def work() -> None:
        r = await rig()
        r.errors = [error, error]
        await r.push(b"1", b"2")
        for _ in range(2):
            with pytest.raises(type(error)):
                await r.worker.step(r.stopping)
            await r.push(b"new")
        await r.worker.step(r.stopping)
        again = [(b"1", True), (b"2", True)]
        assert r.seen == [[(b"1", False), (b"2", False)], again, again]
        await r.worker.step(r.stopping)
        assert r.seen[-1] == [(b"new", False)] * 2
        assert await r.depth() == 0

    simulate(work())


def test_an_unreadable_chunk_is_let_go_alone(
    simulate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        r = await rig()
        await r.push(b"1", b"bad", b"3")
        await r.worker.step(r.stopping)
        assert r.seen[1:] == [[(b"1", False)], [(b"bad", False)], [(b"3", False)]]
        assert await r.depth() == 0

    simulate(work())
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "left to the Rescuer: unreadable" in record.getMessage()


def test_what_is_held_stays_held_as_long_as_it_is_tended(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        r.errors = [StorageUnavailable("away")]
        await r.push(b"1")
        with pytest.raises(StorageUnavailable):
            await r.worker.step(r.stopping)
        for _ in range(5):
            await asyncio.sleep(LEASE_MS / 3000)
            await r.worker.tend()
        assert not await r.queue.takeover([STREAM], "thief", LEASE_MS, 10)
        await r.worker.step(r.stopping)
        assert await r.depth() == 0

    simulate(work())


def test_a_dead_workers_chunks_are_taken_over_once_and_worked_on_first(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        await r.push(b"1", b"2")
        await r.queue.claim([STREAM], "dead", 10)
        await asyncio.sleep(LEASE_MS / 1000)
        await r.push(b"3")
        await r.worker.tend()
        await r.worker.tend()
        other = r.another()
        await other.tend()
        await r.worker.step(r.stopping)
        await r.worker.step(r.stopping)
        assert r.seen == [[(b"1", True), (b"2", True)], [(b"3", False)]]
        assert await r.depth() == 0

    simulate(work())


def test_taken_over_chunks_wait_their_turn_without_losing_their_lease(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        await r.push(b"1")
        r.errors = [StorageUnavailable("away")]
        with pytest.raises(StorageUnavailable):
            await r.worker.step(r.stopping)
        await r.push(b"2")
        await r.queue.claim([STREAM], "dead", 10)
        for _ in range(4):
            await asyncio.sleep(1)
            await r.worker.tend()
        assert not await r.queue.takeover([STREAM], "thief", LEASE_MS, 10)
        await r.worker.step(r.stopping)
        await r.worker.step(r.stopping)
        assert r.seen[1:] == [[(b"1", True)], [(b"2", True)]]

    simulate(work())


def test_a_lost_queue_makes_the_worker_forget_what_it_held(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        await r.push(b"1")
        await r.queue.claim([STREAM], "dead", 10)
        await asyncio.sleep(LEASE_MS / 1000)
        await r.push(b"2")
        r.errors = [StorageUnavailable("away")]
        with pytest.raises(StorageUnavailable):
            await r.worker.step(r.stopping)
        await r.worker.tend()  # takes 1 over while 2 is held
        r.queue.flush()
        with pytest.raises(QueueLost):
            await r.worker.step(r.stopping)
        await r.queue.begin_epoch("2")
        await r.push(b"3")
        with suppress(QueueLost):  # said once more to a worker of the epoch before
            await r.worker.step(r.stopping)
        await r.worker.step(r.stopping)
        assert r.seen[-1] == [(b"3", False)]

    simulate(work())


def test_one_that_helps_works_only_while_batches_come_out_full(simulate: Any) -> None:
    async def work() -> None:
        r = await rig(chunks_max=2)
        helper = ChunkWorker(r.queue, r.clock, [STREAM], "h", LEASE_MS, 2, r.work, helps=r.worker)
        helping = asyncio.create_task(helper.run("helper", r.stopping, SeededRandom(1)))
        await r.push(b"a")
        await r.clock.sleep(10)
        assert r.seen == []
        await r.worker.step(r.stopping)
        await r.push(b"b", b"c", b"d", b"e", b"f")
        await r.worker.step(r.stopping)
        await r.clock.sleep(10)
        assert [[chunk for chunk, _ in batch] for batch in r.seen] == [
            [b"a"], [b"b", b"c"], [b"d", b"e"], [b"f"],
        ]  # fmt: skip
        await r.push(b"g")
        await r.clock.sleep(10)
        assert await r.depth() == 1
        r.stopping.set()
        await helping

    simulate(work())
