"""Pushing 650 B entries to 50 queues in Redis, and consuming them with nothing lost.

Each group is one job, from what one writes first to the ceiling; rates come out as
entries_per_s. A private redis-server on a unix socket.
"""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator

import pytest
import redis
import uvloop

from notify.domain.ports import Push, Stream, StreamKind
from notify.queue.redis import RedisQueue
from notify.runtime.clock import SystemClock
from notify_core import push as core_push
from notify_core.pure import push as pure_push
from tests.servers.redis import RedisServer

ENTRIES = 500
STREAMS = [Stream(StreamKind.SUBSCRIPTION, n) for n in range(1, 51)]
PAYLOAD = b"x" * 650
PUSHES = [Push(STREAMS[n % len(STREAMS)], PAYLOAD, 1) for n in range(ENTRIES)]
# As the Maker makes them under load: 100 deliveries a chunk.
CHUNK_ROWS = 100
CHUNKS = [Push(stream, PAYLOAD * CHUNK_ROWS, CHUNK_ROWS) for stream in STREAMS]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    server = RedisServer("--save", "", "--maxmemory", "2gb")
    server.start()
    yield server
    server.remove()


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as client:
        client.flushall()
        yield client


class Bench:
    """An open queue on an own loop."""

    def __init__(self, server: RedisServer) -> None:
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.run = self.runner.run
        self.queue = RedisQueue(server.url, SystemClock())
        self.run(self.queue.open())
        self.run(self.queue.begin_epoch("bench"))

    def push(self, pushes: list[Push]) -> None:
        self.run(self.queue.push(pushes))

    def consume(self, chunks_max: int) -> None:
        async def consume() -> None:
            while claims := await self.queue.claim(STREAMS, "w1", chunks_max):
                await self.queue.ack(claims)

        self.run(consume())

    def close(self) -> None:
        self.run(self.queue.close())
        self.runner.close()


@pytest.fixture
def bench(server: RedisServer, client: redis.Redis) -> Iterator[Bench]:
    bench = Bench(server)
    yield bench
    bench.close()


def rate(benchmark, group, entries):
    benchmark.group = group
    # After the run, so that the report can show it.
    if benchmark.stats is not None:
        benchmark.extra_info["entries_per_s"] = round(entries / benchmark.stats.stats.median)
        print(f"\n{group}, {benchmark.name}: {benchmark.extra_info['entries_per_s']:,} entries/s")


def emptied(client):
    """Before each round: an empty server, so that no round pays for the last one's entries."""
    return lambda: client.delete(*[f"x{n}" for n in range(50)]) and None


def test_push_one_command_each(benchmark, client):
    def one_each():
        for n in range(ENTRIES):
            client.xadd(f"x{n % 50}", {"c": PAYLOAD})

    benchmark.pedantic(one_each, setup=emptied(client), rounds=10)
    rate(benchmark, "push 650 B", ENTRIES)


def test_push_redis_py_pipeline(benchmark, client):
    def pipeline():
        pipe = client.pipeline(transaction=False)
        for n in range(ENTRIES):
            pipe.xadd(f"x{n % 50}", {"c": PAYLOAD})
        pipe.execute()

    benchmark.pedantic(pipeline, setup=emptied(client), rounds=30)
    rate(benchmark, "push 650 B", ENTRIES)


def test_push_bare_xadd_packed_in_core(benchmark, client):
    """The ceiling of the kind: no ages, no depth, no groups, no wake log."""
    connection = client.connection_pool.get_connection()
    commands = [(b"XADD", b"x%d" % (n % 50), b"*", b"c", PAYLOAD) for n in range(ENTRIES)]

    def packed():
        connection.send_packed_command([core_push.pack(commands)])
        for _ in commands:
            connection.read_response(disable_decoding=True)

    benchmark.pedantic(packed, setup=emptied(client), rounds=30)
    client.connection_pool.release(connection)
    rate(benchmark, "push 650 B", ENTRIES)


def test_push_queue(benchmark, bench, client):
    def setup():
        bench.consume(500)

    benchmark.pedantic(lambda: bench.push(PUSHES), setup=setup, rounds=30)
    rate(benchmark, "push 650 B", ENTRIES)


