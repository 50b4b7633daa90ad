"""Short ways to use Notify's HTTP API, as a producer and as its operator."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.receiver import Receiver
from tests.support.waiting import until

COUNTS = ("delivered", "dropped", "queued", "pending")


class HttpApi:
    """An API at a URL. `url` may change: the process behind it may be another one tomorrow."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self._client = httpx.AsyncClient(timeout=10, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def reconnect(self) -> None:
        """Forget connections: their other end was killed."""
        await self._client.aclose()
        self._client = httpx.AsyncClient(timeout=10, trust_env=False)

    async def call(self, method: str, path: str, body: Any = None, key: str = "") -> Any:
        """One call as the operator, or with a producer's key; the decoded answer."""
        answer = await self._client.request(
            method,
            self.url + path,
            json=body,
            headers={"authorization": f"Bearer {key or self.token}"},
        )
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    async def producer(self, name: str = "shop") -> Any:
        return await self.call("POST", "/v1/producers", {"name": name})

    async def subscribe(
        self, producer: Any, receiver: Receiver, name: str, timeout_ms: int = 5000, **options: Any
    ) -> int:
        """A new consumer at a receiver, subscribed to the producer; the subscription's id."""
        consumer = await self.call(
            "POST",
            "/v1/consumers",
            {
                "name": name,
                "url": receiver.url,
                "secret": receiver.secret,
                "timeout_ms": timeout_ms,
            },
        )
        body = {"producer_id": producer["id"], "consumer_id": consumer["id"], **options}
        made = await self.call("POST", "/v1/subscriptions", body)
        return int(made["id"])

    async def set_status(self, subscription: int, verb: str) -> Any:
        """verb: pause, resume or discard."""
        return await self.call("POST", f"/v1/subscriptions/{subscription}/{verb}")

    async def send(self, producer: Any, messages: Any) -> list[int]:
        """Have messages accepted (202); their ids."""
        answer = await self.call("POST", "/v1/messages", messages, producer["api_key"])
        return [int(id_) for id_ in answer["ids"]]

    async def message(self, message_id: int) -> Any:
        return await self.call("GET", f"/v1/messages/{message_id}")

    async def delivery(self, message_id: int, subscription: int) -> Any:
        """What became of one delivery, with the log of its tries; None before it is split."""
        shown = await self.message(message_id)
        found = [one for one in shown["deliveries"] if one["subscription_id"] == subscription]
        return found[0] if found else None

    async def stats(self) -> dict[int, dict[str, int]]:
        """The ledger by subscription; each line balances, or this fails."""
        rows = (await self.call("GET", "/v1/stats"))["subscriptions"]
        for row in rows:
            assert row["matched"] == sum(row[name] for name in COUNTS), row
            assert row["difference"] == 0
        return {row["id"]: {name: row[name] for name in ("matched", *COUNTS)} for row in rows}

    async def settled(self, matched: int, timeout_s: float = 15.0) -> dict[int, dict[str, int]]:
        """Until so many deliveries exist in all and none is open any more; the ledger."""

        async def nothing_open() -> Any:
            rows = await self.stats()
            total = sum(row["matched"] for row in rows.values())
            closed = sum(row["delivered"] + row["dropped"] for row in rows.values())
            return rows if total == closed >= matched else None

        found: dict[int, dict[str, int]] = await until(nothing_open, "nothing open", timeout_s)
        return found

    async def became(
        self, message_id: int, subscription: int, statuses: Sequence[str], timeout_s: float = 15.0
    ) -> Any:
        """Until a delivery has one of these statuses; the delivery."""

        async def so() -> Any:
            found = await self.delivery(message_id, subscription)
            return found if found and found["status"] in statuses else None

        return await until(so, f"delivery {'/'.join(statuses)}", timeout_s)
