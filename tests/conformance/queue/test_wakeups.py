"""A worker misses no push, whenever it comes, and sleeps while there is none."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from notify.domain.ports import Push, Queue, Stream, StreamKind
from tests.conformance.queue.backends import Backend, Run

A = Stream(StreamKind.SUBSCRIPTION, 1)
B = Stream(StreamKind.SUBSCRIPTION, 2)
C = Stream(StreamKind.INGEST, 0)
# Far beyond what a test takes: a wait that ends did not end by its time-out.
LONG_S = 30.0
SHORT_MS = 30


async def woken(wait: "asyncio.Task[Sequence[Stream]]") -> set[Stream]:
    return set(await asyncio.wait_for(wait, 5))


def waiting(
    queue: Queue, worker: str = "w1", streams: Sequence[Stream] = (A, B), timeout_s: float = LONG_S
) -> "asyncio.Task[Sequence[Stream]]":
    async def wait() -> Sequence[Stream]:
        return await queue.wait(streams, worker, timeout_s)

    return asyncio.create_task(wait())


async def sleeps(backend: Backend, queue: Queue, worker: str = "w1") -> bool:
    """Whether the worker's next wait lasts until its time-out."""
    wait = waiting(queue, worker, timeout_s=SHORT_MS / 1000)
    await backend.settle()
    asleep = not wait.done()
    await backend.advance(SHORT_MS)
    return not await woken(wait) and asleep


def test_a_quiet_wait_lasts_until_its_time_out(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        for _ in range(3):
            assert await sleeps(backend, queue)

    run(scenario())


@pytest.mark.parametrize("timeout_s", [0.0, -1.0])
def test_without_time_to_wait_it_only_looks(queue: Queue, run: Run, timeout_s: float) -> None:
    async def scenario() -> None:
        assert not await woken(waiting(queue, timeout_s=timeout_s))
        await queue.push([Push(A, b"a", 1)])
        assert await woken(waiting(queue, timeout_s=timeout_s)) == {A}

    run(scenario())


def test_nothing_to_wait_for_is_a_sleep(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1)])
        wait = waiting(queue, streams=[], timeout_s=SHORT_MS / 1000)
        await backend.settle()
        assert not wait.done()
        await backend.advance(SHORT_MS)
        assert not await woken(wait)

    run(scenario())


def test_a_push_before_the_first_wait(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1)])
        assert await woken(waiting(queue)) == {A}
        assert await sleeps(backend, queue)

    run(scenario())


def test_a_push_during_a_wait(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        wait = waiting(queue)
        await backend.settle()
        assert not wait.done()
        await (await backend.other()).push([Push(B, b"b", 1)])
        assert await woken(wait) == {B}
        assert await sleeps(backend, queue)

    run(scenario())


def test_a_push_between_two_waits(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        assert await sleeps(backend, queue)
        await queue.claim([A, B], "w1", 10)
        await queue.push([Push(A, b"a", 1)])
        assert await woken(waiting(queue)) == {A}

    run(scenario())


def test_a_push_between_waits_to_a_stream_that_already_holds_something(
    backend: Backend, queue: Queue, run: Run
) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1)])
        assert await woken(waiting(queue)) == {A}
        await queue.push([Push(A, b"b", 1)])
        assert await woken(waiting(queue)) == {A}
        assert await sleeps(backend, queue)

    run(scenario())


def test_pushes_to_several_streams_are_answered_together(
    backend: Backend, queue: Queue, run: Run
) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1), Push(B, b"b", 1), Push(C, b"c", 1)])
        assert await woken(waiting(queue, streams=[A, C])) == {A, C}
        assert await woken(waiting(queue, streams=[A, B, C])) == {B}
        assert await sleeps(backend, queue)

    run(scenario())


def test_another_stream_wakes_nobody(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        wait = waiting(queue, streams=[A], timeout_s=SHORT_MS / 1000)
        await backend.settle()
        await queue.push([Push(B, b"b", 1)])
        await backend.settle()
        assert not wait.done()
        await backend.advance(SHORT_MS)
        assert not await woken(wait)
        assert await woken(waiting(queue, streams=[A, B])) == {B}

    run(scenario())


def test_everyone_who_waits_wakes(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        other = await backend.other()
        waits = [waiting(queue, "w1"), waiting(other, "w2", [A]), waiting(queue, "w3", [C, A])]
        await backend.settle()
        await queue.push([Push(A, b"a", 1)])
        for wait in waits:
            assert await woken(wait) == {A}

    run(scenario())


def test_each_worker_sees_each_push(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        assert await sleeps(backend, queue, "w2")
        await queue.push([Push(A, b"a", 1)])
        assert await woken(waiting(queue, "w1")) == {A}
        await queue.claim([A], "w1", 1)
        assert await woken(waiting(queue, "w2")) == {A}
        assert await sleeps(backend, queue, "w1")
        assert await sleeps(backend, queue, "w2")

    run(scenario())


def test_an_emptied_stream_wakes_again(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        for _ in range(3):
            await queue.push([Push(A, b"a", 1)])
            assert await woken(waiting(queue)) == {A}
            await queue.ack(await queue.claim([A], "w1", 1))
            assert await sleeps(backend, queue)

    run(scenario())


def test_what_follows_an_ack_wakes(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1)])
        claims = await queue.claim([A], "w1", 1)
        wait = waiting(queue, "marker", [C])
        await backend.settle()
        await queue.ack(claims, [Push(C, b"outcome", 1)])
        assert await woken(wait) == {C}

    run(scenario())


def test_a_delayed_push_wakes_so_that_the_next_due_time_is_known(
    backend: Backend, queue: Queue, run: Run
) -> None:
    async def scenario() -> None:
        wait = waiting(queue)
        await backend.settle()
        await queue.push([Push(A, b"a", 1, 50)])
        assert await woken(wait) == {A}

    run(scenario())


def test_promotion_wakes_where_something_moved(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1, 50), Push(B, b"b", 1, 90)])
        assert await woken(waiting(queue)) == {A, B}
        wait = waiting(queue)
        await backend.settle()
        await queue.promote([A, B], 49)
        await backend.settle()
        assert not wait.done()
        await queue.promote([A, B], 50)
        assert await woken(wait) == {A}

    run(scenario())


