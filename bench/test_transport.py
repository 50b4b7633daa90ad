"""Requests per core-second of the delivery client, 64 in flight, beside others in one run.

The sink runs in a process of its own (this file, started as a module), so with two cores the
figure is that of one core of client. Ours on uvloop and on plain asyncio, aiohttp on uvloop, and
the ceiling: bench/bare_uvloop.py. They take turns, round by round, so that what else the machine
does strikes all alike; the ratios are what to keep.
"""

import asyncio
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop

from bench.bare_uvloop import BareClient
from notify.config import SenderConfig, load
from notify.domain.errors import TransportError
from notify.domain.ports import Answer, Endpoint
from notify.transport import HttpTransport, parse_endpoint, request_prefix

IN_FLIGHT = 64
REQUESTS = 12_000
ROUNDS = 5
BODY = b"x" * 600
SINK_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok"
CERTIFICATES = Path(__file__).parents[1] / "tests" / "transport" / "certificates"

Send = Callable[[int], Awaitable[None]]


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


async def serve_sink(request_bytes: int, endpoints: int, tls: bool) -> None:
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATES / "endpoint.pem")
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda: Sink(request_bytes), "127.0.0.1", 0, ssl=context)
        for _ in range(endpoints)
    ]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.Event().wait()


@contextmanager
def sink(endpoints: int, tls: bool) -> Iterator[list[int]]:
    """Its ports."""
    request_bytes = len(padded_head(endpoint_of(65535, tls))) + len(BODY)
    arguments = [str(request_bytes), str(endpoints), str(int(tls))]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.test_transport", *arguments],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield [int(port) for port in process.stdout.readline().split()]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def endpoint_of(port: int, tls: bool) -> Endpoint:
    return parse_endpoint(f"http{'s' * tls}://127.0.0.1:{port}/hook")


def padded_head(endpoint: Endpoint) -> bytes:
    """A head as the Sender makes it, of a length that does not depend on the port's digits."""
    return request_prefix(endpoint, {}) + (
        b"content-type: application/json\r\nwebhook-id: 7031000000000000000\r\n"
        b"webhook-timestamp: 1700000000\r\n"
        b"webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\r\n"
        b"content-length: 600\r\nx-pad: " + b"-" * (5 - len(str(endpoint.port))) + b"\r\n\r\n"
    )


def config() -> SenderConfig:
    return load(environ={}, flags={"sender.allow_cidrs": ["127.0.0.0/8"]}).sender


def trusting(tls: bool) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=str(CERTIFICATES / "authority.pem")) if tls else None


async def ours(endpoints: list[Endpoint]) -> tuple[Send, HttpTransport]:
    transport = HttpTransport(config(), ssl_context=trusting(endpoints[0].tls))
    requests = [(endpoint, padded_head(endpoint)) for endpoint in endpoints]

    async def send(count: int) -> None:
        over = asyncio.get_running_loop().create_future()
        left = under_way = 0

        def go() -> None:
            nonlocal left, under_way
            left -= 1
            under_way += 1
            endpoint, head = requests[left % len(requests)]
            transport.send(endpoint, head, BODY, 10_000, 1024, done)

        def done(answer: Answer | None, error: TransportError | None) -> None:
            nonlocal under_way
            assert answer is not None, error
            assert answer.code == 200
            under_way -= 1
            if left:
                go()
            elif not under_way:
                over.set_result(None)

        left = count
        for _ in range(IN_FLIGHT):
            go()
        await over

    return send, transport


async def bare(endpoints: list[Endpoint]) -> tuple[Send, BareClient]:
    client = BareClient()
    targets = [(endpoint.port, padded_head(endpoint) + BODY) for endpoint in endpoints]
    await client.open(targets, IN_FLIGHT, trusting(endpoints[0].tls))
    return client.send, client


async def aiohttp_session(endpoints: list[Endpoint]) -> tuple[Send, Any]:
    import aiohttp

    context = trusting(endpoints[0].tls)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=IN_FLIGHT, ssl=context or True),
        skip_auto_headers=("accept", "accept-encoding", "user-agent"),
    )
    requests = []
    for endpoint in endpoints:
        lines = padded_head(endpoint).decode().split("\r\n")[1:]
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        requests.append((f"http{'s' * endpoint.tls}://127.0.0.1:{endpoint.port}/hook", headers))

    async def send(count: int) -> None:
        left = iter(range(count))

        async def worker() -> None:
            for number in left:
                url, headers = requests[number % len(requests)]
                async with session.post(url, data=BODY, headers=headers) as answer:
                    await answer.read()
                    assert answer.status == 200

        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(worker())

    return send, session


CONTESTANTS = {
    "bare": (bare, uvloop.new_event_loop, 1),
    "ours": (ours, uvloop.new_event_loop, 1),
    "ours, asyncio": (ours, asyncio.new_event_loop, 1),
    "aiohttp": (aiohttp_session, uvloop.new_event_loop, 4),  # a fourth of the requests
}


@pytest.mark.benchmark(group="transport")
@pytest.mark.parametrize("endpoints", [1, 50])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_transport(benchmark, scheme: str, endpoints: int) -> None:  # type: ignore[no-untyped-def]
    try:
        import aiohttp  # noqa: F401 - it is only the yardstick here

        names = list(CONTESTANTS)
    except ImportError:
        names = [name for name in CONTESTANTS if name != "aiohttp"]
    rates: dict[str, list[float]] = {name: [] for name in names}

    def rounds() -> None:
        with sink(endpoints, scheme == "https") as ports:
            targets = [endpoint_of(port, scheme == "https") for port in ports]
            runners = {name: asyncio.Runner(loop_factory=CONTESTANTS[name][1]) for name in names}
            made = {name: runners[name].run(CONTESTANTS[name][0](targets)) for name in names}
            for number in range(ROUNDS + 1):
                for name in names:
                    count = REQUESTS // CONTESTANTS[name][2]
                    before = time.process_time()
                    runners[name].run(made[name][0](count))
                    if number:  # the first is to get warm
                        rates[name].append(count / (time.process_time() - before))
            for name in names:
                runners[name].run(made[name][1].close())
                runners[name].close()

    benchmark.pedantic(rounds, rounds=1)
    told = {name: round(statistics.median(found)) for name, found in rates.items()}
    benchmark.extra_info["requests_per_core_s"] = told
    shown = [f"{name} {rate} ({rate / told['bare']:.0%} of bare)" for name, rate in told.items()]
    print(f"\n{scheme}, {endpoints} endpoint(s), requests per core-second: " + ", ".join(shown))


if __name__ == "__main__":
    length, count, over_tls = map(int, sys.argv[1:])
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(
        serve_sink(length, count, bool(over_tls))
    )
