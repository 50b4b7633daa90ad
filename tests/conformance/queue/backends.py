"""What the suite needs of an adapter beyond the port: time, loss, a second connection.

To put another adapter through the suite, implement Backend for it and add it to BACKENDS.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, Protocol

from notify.domain.ports import Queue
from notify.queue.memory import MemoryQueue
from notify.queue.redis import RedisQueue
from tests.servers.redis import RedisServer

# A pytest fixture's value by its name.
Fixture = Callable[[str], Any]
Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Backend(Protocol):
    """An adapter under test. Leases in tests are short: time may be real."""

    queue: Queue

    async def open(self) -> None:
        """Connect to a store that is empty and has no epoch."""

    async def close(self) -> None:
        """Clean up."""

    def now_ms(self) -> int:
        """The time by which entries are stamped, unix ms."""

    async def advance(self, ms: int) -> None:
        """Let so much time pass, or a little more."""

    async def settle(self) -> None:
        """Let what was started get as far as it can without time passing (much)."""

    async def lose(self) -> None:
        """Lose the contents, as FLUSHALL does."""

    async def other(self) -> Queue:
        """The same queue as another process sees it."""


class SteppedClock:
    """A clock that stands still until it is advanced."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._numbers = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        return self._now_ms

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        due_ms = self._now_ms + seconds * 1000
        heappush(self._sleepers, (due_ms, next(self._numbers), woken))
        await woken

    async def advance(self, ms: int) -> None:
        self._now_ms += ms
        while self._sleepers and self._sleepers[0][0] <= self._now_ms:
            woken = heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)
        await settle()


async def settle() -> None:
    """Run what is ready, and what that makes ready."""
    for _ in range(10):
        await asyncio.sleep(0)


class MemoryBackend:
    """MemoryQueue under a stepped clock."""

    def __init__(self) -> None:
        self._clock = SteppedClock()
        self._memory = MemoryQueue(self._clock)
        self.queue: Queue = self._memory

    async def open(self) -> None:
        await self.queue.open()

    async def close(self) -> None:
        await self.queue.close()

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def advance(self, ms: int) -> None:
        await self._clock.advance(ms)

    async def settle(self) -> None:
        await settle()

    async def lose(self) -> None:
        self._memory.flush()

    async def other(self) -> Queue:
        return self.queue


class _RealClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class RealTimeBackend(MemoryBackend):
    """MemoryQueue in real time, which keeps the suite fit for adapters that know no other."""

    def __init__(self) -> None:
        clock = _RealClock()
        self._real = clock
        self._memory = MemoryQueue(clock)
        self.queue = self._memory

    def now_ms(self) -> int:
        return self._real.now_ms()

    async def advance(self, ms: int) -> None:
        await asyncio.sleep((ms + 1) / 1000)

    async def settle(self) -> None:
        await asyncio.sleep(0.01)


class RedisBackend:
    """RedisQueue over a private server, in real time."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._clock = _RealClock()
        self._others: list[RedisQueue] = []
        self.queue: Queue = RedisQueue(server.url, self._clock)

    async def open(self) -> None:
        await self.lose()
        await self.queue.open()

    async def close(self) -> None:
        for queue in (self.queue, *self._others):
            await queue.close()

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def advance(self, ms: int) -> None:
        # Redis counts whole milliseconds, and a key ends in the one after its last.
        await asyncio.sleep((ms + 3) / 1000)

    async def settle(self) -> None:
        await asyncio.sleep(0.01)

    async def lose(self) -> None:
        with self._server.client() as client:
            client.flushall()

    async def other(self) -> Queue:
        queue = RedisQueue(self._server.url, self._clock)
        await queue.open()
        self._others.append(queue)
        return queue


BACKENDS: Final[dict[str, Callable[[Fixture], Backend]]] = {
    "memory": lambda _: MemoryBackend(),
    "memory in real time": lambda _: RealTimeBackend(),
    "redis": lambda fixture: RedisBackend(fixture("shared_redis")),
}
