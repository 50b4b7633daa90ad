"""The Sender's own requests over its own client, to receivers that somebody else wrote."""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from notify.config import load
from notify.domain.model import Consumer
from notify.domain.ports import Answer, Identity
from notify.sender.targets import Targets
from notify.transport import HttpTransport, post
from notify_core import sign
from notify_core.records import MessageRecord
from tests.support.authority import Authority

SECRET = sign.encode_secret(b"a secret of the receivers' tests")
AUTHORITY = Authority()
TRUSTING = Identity(ca=AUTHORITY.pem)
KEPT_BYTES = 1024


class Client:
    """Sends messages as the Sender does. Message ids count from 1."""

    def __init__(self, transport: HttpTransport) -> None:
        self._transport = transport
        self._targets = Targets("notify")
        self._last_id = 0

    @property
    def connections_open(self) -> int:
        return self._transport.connections_open

    async def send(
        self,
        url: str,
        body: bytes = b'{"order":1}',
        event: str = "order.paid",
        secret: str = SECRET,
        headers: dict[str, str] | None = None,
        identity: Identity | None = None,
        timeout_ms: int = 10_000,
    ) -> Answer:
        """One try of one delivery. Raises TransportError."""
        consumer = Consumer(
            id=1, created_ms=0, updated_ms=0, name="receiver", url=url, secrets=(secret,),
            headers=headers or {}, timeout_ms=timeout_ms,
        )  # fmt: skip
        self._last_id += 1
        message = MessageRecord(self._last_id, 1, event, "", b"", "", 0, 0, body)
        target = self._targets.of(consumer)
        head, sent = target.request(message, body, 1, 1, int(time.time() * 1000))
        endpoint = target.endpoint._replace(identity=identity)
        return await post(self._transport, endpoint, head, sent, timeout_ms, KEPT_BYTES)


@pytest.fixture
def client() -> Callable[..., AbstractAsyncContextManager[Client]]:
    """`async with client() as c: await c.send(url, ...)`; names lead to this host."""

    async def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    @asynccontextmanager
    async def made(**options: Any):
        flags = {"sender.allow_cidrs": ["127.0.0.0/8"]}
        flags |= {f"sender.{name}": value for name, value in options.items()}
        transport = HttpTransport(load(environ={}, flags=flags).sender, lookup=lookup)
        try:
            yield Client(transport)
        finally:
            await transport.close()

    return made
