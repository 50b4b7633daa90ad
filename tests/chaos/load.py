"""Producers that know no mercy: they send on, and repeat what they got no answer to."""

import asyncio
import random
import time
from typing import Any, Final

import httpx

from tests.chaos.book import Book

TYPES: Final = ("order.paid", "order.created", "stock.changed")
BATCH_MAX: Final = 50
ORDERING_KEYS: Final = 100
STEADY_PRODUCERS: Final = 4
BURST_PRODUCERS: Final = 16
AGAIN_S: Final = 0.05
ANSWER_S: Final = 20.0


class Load:
    """Sends messages through the Api at `url`, which may change, and books every 202.

    Each message has an idempotency key, so that a request whose outcome is not known is settled
    by sending it again, until it is accepted.
    """

    def __init__(self, url: str, api_key: str, book: Book, generator: random.Random) -> None:
        self.url = url
        self._book = book
        self._random = generator
        self._client = httpx.AsyncClient(
            timeout=ANSWER_S,
            trust_env=False,
            headers={"authorization": f"Bearer {api_key}"},
            limits=httpx.Limits(max_connections=STEADY_PRODUCERS + BURST_PRODUCERS),
        )
        self._numbers = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self.broken_off = 0
        self.refused = 0

    @property
    def accepted(self) -> int:
        return len(self._book.ids)

    def start(self, per_s: float) -> None:
        """Send so many messages a second from now on, in batches of 1 to 50."""
        self._tasks = [
            asyncio.create_task(self._steady(per_s / STEADY_PRODUCERS))
            for _ in range(STEADY_PRODUCERS)
        ]

    def check(self) -> None:
        """Raise what a producer met that no producer should."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def stop(self) -> None:
        """Return when everything that was begun is accepted."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    async def burst(self, count: int) -> None:
        """So many messages as fast as they are taken."""
        left = count

        async def part() -> None:
            nonlocal left
            while left > 0:
                size = min(left, self._random.randint(1, BATCH_MAX))
                left -= size
                await self.send(size)

        await asyncio.gather(*(part() for _ in range(BURST_PRODUCERS)))

    async def _steady(self, per_s: float) -> None:
        while not self._stopping.is_set():
            size = self._random.randint(1, BATCH_MAX)
            await self.send(size)
            try:
                async with asyncio.timeout(size / per_s):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def send(self, size: int) -> None:
        """One batch, accepted when this returns."""
        batch: list[dict[str, Any]] = []
        for number in range(self._numbers, self._numbers + size):
            event_type = self._random.choice(TYPES)
            padding = "é" * self._random.randint(0, 200)
            payload = {"n": number, "padding": padding}
            item = {"type": event_type, "payload": payload, "key": f"k{number}"}
            batch.append(item | {"ordering_key": f"o{number % ORDERING_KEYS}"})
        self._numbers += size
        answer = await self._until_accepted(batch)
        now = time.monotonic()
        for item, message in zip(batch, answer["ids"], strict=True):
            self._book.promise(item["payload"]["n"], int(message), item["type"], now)

    async def _until_accepted(self, batch: list[dict[str, Any]]) -> Any:
        while True:
            try:
                answer = await self._client.post(self.url + "/v1/messages", json=batch)
            except httpx.TransportError:
                self.broken_off += 1
            else:
                if answer.status_code == 202:
                    return answer.json()
                assert answer.status_code in (429, 503), (answer.status_code, answer.text)
                assert "retry-after" in answer.headers
                self.refused += 1
            await asyncio.sleep(AGAIN_S)
