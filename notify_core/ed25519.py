"""Ed25519 keys of Standard Webhooks 1.0.0 (v1a): `whsk_` private keys, `whpk_` public keys.

The arithmetic is the package cryptography's, imported where a `whsk_` secret is used first: who
signs with `whsec_` secrets alone does without it. There is nothing here for a twin to compile.
"""

import base64
import binascii
from typing import TYPE_CHECKING, Final, Protocol

from notify_core.errors import SecretError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PRIVATE_PREFIX: Final = "whsk_"
PUBLIC_PREFIX: Final = "whpk_"
SEED_BYTES: Final = 32


class PrivateKey(Protocol):
    """What a Signer needs of an ed25519 key."""

    def sign(self, data: bytes, /) -> bytes:
        """The signature, 64 bytes."""


def private_key(text: str) -> "Ed25519PrivateKey":
    """The key of a `whsk_` secret: the base64 of its 32 byte seed, or of seed and public key.

    Raises SecretError where it is neither, or where the public key is not the seed's.
    """
    from cryptography.hazmat.primitives.asymmetric import ed25519

    raw = decode_base64(text, PRIVATE_PREFIX)
    if len(raw) not in (SEED_BYTES, 2 * SEED_BYTES):
        raise SecretError(
            f"a {PRIVATE_PREFIX} secret holds a seed of {SEED_BYTES} bytes, alone or with its "
            f"public key of {SEED_BYTES} behind it, not {len(raw)} bytes"
        )
    key = ed25519.Ed25519PrivateKey.from_private_bytes(raw[:SEED_BYTES])
    if raw[SEED_BYTES:] not in (b"", key.public_key().public_bytes_raw()):
        raise SecretError(f"the second half of a {PRIVATE_PREFIX} secret is not its public key")
    return key


def encode_private(seed: bytes) -> str:
    """The `whsk_` text of a seed with its public key behind it. Raises SecretError: 32 bytes."""
    from cryptography.hazmat.primitives.asymmetric import ed25519

    if len(seed) != SEED_BYTES:
        raise SecretError(f"an ed25519 seed holds {SEED_BYTES} bytes, this one {len(seed)}")
    public = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return PRIVATE_PREFIX + base64.b64encode(seed + public).decode("ascii")


def public_text(secret: str) -> str:
    """The `whpk_` public key of a `whsk_` secret: what its receiver verifies with."""
    public = private_key(secret).public_key().public_bytes_raw()
    return PUBLIC_PREFIX + base64.b64encode(public).decode("ascii")


def decode_base64(text: str, prefix: str) -> bytes:
    """What follows the prefix of a secret, decoded. Raises SecretError."""
    try:
        return base64.b64decode(text[len(prefix) :].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise SecretError(f"what follows {prefix} must be base64") from None
