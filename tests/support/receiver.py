"""A consumer: a real HTTP endpoint in the test's loop that keeps and verifies what arrives.

How it answers is up to the test, down to the single byte. Signatures are checked by the public
`standardwebhooks` package, that is by somebody else's code.
"""

import asyncio
import base64
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.waiting import until

Key = tuple[int, int]  # message id, subscription id


@dataclass(eq=False)
class Arrival:
    """One request as it came. taken: it was answered 2xx, so the consumer counts it as had."""

    message: int
    subscription: int
    attempt: int
    body: bytes
    headers: dict[str, str]
    at: float
    taken: bool = False

    @property
    def key(self) -> Key:
        return self.message, self.subscription


@dataclass(eq=False)
class Wire:
    """The connection a request came by, for answers of any kind."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    arrival: Arrival

    async def send(self, data: bytes) -> None:
        if self.writer.transport.is_closing():
            raise ConnectionResetError  # uvloop would raise RuntimeError
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        """A proper answer; header names with _ for -."""
        self.arrival.taken = 200 <= code < 300
        lines = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
        head = f"HTTP/1.1 {code} Because\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
        await self.send(head.encode() + body)


Answering = Callable[[Wire], Awaitable[None]]


async def taking(wire: Wire) -> None:
    """A healthy consumer."""
    await wire.answer(204)


def refusing(code: int, **headers: str) -> Answering:
    """A consumer that answers nothing but this."""

    async def answering(wire: Wire) -> None:
        await wire.answer(code, b"no", **headers)

    return answering


def new_secret() -> str:
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


@dataclass(eq=False)
class Receiver:
    """One endpoint. `async with Receiver(...) as it`, then it.url.

    unverified: what no signature of `secret` fits.
    """

    answering: Answering = taking
    secret: str = field(default_factory=new_secret)
    arrivals: list[Arrival] = field(default_factory=list)
    unverified: list[Arrival] = field(default_factory=list)
    port: int = 0
    _server: Any = None
    _sessions: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def taken(self) -> Counter[Key]:
        """How often each delivery was answered 2xx."""
        return Counter(arrival.key for arrival in self.arrivals if arrival.taken)

    @property
    def keys(self) -> set[Key]:
        return {arrival.key for arrival in self.arrivals}

    @property
    def messages(self) -> list[int]:
        return [arrival.message for arrival in self.arrivals]

    async def holding(self, count: int, timeout_s: float = 15.0) -> None:
        """Until so many different deliveries were taken."""
        await until(lambda: len(self.taken) >= count, f"{count} deliveries taken", timeout_s)

    async def disconnected(self) -> None:
        """Until everybody hung up: then all that was ever sent here has been read."""
        await until(lambda: not self._sessions, "all connections closed")

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in list(self._sessions):
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._session(reader, writer))
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)
        # Not in the task: one that is cancelled before it began never gets to clean up.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                arrival = await self._request(reader)
                await self.answering(Wire(reader, writer, arrival))

    async def _request(self, reader: asyncio.StreamReader) -> Arrival:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = [line.split(": ", 1) for line in head.split("\r\n")[1:-2]]
        headers = {name.lower(): text for name, text in lines}
        body = await reader.readexactly(int(headers["content-length"]))
        arrival = Arrival(
            int(headers["webhook-id"]),
            int(headers["notify-subscription"]),
            int(headers["notify-attempt"]),
            body,
            headers,
            asyncio.get_running_loop().time(),
        )
        try:
            Webhook(self.secret).verify(body, headers, json_parse=False)
        except WebhookVerificationError:
            self.unverified.append(arrival)
        self.arrivals.append(arrival)
        return arrival
