"""What the requests to one consumer share."""

import time

import pytest
from standardwebhooks.webhooks import Webhook

from notify.domain.dialect import Basic, Bearer, ClientIdentity, OAuth2, X5Account
from notify.domain.errors import InvalidInput
from notify.domain.model import Consumer
from notify.domain.ports import Answer, Identity
from notify.sender.targets import Targets
from notify_core import ed25519, sign
from notify_core.records import MessageRecord
from tests.services.rig import SECRETS
from tests.services.sender.sent import NOW_MS, consumer, message, parsed

KEY = ed25519.encode_private(b"a seed that has 32 bytes, rather")
OTHER = sign.encode_secret(b"another secret of 24 bytes or so")


def head(targets: Targets, to: Consumer, sent: MessageRecord) -> tuple[str, dict[str, str]]:
    """Request line and headers; a header that comes twice fails."""
    raw, body = targets.of(to).request(sent, b"{}", 3, 2, NOW_MS)
    assert body == b"{}"
    return parsed(raw)


def test_a_request_carries_what_the_design_says() -> None:
    line, headers = head(Targets("notify"), consumer(), message())
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
    _, headers = head(Targets("notify"), consumer(), message({"x-trace": "abc"}, "text/plain"))
    assert headers["content-type"] == "text/plain"
    assert headers["x-trace"] == "abc"


def test_a_messages_headers_do_not_override_the_consumers() -> None:
    to = consumer(headers={"authorization": "Bearer consumer", "x-own": "1"})
    _, headers = head(
        Targets("notify"), to, message({"authorization": "Bearer message", "x-more": "2"})
    )
    assert headers["authorization"] == "Bearer consumer"
    assert (headers["x-own"], headers["x-more"]) == ("1", "2")


def test_while_a_secret_rotates_both_sign() -> None:
    _, headers = head(Targets("notify"), consumer(secrets=(*SECRETS, OTHER)), message())
    assert len(headers["webhook-signature"].split()) == 2


def test_a_target_is_kept_until_the_consumer_changes() -> None:
    targets, before = Targets("notify"), consumer()
    assert targets.of(before) is targets.of(before)
    after = consumer(url="http://10.0.0.2/new", secrets=(OTHER,))
    assert targets.of(after).endpoint.host == "10.0.0.2"
    line, headers = head(targets, after, message())
    signer = sign.Signer([sign.decode_secret(OTHER)])
    assert line.startswith("POST /new")
    assert headers["webhook-signature"] == signer.signature("77", 1614265330, b"{}")


def test_a_url_that_cannot_be_used_is_invalid_input() -> None:
    with pytest.raises(InvalidInput):
        Targets("notify").of(consumer(url="ftp://mail.example/"))


def test_a_target_outlives_changes_of_others() -> None:
    """The directory is read again as a whole; a token fetched for this one is still good."""
    targets = Targets("notify")
    target = targets.of(consumer())
    again = consumer()
    assert targets.of(again) is target
    assert target.consumer is again


def test_the_usual_consumer_needs_no_care() -> None:
    target = Targets("notify").of(consumer())
    assert (target.needs_care, target.allowed_rate_per_s, target.kept_bytes) == (False, None, 0)
    assert target.refusal(Answer(200, b"no", "")) is None
    assert target.timeout_ms == 1000


def test_further_lines_come_last() -> None:
    raw, _ = (
        Targets("notify")
        .of(consumer())
        .request(message({"x-trace": "abc"}), b"{}", 3, 2, NOW_MS, b"notify-sequence: 7\r\n")
    )
    assert raw.endswith(b"x-trace: abc\r\nnotify-sequence: 7\r\n\r\n")


def test_a_batch_is_signed_as_a_whole() -> None:
    body = b'[{"id": "77"}, {"id": "78"}]'
    now_s = int(time.time())
    raw, sent = (
        Targets("notify")
        .of(consumer(secrets=(*SECRETS, KEY)))
        .batch_request(
            "batch-77", "application/json", body, 3, 1, now_s * 1000, b"notify-batch: 2\r\n"
        )
    )
    _, headers = parsed(raw)
    assert sent == body
    assert (headers["webhook-id"], headers["notify-batch"]) == ("batch-77", "2")
    assert "notify-event-type" not in headers
    assert Webhook(SECRETS[0]).verify(body, headers) == [{"id": "77"}, {"id": "78"}]


def test_a_private_key_signs_beside_the_secret() -> None:
    _, headers = head(Targets("notify"), consumer(secrets=(KEY, *SECRETS)), message())
    kinds = [one.split(",")[0] for one in headers["webhook-signature"].split()]
    assert kinds == ["v1a", "v1"]


@pytest.mark.parametrize(
    ("auth", "value"),
    [
        (Basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),  # RFC 7617
        (Basic("test", "123\u00a3"), "Basic dGVzdDoxMjPCow=="),  # the same, section 2.1: UTF-8
        (Bearer("mF_9.B5f-4.1JqM"), "Bearer mF_9.B5f-4.1JqM"),  # RFC 6750
    ],
)
def test_fixed_credentials_are_sent_and_messages_cannot_replace_them(
    auth: Basic | Bearer, value: str
) -> None:
    to = consumer(auth=auth)
    _, headers = head(Targets("notify"), to, message({"authorization": "Bearer mine"}))
    assert headers["authorization"] == value
    assert not Targets("notify").of(to).needs_care


def test_the_identity_goes_with_the_endpoint() -> None:
    to = consumer(identity=ClientIdentity(ca="CA", proxy="http://10.0.0.9:3128"))
    endpoint = Targets("notify").of(to).endpoint
    assert endpoint.identity == Identity(ca="CA", proxy="http://10.0.0.9:3128")


def test_no_secret_is_in_a_repr() -> None:
    to = consumer(
        secrets=("whsec_c2VjcmV0",),
        x5=X5Account("app", "secret-1"),
        auth=OAuth2("https://id.example/", "me", "secret-2", extra={"a": "secret-3"}),
        identity=ClientIdentity(key="secret-4", proxy="http://u:secret-5@p:1"),
    )
    parts = (to, to.x5, to.auth, to.identity, Basic("u", "secret-6"), Bearer("secret-7"))
    assert "secret-" not in repr(parts)
    assert "c2VjcmV0" not in repr(parts)
