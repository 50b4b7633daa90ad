"""Receiving deliveries: what the demo's endpoints and `notify listen` share."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from notify_core import sign

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Received(NamedTuple):
    """One delivery as it came: header names in lower case."""

    headers: Mapping[str, str]
    body: bytes

    def is_signed(self, signer: sign.Signer) -> bool:
        """Whether one of its signatures is what this key makes (Standard Webhooks)."""
        try:
            timestamp_s = int(self.headers["webhook-timestamp"])
            expected = signer.signature(self.headers["webhook-id"], timestamp_s, self.body)
            given = self.headers["webhook-signature"].split(" ")
        except (KeyError, ValueError):
            return False
        return any(hmac.compare_digest(expected.encode(), one.encode()) for one in given)


async def read(scope: Mapping[str, Any], receive: Receive) -> Received:
    """The whole request (ASGI)."""
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return Received(headers, b"".join(parts))


async def answer(send: Send, status: int, body: bytes = b"") -> None:
    """A whole answer (ASGI)."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length]})
    await send({"type": "http.response.body", "body": body})
