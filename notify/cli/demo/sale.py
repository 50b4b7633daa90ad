"""The flash sale itself: who is configured, what is sent, what is counted."""

import asyncio
import base64
import random
import time
from dataclasses import dataclass
from typing import Any, Final

from notify.cli.api_client import ApiClient, ApiError

SENDERS: Final = 8
BATCH: Final = 20
BUSY_PAUSE_S: Final = 0.2
EVENTS: Final = ("order.created", "order.paid", "payment.captured", "stock.changed")
FAST_RETRY: Final = {"initial_ms": 100, "factor": 1.6, "max_ms": 2000, "attempts": 20}


@dataclass(frozen=True)
class Line:
    """One subscription of the demo."""

    subscription_id: int
    title: str


class Sale:
    """A shop, three consumers behind real endpoints, four subscriptions."""

    def __init__(
        self, client: ApiClient, admin_token: str, endpoints_url: str, messages: int, seed: int
    ) -> None:
        self._client = client
        self._admin = admin_token
        self._endpoints_url = endpoints_url
        self._random = random.Random(seed)  # noqa: S311 - the goods of a made-up shop
        self._key = ""
        self._paused: int | None = None
        self.messages = messages
        self.accepted = 0
        self.busy = 0
        self.lines: list[Line] = []
        self.burst_s = 0.0

    async def prepare(self) -> None:
        """Configure everything over the API."""
        shop = await self._post("/v1/producers", {"name": "shop"})
        self._key = shop["api_key"]
        warehouse = await self._consumer("warehouse", "healthy")
        loyalty = await self._consumer("loyalty", "flaky")
        mailer = await self._consumer("mailer", "slow")
        await self._subscribe(shop, warehouse, "warehouse")
        await self._subscribe(shop, loyalty, "loyalty", types=["order.*"])
        late = await self._subscribe(
            shop,
            mailer,
            "mailer",
            types=["payment.*"],
            concurrency_max=64,
        )
        old = await self._subscribe(shop, warehouse, "old feed")
        await self._post(f"/v1/subscriptions/{late}/pause", None)
        await self._post(f"/v1/subscriptions/{old}/discard", None)
        self._paused = late

    async def burst(self) -> None:
        """Send everything, several senders at once; resume the mailer when half is out."""
        started = time.monotonic()
        todo = iter(range(0, self.messages, BATCH))
        async with asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(self._sender(todo))
        self.burst_s = time.monotonic() - started

    async def stats(self) -> dict[int, dict[str, Any]]:
        """The ledger by subscription id."""
        answer = await self._client.call("GET", "/v1/stats", self._admin)
        return {row["id"]: row for row in answer["subscriptions"]}

    async def _sender(self, todo: Any) -> None:
        for start in todo:
            batch = [self._event(n) for n in range(start, min(start + BATCH, self.messages))]
            while True:
                try:
                    await self._client.call("POST", "/v1/messages", self._key, batch)
                    break
                except ApiError as error:
                    # The same keys again: what was stored after all is not stored twice.
                    if error.code not in (429, 503):
                        raise
                    self.busy += 1
                    await asyncio.sleep(BUSY_PAUSE_S)
            self.accepted += len(batch)
            if self._paused and self.accepted >= self.messages // 2:
                paused, self._paused = self._paused, None
                await self._post(f"/v1/subscriptions/{paused}/resume", None)

    def _event(self, number: int) -> dict[str, Any]:
        order = 10_000 + number // len(EVENTS)
        return {
            "type": EVENTS[number % len(EVENTS)],
            "key": f"sale-{number}",
            "ordering_key": f"order-{order}",
            "payload": {
                "order_id": order,
                "sku": f"phone-{self._random.randrange(20)}",
                "amount": self._random.randrange(100, 10_000) / 100,
                "customer": "黄小米",
                "note": "flash sale " * 20,
            },
        }

    async def _consumer(self, name: str, behaviour: str) -> dict[str, Any]:
        key = self._random.randbytes(32)
        made: dict[str, Any] = await self._post(
            "/v1/consumers",
            {
                "name": name,
                "url": f"{self._endpoints_url}/{behaviour}/{_urlsafe(key)}",
                "secret": f"whsec_{base64.b64encode(key).decode()}",
            },
        )
        return made

    async def _subscribe(
        self, shop: dict[str, Any], consumer: dict[str, Any], title: str, **options: Any
    ) -> int:
        wanted = {"producer_id": shop["id"], "consumer_id": consumer["id"], "retry": FAST_RETRY}
        made = await self._post("/v1/subscriptions", wanted | options)
        self.lines.append(Line(made["id"], title))
        return int(made["id"])

    async def _post(self, path: str, body: Any) -> Any:
        return await self._client.call("POST", path, self._admin, body)


def _urlsafe(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode()
