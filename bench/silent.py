"""An endpoint that does nothing: `python -m bench.silent --fd N`, the ceiling of the Api.

A bare protocol on uvloop: it looks for the end of each request and answers 202.
"""

import argparse
import asyncio
import re
import socket
from typing import cast

import uvloop

BODY = b'{"accepted":1,"ids":["386547056640000000"]}'
ANSWER = (
    b"HTTP/1.1 202 Accepted\r\ndate: Mon, 23 Nov 2026 12:00:00 GMT\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Silent(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._data = b""

    def data_received(self, data: bytes) -> None:
        data = self._data = self._data + data if self._data else data
        end = data.find(b"\r\n\r\n") + 4
        found = LENGTH.search(data, 0, end)
        if end >= 4 and len(data) >= end + (int(found[1]) if found else 0):
            self._data = b""
            self._transport.write(ANSWER)


async def serve(listener: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(Silent, sock=listener)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fd", type=int, required=True)
    uvloop.run(serve(socket.socket(fileno=parser.parse_args().fd)))
