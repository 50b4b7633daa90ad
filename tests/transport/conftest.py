"""A scripted endpoint: real sockets on 127.0.0.1, every byte of the answer up to the test."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from notify.config import SenderConfig, load
from notify.domain.ports import Answer, Endpoint
from notify.transport import HttpTransport, post, request_prefix

CERTIFICATES = Path(__file__).parent / "certificates"
BODY = b'{"order": 1}'
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Session:
    """One accepted connection, as the endpoint sees it. number: 1 for the first."""

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The next request's body; IncompleteReadError where the client closed instead."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        return await self.reader.readexactly(length)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def closed(self) -> bytes:
        """What the client still sent before it closed."""
        return await self.reader.read()


Handler = Callable[[Session], Awaitable[None]]


class Peer:
    """The scripted endpoint. requests: bodies read by `answering` handlers, in order."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self.accepted = 0
        self.ended = 0
        self.endpoint = Endpoint(False, "127.0.0.1", 0, None, "/hook")

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.create_task(self._serve(Session(self.accepted, reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, session: Session) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._handler(session)
        finally:
            self.ended += 1
            session.writer.transport.abort()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def head(endpoint: Endpoint, length: int = len(BODY)) -> bytes:
    return request_prefix(endpoint, {}) + b"content-length: %d\r\n\r\n" % length


def settings(**flags: Any) -> SenderConfig:
    flags = {"allow_cidrs": ["127.0.0.0/8"], **flags}
    return load(environ={}, flags={f"sender.{name}": flags[name] for name in flags}).sender


def server_context(name: str = "endpoint") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / f"{name}.pem")
    return context


@cache  # loading authorities takes longer than a whole test
def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATES / "authority.pem"))


class World:
    """One endpoint and one client, both gone at the end of the block."""

    def __init__(self, peer: Peer, transport: HttpTransport, kept_bytes: int) -> None:
        self.peer = peer
        self.transport = transport
        self._kept_bytes = kept_bytes

    async def post(
        self, timeout_ms: int = 5000, body: bytes = BODY, endpoint: Endpoint | None = None
    ) -> Answer:
        endpoint = endpoint or self.peer.endpoint
        whole = head(endpoint, len(body))
        return await post(self.transport, endpoint, whole, body, timeout_ms, self._kept_bytes)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop turn until the condition holds."""
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - what is awaited has no event
                await asyncio.sleep(0)


@asynccontextmanager
async def _world(
    handler: Handler | bytes,
    tls: ssl.SSLContext | None = None,
    client: dict[str, Any] | None = None,
    host: str = "127.0.0.1",
    **flags: Any,
) -> AsyncIterator[World]:
    peer = Peer(answering(handler) if isinstance(handler, bytes) else handler)
    server = await asyncio.start_server(peer.accept, host, 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    peer.endpoint = peer.endpoint._replace(host=host, port=port, tls=tls is not None)
    client = {"ssl_context": client_context(), **(client or {})}
    config = settings(**flags)
    transport = HttpTransport(config, **client)
    try:
        yield World(peer, transport, config.response_kept_bytes)
    finally:
        await transport.close()
        assert transport.connections_open == 0
        assert transport.requests_in_flight == 0
        await peer.stop()
        server.close()
        await server.wait_closed()


def answering(data: bytes) -> Handler:
    """Answer every request with the same bytes, on as many connections as come."""

    async def handler(session: Session) -> None:
        while True:
            await session.request()
            await session.send(data)

    return handler


@pytest.fixture
def world() -> Callable[..., AbstractAsyncContextManager[World]]:
    """`async with world(handler or bytes, **sender options) as w: await w.post()`."""
    return _world


@pytest.fixture
def tls() -> Callable[[str], ssl.SSLContext]:
    """The endpoint's side of TLS with one of the test certificates."""
    return server_context


@pytest.fixture
def trusting() -> ssl.SSLContext:
    """The client's side of TLS: the tests' own authority alone."""
    return client_context()
