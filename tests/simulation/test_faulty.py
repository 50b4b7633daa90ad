"""The faulty ports fail as often as they are told, and are ports all the same."""

from collections import Counter
from collections.abc import Callable, Coroutine
from random import Random as Generator
from typing import Any, cast

import pytest

from notify.domain.errors import QueueUnavailable, StorageUnavailable
from notify.domain.ports import Clock, Push, Queue, Storage, Stream, StreamKind
from notify.queue.memory import MemoryQueue
from tests.simulation.faulty import FaultyQueue, FaultyStorage

Run = Callable[[Coroutine[Any, Any, Any]], Any]
MARK = Stream(StreamKind.MARK, 0)


class Seeded:
    """Random of the domain from a seed."""

    def __init__(self, seed: int) -> None:
        self._generator = Generator(seed)

    def random(self) -> float:
        return self._generator.random()

    def token_bytes(self, n: int) -> bytes:
        return self._generator.randbytes(n)


class Still:
    """A clock that stands still."""

    def now_ms(self) -> int:
        return 1_700_000_000_000

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here sleeps")


class Notes:
    """As much of a Storage as the test calls."""

    def __init__(self) -> None:
        self.value = 0

    async def set_note(self, name: str, value: int) -> None:
        self.value = value


def queues(rate: float, seed: int = 1) -> tuple[MemoryQueue, FaultyQueue]:
    clock: Clock = Still()
    memory = MemoryQueue(clock)
    return memory, FaultyQueue(memory, Seeded(seed), rate)


def outcomes(run: Run, seed: int) -> list[str]:
    """For 400 pushes: whether each failed, and whether it was carried out."""

    async def scenario() -> list[str]:
        memory, faulty = queues(rate=0.5, seed=seed)
        queue: Queue = faulty
        await memory.begin_epoch("e")
        seen = []
        depth = 0
        for _ in range(400):
            answer = "answered"
            try:
                await queue.push([Push(MARK, b"x", 1)])
            except QueueUnavailable:
                answer = "failed"
            ((now, _, _),) = await memory.gauges([MARK])
            seen.append(f"{answer}, {'done' if now > depth else 'not done'}")
            depth = now
        assert faulty.faults == sum(1 for text in seen if text.startswith("failed"))
        return seen

    return cast("list[str]", run(scenario()))


def test_calls_fail_before_and_after_they_are_carried_out(run: Run) -> None:
    counts = Counter(outcomes(run, seed=1))
    assert set(counts) == {"answered, done", "failed, done", "failed, not done"}
    assert 160 < counts["answered, done"] < 240
    assert 70 < counts["failed, done"] < 130


def test_the_seed_repeats_the_faults(run: Run) -> None:
    assert outcomes(run, seed=7) == outcomes(run, seed=7)
    assert outcomes(run, seed=7) != outcomes(run, seed=8)


def test_a_rate_of_zero_fails_never_and_may_be_set_later(run: Run) -> None:
    async def scenario() -> None:
        _, faulty = queues(rate=1.0)
        with pytest.raises(QueueUnavailable):
            await faulty.epoch()
        faulty.rate = 0.0
        assert await faulty.begin_epoch("e") in (True, False)
        await faulty.push([Push(MARK, b"x", 1)])
        (claim,) = await faulty.claim([MARK], "w", chunks_max=1)
        assert claim.chunk == b"x"

    run(scenario())


def test_opening_and_closing_are_spared(run: Run) -> None:
    async def scenario() -> None:
        _, faulty = queues(rate=1.0)
        await faulty.open()
        await faulty.close()

    run(scenario())


def test_storage_fails_with_its_own_error(run: Run) -> None:
    async def scenario() -> None:
        notes = Notes()
        storage: Storage = FaultyStorage(cast("Storage", notes), Seeded(1), rate=0.5)
        carried_out = 0
        for value in range(1, 200):
            try:
                await storage.set_note("n", value)
            except StorageUnavailable:
                carried_out += notes.value == value
            else:
                assert notes.value == value
        assert carried_out

    run(scenario())


def test_what_a_port_lacks_is_lacking() -> None:
    _, faulty = queues(rate=0.0)
    with pytest.raises(AttributeError):
        _ = faulty.nonsense
