"""An HTTP endpoint that answers 200 to everything: `python -m bench.sink` prints its port.

A process of its own, so that with two cores the other one belongs to what is measured. It ends
when its standard input closes. A line on its standard input has it print the latencies since the
last such line, in ms, as JSON: of bodies with "sent_ns", from that wall clock time to here.
"""

import asyncio
import json
import re
import sys
import time
from typing import cast

import httptools
import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SENT = re.compile(rb'"sent_ns": ?(\d+)')
latencies_ms: list[float] = []


class Sink(asyncio.Protocol):
    """Answers once for every complete request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        found = SENT.search(body, 0, 64)
        if found:
            latencies_ms.append((time.time_ns() - int(found[1])) / 1e6)

    def on_message_complete(self) -> None:
        self._transport.write(ANSWER)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(latencies_ms), flush=True)
        latencies_ms.clear()


if __name__ == "__main__":
    uvloop.run(main())
