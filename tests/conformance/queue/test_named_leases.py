"""A name is held by one owner at a time, and for as long as it is prolonged."""

import asyncio

from notify.domain.ports import Queue
from tests.conformance.queue.backends import Backend, Run

LONG_MS = 60_000


def test_one_owner_at_a_time(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        other = await backend.other()
        assert await queue.lease("rescuer", "a", LONG_MS)
        assert not await other.lease("rescuer", "b", LONG_MS)
        assert await queue.lease("rescuer", "a", LONG_MS)
        assert await other.lease("feeder", "b", LONG_MS)

    run(scenario())


def test_one_of_many_takes_it(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        took = await asyncio.gather(*(queue.lease("rescuer", f"w{n}", LONG_MS) for n in range(5)))
        assert took.count(True) == 1

    run(scenario())


def test_it_expires(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        assert await queue.lease("rescuer", "a", 30)
        await backend.advance(30)
        assert await queue.lease("rescuer", "b", LONG_MS)
        assert not await queue.lease("rescuer", "a", LONG_MS)

    run(scenario())


def test_it_is_prolonged(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        assert await queue.lease("rescuer", "a", 30)
        assert await queue.lease("rescuer", "a", LONG_MS)
        await backend.advance(30)
        assert not await queue.lease("rescuer", "b", LONG_MS)

    run(scenario())


def test_the_last_term_counts_even_if_shorter(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        assert await queue.lease("rescuer", "a", LONG_MS)
        assert await queue.lease("rescuer", "a", 30)
        await backend.advance(30)
        assert await queue.lease("rescuer", "b", LONG_MS)

    run(scenario())


def test_only_its_owner_releases_it(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.lease("rescuer", "a", LONG_MS)
        await queue.release("rescuer", "b")
        assert not await queue.lease("rescuer", "b", LONG_MS)
        await queue.release("rescuer", "a")
        assert await queue.lease("rescuer", "b", LONG_MS)
        await queue.release("unknown", "a")

    run(scenario())


def test_a_late_release_does_not_take_it_from_the_next(
    backend: Backend, queue: Queue, run: Run
) -> None:
    async def scenario() -> None:
        await queue.lease("rescuer", "a", 30)
        await backend.advance(30)
        await queue.lease("rescuer", "b", LONG_MS)
        await queue.release("rescuer", "a")
        assert not await queue.lease("rescuer", "a", LONG_MS)

    run(scenario())
