"""What the requests to one consumer share."""

from typing import Any

import msgspec
import pytest

from notify.domain.errors import InvalidInput
from notify.domain.model import Consumer
from notify.sender.targets import Targets
from notify_core import sign
from notify_core.records import MessageRecord
from tests.services.rig import SECRETS

OTHER = sign.encode_secret(b"another secret of 24 bytes or so")


def consumer(**changed: Any) -> Consumer:
    fields: dict[str, Any] = {
        "id": 1,
        "created_ms": 0,
        "updated_ms": 0,
        "name": "mail",
        "url": "https://mail.example:8443/hook?x=1",
        "secrets": SECRETS,
        "headers": {},
        "timeout_ms": 1000,
    }
    return Consumer(**fields | changed)


def message(headers: dict[str, str] | None = None, content_type: str = "") -> MessageRecord:
    packed = msgspec.json.encode(headers) if headers else b""
    return MessageRecord(77, 1, "order.paid", content_type, packed, "", 0, 0, b"{}")


def head(targets: Targets, to: Consumer, sent: MessageRecord) -> tuple[str, dict[str, str]]:
    """Request line and headers; a header that comes twice fails."""
    raw = targets.of(to).request_head(sent, b"{}", 3, 2, 1_614_265_330_999).decode()
    line, *lines = raw.removesuffix("\r\n\r\n").split("\r\n")
    headers = dict(given.split(": ", 1) for given in lines)
    assert len(headers) == len(lines)
    return line, headers


def test_a_request_carries_what_the_design_says() -> None:
    line, headers = head(Targets(), consumer(), message())
    assert line == "POST /hook?x=1 HTTP/1.1"
    signer = sign.Signer([sign.decode_secret(SECRETS[0])])
    assert headers.pop("user-agent").startswith("notify/")
    assert headers == {
        "host": "mail.example:8443",
        "content-type": "application/json",
        "content-length": "2",
        "webhook-id": "77",
        "webhook-timestamp": "1614265330",
        "webhook-signature": signer.signature("77", 1614265330, b"{}"),
        "notify-event-type": "order.paid",
        "notify-subscription": "3",
        "notify-attempt": "2",
    }


def test_the_messages_own_content_type_and_headers_are_sent() -> None:
    _, headers = head(Targets(), consumer(), message({"x-trace": "abc"}, "text/plain"))
    assert headers["content-type"] == "text/plain"
    assert headers["x-trace"] == "abc"


def test_a_messages_headers_do_not_override_the_consumers() -> None:
    to = consumer(headers={"authorization": "Bearer consumer", "x-own": "1"})
    _, headers = head(Targets(), to, message({"authorization": "Bearer message", "x-more": "2"}))
    assert headers["authorization"] == "Bearer consumer"
    assert (headers["x-own"], headers["x-more"]) == ("1", "2")


def test_while_a_secret_rotates_both_sign() -> None:
    _, headers = head(Targets(), consumer(secrets=(*SECRETS, OTHER)), message())
    assert len(headers["webhook-signature"].split()) == 2


def test_a_target_is_kept_until_the_consumer_changes() -> None:
    targets, before = Targets(), consumer()
    assert targets.of(before) is targets.of(before)
    after = consumer(url="http://10.0.0.2/new", secrets=(OTHER,))
    assert targets.of(after).endpoint.host == "10.0.0.2"
    line, headers = head(targets, after, message())
    signer = sign.Signer([sign.decode_secret(OTHER)])
    assert line.startswith("POST /new")
    assert headers["webhook-signature"] == signer.signature("77", 1614265330, b"{}")


def test_a_url_that_cannot_be_used_is_invalid_input() -> None:
    with pytest.raises(InvalidInput):
        Targets().of(consumer(url="ftp://mail.example/"))
