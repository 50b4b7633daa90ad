"""A real HTTP server whose answers a test writes, request by request."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import NamedTuple


class Asked(NamedTuple):
    """One request. headers: names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Reply(NamedTuple):
    """What is answered."""

    code: int
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""


Replying = Callable[[Asked], Awaitable[Reply]]


class Web:
    """The server: its port, and all that it was asked."""

    def __init__(self, replying: Replying) -> None:
        self._replying = replying
        self._sessions: set[asyncio.Task[None]] = set()
        self.port = 0
        self.asked: list[Asked] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def got(self, method: str, path: str) -> list[Asked]:
        return [one for one in self.asked if (one.method, one.path) == (method, path)]

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._session(reader, writer))
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)
        task.add_done_callback(lambda _: writer.transport.abort())

    async def stop(self) -> None:
        for task in list(self._sessions):
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
                headers = {k.lower(): v for k, v in (one.split(": ", 1) for one in lines)}
                method, path, _ = line.split(" ")
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                asked = Asked(method, path, headers, body)
                self.asked.append(asked)
                reply = await self._replying(asked)
                lines = [f"{name}: {value}" for name, value in reply.headers.items()]
                lines = [f"HTTP/1.1 {reply.code} x", f"content-length: {len(reply.body)}", *lines]
                writer.write("\r\n".join([*lines, "", ""]).encode() + reply.body)
                await writer.drain()


@asynccontextmanager
async def web(replying: Replying) -> AsyncIterator[Web]:
    """Serve during the block."""
    it = Web(replying)
    server = await asyncio.start_server(it.accept, "127.0.0.1", 0)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        await it.stop()
        server.close()
        await server.wait_closed()
