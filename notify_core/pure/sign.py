"""Standard Webhooks 1.0.0 signatures and the request head (pure twin of sign.pyx)."""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Final

from notify_core.errors import SecretError

PREFIX: Final = "whsec_"
_BLOCK = 64
_INNER = bytes(b ^ 0x36 for b in range(256))
_OUTER = bytes(b ^ 0x5C for b in range(256))


def decode_secret(text: str) -> bytes:
    """The key bytes of a `whsec_` secret (Standard Webhooks 1.0.0, symmetric keys).

    Raises SecretError unless it is `whsec_` and the base64 of 24 to 64 bytes.
    """
    if not text.startswith(PREFIX):
        raise SecretError(f"a signing secret starts with {PREFIX}")
    try:
        key = base64.b64decode(text[len(PREFIX) :].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise SecretError(f"what follows {PREFIX} must be base64") from None
    _check_size(key)
    return key


def encode_secret(key: bytes) -> str:
    """The `whsec_` text of key bytes. Raises SecretError unless they are 24 to 64."""
    _check_size(key)
    return PREFIX + base64.b64encode(key).decode("ascii")


class Signer:
    """Signs with one or several keys (several while a secret rotates).

    The padded HMAC states are computed once; a signature then costs two hash copies.
    Raises SecretError where there is no key: nothing leaves unsigned by accident.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise SecretError("a signer needs at least one key")
        self._states = []
        for key in keys:
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
        """The `webhook-signature` value: one `v1,<base64>` a key, space-separated.

        Each is the HMAC-SHA256 of `{message_id}.{timestamp_s}.{body}` (Standard Webhooks 1.0.0).
        """
        head = f"{message_id}.{timestamp_s}.".encode()
        parts = []
        for inner_state, outer_state in self._states:
            inner = inner_state.copy()
            inner.update(head)
            inner.update(body)
            outer = outer_state.copy()
            outer.update(inner.digest())
            parts.append("v1," + base64.b64encode(outer.digest()).decode("ascii"))
        return " ".join(parts)


def request_head(
    prefix: bytes,
    signer: Signer,
    message_id: int,
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
    content_type: "" stands for application/json, as in a MessageRecord.
    extra: the message's own header lines, each ended by CRLF, or b"".
    Nothing is looked for in the texts: whoever accepted them kept CR and LF out. Raises
    UnicodeEncodeError where event_type or content_type is not ASCII.
    """
    identifier = str(message_id)
    return (
        b"%scontent-type: %s\r\ncontent-length: %d\r\nwebhook-id: %s\r\n"
        b"webhook-timestamp: %d\r\nwebhook-signature: %s\r\nnotify-event-type: %s\r\n"
        b"notify-subscription: %d\r\nnotify-attempt: %d\r\n%s\r\n"
        % (
            prefix,
            content_type.encode("ascii") or b"application/json",
            len(body),
            identifier.encode("ascii"),
            timestamp_s,
            signer.signature(identifier, timestamp_s, body).encode("ascii"),
            event_type.encode("ascii"),
            sub_id,
            attempt,
            extra,
        )
    )


def _check_size(key: bytes) -> None:
    if not 24 <= len(key) <= 64:
        raise SecretError(f"a signing secret holds 24 to 64 bytes, this one {len(key)}")
