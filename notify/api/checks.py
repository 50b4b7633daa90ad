"""Rules of configured objects that a JSON Schema cannot say; all raise InvalidInput."""

from typing import Final

from notify.api.dialect_shapes import SecretKind
from notify.domain.errors import InvalidInput
from notify.domain.ports import Random
from notify.transport.endpoint import check_headers, parse_endpoint
from notify_core import ed25519, sign
from notify_core.errors import SecretError

MASK: Final = "***"
SECRET_BYTES: Final = 32
SECRETS_MAX: Final = 2
_SECRET_CHARS_SHOWN: Final = 4
_CREDENTIALS: Final = ("auth", "cookie", "key", "token", "secret", "password", "signature")


def check_name(name: str) -> str:
    """The name itself: printable, no blank at either end."""
    if not name.isprintable() or name != name.strip():
        raise InvalidInput("name must be printable, without blanks at its ends")
    return name


def check_url(url: str) -> str:
    """The URL itself, where it names an endpoint that a Sender could call."""
    parse_endpoint(url)
    return url


def check_static_headers(headers: dict[str, str]) -> dict[str, str]:
    """A consumer's headers with lower-case names."""
    check_headers(headers)
    lower = {name.lower(): value for name, value in headers.items()}
    for name, value in lower.items():
        if value == MASK:
            raise InvalidInput(f"the value of header {name} is a mask; give the real one")
    return lower


def check_secret(given: str | None, kind: SecretKind | None, random: Random) -> str:
    """The given signing secret, or a new one (kind None: v1) where none is given."""
    if given is None:
        seed = random.token_bytes(SECRET_BYTES)
        return ed25519.encode_private(seed) if kind is SecretKind.V1A else sign.encode_secret(seed)
    try:
        sign.decode_secret(given)
    except SecretError as error:
        raise InvalidInput(str(error)) from None
    if kind not in (None, kind_of(given)):
        raise InvalidInput(f"the given secret is of kind {kind_of(given)}, not {kind}: drop one")
    return given


def kind_of(secret: str) -> SecretKind:
    """The signature that a secret makes."""
    return SecretKind.V1A if secret.startswith(ed25519.PRIVATE_PREFIX) else SecretKind.V1


def public_key(secret: str) -> str | None:
    """The `whpk_` key that verifies what the secret signs; None where it does so itself (v1)."""
    return ed25519.public_text(secret) if kind_of(secret) is SecretKind.V1A else None


def masked_secret(secret: str) -> str:
    """Enough of a secret to recognise it, not to use it."""
    prefix = sign.PREFIX if kind_of(secret) is SecretKind.V1 else ed25519.PRIVATE_PREFIX
    return f"{prefix}…{secret[-_SECRET_CHARS_SHOWN:]}"


def masked_headers(headers: dict[str, str]) -> dict[str, str]:
    """The headers, with the values hidden of those whose names sound like credentials."""
    return {
        name: MASK if any(part in name.lower() for part in _CREDENTIALS) else value
        for name, value in headers.items()
    }
