import base64
import hashlib
import hmac
import importlib
import os
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from notify_core.errors import SecretError

pure = importlib.import_module("notify_core.pure.sign")
core = pure if os.environ.get("NOTIFY_PURE") == "1" else importlib.import_module("notify_core.sign")
both = pytest.mark.parametrize("sign", list(dict.fromkeys([core, pure])))

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(bytes(range(64))).decode()
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
numbers = st.integers(0, (1 << 63) - 1)


@both
def test_the_standards_own_vector(sign):
    signer = sign.Signer([sign.decode_secret(SECRET)])
    found = signer.signature(ID, 1614265330, BODY)
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@both
@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_the_public_verifier_accepts_either_key_of_a_rotation(sign, secret):
    signer = sign.Signer([sign.decode_secret(SECRET), sign.decode_secret(OTHER)])
    now_s = int(datetime.now(UTC).timestamp())
    headers = {
        "webhook-id": ID,
        "webhook-timestamp": str(now_s),
        "webhook-signature": signer.signature(ID, now_s, BODY),
    }
    assert Webhook(secret).verify(BODY, headers) == {"test": 2432232314}


@both
@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "starts with whsec_"),
        ("whsec_", "holds 24 to 64 bytes, this one 0"),
        ("whsec_" + base64.b64encode(b"k" * 23).decode(), "24 to 64 bytes, this one 23"),
        ("whsec_" + base64.b64encode(b"k" * 65).decode(), "24 to 64 bytes, this one 65"),
        (SECRET[:-1], "must be base64"),
        (SECRET + "\n", "must be base64"),
        (SECRET.replace("M", "é"), "must be base64"),
        (SECRET.replace("9", "-"), "must be base64"),
    ],
)
def test_a_secret_says_what_is_wrong_with_it(sign, secret, reason):
    with pytest.raises(SecretError, match=reason):
        sign.decode_secret(secret)


@both
def test_a_secret_too_short_or_too_long_is_not_written_either(sign):
    assert sign.decode_secret(sign.encode_secret(b"k" * 24)) == b"k" * 24
    with pytest.raises(SecretError, match="this one 65"):
        sign.encode_secret(b"k" * 65)


@both
def test_a_signer_without_keys_is_refused(sign):
    with pytest.raises(SecretError, match="at least one key"):
        sign.Signer([])


@both
def test_a_request_head_byte_for_byte(sign):
    signer = sign.Signer([sign.decode_secret(SECRET)])
    head = sign.request_head(
        b"POST /hook HTTP/1.1\r\nhost: shop\r\n",
        signer,
        7031,
        1614265330,
        "order.paid",
        "",
        17,
        2,
        b"x-trace: a\r\n",
        BODY,
    )
    assert head.decode() == (
        "POST /hook HTTP/1.1\r\n"
        "host: shop\r\n"
        "content-type: application/json\r\n"
        "content-length: 20\r\n"
        "webhook-id: 7031\r\n"
        "webhook-timestamp: 1614265330\r\n"
        f"webhook-signature: {signer.signature('7031', 1614265330, BODY)}\r\n"
        "notify-event-type: order.paid\r\n"
        "notify-subscription: 17\r\n"
        "notify-attempt: 2\r\n"
        "x-trace: a\r\n"
        "\r\n"
    )


@both
@pytest.mark.parametrize(("event", "content"), [("café", ""), ("a", "text/é"), ("\ud800", "")])
def test_header_texts_must_be_ascii(sign, event, content):
    signer = sign.Signer([b"k" * 24])
    with pytest.raises(UnicodeEncodeError):
        sign.request_head(b"", signer, 1, 1, event, content, 1, 1, b"", b"")


@given(
    keys=st.lists(st.binary(max_size=130), min_size=1, max_size=3),
    message_id=st.text(max_size=20).filter(lambda text: text.isprintable()),
    timestamp_s=st.integers(),
    body=st.binary(max_size=5000),
)
def test_the_twins_sign_alike_and_like_hmac(keys, message_id, timestamp_s, body):
    found = core.Signer(keys).signature(message_id, timestamp_s, body)
    assert found == pure.Signer(keys).signature(message_id, timestamp_s, body)
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    digests = [hmac.digest(key, signed, hashlib.sha256) for key in keys]
    assert found == " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


@given(
    st.binary(max_size=80), numbers, numbers, texts, texts, numbers, numbers,
    st.binary(max_size=80), st.binary(max_size=300),
)  # fmt: skip
def test_the_twins_write_the_same_head(
    prefix, message_id, timestamp_s, event, content, sub_id, attempt, extra, body
):
    rest = (message_id, timestamp_s, event, content, sub_id, attempt, extra, body)
    heads = [m.request_head(prefix, m.Signer([b"k" * 24]), *rest) for m in (core, pure)]
    assert heads[0] == heads[1]


@given(st.text(max_size=100) | st.text("abAB09+/=-_ ", max_size=100).map("whsec_".__add__))
def test_the_twins_read_secrets_alike(text):
    assert _decoded(core, text) == _decoded(pure, text)


def _decoded(sign, text):
    try:
        return sign.decode_secret(text)
    except SecretError as error:
        return str(error)
