"""Requests/s of the delivery client, 64 in flight, against a sink that costs next to nothing.

The sink runs in a process of its own (this file, started as a module), so with two cores the
figure is that of one core of client. Ours on uvloop and on plain asyncio, then aiohttp on
uvloop, in one run: the ratio is what to keep.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
import uvloop

from notify.config import SenderConfig, load
from notify.transport import HttpTransport, parse_endpoint, request_prefix

IN_FLIGHT = 64
REQUESTS = 20_000
ROUNDS = 5
BODY = b"x" * 600
SINK_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok"

Send = Callable[[], Awaitable[int]]


class Sink(asyncio.Protocol):
    """Answers once for every request of the one known length, without reading it."""

    def __init__(self, request_bytes: int) -> None:
        self._request_bytes = request_bytes
        self._pending = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._pending += len(data)
        while self._pending >= self._request_bytes:
            self._pending -= self._request_bytes
            self._transport.write(SINK_ANSWER)


async def serve_sink(request_bytes: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Sink(request_bytes), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def start_sink(request_bytes: int) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.test_transport", str(request_bytes)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def our_head(port: int) -> bytes:
    """A head as the Sender makes it: the consumer's part, then the delivery's."""
    return request_prefix(parse_endpoint(f"http://127.0.0.1:{port}/hook"), {}) + (
        b"content-type: application/json\r\nwebhook-id: 7031000000000000000\r\n"
        b"webhook-timestamp: 1700000000\r\n"
        b"webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\r\n"
        b"content-length: 600\r\n\r\n"
    )


def padded_head(port: int) -> bytes:
    """The head at a length that does not depend on how many digits the port has."""
    head = our_head(port)
    return head[:-2] + b"x-pad: " + b"-" * (5 - len(str(port))) + b"\r\n\r\n"


def config() -> SenderConfig:
    return load(environ={}, flags={"sender.allow_cidrs": ["127.0.0.0/8"]}).sender


async def in_flight(send: Send, count: int = REQUESTS) -> None:
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            assert await send() == 200

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(worker())


@pytest.fixture
def sink_port() -> Iterator[int]:
    process, port = start_sink(len(padded_head(65535)) + len(BODY))
    yield port
    process.terminate()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def measure(benchmark, runner: asyncio.Runner, send: Send) -> None:  # type: ignore[no-untyped-def]
    cpu_s = []

    def round_() -> None:
        before = time.process_time()
        runner.run(in_flight(send))
        cpu_s.append(time.process_time() - before)

    benchmark.pedantic(round_, rounds=ROUNDS, warmup_rounds=1)
    benchmark.extra_info["requests_per_s"] = round(REQUESTS / benchmark.stats.stats.median)
    # What one core gives when nobody else wants it: the figure to compare on a shared machine.
    benchmark.extra_info["requests_per_core_s"] = round(REQUESTS / statistics.median(cpu_s))
    print(benchmark.extra_info)


@pytest.mark.benchmark(group="transport")
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_ours(benchmark, sink_port: int, loop: str) -> None:  # type: ignore[no-untyped-def]
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    endpoint = parse_endpoint(f"http://127.0.0.1:{sink_port}/hook")
    head = padded_head(sink_port)
    with asyncio.Runner(loop_factory=factory) as runner:

        async def make() -> HttpTransport:
            return HttpTransport(config())

        transport = runner.run(make())

        async def send() -> int:
            return (await transport.post(endpoint, head, BODY, 10_000)).code

        measure(benchmark, runner, send)
        runner.run(transport.close())


@pytest.mark.benchmark(group="transport")
def test_aiohttp(benchmark, sink_port: int) -> None:  # type: ignore[no-untyped-def]
    aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is only the yardstick here")
    head = padded_head(sink_port)
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if ": " in line)
    headers["content-type"] = "application/json"
    url = f"http://127.0.0.1:{sink_port}/hook"
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        async def make() -> "aiohttp.ClientSession":
            return aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=IN_FLIGHT),
                skip_auto_headers=("accept", "accept-encoding", "user-agent"),
            )

        session = runner.run(make())

        async def send() -> int:
            async with session.post(url, data=BODY, headers=headers) as answer:
                await answer.read()
                return int(answer.status)

        measure(benchmark, runner, send)
        runner.run(session.close())


if __name__ == "__main__":
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(serve_sink(int(sys.argv[1])))
