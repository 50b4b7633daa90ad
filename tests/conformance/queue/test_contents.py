"""What a stream holds can be read without claiming it, and trimmed where nobody has."""

import pytest

from notify.domain.ports import Content, Push, Queue, Stream, StreamKind
from tests.conformance.queue.backends import Backend, Run

A = Stream(StreamKind.SUBSCRIPTION, 1)
B = Stream(StreamKind.SUBSCRIPTION, 2)


async def everything(queue: Queue, limit: int = 2) -> dict[bytes, Content]:
    """All chunks of A by their bytes, read in pages."""
    found: dict[bytes, Content] = {}
    after = ""
    while True:
        page, after = await queue.contents(A, after, limit)
        found.update((content.chunk, content) for content in page)
        if not after:
            return found


async def one(queue: Queue) -> Content:
    [content] = (await everything(queue)).values()
    return content


def test_an_empty_stream_has_no_contents(queue: Queue, run: Run) -> None:
    assert run(queue.contents(A, "", 10)) == ([], "")


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_waiting_claimed_and_delayed_chunks_are_seen(queue: Queue, run: Run, limit: int) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"c%d" % n, n + 1, 0, 50 + n) for n in range(5)])
        await queue.push([Push(A, b"d%d" % n, 7, 1000 + n, 20) for n in range(3)])
        await queue.push([Push(B, b"other", 1)])
        await queue.claim([A], "w1", 2)
        found = await everything(queue, limit)
        shown = {chunk: tuple(content)[2:] for chunk, content in found.items()}
        assert shown == {
            **{b"c%d" % n: (n + 1, 0, 50 + n, n < 2) for n in range(5)},
            **{b"d%d" % n: (7, 1000 + n, 20, False) for n in range(3)},
        }
        assert len({content.entry for content in found.values()}) == 8
        # Looking changed nothing.
        assert (await queue.gauges([A]))[0].depth == 36
        assert [claim.chunk for claim in await queue.claim([A], "w1", 9)] == [b"c2", b"c3", b"c4"]

    run(scenario())


def test_what_is_promoted_between_two_pages_is_seen(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"d%d" % n, 1, 1000) for n in range(300)])
        page, after = await queue.contents(A, "", 10)
        seen = {content.chunk for content in page}
        await queue.promote([A], 1000)
        while after:
            page, after = await queue.contents(A, after, 10)
            seen |= {content.chunk for content in page}
        assert len(seen) == 300

    run(scenario())


def test_a_waiting_chunk_is_replaced(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"abc", 3, 0, 50), Push(A, b"z", 1, 0, 90)])
        content = (await everything(queue))[b"abc"]
        assert await queue.replace(A, content, b"ab", 2)
        assert await queue.gauges([A]) == [(3, 50, False)]
        claims = await queue.claim([A], "w1", 9)
        assert {(c.chunk, c.items, c.since_ms, c.redelivered) for c in claims} == {
            (b"ab", 2, 50, False),
            (b"z", 1, 90, False),
        }
        await queue.ack(claims)
        assert await queue.gauges([A]) == [(0, 0, False)]

    run(scenario())


def test_a_delayed_chunk_is_replaced_and_stays_delayed(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"abc", 3, 1000, 50), Push(A, b"z", 1, 2000, 90)])
        assert await queue.replace(A, (await everything(queue))[b"abc"], b"ab", 2)
        assert (await everything(queue))[b"ab"][2:5] == (2, 1000, 50)
        assert await queue.gauges([A]) == [(3, 50, False)]
        assert await queue.promote([A], 1000) == 2000
        [claim] = await queue.claim([A], "w1", 9)
        assert (claim.chunk, claim.items, claim.since_ms) == (b"ab", 2, 50)

    run(scenario())


@pytest.mark.parametrize("due_ms", [0, 1000])
def test_a_chunk_is_removed(queue: Queue, run: Run, due_ms: int) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"x", 3, due_ms, 50), Push(A, b"y", 2, due_ms, 60)])
        found = await everything(queue)
        assert await queue.replace(A, found[b"x"], b"", 0)
        assert await queue.gauges([A]) == [(2, 60, False)]
        assert not await queue.replace(A, found[b"x"], b"", 0), "it is gone"
        assert await queue.replace(A, found[b"y"], b"", 0)
        assert await queue.gauges([A]) == [(0, 0, False)]
        assert await everything(queue) == {}
        await queue.promote([A], 5000)
        assert await queue.claim([A], "w1", 9) == []
        await queue.push([Push(A, b"new", 1)])
        assert [claim.chunk for claim in await queue.claim([A], "w1", 9)] == [b"new"]

    run(scenario())


def test_what_somebody_holds_is_left_alone(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"x", 3)])
        seen = await one(queue)
        [claim] = await queue.claim([A], "w1", 1)
        assert not await queue.replace(A, seen, b"y", 1)
        assert not await queue.replace(A, await one(queue), b"", 0)
        assert await queue.gauges([A]) == [(3, claim.since_ms, False)]
        await queue.ack([claim])
        assert not await queue.replace(A, seen, b"y", 1)
        assert await queue.gauges([A]) == [(0, 0, False)]

    run(scenario())


def test_a_replaced_chunk_is_found_by_who_looked_before(backend: Backend, run: Run) -> None:
    async def scenario() -> None:
        queue, other = backend.queue, await backend.other()
        await queue.push([Push(A, b"abc", 3, backend.now_ms() + 60_000)])
        assert await queue.claim([A], "w1", 9) == []
        assert await queue.promote([A], 10) > 10
        assert await other.replace(A, await one(other), b"ab", 2)
        assert await queue.promote([A], backend.now_ms() + 60_000) == 0
        assert [claim.chunk for claim in await queue.claim([A], "w1", 9)] == [b"ab"]

    run(scenario())


@pytest.mark.parametrize("due_ms", [0, 1000])
def test_a_chunk_is_replaced_by_one_of_as_many_items(queue: Queue, run: Run, due_ms: int) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"abc", 3, due_ms, 50)])
        assert await queue.replace(A, await one(queue), b"abd", 3)
        assert (await one(queue)).chunk == b"abd"
        assert await queue.gauges([A]) == [(3, 50, False)]

    run(scenario())
