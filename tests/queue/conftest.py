"""Redis servers of a test's own, and queues over them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from notify.queue.redis import RedisQueue
from tests.servers.redis import RedisServer


class RealClock:
    """The machine's time."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


Serve = Callable[..., RedisServer]
Connect = Callable[[str], AbstractAsyncContextManager[RedisQueue]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve("--maxmemory", "3mb", port=…)`: a started server, gone after the test."""
    servers: list[RedisServer] = []

    def start(*options: str, port: int = 0, program: str = "redis-server") -> RedisServer:
        server = RedisServer(*options, port=port, program=program)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.remove()


@pytest.fixture
def connect() -> Connect:
    """`async with connect(url) as queue`: an open queue; `begin_epoch` is left to the test."""

    @asynccontextmanager
    async def connected(url: str) -> AsyncIterator[RedisQueue]:
        queue = RedisQueue(url, RealClock())
        try:
            await queue.open()
            yield queue
        finally:
            await queue.close()

    return connected
