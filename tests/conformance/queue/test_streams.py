"""Chunks go through a stream in the order of their push."""

import pytest

from notify.domain.ports import Push, Queue, Stream, StreamKind
from tests.conformance.queue.backends import Run

A = Stream(StreamKind.SUBSCRIPTION, 1)
B = Stream(StreamKind.SUBSCRIPTION, 2)


@pytest.mark.parametrize("kind", StreamKind)
def test_a_chunk_comes_out_as_it_went_in(queue: Queue, run: Run, kind: StreamKind) -> None:
    async def scenario() -> None:
        stream = Stream(kind, 3)
        chunk = bytes(range(256)) * 40
        await queue.push([Push(stream, chunk, 17)])
        (claim,) = await queue.claim([stream], "w1", 10)
        assert claim.stream == stream
        assert claim.chunk == chunk
        assert claim.items == 17
        assert not claim.redelivered

    run(scenario())


def test_streams_of_one_number_are_separate_by_kind(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        streams = [Stream(kind, 1) for kind in StreamKind]
        await queue.push([Push(stream, stream.kind.value.encode(), 1) for stream in streams])
        for stream in streams:
            (claim,) = await queue.claim([stream], "w1", 10)
            assert claim.chunk == stream.kind.value.encode()

    run(scenario())


def test_chunks_of_a_stream_keep_their_order(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"%d" % n, 1) for n in range(5)])
        await queue.push([Push(A, b"%d" % n, 1) for n in range(5, 8)])
        first = await queue.claim([A], "w1", 3)
        second = await queue.claim([A], "w2", 3)
        third = await queue.claim([A], "w1", 3)
        chunks = [claim.chunk for claim in first + second + third]
        assert chunks == [b"%d" % n for n in range(8)]
        assert [len(first), len(second), len(third)] == [3, 3, 2]

    run(scenario())


def test_claim_takes_up_to_the_maximum_of_each_stream_in_their_order(
    queue: Queue, run: Run
) -> None:
    async def scenario() -> None:
        await queue.push(
            [Push(A, b"a1", 1), Push(B, b"b1", 1), Push(A, b"a2", 1), Push(A, b"a3", 1)]
        )
        claims = await queue.claim([B, A], "w1", 2)
        assert [(claim.stream, claim.chunk) for claim in claims] == [
            (B, b"b1"),
            (A, b"a1"),
            (A, b"a2"),
        ]

    run(scenario())


def test_claim_of_nothing_is_empty_and_creates_nothing(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        assert await queue.claim([A, B], "w1", 10) == []
        assert await queue.claim([], "w1", 10) == []
        assert await queue.gauges([A]) == [(0, 0, False)]

    run(scenario())


def test_a_chunk_is_claimed_once(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1)])
        assert len(await queue.claim([A], "w1", 10)) == 1
        assert await queue.claim([A], "w1", 10) == []
        assert await queue.claim([A], "w2", 10) == []

    run(scenario())


def test_ack_pushes_what_follows_and_lets_go(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 2)])
        claims = await queue.claim([A], "w1", 10)
        await queue.ack(claims, [Push(A, b"rest", 1), Push(B, b"outcome", 1)])
        assert [gauge.depth for gauge in await queue.gauges([A, B])] == [1, 1]
        assert [c.chunk for c in await queue.claim([A, B], "w1", 10)] == [b"rest", b"outcome"]
        assert [c.chunk for c in await queue.takeover([A], "w2", 0, 10)] == [b"rest"]

    run(scenario())


def test_ack_again_is_no_error_and_changes_nothing(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 2), Push(A, b"b", 3)])
        claims = await queue.claim([A], "w1", 1)
        await queue.ack([*claims, *claims])
        await queue.ack(claims)
        assert (await queue.gauges([A]))[0].depth == 3
        assert [claim.chunk for claim in await queue.claim([A], "w1", 10)] == [b"b"]

    run(scenario())


def test_ack_after_the_stream_came_to_its_end(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1)])
        claims = await queue.claim([A], "w1", 1)
        await queue.ack(claims)
        await queue.ack(claims, [Push(B, b"follows", 1)])
        await queue.renew(claims, "w1")
        assert [gauge.depth for gauge in await queue.gauges([A, B])] == [0, 1]
        await queue.push([Push(A, b"again", 1)])
        await queue.ack(claims)
        assert [claim.chunk for claim in await queue.claim([A], "w1", 1)] == [b"again"]

    run(scenario())


def test_ack_in_any_order(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"%d" % n, 1) for n in range(4)])
        claims = await queue.claim([A], "w1", 4)
        for claim, left in zip(
            [claims[2], claims[0], claims[3], claims[1]], (3, 2, 1, 0), strict=True
        ):
            await queue.ack([claim])
            assert (await queue.gauges([A]))[0].depth == left

    run(scenario())
