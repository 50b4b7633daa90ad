"""Standard Webhooks 1.0.0 signatures and the request head (pure twin of sign.pyx)."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, Final

from notify_core.ed25519 import PRIVATE_PREFIX as _PRIVATE_PREFIX
from notify_core.ed25519 import PrivateKey, decode_base64, private_key
from notify_core.errors import SecretError

PREFIX: Final = "whsec_"
_BLOCK = 64
_INNER = bytes(b ^ 0x36 for b in range(256))
_OUTER = bytes(b ^ 0x5C for b in range(256))


def decode_secret(text: str) -> bytes | PrivateKey:
    """The key of a secret, for a Signer (Standard Webhooks 1.0.0).

    `whsec_` and the base64 of 24 to 64 bytes: these bytes, for v1. `whsk_` and the base64 of an
    ed25519 key: that key, for v1a. Raises SecretError, which says what it is not.
    """
    if text.startswith(_PRIVATE_PREFIX):
        return private_key(text)
    if not text.startswith(PREFIX):
        raise SecretError(f"a signing secret starts with {PREFIX} or {_PRIVATE_PREFIX}")
    key = decode_base64(text, PREFIX)
    _check_size(key)
    return key


def encode_secret(key: bytes) -> str:
    """The `whsec_` text of key bytes. Raises SecretError unless they are 24 to 64."""
    _check_size(key)
    return PREFIX + base64.b64encode(key).decode("ascii")


class Signer:
    """Signs with one or several keys (several while a secret rotates), of either kind.

    Bytes are an HMAC key (v1): its padded states are computed once, a signature then costs two
    hash copies. What has a method `sign` is an ed25519 key (v1a).
    Raises SecretError where there is no key: nothing leaves unsigned by accident.
    """

    def __init__(self, keys: Sequence[bytes | PrivateKey]) -> None:
        if not keys:
            raise SecretError("a signer needs at least one key")
        # For each key its inner and its outer state, or what signs and None.
        self._states: list[tuple[Any, Any]] = []
        for key in keys:
            if not isinstance(key, bytes):
                self._states.append((key.sign, None))
                continue
            padded = key.ljust(_BLOCK, b"\0")
            if len(padded) > _BLOCK:
                padded = hashlib.sha256(key).digest().ljust(_BLOCK, b"\0")
            self._states.append(
                (
                    hashlib.sha256(padded.translate(_INNER)),
                    hashlib.sha256(padded.translate(_OUTER)),
                )
            )

    def signature(self, message_id: str, timestamp_s: int, body: bytes) -> str:
        """The `webhook-signature` value: one signature a key, space-separated.

        Each is of `{message_id}.{timestamp_s}.{body}` (Standard Webhooks 1.0.0): `v1,<base64>` its
        HMAC-SHA256, `v1a,<base64>` its ed25519 signature.
        """
        head = f"{message_id}.{timestamp_s}.".encode()
        parts = []
        for first, outer_state in self._states:
            if outer_state is None:
                parts.append("v1a," + base64.b64encode(first(head + body)).decode("ascii"))
                continue
            inner = first.copy()
            inner.update(head)
            inner.update(body)
            outer = outer_state.copy()
            outer.update(inner.digest())
            parts.append("v1," + base64.b64encode(outer.digest()).decode("ascii"))
        return " ".join(parts)


def request_head(
    prefix: bytes,
    signer: Signer | None,
    message_id: str,
    timestamp_s: int,
    event_type: str,
    content_type: str,
    sub_id: int,
    attempt: int,
    extra: bytes,
    body: bytes,
) -> bytes:
    r"""The whole HTTP/1.1 request head of one delivery, blank line included.

    prefix: request line and the endpoint's fixed header lines, each ended by CRLF.
    signer: None for a consumer that wants no `webhook-signature`. event_type: "" for no such line.
    content_type: "" stands for application/json, as in a MessageRecord.
    extra: further header lines, each ended by CRLF, or b"".
    Nothing is looked for in the texts: whoever accepted them kept CR and LF out. Raises
    UnicodeEncodeError where message_id, event_type or content_type is not ASCII.
    """
    signature = b""
    if signer is not None:
        text = signer.signature(message_id, timestamp_s, body)
        signature = b"webhook-signature: %s\r\n" % text.encode("ascii")
    event = b"notify-event-type: %s\r\n" % event_type.encode("ascii") if event_type else b""
    return (
        b"%scontent-type: %s\r\ncontent-length: %d\r\nwebhook-id: %s\r\n"
        b"webhook-timestamp: %d\r\n%s%snotify-subscription: %d\r\nnotify-attempt: %d\r\n%s\r\n"
        % (
            prefix,
            content_type.encode("ascii") or b"application/json",
            len(body),
            message_id.encode("ascii"),
            timestamp_s,
            signature,
            event,
            sub_id,
            attempt,
            extra,
        )
    )


def _check_size(key: bytes) -> None:
    if not 24 <= len(key) <= 64:
        raise SecretError(f"a signing secret holds 24 to 64 bytes, this one {len(key)}")
