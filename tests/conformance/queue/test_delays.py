"""A delayed chunk waits in its stream's delay set until it is due and promoted."""

from notify.domain.ports import Push, Queue, Stream, StreamKind
from tests.conformance.queue.backends import Backend, Run

A = Stream(StreamKind.SUBSCRIPTION, 1)
B = Stream(StreamKind.SUBSCRIPTION, 2)


def test_a_delayed_chunk_is_not_claimed_before(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        due_ms = backend.now_ms() + 30
        await queue.push([Push(A, b"later", 3, due_ms), Push(A, b"now", 1)])
        assert [claim.chunk for claim in await queue.claim([A], "w1", 10)] == [b"now"]
        assert await queue.promote([A], due_ms - 1) == due_ms
        assert await queue.claim([A], "w1", 10) == []
        assert await queue.promote([A], due_ms) == 0
        (claim,) = await queue.claim([A], "w1", 10)
        assert (claim.chunk, claim.items, claim.redelivered) == (b"later", 3, False)

    run(scenario())


def test_time_alone_promotes_nothing(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"due", 1, backend.now_ms() + 5), Push(B, b"past", 1, 1)])
        await backend.advance(10)
        assert await queue.claim([A, B], "w1", 10) == []
        assert await queue.promote([A, B], backend.now_ms()) == 0
        assert [c.chunk for c in await queue.claim([A, B], "w1", 10)] == [b"due", b"past"]

    run(scenario())


def test_chunks_move_in_due_order_behind_what_waits(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        dues = (30, 10, 1_000, 20)
        await queue.push([Push(A, b"%d" % due, 1, due) for due in dues])
        await queue.push([Push(A, b"waits", 1)])
        assert await queue.promote([A], 100) == 1_000
        claimed = [claim.chunk for claim in await queue.claim([A], "w1", 10)]
        assert claimed == [b"waits", b"10", b"20", b"30"]

    run(scenario())


def test_promote_answers_the_earliest_over_all_streams(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        assert await queue.promote([A, B], 5) == 0
        await queue.push([Push(A, b"a", 1, 50), Push(B, b"b", 1, 40), Push(B, b"c", 1, 60)])
        assert await queue.promote([A, B], 5) == 40
        assert await queue.promote([A], 5) == 50
        assert await queue.promote([A, B], 40) == 50
        assert await queue.promote([B], 40) == 60
        assert await queue.promote([A, B], 60) == 0
        assert await queue.promote([], 60) == 0

    run(scenario())


def test_only_the_streams_named_are_promoted(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1, 10), Push(B, b"b", 1, 10)])
        await queue.promote([B], 10)
        assert [claim.chunk for claim in await queue.claim([A, B], "w1", 10)] == [b"b"]

    run(scenario())


def test_equal_chunks_are_not_merged(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"same", 1, 10), Push(A, b"same", 1, 10)])
        await queue.push([Push(A, b"same", 1, 20)])
        await queue.promote([A], 20)
        assert len(await queue.claim([A], "w1", 10)) == 3

    run(scenario())


def test_ack_can_delay_what_follows(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"try", 1)])
        await queue.ack(await queue.claim([A], "w1", 1), [Push(A, b"retry", 1, 10)])
        assert await queue.claim([A], "w1", 1) == []
        assert await queue.promote([A], 9) == 10
        await queue.promote([A], 10)
        assert [claim.chunk for claim in await queue.claim([A], "w1", 1)] == [b"retry"]

    run(scenario())


def test_a_promoted_chunk_is_leased_like_any_other(
    backend: Backend, queue: Queue, run: Run
) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1, 10)])
        await queue.promote([A], 10)
        dead = await queue.claim([A], "w1", 1)
        await backend.advance(20)
        live = await queue.takeover([A], "w2", 20, 1)
        await queue.ack(dead)
        assert (await queue.gauges([A]))[0].depth == 1
        await queue.ack(live)
        assert await queue.gauges([A]) == [(0, 0, False)]

    run(scenario())


def test_equally_due_chunks_keep_the_order_of_push(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        # Enough of them that an order by text (10 before 9) shows.
        await queue.push([Push(A, b"%d" % n, 1, 10) for n in range(12)])
        await queue.promote([A], 10)
        claims = await queue.claim([A], "w1", 20)
        assert [claim.chunk for claim in claims] == [b"%d" % n for n in range(12)]

    run(scenario())
