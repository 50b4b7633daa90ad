"""What a producer sends: as much as is taken, or evenly."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec

from bench.lone_sender import body
from notify.config import load
from notify.domain.errors import NotifyError
from notify.domain.ports import Endpoint
from notify.transport import HttpTransport, post

CONNECTIONS = 4
LOOK_S = 0.05
# Who is refused tries again after so long, where it is to send all the same.
AGAIN_S = 0.02
TIMEOUT_MS = 60_000
ANSWER_BYTES = 65536


class Load:
    """Messages in batches over HTTP.

    sent: accepted so far. took_ms: of each batch, until its 202. refused: by code and body.
    """

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        flags = {"sender.allow_cidrs": ["127.0.0.0/8"]}
        self._transport = HttpTransport(load(environ={}, flags=flags).sender)
        self._endpoint = Endpoint(False, parts.hostname, parts.port, None, "/")
        self._head = (
            f"POST /v1/messages HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
            "content-type: application/json\r\ncontent-length: "
        )
        self.sent = 0
        self.took_ms: list[float] = []
        self.refused: Counter[tuple[int, bytes]] = Counter()

    async def close(self) -> None:
        await self._transport.close()

    async def try_once(self, count: int) -> bool:
        """One batch; whether it was accepted. Raises NotifyError for any other answer than that
        and a refusal that says when to come again.
        """
        sent_ns = time.time_ns()
        message = {"type": "order.paid", "payload": msgspec.Raw(body(sent_ns))}
        batch = msgspec.json.encode([message] * count)
        head = f"{self._head}{len(batch)}\r\n\r\n".encode()
        answer = await post(self._transport, self._endpoint, head, batch, TIMEOUT_MS, ANSWER_BYTES)
        if answer.code == 202:
            self.sent += count
            self.took_ms.append((time.time_ns() - sent_ns) / 1e6)
            return True
        if answer.code not in (429, 503) or not answer.retry_after:
            raise NotifyError(f"the API answered {answer.code}: {answer.body!r}")
        self.refused[answer.code, answer.body] += count
        return False

    async def send(self, count: int) -> None:
        """One batch, tried until it is taken."""
        while not await self.try_once(count):  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(AGAIN_S)

    async def full(self, messages: int, batch: int) -> float:
        """Send as fast as is taken; seconds until the last was accepted."""
        left = iter(range(messages // batch))
        began = time.perf_counter()

        async def one() -> None:
            for _ in left:
                await self.send(batch)

        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(one())
        return time.perf_counter() - began

    async def evenly(self, rate: float, batch: int, going_on: Callable[[float], bool]) -> int:
        """Send so many messages a second, each batch once, however late those before it are.

        going_on: is asked before each batch, with the seconds passed. How many were sent.
        """
        began, number = time.perf_counter(), 0
        async with asyncio.TaskGroup() as group:
            while going_on(time.perf_counter() - began):
                group.create_task(self.try_once(batch))
                number += 1
                late_s = began + number * batch / rate - time.perf_counter()
                await asyncio.sleep(max(0.0, late_s))
        return number * batch


async def settle(count: Callable[[], Awaitable[int]], wanted: int, patience_s: float) -> None:
    """Wait until so many are there. Raises NotifyError where they do not come."""
    until = time.monotonic() + patience_s
    while (found := await count()) < wanted:
        if time.monotonic() > until:
            raise NotifyError(f"{found} of {wanted} were there after {patience_s:g} s")
        await asyncio.sleep(LOOK_S)
