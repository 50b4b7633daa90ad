"""Consumers that misbehave, each in its own way, in this process or in one of their own.

`python -m tests.support.hostile` prints their URLs and serves until its input closes.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.receiver import Answering, Receiver, Wire, new_secret


async def answers_garbage(wire: Wire) -> None:
    await wire.send(b"\x00\xff SSH-2.0-what \r\n\r\n" * 3)
    await wire.reader.read()


async def never_answers(wire: Wire) -> None:
    await wire.reader.read()


async def drips_bytes(wire: Wire) -> None:
    for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-slow: " + b"y" * 1000:
        await wire.send(bytes([byte]))
        await asyncio.sleep(0.02)


async def drips_its_body(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n")
    while True:
        await wire.send(b"z")
        await asyncio.sleep(0.02)


async def sends_endless_headers(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await wire.send(b"x-more: " + b"h" * 1000 + b"\r\n")


async def sends_an_endless_error(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        await wire.send(b"1000\r\n" + b"e" * 0x1000 + b"\r\n")


async def closes_early(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart")
    wire.writer.close()


async def closes_at_once(wire: Wire) -> None:
    wire.writer.close()


async def redirects_to_itself(wire: Wire) -> None:
    await wire.answer(302, location="/hook")


async def switches_protocols(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n")
    await wire.reader.read()


async def answers_with_a_huge_body(wire: Wire) -> None:
    await wire.answer(500, b"#" * 5_000_000)


HOSTILE: dict[str, Answering] = {
    behaviour.__name__: behaviour
    for behaviour in (
        answers_garbage,
        never_answers,
        drips_bytes,
        drips_its_body,
        sends_endless_headers,
        sends_an_endless_error,
        closes_early,
        closes_at_once,
        redirects_to_itself,
        switches_protocols,
        answers_with_a_huge_body,
    )
}
# Those whose requests end by the time-out only.
NEVER_DONE = ("never_answers", "drips_bytes", "drips_its_body")


@dataclass
class Elsewhere:
    """As much of a Receiver as it takes to subscribe one of another process."""

    url: str
    secret: str = ""

    def __post_init__(self) -> None:
        self.secret = new_secret()


@asynccontextmanager
async def hostile_process() -> AsyncIterator[dict[str, str]]:
    """All of them in a process of their own: the URL of each."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.hostile",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout
        async with asyncio.timeout(20):
            urls = json.loads(await process.stdout.readline())
        yield urls
    finally:
        process.kill()
        await process.communicate()


async def serve() -> None:
    """Serve them all until standard input closes."""
    async with AsyncExitStack() as stack:
        receivers = {
            name: await stack.enter_async_context(Receiver(answering, secret=new_secret()))
            for name, answering in HOSTILE.items()
        }
        print(json.dumps({name: one.url for name, one in receivers.items()}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())
