"""The epoch is gone exactly when the contents may be gone."""

import asyncio

import pytest

from notify.domain.errors import QueueLost, QueueUnavailable
from notify.domain.ports import Claim, Push, Queue, Stream, StreamKind
from tests.conformance.queue.backends import Backend, Run

SUB = Stream(StreamKind.SUBSCRIPTION, 7)
CLAIM = Claim(SUB, "1-1", b"chunk", 1, redelivered=False, since_ms=1)
REFUSED = {
    "push": lambda q: q.push([Push(SUB, b"chunk", 1)]),
    "claim": lambda q: q.claim([SUB], "w1", 1),
    "ack": lambda q: q.ack([CLAIM]),
    "ack with pushes": lambda q: q.ack([], [Push(SUB, b"chunk", 1)]),
    "renew": lambda q: q.renew([CLAIM], "w1"),
    "takeover": lambda q: q.takeover([SUB], "w1", 10, 1),
    "promote": lambda q: q.promote([SUB], 1),
    "gauges": lambda q: q.gauges([SUB]),
    "spill": lambda q: q.spill([SUB], on=True),
}
ALLOWED = {
    "epoch": lambda q: q.epoch(),
    "lease": lambda q: q.lease("rebuild", "a", 1000),
    "release": lambda q: q.release("rebuild", "a"),
    "share": lambda q: q.share("senders", "a", 1000, [1, 2]),
    "leave": lambda q: q.leave("senders", "a"),
    "wait": lambda q: q.wait([SUB], "w1", 0.001),
}


def test_there_is_no_epoch_at_first(bare: Backend, run: Run) -> None:
    assert run(bare.queue.epoch()) is None


def test_begun_epoch_is_answered_to_everyone(bare: Backend, run: Run) -> None:
    async def scenario() -> None:
        assert await bare.queue.begin_epoch("e1")
        assert await bare.queue.epoch() == "e1"
        other = await bare.other()
        assert await other.epoch() == "e1"
        assert not await other.begin_epoch("e2")
        assert await other.epoch() == "e1"

    run(scenario())


def test_one_of_many_callers_begins_the_epoch(bare: Backend, run: Run) -> None:
    async def scenario() -> None:
        names = [f"e{n}" for n in range(5)]
        began = await asyncio.gather(*(bare.queue.begin_epoch(name) for name in names))
        assert began.count(True) == 1
        assert await bare.queue.epoch() == names[began.index(True)]

    run(scenario())


@pytest.mark.parametrize("call", REFUSED)
@pytest.mark.parametrize("lost", [False, True], ids=["never begun", "lost"])
def test_without_epoch_contents_are_refused(bare: Backend, run: Run, call: str, lost: bool) -> None:
    async def scenario() -> None:
        if lost:
            await bare.queue.begin_epoch("e1")
            await bare.queue.push([Push(SUB, b"chunk", 1)])
            await bare.lose()
        with pytest.raises(QueueLost):
            await REFUSED[call](bare.queue)

    run(scenario())


@pytest.mark.parametrize("call", ALLOWED)
def test_without_epoch_the_rebuild_can_be_organised(bare: Backend, run: Run, call: str) -> None:
    async def scenario() -> None:
        task = asyncio.create_task(ALLOWED[call](bare.queue))
        await bare.settle()
        await bare.advance(5)
        await asyncio.wait_for(task, 5)

    run(scenario())


def test_loss_takes_everything(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push(
            [Push(SUB, b"a", 1), Push(SUB, b"b", 2), Push(SUB, b"c", 4, backend.now_ms() + 10)]
        )
        await queue.claim([SUB], "w1", 1)
        await queue.spill([SUB], on=True)
        await queue.lease("feeder", "a", 60_000)
        await backend.lose()
        assert await queue.epoch() is None
        assert await queue.begin_epoch("second")
        assert await queue.epoch() == "second"
        assert await queue.gauges([SUB]) == [(0, 0, False)]
        assert await queue.claim([SUB], "w2", 10) == []
        assert await queue.takeover([SUB], "w1", 0, 10) == []
        assert await queue.promote([SUB], backend.now_ms() + 60_000) == 0
        assert await queue.lease("feeder", "b", 60_000)

    run(scenario())


def test_claims_of_an_earlier_epoch_are_dead(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(SUB, b"old", 1)])
        old = await queue.claim([SUB], "w1", 1)
        await backend.lose()
        await backend.advance(2)
        await queue.begin_epoch("second")
        await queue.push([Push(SUB, b"new", 1)])
        new = await queue.claim([SUB], "w2", 1)
        await queue.renew(old, "w1")
        await queue.ack(old)
        assert (await queue.gauges([SUB]))[0].depth == 1
        await queue.ack(new)
        assert (await queue.gauges([SUB]))[0].depth == 0

    run(scenario())


def test_a_worker_is_told_once_that_a_new_epoch_began(
    backend: Backend, queue: Queue, run: Run
) -> None:
    async def scenario() -> None:
        await queue.claim([SUB], "w1", 1)
        await backend.lose()
        await queue.begin_epoch("second")
        await queue.push([Push(SUB, b"new", 1)])
        with pytest.raises(QueueLost):
            await queue.claim([SUB], "w1", 1)
        assert len(await queue.claim([SUB], "w1", 1)) == 1

    run(scenario())


def test_a_worker_that_met_the_lost_queue_is_not_told_again(
    backend: Backend, queue: Queue, run: Run
) -> None:
    async def scenario() -> None:
        await queue.claim([SUB], "w1", 1)
        await backend.lose()
        with pytest.raises(QueueLost):
            await queue.claim([SUB], "w1", 1)
        await queue.begin_epoch("second")
        assert await queue.claim([SUB], "w1", 1) == []

    run(scenario())


@pytest.mark.parametrize("call", REFUSED | ALLOWED)
def test_a_closed_queue_is_unavailable(backend: Backend, run: Run, call: str) -> None:
    async def scenario() -> None:
        await backend.queue.close()
        with pytest.raises(QueueUnavailable):
            await (REFUSED | ALLOWED)[call](backend.queue)
        await backend.queue.open()
        assert await backend.queue.epoch() == "first"

    run(scenario())
