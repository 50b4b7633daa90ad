"""Over any sequence of calls nothing is lost and nothing is doubled: compared with a model."""

import contextlib
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notify.domain.errors import QueueLost
from notify.domain.ports import Claim, Push, Queue, Stream, StreamKind
from tests.conformance.queue.backends import Backend, Run

STREAMS = [Stream(StreamKind.SUBSCRIPTION, 1), Stream(StreamKind.MARK, 1)]
IDLE_MS = 3
NEVER_MS = 1_000_000

stream_number = st.integers(0, len(STREAMS) - 1)
some = st.integers(1, 4)
# A delayed chunk's due time and promote's now are both the caller's: small numbers will do.
moment_ms = st.integers(1, 9)
pick = st.integers(0, 1000)
operation = st.one_of(
    st.tuples(st.just("push"), stream_number, st.lists(st.just(0) | moment_ms, max_size=4)),
    st.tuples(st.just("claim"), some),
    st.tuples(st.just("claim_one"), stream_number, some),
    st.tuples(st.just("ack"), st.lists(pick, max_size=4), st.booleans()),
    st.tuples(st.just("renew"), st.lists(pick, max_size=3)),
    st.tuples(st.just("crash"), some),
    st.tuples(st.just("promote"), moment_ms),
    st.tuples(st.just("lose")),
)


@dataclass
class Model:
    """What a correct queue holds; chunks are told apart by their bytes."""

    waiting: dict[Stream, list[bytes]] = field(default_factory=lambda: {s: [] for s in STREAMS})
    delayed: dict[Stream, list[tuple[int, bytes]]] = field(
        default_factory=lambda: {s: [] for s in STREAMS}
    )
    held: dict[Stream, dict[bytes, Claim]] = field(default_factory=lambda: {s: {} for s in STREAMS})

    def chunks(self, stream: Stream) -> list[bytes]:
        delayed = [chunk for _, chunk in self.delayed[stream]]
        return [*self.waiting[stream], *delayed, *self.held[stream]]


class Runner:
    """Carries out operations on the queue and on the model, and compares the answers."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.queue: Queue = backend.queue
        self.model = Model()
        self.claims: list[Claim] = []  # every claim ever, dead ones too
        self.pushed = 0
        self.epochs = 0

    async def lose(self) -> None:
        await self.backend.lose()
        # Entry names may carry the time: an old claim must not fit a new entry.
        await self.backend.advance(2)
        self.epochs += 1
        assert await self.queue.begin_epoch(f"epoch {self.epochs}")
        self.model = Model()
        for worker in ("w1", "w2", "w4"):
            with contextlib.suppress(QueueLost):  # said once to a worker that held something
                await self.queue.claim([], worker, 1)

    def prepare(self, stream: Stream, dues: list[int]) -> list[Push]:
        pushes = []
        for due_ms in dues:
            self.pushed += 1
            chunk = b"%d" % self.pushed
            pushes.append(Push(stream, chunk, items(chunk), due_ms))
            if due_ms:
                self.model.delayed[stream].append((due_ms, chunk))
            else:
                self.model.waiting[stream].append(chunk)
        return pushes

    async def push(self, stream: int, dues: list[int]) -> None:
        await self.queue.push(self.prepare(STREAMS[stream], dues))

    async def claim(self, chunks_max: int) -> None:
        self.took(await self.queue.claim(STREAMS, "w1", chunks_max), STREAMS, chunks_max)

    async def claim_one(self, stream: int, chunks_max: int) -> None:
        streams = [STREAMS[stream]]
        self.took(await self.queue.claim(streams, "w2", chunks_max), streams, chunks_max)

    def took(self, claims: list[Claim], streams: list[Stream], chunks_max: int) -> None:
        expected = [
            (stream, chunk, items(chunk), False)
            for stream in streams
            for chunk in self.model.waiting[stream][:chunks_max]
        ]
        found = [(claim.stream, claim.chunk, claim.items, claim.redelivered) for claim in claims]
        assert found == expected
        for claim in claims:
            self.model.waiting[claim.stream].remove(claim.chunk)
            self.model.held[claim.stream][claim.chunk] = claim
        self.claims += claims

    def picked(self, picks: list[int]) -> list[Claim]:
        return [self.claims[n % len(self.claims)] for n in picks] if self.claims else []

    async def ack(self, picks: list[int], follow: bool) -> None:
        claims = self.picked(picks)
        pushes = self.prepare(STREAMS[0], [0, 5]) if follow else []
        for claim in claims:
            if self.model.held[claim.stream].get(claim.chunk) is claim:
                del self.model.held[claim.stream][claim.chunk]
        await self.queue.ack(claims, pushes)

    async def renew(self, picks: list[int]) -> None:
        await self.queue.renew(self.picked(picks), "w1")

    async def crash(self, chunks_max: int) -> None:
        await self.backend.advance(IDLE_MS)
        claims = await self.queue.takeover(STREAMS, "w3", IDLE_MS, chunks_max)
        for stream in STREAMS:
            taken = [claim for claim in claims if claim.stream == stream]
            held = self.model.held[stream]
            assert len(taken) == min(chunks_max, len(held))
            for claim in taken:
                assert claim.redelivered
                assert claim.items == items(claim.chunk)
                assert claim.chunk in held
                held[claim.chunk] = claim
        self.claims += claims

    async def promote(self, now_ms: int) -> None:
        next_ms = await self.queue.promote(STREAMS, now_ms)
        for stream, delayed in self.model.delayed.items():
            due = sorted(
                (entry for entry in delayed if entry[0] <= now_ms), key=lambda entry: entry[0]
            )
            self.model.waiting[stream] += [chunk for _, chunk in due]
            self.model.delayed[stream] = [entry for entry in delayed if entry[0] > now_ms]
        assert next_ms == min((e[0] for d in self.model.delayed.values() for e in d), default=0)

    async def check(self) -> None:
        gauges = await self.queue.gauges(STREAMS)
        for stream, gauge in zip(STREAMS, gauges, strict=True):
            chunks = self.model.chunks(stream)
            assert gauge.depth == sum(map(items, chunks))
            assert bool(gauge.oldest_ms) == bool(chunks)

    async def drain(self) -> None:
        """Everything that should be there comes out once, and then there is nothing."""
        await self.queue.promote(STREAMS, NEVER_MS)
        await self.backend.advance(IDLE_MS)
        claims = await self.queue.takeover(STREAMS, "w4", IDLE_MS, 10_000)
        claims += await self.queue.claim(STREAMS, "w4", 10_000)
        out = Counter((claim.stream, claim.chunk) for claim in claims)
        assert out == Counter((s, chunk) for s in STREAMS for chunk in self.model.chunks(s))
        await self.queue.ack(claims)
        assert await self.queue.gauges(STREAMS) == [(0, 0, False)] * len(STREAMS)


def items(chunk: bytes) -> int:
    """How many items a test chunk claims to hold: some number that differs between chunks."""
    return 1 + int(chunk) % 7


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations=st.lists(operation, max_size=30))
def test_nothing_is_lost_or_doubled(
    backend: Backend, run: Run, operations: list[tuple[str, ...]]
) -> None:
    async def scenario() -> None:
        runner = Runner(backend)
        await runner.lose()
        for name, *arguments in operations:
            await getattr(runner, name)(*arguments)
            await runner.check()
        await runner.drain()

    run(scenario())
