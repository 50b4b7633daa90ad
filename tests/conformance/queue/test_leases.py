"""A claim is a lease: renewed it lasts, idle it can be taken over, taken over it is dead."""

from notify.domain.ports import Claim, Push, Queue, Stream, StreamKind
from tests.conformance.queue.backends import Backend, Run

A = Stream(StreamKind.SUBSCRIPTION, 1)
B = Stream(StreamKind.SUBSCRIPTION, 2)
IDLE_MS = 40
LONG_MS = 60_000


def chunks(claims: list[Claim]) -> list[bytes]:
    return [claim.chunk for claim in claims]


def test_what_was_not_claimed_is_not_taken_over(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"waits", 1), Push(A, b"later", 1, backend.now_ms() + 1)])
        await backend.advance(IDLE_MS)
        assert await queue.takeover([A, B], "w2", IDLE_MS, 10) == []
        assert chunks(await queue.claim([A], "w1", 10)) == [b"waits"]

    run(scenario())


def test_a_claim_in_time_is_left_alone(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1)])
        await queue.claim([A], "w1", 1)
        assert await queue.takeover([A], "w2", LONG_MS, 10) == []

    run(scenario())


def test_an_idle_claim_is_taken_over(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 5), Push(B, b"b", 1)])
        first = await queue.claim([A, B], "w1", 1)
        await backend.advance(IDLE_MS)
        other = await backend.other()
        second = await other.takeover([A, B], "w2", IDLE_MS, 10)
        assert [
            (claim.stream, claim.chunk, claim.items, claim.redelivered) for claim in second
        ] == [
            (A, b"a", 5, True),
            (B, b"b", 1, True),
        ]
        assert [claim.since_ms for claim in second] == [claim.since_ms for claim in first]
        assert not any(claim.redelivered for claim in first)
        assert await queue.takeover([A, B], "w1", LONG_MS, 10) == []
        await other.ack(second)
        assert [gauge.depth for gauge in await queue.gauges([A, B])] == [0, 0]

    run(scenario())


def test_a_worker_takes_over_its_own_after_a_restart(
    backend: Backend, queue: Queue, run: Run
) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1)])
        first = await queue.claim([A], "w1", 1)
        await backend.advance(IDLE_MS)
        second = await queue.takeover([A], "w1", IDLE_MS, 10)
        assert chunks(second) == [b"a"]
        await queue.ack(first)
        assert (await queue.gauges([A]))[0].depth == 1
        await queue.ack(second)
        assert (await queue.gauges([A]))[0].depth == 0

    run(scenario())


def test_takeover_is_bounded_for_each_stream(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(stream, b"%d" % n, 1) for n in range(5) for stream in (A, B)])
        await queue.claim([A, B], "w1", 5)
        await backend.advance(IDLE_MS)
        taken = await queue.takeover([A, B], "w2", IDLE_MS, 2)
        assert [claim.stream for claim in taken] == [A, A, B, B]
        rest = await queue.takeover([A, B], "w2", IDLE_MS // 2, 10)
        assert len({(claim.stream, claim.chunk) for claim in taken + rest}) == 10

    run(scenario())


def test_renewal_prolongs(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"%d" % n, 1) for n in range(3)])
        claims = await queue.claim([A], "w1", 3)
        await backend.advance(IDLE_MS)
        await queue.renew([claims[0], claims[2]], "w1")
        assert chunks(await queue.takeover([A], "w2", IDLE_MS, 10)) == [b"1"]
        await queue.ack([claims[0], claims[2]])
        assert (await queue.gauges([A]))[0].depth == 1

    run(scenario())


def test_a_renewed_claim_ends_later(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1)])
        claims = await queue.claim([A], "w1", 1)
        await backend.advance(IDLE_MS)
        await queue.renew(claims, "w1")
        await backend.advance(IDLE_MS)
        assert chunks(await queue.takeover([A], "w2", IDLE_MS, 10)) == [b"a"]

    run(scenario())


def test_a_claim_that_was_taken_over_is_dead(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1)])
        dead = await queue.claim([A], "w1", 1)
        await backend.advance(IDLE_MS)
        live = await queue.takeover([A], "w2", IDLE_MS, 10)
        await queue.ack(dead)
        assert (await queue.gauges([A]))[0].depth == 1, "the new holder's entry is gone"
        await backend.advance(IDLE_MS)
        await queue.renew(dead, "w1")
        (again,) = await queue.takeover([A], "w3", IDLE_MS, 10)
        assert again.redelivered
        await queue.ack(live)
        assert (await queue.gauges([A]))[0].depth == 1
        await queue.ack([again])
        assert (await queue.gauges([A]))[0].depth == 0

    run(scenario())


def test_renewal_keeps_the_claim_good_for_ack(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1)])
        claims = await queue.claim([A], "w1", 1)
        await queue.renew(claims, "w1")
        await queue.renew(claims, "w1")
        await queue.ack(claims)
        assert (await queue.gauges([A]))[0].depth == 0

    run(scenario())


def test_the_pushes_of_a_dead_ack_are_made(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1)])
        dead = await queue.claim([A], "w1", 1)
        await backend.advance(IDLE_MS)
        await queue.takeover([A], "w2", IDLE_MS, 10)
        await queue.ack(dead, [Push(B, b"follows", 1)])
        assert chunks(await queue.claim([B], "w1", 10)) == [b"follows"]

    run(scenario())


def test_renewing_what_is_gone_is_no_error(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.push([Push(A, b"a", 1), Push(A, b"b", 1)])
        claims = await queue.claim([A], "w1", 2)
        await queue.ack(claims[:1])
        await queue.renew(claims, "w1")
        await queue.ack(claims[1:])
        await queue.renew(claims, "w1")
        assert await queue.gauges([A]) == [(0, 0, False)]

    run(scenario())
