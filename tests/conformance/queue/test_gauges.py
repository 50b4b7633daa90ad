"""Gauges count items, know the oldest push and carry the spill flag."""

from notify.domain.ports import Push, Queue, Stream, StreamKind
from tests.conformance.queue.backends import Backend, Run

A = Stream(StreamKind.SUBSCRIPTION, 1)
B = Stream(StreamKind.SUBSCRIPTION, 2)


def test_an_unknown_stream_is_empty(queue: Queue, run: Run) -> None:
    assert run(queue.gauges([A, B])) == [(0, 0, False), (0, 0, False)]
    assert run(queue.gauges([])) == []


def test_depth_counts_items_waiting_delayed_and_claimed(queue: Queue, run: Run) -> None:
    async def depth() -> int:
        return (await queue.gauges([A]))[0].depth

    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1), Push(A, b"b", 10), Push(A, b"c", 100, 50)])
        assert await depth() == 111
        first = await queue.claim([A], "w1", 1)
        assert await depth() == 111
        await queue.promote([A], 50)
        assert await depth() == 111
        second = await queue.claim([A], "w1", 2)
        assert await depth() == 111
        await queue.ack(first)
        assert await depth() == 110
        await queue.ack(second[1:], [Push(A, b"d", 1000)])
        assert await depth() == 1010

    run(scenario())


def test_gauges_answer_in_the_order_asked(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1), Push(B, b"b", 2)])
        assert [gauge.depth for gauge in await queue.gauges([B, A, B])] == [2, 1, 2]

    run(scenario())


def test_oldest_is_the_time_of_push(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        times = []
        for chunk in (b"a", b"b", b"c"):
            before_ms = backend.now_ms()
            await queue.push([Push(A, chunk, 1)])
            times.append((before_ms, backend.now_ms()))
            await backend.advance(10)
        claims = await queue.claim([A], "w1", 3)
        # Acknowledged out of order: the oldest that is left counts, not the last one gone.
        for claim, oldest in ((claims[1], 0), (claims[0], 2)):
            await queue.ack([claim])
            before_ms, after_ms = times[oldest]
            assert before_ms <= (await queue.gauges([A]))[0].oldest_ms <= after_ms
        await queue.ack(claims[2:])
        assert (await queue.gauges([A]))[0].oldest_ms == 0

    run(scenario())


def test_oldest_outlasts_delay_promotion_and_takeover(
    backend: Backend, queue: Queue, run: Run
) -> None:
    async def scenario() -> None:
        before_ms = backend.now_ms()
        due_ms = before_ms + 5
        await queue.push([Push(A, b"delayed", 1, due_ms)])
        after_ms = backend.now_ms()

        async def check() -> None:
            assert before_ms <= (await queue.gauges([A]))[0].oldest_ms <= after_ms

        await check()
        await backend.advance(10)
        await queue.push([Push(A, b"newer", 1)])
        await check()
        await queue.promote([A], due_ms)
        await check()
        claims = await queue.claim([A], "w1", 2)
        await check()
        await backend.advance(10)
        taken = await queue.takeover([A], "w2", 10, 2)
        await check()
        await queue.ack(claims)
        await check()
        await queue.ack([claim for claim in taken if claim.chunk == b"delayed"])
        assert (await queue.gauges([A]))[0].oldest_ms > after_ms

    run(scenario())


def test_spill_is_a_flag_of_each_stream(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.spill([A], on=True)
        assert [gauge.spilling for gauge in await queue.gauges([A, B])] == [True, False]
        await queue.spill([A, B], on=True)
        assert [gauge.spilling for gauge in await queue.gauges([A, B])] == [True, True]
        await queue.spill([A], on=False)
        assert [gauge.spilling for gauge in await queue.gauges([A, B])] == [False, True]

    run(scenario())


def test_spill_stops_no_push_and_outlives_an_empty_stream(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.spill([A], on=True)
        await queue.push([Push(A, b"a", 1)])
        assert (await queue.gauges([A]))[0][::2] == (1, True)
        await queue.ack(await queue.claim([A], "w1", 1))
        assert await queue.gauges([A]) == [(0, 0, True)]
        await queue.spill([A], on=False)
        assert await queue.gauges([A]) == [(0, 0, False)]

    run(scenario())


def test_what_follows_from_a_chunk_is_as_old_as_that_was(
    backend: Backend, queue: Queue, run: Run
) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"first", 1)])
        (first,) = await queue.claim([A], "w1", 1)
        assert first.since_ms == (await queue.gauges([A]))[0].oldest_ms
        await backend.advance(20)
        retry = Push(A, b"retry", 1, backend.now_ms() + 5, first.since_ms)
        await queue.ack([first], [Push(A, b"new", 1), retry])
        assert (await queue.gauges([A]))[0].oldest_ms == first.since_ms
        await backend.advance(10)
        await queue.promote([A], backend.now_ms())
        new, again = await queue.claim([A], "w1", 2)
        assert (again.chunk, again.since_ms) == (b"retry", first.since_ms)
        await queue.ack([again])
        assert (await queue.gauges([A]))[0].oldest_ms == new.since_ms > first.since_ms

    run(scenario())
