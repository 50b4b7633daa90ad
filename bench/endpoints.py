"""Endpoints of every temper in one process: `python -m bench.endpoints [--certificate PEM]`.

It prints one line of JSON, the port of each kind, and listens there on all of 127.0.0.0/8: any
number of endpoints of a kind, each with an address of its own (Linux). It ends when its standard
input closes; a line on its standard input, a command of COMMANDS, is answered by a line of JSON.

They read no more of a request than its length, so that they are not what is measured.
"""

import argparse
import asyncio
import json
import resource
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, cast

import uvloop

from bench.tls_endpoint import TlsEndpoint

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
REFUSALS = {
    "failing": b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\nno",
    "busy": b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno",
}
# How payloads begin that say when they were sent.
SENT = b'{"sent_ns":'
DRIP_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
DRIP_S = 1.0
LATENCY_S = 0.005
KEEPING_S = 0.05
BACKLOG = 4096


class Seen:
    """What came: requests answered with 200; of the slow kind, ms under way; of the kept, each.

    Of the noted: when each came (wall clock, s) and ms under way; the different ones.
    """

    def __init__(self) -> None:
        self.answered = 0
        self.latencies_ms: list[float] = []
        self.kept: list[tuple[str, float]] = []
        self.noted: list[tuple[float, float]] = []
        self.different: set[bytes] = set()

    def answer(self) -> None:
        self.answered += 1


seen = Seen()


def length_of(data: bytes, end: int) -> int:
    """The length of a request whose head ends there."""
    at = data.find(b"ontent-length: ", 0, end)
    if at < 0:
        at = data.find(b"ontent-Length: ", 0, end)
    return end + int(data[at + 15 : data.find(b"\r", at)])


def whole_length(data: bytes) -> int:
    """The length of a request by its first piece, which holds its whole head."""
    return length_of(data, data.index(b"\r\n\r\n") + 4)


class Swift(asyncio.Protocol):
    """Answers each request at once. Its parts may come in any pieces, one request at a time."""

    def __init__(self) -> None:
        self._begun = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
        else:
            if self._begun:
                data, self._begun = self._begun + data, b""
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                self._begun = data
                return
            self._left = length_of(data, end) - len(data)
            self.began(data, end)
        if not self._left:
            self.complete()

    def began(self, data: bytes, body_at: int) -> None:
        """The head is there, and perhaps something of the body."""

    def complete(self) -> None:
        seen.answered += 1
        self.transport.write(ANSWER)


class Slow(Swift):
    """Answers after LATENCY_S and keeps how long the request was under way ("sent_ns")."""

    due: ClassVar["deque[tuple[float, asyncio.Transport]]"] = deque()

    def began(self, data: bytes, body_at: int) -> None:
        if data.startswith(SENT, body_at):
            sent_ns = int(data[body_at + len(SENT) : data.find(b",", body_at)])
            seen.latencies_ms.append((time.time_ns() - sent_ns) / 1e6)

    def complete(self) -> None:
        loop = asyncio.get_running_loop()
        if not self.due:
            loop.call_later(LATENCY_S, self.answer_due)
        self.due.append((loop.time() + LATENCY_S, self.transport))

    @classmethod
    def answer_due(cls) -> None:
        """Answer what is due; one timer for all, as they all wait equally long."""
        loop = asyncio.get_running_loop()
        while cls.due and cls.due[0][0] <= loop.time() + 0.0005:
            transport = cls.due.popleft()[1]
            if not transport.is_closing():
                seen.answered += 1
                transport.write(ANSWER)
        if cls.due:
            loop.call_later(cls.due[0][0] - loop.time(), cls.answer_due)


class Noting(Swift):
    """Notes when each delivery came and how long it was under way; answers at once."""

    def data_received(self, data: bytes) -> None:
        if self._left and data.startswith(SENT):  # some clients send head and body apart
            self.note(data, 0)
        super().data_received(data)

    def began(self, data: bytes, body_at: int) -> None:
        at = data.find(b"webhook-id: ") + 12
        seen.different.add(data[: data.find(b" HTTP")] + data[at : data.find(b"\r", at)])
        if data.startswith(SENT, body_at):
            self.note(data, body_at)

    def note(self, data: bytes, at: int) -> None:
        now_ns = time.time_ns()
        sent_ns = int(data[at + len(SENT) : data.find(b",", at)])
        seen.noted.append((now_ns / 1e9, (now_ns - sent_ns) / 1e6))


class Keeping(Swift):
    """Keeps which delivery came when (target and webhook-id, monotonic s); answers later."""

    def began(self, data: bytes, body_at: int) -> None:
        target = data[data.find(b" ") + 1 : data.find(b" HTTP")].decode()
        at = data.find(b"webhook-id: ") + 12
        number = data[at : data.find(b"\r", at)].decode()
        seen.kept.append((f"{target} {number}", time.monotonic()))

    def complete(self) -> None:
        asyncio.get_running_loop().call_later(KEEPING_S, self.answer)

    def answer(self) -> None:
        if not self.transport.is_closing():
            super().complete()


class Hanging(Swift):
    """Takes the request and never answers."""

    def complete(self) -> None:
        pass


class Dripping(Swift):
    """Answers a byte at a time."""

    def complete(self) -> None:
        self.transport.write(DRIP_HEAD)
        self.drip()

    def drip(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b".")
            asyncio.get_running_loop().call_later(DRIP_S, self.drip)


def refusing(answer: bytes) -> type[Swift]:
    class Refusing(Swift):
        def complete(self) -> None:
            self.transport.write(answer)

    return Refusing


KINDS: dict[str, type[Swift]] = {
    "swift": Swift, "slow": Slow, "noting": Noting, "keeping": Keeping, "hanging": Hanging,
    "dripping": Dripping,
    **{name: refusing(answer) for name, answer in REFUSALS.items()},
}  # fmt: skip


def take_latencies() -> list[float]:
    taken, seen.latencies_ms = seen.latencies_ms, []
    return taken


def take_kept() -> list[tuple[str, float]]:
    taken, seen.kept = seen.kept, []
    return taken


def take_noted() -> list[tuple[float, float]]:
    taken, seen.noted = seen.noted, []
    return taken


COMMANDS: dict[str, Callable[[], Any]] = {
    "answered": lambda: seen.answered, "latencies": take_latencies, "kept": take_kept,
    "noted": take_noted, "different": lambda: len(seen.different),
}  # fmt: skip


def listening() -> socket.socket:
    """A socket for every address of this machine that begins with 127, and for no other."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    made.bind(("0.0.0.0", 0))
    made.listen(BACKLOG)
    made.setblocking(False)
    return made


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificate", help="a PEM file with certificate and key, for HTTPS")
    asked = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop = asyncio.get_running_loop()
    ports = {}
    for name, kind in KINDS.items():
        server = await loop.create_server(kind, sock=listening(), backlog=BACKLOG)
        ports[name] = server.sockets[0].getsockname()[1]
    if asked.certificate:
        listener = listening()
        TlsEndpoint(listener, asked.certificate, ANSWER, seen.answer, whole_length).start()
        ports["tls"] = listener.getsockname()[1]
    print(json.dumps(ports), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(COMMANDS[line.strip()]()), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