def test_what_was_seen_stays_so_while_a_worker_waits_for_less(
    backend: Backend, queue: Queue, run: Run
) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1), Push(B, b"b", 1)])
        assert await woken(waiting(queue)) == {A, B}
        assert not await woken(waiting(queue, streams=[A], timeout_s=0))
        assert not await woken(waiting(queue, streams=[B], timeout_s=0))
        await queue.push([Push(B, b"b", 1)])
        assert not await woken(waiting(queue, streams=[A], timeout_s=0))
        assert await woken(waiting(queue)) == {B}
        assert await sleeps(backend, queue)

    run(scenario())


def test_claims_acks_renewals_and_takeovers_wake_nobody(
    backend: Backend, queue: Queue, run: Run
) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1), Push(A, b"b", 1)])
        await woken(waiting(queue))
        wait = waiting(queue)
        await backend.settle()
        claims = await queue.claim([A], "w2", 2)
        await queue.renew(claims, "w2")
        await queue.ack(claims[:1])
        await queue.takeover([A], "w3", 0, 10)
        await queue.gauges([A])
        await queue.spill([A], on=True)
        await backend.settle()
        assert not wait.done()
        await queue.push([Push(A, b"c", 1)])
        assert await woken(wait) == {A}

    run(scenario())


def test_a_cancelled_wait_has_seen_nothing(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        assert await sleeps(backend, queue)
        wait = waiting(queue)
        await backend.settle()
        wait.cancel()
        with suppress(asyncio.CancelledError):
            await wait
        await queue.push([Push(A, b"a", 1)])
        assert await woken(waiting(queue)) == {A}

    run(scenario())


def test_a_wait_cancelled_as_the_push_comes(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        wait = waiting(queue)
        await backend.settle()
        push = asyncio.create_task(_push(queue))
        await asyncio.sleep(0)
        wait.cancel()
        await push
        with suppress(asyncio.CancelledError):
            if A in await wait:
                return
        assert await woken(waiting(queue)) == {A}

    run(scenario())


async def _push(queue: Queue) -> None:
    await queue.push([Push(A, b"a", 1)])


def test_a_cancelled_wait_leaves_no_task(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        assert await sleeps(backend, queue)
        before = len(asyncio.all_tasks())
        waits = [waiting(queue, f"w{n}") for n in range(10)]
        await backend.settle()
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        await backend.settle()
        assert len(asyncio.all_tasks()) <= before

    run(scenario())


def test_no_push_is_missed_by_a_claiming_worker(queue: Queue, run: Run) -> None:
    async def produce() -> None:
        for n in range(60):
            await queue.push([Push((A, B)[n % 2], b"%d" % n, 1)])
            for _ in range(n % 4):
                await asyncio.sleep(0)

    async def consume(worker: str, got: list[bytes]) -> None:
        while True:
            claims = await queue.claim([A, B], worker, 3)
            got += [claim.chunk for claim in claims]
            await queue.ack(claims)
            if len(got) == 60:
                return
            await queue.wait([A, B], worker, LONG_S)

    async def scenario() -> None:
        got: list[bytes] = []
        workers = [asyncio.create_task(consume(f"w{n}", got)) for n in range(3)]
        await produce()
        # A missed push would leave all of them asleep for LONG_S.
        await asyncio.wait_for(asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED), 5)
        for worker in workers:
            worker.cancel()
        for end in await asyncio.gather(*workers, return_exceptions=True):
            assert end is None or isinstance(end, asyncio.CancelledError)
        assert sorted(got) == sorted(b"%d" % n for n in range(60))

    run(scenario())


def test_the_next_epoch_wakes_again(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1)])
        await woken(waiting(queue))
        await queue.push([Push(B, b"lost unseen", 1)])
        await backend.lose()
        await queue.begin_epoch("second")
        assert await sleeps(backend, queue)
        await queue.push([Push(A, b"a", 1)])
        assert await woken(waiting(queue)) == {A}

    run(scenario())


def test_close_ends_every_wait(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        waits = [waiting(queue, f"w{n}") for n in range(3)]
        await backend.settle()
        await queue.close()
        for wait in waits:
            assert not await woken(wait)
        await queue.open()

    run(scenario())
