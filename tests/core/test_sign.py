import base64
import hashlib
import hmac
import importlib
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from notify_core import ed25519
from notify_core.errors import SecretError

pure = importlib.import_module("notify_core.pure.sign")
core = pure if os.environ.get("NOTIFY_PURE") == "1" else importlib.import_module("notify_core.sign")
both = pytest.mark.parametrize("sign", list(dict.fromkeys([core, pure])))

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(bytes(range(64))).decode()
# RFC 8032 section 7.1, test 1.
SEED = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
SEED_AND_PUBLIC = (
    "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGg=="
)
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
V1A = "v1a,fldxM4gAKugP6nnt1hdz3sgGfZ6d99nzrMFnZOELIxbzEHoVmAb2ADpkJK7zgPePmPsle0zV9jSeGlHFG2NVAw=="
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
numbers = st.integers(0, (1 << 63) - 1)


@both
def test_the_standards_own_vector(sign):
    signer = sign.Signer([sign.decode_secret(SECRET)])
    found = signer.signature(ID, 1614265330, BODY)
    assert found == V1


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
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "starts with whsec_ or whsk_"),
        ("whsec_", "holds 24 to 64 bytes, this one 0"),
        ("whsec_" + base64.b64encode(b"k" * 23).decode(), "24 to 64 bytes, this one 23"),
        ("whsec_" + base64.b64encode(b"k" * 65).decode(), "24 to 64 bytes, this one 65"),
        (SECRET[:-1], "must be base64"),
        (SECRET + "\n", "must be base64"),
        (SECRET.replace("M", "é"), "must be base64"),
        (SECRET.replace("9", "-"), "must be base64"),
        ("whsk_" + base64.b64encode(b"k" * 33).decode(), "not 33 bytes"),
        ("whsk_" + base64.b64encode(b"k" * 64).decode(), "is not its public key"),
        ("whsk_!", "what follows whsk_ must be base64"),
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
@pytest.mark.parametrize("secret", [SEED, SEED_AND_PUBLIC])
def test_v1a_is_what_an_independent_implementation_signs(sign, secret):
    """The vector was made with `openssl pkeyutl -sign -rawin` from the key of RFC 8032, 7.1."""
    found = sign.Signer([sign.decode_secret(secret)]).signature(ID, 1614265330, BODY)
    assert found == V1A
    public = base64.b64decode(ed25519.public_text(secret).removeprefix("whpk_"))
    assert public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    signed = f"{ID}.1614265330.".encode() + BODY
    signature = base64.b64decode(found.removeprefix("v1a,"))
    Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)


@both
def test_keys_of_both_kinds_sign_side_by_side(sign):
    """In their order; the public verifier finds its v1 among signatures that it does not know."""
    signer = sign.Signer([sign.decode_secret(secret) for secret in (SEED, SECRET, OTHER)])
    now_s = int(datetime.now(UTC).timestamp())
    signature = signer.signature(ID, now_s, BODY)
    assert [part.split(",")[0] for part in signature.split(" ")] == ["v1a", "v1", "v1"]
    headers = {
        "webhook-id": ID,
        "webhook-timestamp": str(now_s),
        "webhook-signature": signature,
    }
    assert Webhook(SECRET).verify(BODY, headers) == {"test": 2432232314}
    head = sign.request_head(b"", signer, ID, now_s, "a", "", 1, 1, b"", BODY)
    assert f"webhook-signature: {signature}\r\n".encode() in head


def test_a_private_key_is_written_with_its_public_key():
    seed = base64.b64decode(SEED.removeprefix("whsk_"))
    assert ed25519.encode_private(seed) == SEED_AND_PUBLIC
    with pytest.raises(SecretError, match="32 bytes, this one 24"):
        ed25519.encode_private(b"k" * 24)


def test_v1_needs_no_cryptography():
    """Whoever signs with whsec_ secrets only never loads it, nor has to have it."""
    program = (
        "import sys; sys.modules['cryptography'] = None\n"
        f"from notify_core import sign; sign.Signer([sign.decode_secret('{SECRET}')])"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.skipif(core is pure, reason="the pure twin signs by hashlib")
def test_v1_is_signed_without_hashlib_between_it_and_openssl(monkeypatch):
    pytest.importorskip("_hashlib")  # a Python without OpenSSL
    monkeypatch.delattr(hashlib, "sha256")
    signer = core.Signer([core.decode_secret(SECRET)])
    assert signer.signature(ID, 1614265330, BODY) == V1


def test_v1_is_signed_by_hashlib_where_openssl_is_not_to_be_had():
    program = (
        "import sys; sys.modules['_hashlib'] = None\n"
        f"from notify_core import sign; signer = sign.Signer([sign.decode_secret('{SECRET}')])\n"
        f"print(signer.signature('{ID}', 1614265330, {BODY}))"
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert found.stdout.decode().strip() == V1


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
        "7031",
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
def test_a_head_without_signature_or_event_type(sign):
    head = sign.request_head(b"", None, "b7", 9, "", "text/plain", 1, 2, b"", b"xyz")
    assert head.decode() == (
        "content-type: text/plain\r\n"
        "content-length: 3\r\n"
        "webhook-id: b7\r\n"
        "webhook-timestamp: 9\r\n"
        "notify-subscription: 1\r\n"
        "notify-attempt: 2\r\n"
        "\r\n"
    )


@both
@pytest.mark.parametrize(
    ("id_", "event", "content"),
    [("1", "café", ""), ("1", "a", "text/é"), ("1", "\ud800", ""), ("é", "a", "")],
)
def test_header_texts_must_be_ascii(sign, id_, event, content):
    signer = sign.Signer([b"k" * 24])
    with pytest.raises(UnicodeEncodeError):
        sign.request_head(b"", signer, id_, 1, event, content, 1, 1, b"", b"")


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
    st.booleans(),
    st.binary(max_size=80),
    st.tuples(
        texts, numbers, texts, texts, numbers, numbers, st.binary(max_size=80),
        st.binary(max_size=300),
    ),
)  # fmt: skip
def test_the_twins_write_the_same_head(signed, prefix, rest):
    heads = [
        m.request_head(prefix, m.Signer([b"k" * 24]) if signed else None, *rest)
        for m in (core, pure)
    ]
    assert heads[0] == heads[1]
    assert (b"webhook-signature: v1," in heads[0]) >= signed


@given(st.text(max_size=100) | st.text("abAB09+/=-_ ", max_size=100).map("whsec_".__add__))
def test_the_twins_read_secrets_alike(text):
    assert _decoded(core, text) == _decoded(pure, text)


def _decoded(sign, text):
    try:
        return sign.decode_secret(text)
    except SecretError as error:
        return str(error)
