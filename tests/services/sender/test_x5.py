"""X5 to a consumer: what is sent, read by a decoder of the test's own, and what is answered."""

import base64
import hashlib
import json
import time
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from notify.domain.dialect import Protocol, X5Account
from notify.domain.errors import InvalidInput
from notify.domain.ports import Answer
from notify.sender.protocols.x5 import x5_form, x5_sign
from notify.sender.targets import Targets
from tests.services.rig import SECRETS
from tests.services.sender.sent import NOW_MS, consumer, message, parsed

ACCOUNT = X5Account("notify_demo", "k3y")
BODY = b'{"order_id":10001,"status":"paid"}'
SPEAKING = consumer(protocol=Protocol.X5, x5=ACCOUNT)


def decoded(form: bytes) -> tuple[dict[str, str], str]:
    """Header and body of an X5 request, as a consumer of the platform reads it."""
    [(name, value)] = parse_qsl(form.decode("ascii"), strict_parsing=True)
    assert name == "data"
    request = json.loads(base64.b64decode(value, validate=True))
    assert set(request) == {"header", "body"}
    return request["header"], request["body"]


def test_the_designs_own_vector() -> None:
    assert x5_sign(ACCOUNT, BODY) == "7E5E62236030A2E30E7EB23C53209227"


def test_a_request_carries_the_payload_as_it_was_accepted() -> None:
    raw, form = (
        Targets("notify")
        .of(SPEAKING)
        .request(
            message({"x-trace": "abc"}, "text/plain"), BODY, 3, 2, NOW_MS, b"notify-sequence: 7\r\n"
        )
    )
    line, headers = parsed(raw)
    assert line == "POST /hook?x=1 HTTP/1.1"
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert headers["content-length"] == str(len(form))
    assert (headers["x-trace"], headers["notify-sequence"]) == ("abc", "7")
    header, body = decoded(form)
    assert body.encode() == BODY
    assert header == {
        "appid": "notify_demo",
        "sign": "7E5E62236030A2E30E7EB23C53209227",
        "method": "order.paid",
    }


def test_it_carries_standard_webhooks_too_signed_as_sent() -> None:
    raw, form = (
        Targets("notify").of(SPEAKING).request(message(), BODY, 3, 2, int(time.time()) * 1000)
    )
    _, headers = parsed(raw)
    Webhook(SECRETS[0]).verify(form, headers, json_parse=False)


def test_it_may_go_without_but_not_without_its_id() -> None:
    to = consumer(protocol=Protocol.X5, x5=ACCOUNT, signed=False, secrets=())
    raw, _ = Targets("notify").of(to).request(message(), BODY, 3, 2, NOW_MS)
    _, headers = parsed(raw)
    assert "webhook-signature" not in headers
    assert (headers["webhook-id"], headers["notify-attempt"]) == ("77", "2")


@given(st.text(max_size=200), st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_any_text_comes_through(body: str, appid: str, appkey: str) -> None:
    account = X5Account(appid, appkey)
    header, read = decoded(x5_form(account, "a", body.encode()))
    assert read == body
    signed = hashlib.md5((appid + read + appkey).encode()).hexdigest().upper()
    assert header["sign"] == signed


def test_what_is_no_text_cannot_be_sent() -> None:
    with pytest.raises(InvalidInput, match="not UTF-8"):
        Targets("notify").of(SPEAKING).request(message(), b"\x81\xa1a\x01", 3, 2, NOW_MS)


def test_there_are_no_batches() -> None:
    with pytest.raises(InvalidInput, match="protocol x5 has no batches"):
        Targets("notify").of(SPEAKING).batch_request("b", "", b"[]", 1, 1, NOW_MS)


def test_without_an_account_it_cannot_be_called() -> None:
    with pytest.raises(InvalidInput, match="appid"):
        Targets("notify").of(consumer(protocol=Protocol.X5))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"header":{"code":"200","desc":"ok"},"body":{}}', None),
        (b'{"body":{"header":{"code":"500"}},"header":{"code":200}}', None),
        (b'{"header":{"code":"500","desc":"no stock"}}', "X5 code 500: no stock"),
        (b'{"header":{"code":"0200"}}', "X5 code 0200: "),
        (b'{"body":{"header":{"code":"200"}},"header":{"code":"401"}}', "X5 code 401: "),
        (b'{"header":{"desc":"200"}}', "not an X5 reply"),
        (b'{"code":"200"}', "not an X5 reply"),
        (b"<html>", "not an X5 reply"),
        (b"\xff", "not an X5 reply"),
        (b"", "not an X5 reply"),
    ],
)
def test_the_answers_own_code_decides(body: bytes, says: str | None) -> None:
    refusal = Targets("notify").of(SPEAKING).refusal(Answer(200, body, ""))
    if says is None:
        assert refusal is None
    else:
        assert refusal is not None
        assert says in refusal


def test_a_long_description_is_cut() -> None:
    body = json.dumps({"header": {"code": "1", "desc": "x" * 10_000}}).encode()
    refusal = Targets("notify").of(SPEAKING).refusal(Answer(200, body, ""))
    assert refusal is not None
    assert len(refusal) == 200
