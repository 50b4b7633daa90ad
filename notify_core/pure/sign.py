"""Standard Webhooks 1.0.0 signatures and the request head (pure twin of sign.pyx)."""

import base64
import binascii
import hashlib
from collections.abc import Sequence

from notify_core.errors import SecretError

PREFIX = "whsec_"
_BLOCK = 64
_INNER = bytes(b ^ 0x36 for b in range(256))
_OUTER = bytes(b ^ 0x5C for b in range(256))


def decode_secret(text: str) -> bytes:
    """The key bytes of a `whsec_` secret.

    Raises SecretError unless it is `whsec_` and the base64 of 24 to 64 bytes.
    """
    if not text.startswith(PREFIX):
        raise SecretError(f"a signing secret starts with {PREFIX}")
    try:
        key = base64.b64decode(text[len(PREFIX) :].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise SecretError(f"what follows {PREFIX} must be base64") from None
    if not 24 <= len(key) <= 64:
        raise SecretError(f"a signing secret holds 24 to 64 bytes, this one {len(key)}")
    return key


def encode_secret(key: bytes) -> str:
    """The `whsec_` text of key bytes."""
    return PREFIX + base64.b64encode(key).decode("ascii")


class Signer:
    """Signs with one or several keys (several while a secret rotates).

    The padded HMAC states are computed once; a signature then costs two hash copies.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
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
        """The `webhook-signature` value: one `v1,<base64>` a key, space-separated."""
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
    extra: the message's own header lines, each ended by CRLF, or b"".
    Header texts must be ASCII; callers checked them when they were accepted.
    """
    identifier = str(message_id)
    return b"%scontent-type: %s\r\ncontent-length: %d\r\nwebhook-id: %s\r\n" % (
        prefix,
        content_type.encode("ascii"),
        len(body),
        identifier.encode("ascii"),
    ) + (
        b"webhook-timestamp: %d\r\nwebhook-signature: %s\r\nnotify-event-type: %s\r\n"
        b"notify-subscription: %d\r\nnotify-attempt: %d\r\n%s\r\n"
        % (
            timestamp_s,
            signer.signature(identifier, timestamp_s, body).encode("ascii"),
            event_type.encode("ascii"),
            sub_id,
            attempt,
            extra,
        )
    )
