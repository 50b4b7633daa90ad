"""Consumers and messages for tests of what is sent, and the reading of a request's head."""

from typing import Any

import msgspec

from notify.domain.model import Consumer
from notify_core import ids
from notify_core.records import MessageRecord
from tests.conformance.storage.samples import new_consumer
from tests.services.rig import SECRETS

NOW_MS = 1_614_265_330_999
# Accepted at 2026-09-21T14:13:20.123Z.
MESSAGE_ID = ids.id_floor(1_790_000_000_123)


def consumer(**changed: Any) -> Consumer:
    """A consumer as the directory gives it."""
    fields: dict[str, Any] = {
        "id": 1,
        "url": "https://mail.example:8443/hook?x=1",
        "secrets": SECRETS,
        "timeout_ms": 1000,
    }
    return new_consumer("mail", **fields | changed)


def message(
    headers: dict[str, str] | None = None,
    content_type: str = "",
    id_: int = 77,
    ordering_key: str = "",
) -> MessageRecord:
    packed = msgspec.json.encode(headers) if headers else b""
    return MessageRecord(id_, 1, "order.paid", content_type, packed, ordering_key, 0, 0, b"{}")


def parsed(head: bytes) -> tuple[str, dict[str, str]]:
    """Request line and headers; a header that comes twice fails."""
    line, *lines = head.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
    headers = dict(given.split(": ", 1) for given in lines)
    assert len(headers) == len(lines)
    return line, headers
