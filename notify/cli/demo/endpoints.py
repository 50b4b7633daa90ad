"""The demo's three consumers: real HTTP endpoints in a process of their own.

`python -m notify.cli.demo.endpoints` prints its port and then serves until its standard input
closes. `/<behaviour>/<secret without prefix, urlsafe>` receives deliveries, `GET /report`
answers what arrived, per subscription.
"""

import asyncio
import base64
import random
import sys
import threading
import time
from typing import Any, Final

import msgspec
import uvicorn

from notify.cli import receiver
from notify_core import ids, sign

FLAKY_SHARE: Final = 0.1
SLOW_S: Final = 0.05


class Arrivals(msgspec.Struct):
    """What one subscription brought. latencies_ms: from accepted to arrived, first copies."""

    delivered: int = 0
    duplicates: int = 0
    bad_signatures: int = 0
    refused: int = 0
    latencies_ms: list[int] = []


class Endpoints:
    """The ASGI application of all three consumers."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - decides which requests fail
        self._signers: dict[str, sign.Signer] = {}
        self._seen: set[tuple[str, str]] = set()
        self.arrivals: dict[str, Arrivals] = {}

    async def __call__(
        self, scope: dict[str, Any], receive: receiver.Receive, send: receiver.Send
    ) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if scope["path"] == "/report":
            await receiver.answer(send, 200, msgspec.json.encode(self.arrivals))
            return
        _, behaviour, secret = scope["path"].split("/")
        delivery = await receiver.read(scope, receive)
        if behaviour == "slow":
            await asyncio.sleep(SLOW_S)
        await receiver.answer(send, self._judge(behaviour, secret, delivery))

    def _judge(self, behaviour: str, secret: str, delivery: receiver.Received) -> int:
        subscription = delivery.headers["notify-subscription"]
        message_id = delivery.headers["webhook-id"]
        arrivals = self.arrivals.setdefault(subscription, Arrivals())
        signer = self._signers.get(secret)
        if signer is None:
            signer = self._signers[secret] = sign.Signer([base64.urlsafe_b64decode(secret)])
        if not delivery.is_signed(signer):
            arrivals.bad_signatures += 1
            return 401
        if behaviour == "flaky" and self._random.random() < FLAKY_SHARE:
            arrivals.refused += 1
            return 503
        if (subscription, message_id) in self._seen:
            arrivals.duplicates += 1
            return 200
        self._seen.add((subscription, message_id))
        arrivals.delivered += 1
        arrivals.latencies_ms.append(time.time_ns() // 1_000_000 - ids.id_ms(int(message_id)))
        return 200


def main() -> None:
    """Serve until standard input closes, which it does when the demo ends, however it ends."""
    config = uvicorn.Config(
        Endpoints(seed=int(sys.argv[1])),
        host="127.0.0.1",
        port=0,
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    print(socket.getsockname()[1], flush=True)  # noqa: T201 - how the demo learns the port

    def watch() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    server.run(sockets=[socket])


if __name__ == "__main__":
    main()