def test_push_queue_in_chunks_of_100(benchmark, bench, client):
    benchmark.pedantic(lambda: bench.push(CHUNKS), setup=lambda: bench.consume(500), rounds=20)
    rate(benchmark, "push 650 B", len(CHUNKS) * CHUNK_ROWS)


def test_push_redis_benchmark(server, client):
    """redis-benchmark's own pipelined rate, one connection: the server alone."""
    program = shutil.which("redis-benchmark")
    if program is None:
        pytest.skip("redis-benchmark is in Debian's redis-tools")
    found = subprocess.run(
        [program, "-s", str(server.socket), "-c", "1", "-P", "500", "-n", "100000", "-q",
         "XADD", "bench", "MAXLEN", "~", "1000", "*", "c", PAYLOAD.decode()],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    print("\npush 650 B, redis-benchmark -P 500:", found.stdout.rsplit("x: ", 1)[-1].strip())


@pytest.mark.parametrize("chunks_max", [1, 10])
def test_claim_and_ack(benchmark, bench, chunks_max):
    benchmark.pedantic(
        lambda: bench.consume(chunks_max), setup=lambda: bench.push(PUSHES), rounds=20
    )
    rate(benchmark, "claim and ack 650 B", ENTRIES)


def test_claim_and_ack_chunks_of_100(benchmark, bench):
    benchmark.pedantic(lambda: bench.consume(1), setup=lambda: bench.push(CHUNKS), rounds=20)
    rate(benchmark, "claim and ack 650 B", len(CHUNKS) * CHUNK_ROWS)


def test_claim_and_ack_redis_py(benchmark, client):
    """XREADGROUP, XACK and XDEL of 10 entries of each stream, by pipelines of redis-py."""

    def fill():
        client.flushdb()
        pipe = client.pipeline(transaction=False)
        for n in range(ENTRIES):
            pipe.xadd(f"x{n % 50}", {"c": PAYLOAD})
        for n in range(50):
            pipe.xgroup_create(f"x{n}", "g", "0")
        pipe.execute()

    def consume():
        pipe = client.pipeline(transaction=False)
        for n in range(50):
            pipe.xreadgroup("g", "w", {f"x{n}": ">"}, count=10)
        claimed = pipe.execute()
        for n, reply in enumerate(claimed):
            (entries,) = reply.values() if isinstance(reply, dict) else [reply[0][1]]
            ids = [entry[0] for entry in (entries[0] if isinstance(entries[0], list) else entries)]
            pipe.xack(f"x{n}", "g", *ids)
            pipe.xdel(f"x{n}", *ids)
        pipe.execute()

    benchmark.pedantic(consume, setup=fill, rounds=20)
    rate(benchmark, "claim and ack 650 B", ENTRIES)


def redis_py_packed(pushes):
    packer = redis.Connection()
    return b"".join(
        packer.pack_commands(
            [("FCALL", "f", 1, "nt:{s1}:q", push.items, 0, 0, push.chunk) for push in pushes]
        )
    )


GROUPS = [((b"nt:{s%d}:q" % n,), PUSHES[n::50]) for n in range(50)]
PACKERS = {
    "redis-py": lambda: redis_py_packed(PUSHES),
    "pure twin": lambda: pure_push.pack_pushes(b"f", GROUPS, (b"run", 1)),
    "core": lambda: core_push.pack_pushes(b"f", GROUPS, (b"run", 1)),
}


@pytest.mark.parametrize("packer", PACKERS)
def test_packing_alone(benchmark, packer):
    benchmark(PACKERS[packer])
    rate(benchmark, "pack pushes", ENTRIES)


@pytest.mark.parametrize("twin", [pure_push, core_push], ids=["pure twin", "core"])
def test_scanning_alone(benchmark, twin):
    answer = b"$5\r\nepoch\r\n" + b":12345\r\n" * ENTRIES
    benchmark(twin.scan, answer, 0, ENTRIES + 1)
    rate(benchmark, "scan replies", ENTRIES)
