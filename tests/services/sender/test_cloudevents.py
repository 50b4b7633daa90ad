"""CloudEvents 1.0, read by the public package."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.dialect import Protocol
from notify.domain.errors import InvalidInput
from notify.sender.protocols.cloudevents import header_value
from notify.sender.targets import Targets
from notify_core import sign
from notify_core.records import MessageRecord
from tests.services.rig import SECRETS
from tests.services.sender.sent import MESSAGE_ID, NOW_MS, consumer, message, parsed

BINARY, STRUCTURED = Protocol.CLOUDEVENTS_BINARY, Protocol.CLOUDEVENTS_STRUCTURED
both = pytest.mark.parametrize("protocol", [BINARY, STRUCTURED])
BODY = b'{ "n": 1.10, "w": "\xe5\x95\x86" }'


def sent(protocol: Protocol, what: MessageRecord, body: bytes) -> tuple[dict[str, str], bytes, Any]:
    """Headers, body, and the event that the public package reads from them."""
    raw, form = Targets("notify").of(consumer(protocol=protocol)).request(what, body, 3, 2, NOW_MS)
    _, headers = parsed(raw)
    return headers, form, from_http_event(HTTPMessage(headers, form))


@both
def test_the_public_parser_reads_every_attribute(protocol: Protocol) -> None:
    what = message(id_=MESSAGE_ID, ordering_key='shop 7/"\u5546\u5e97" 100%')
    headers, _, event = sent(protocol, what, BODY)
    assert event.get_specversion() == "1.0"
    assert event.get_id() == str(MESSAGE_ID) == headers["webhook-id"]
    assert event.get_source() == "/notify/1"
    assert event.get_type() == "order.paid"
    assert event.get_time() == datetime(2026, 9, 21, 14, 13, 20, 123_000, UTC)
    assert event.get_datacontenttype() == "application/json"
    assert event.get_subject() == what.ordering_key
    assert event.get_extension("partitionkey") == what.ordering_key
    assert event.get_data() == {"n": 1.1, "w": "\u5546"}


@both
def test_without_an_ordering_key_there_is_no_subject(protocol: Protocol) -> None:
    _, _, event = sent(protocol, message(id_=MESSAGE_ID), b"1")
    assert event.get_subject() is None
    assert event.get_data() == 1


def test_binary_leaves_the_payload_alone() -> None:
    headers, body, _ = sent(BINARY, message(content_type="text/plain"), BODY)
    assert body == BODY
    assert headers["content-type"] == "text/plain"


def test_structured_keeps_the_payloads_bytes() -> None:
    headers, body, _ = sent(STRUCTURED, message(content_type="application/x+JSON; v=1"), BODY)
    assert headers["content-type"] == "application/cloudevents+json"
    assert BODY in body
    assert json.loads(body)["datacontenttype"] == "application/x+JSON; v=1"


def test_what_is_not_json_travels_as_base64() -> None:
    payload = b"\x81\xa1a\x01\xff"
    _, body, event = sent(STRUCTURED, message(content_type="application/msgpack"), payload)
    assert "data" not in json.loads(body)
    assert event.get_data() == payload


@both
def test_it_is_signed_as_sent(protocol: Protocol) -> None:
    headers, body, _ = sent(protocol, message(id_=MESSAGE_ID), BODY)
    signer = sign.Signer([sign.decode_secret(SECRETS[0])])
    expected = signer.signature(str(MESSAGE_ID), NOW_MS // 1000, body)
    assert headers["webhook-signature"] == expected


@both
def test_a_messages_headers_are_no_attributes(protocol: Protocol) -> None:
    what = message({"ce-id": "mine", "ce-more": "1", "x-trace": "abc"}, id_=MESSAGE_ID)
    headers, _, event = sent(protocol, what, BODY)
    assert event.get_id() == str(MESSAGE_ID)
    assert "ce-more" not in headers
    assert headers["x-trace"] == "abc"


def test_the_bindings_own_example_of_a_header() -> None:
    """HTTP binding, section 3.1.3.2."""
    assert header_value("Euro \u20ac \U0001f600") == b"Euro%20%E2%82%AC%20%F0%9F%98%80"


@given(st.text(max_size=50))
def test_any_text_is_a_header_that_the_public_parser_reads(text: str) -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/",
        "ce-type": "a",
        "ce-partitionkey": header_value(text).decode("ascii"),
    }
    event = from_http_event(HTTPMessage(headers, b""))
    assert event.get_extension("partitionkey") == text


@both
def test_there_are_no_batches(protocol: Protocol) -> None:
    target = Targets("notify").of(consumer(protocol=protocol))
    with pytest.raises(InvalidInput, match="has no batches"):
        target.batch_request("b", "", b"[]", 1, 1, NOW_MS)
