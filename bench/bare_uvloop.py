"""The ceiling of bench/test_transport.py: requests over open connections with nothing around.

No pool, no bounds, no time-outs, no errors: each connection writes the next request as soon as
the content-length of the answer is there. Over uvloop, as ours is; a loop of select.epoll and raw
sockets gave within 10 % of it (once 12 % more, once 9 % less), and would not do TLS.
"""

import asyncio
import ssl
from typing import cast

Address = tuple[str, int]


class BareConnection(asyncio.Protocol):
    def __init__(self, client: "BareClient", request: bytes) -> None:
        self._client = client
        self._request = request
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._write = self.transport.write

    def go(self) -> None:
        if self._client.left:
            self._client.left -= 1
            self._client.under_way += 1
            self._write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        at = self._data.find(b"content-length: ")
        if end < 0 or len(self._data) < end + 4 + int(self._data[at + 16 : end]):
            return
        self._data = b""
        self._client.under_way -= 1
        self.go()
        if not self._client.under_way:
            self._client.over.set_result(None)


class BareClient:
    """So many connections, spread over (port, request) pairs of 127.0.0.1."""

    def __init__(self) -> None:
        self.left = self.under_way = 0
        self.over: asyncio.Future[None]
        self._connections: list[BareConnection] = []

    async def open(
        self, targets: list[tuple[int, bytes]], count: int, context: ssl.SSLContext | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in range(count):
            port, request = targets[number % len(targets)]
            connection = BareConnection(self, request)
            await loop.create_connection(
                lambda made=connection: made, "127.0.0.1", port, ssl=context
            )
            self._connections.append(connection)

    async def send(self, count: int) -> None:
        self.left = count
        self.over = asyncio.get_running_loop().create_future()
        for connection in self._connections:
            connection.go()
        await self.over

    async def close(self) -> None:
        for connection in self._connections:
            connection.transport.abort()
        await asyncio.sleep(0.1)  # for the loop to let go of the sockets
