"""How a consumer is spoken to: what callers give, what is stored, what they see of it."""

import re
from typing import Any, Final

import msgspec

from notify.api.checks import MASK, masked_headers
from notify.api.dialect_shapes import AuthNew, IdentityNew, X5New
from notify.domain.dialect import Auth, Basic, Bearer, ClientIdentity, OAuth2, Protocol, X5Account
from notify.domain.errors import InvalidInput
from notify.domain.model import Consumer
from notify.domain.ports import Identity
from notify.transport.endpoint import parse_endpoint
from notify.transport.identity import check_identity

# RFC 6750 section 2.1.
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_PROXY_CREDENTIALS: Final = re.compile(r"(?<=://).*(?=@)", re.DOTALL)
# What the token request says itself (RFC 6749 section 4.4.2).
_RESERVED_EXTRA: Final = frozenset({"grant_type", "scope", "client_id", "client_secret"})


def x5_of(given: X5New | None) -> X5Account | None:
    """The account as it is stored. Raises InvalidInput."""
    return None if given is None else _converted(given, X5Account, "x5")


def auth_of(given: AuthNew | None) -> Auth | None:
    """The authentication as it is stored. Raises InvalidInput."""
    if given is None:
        return None
    auth: Auth = _converted(given, Auth, "auth")
    if isinstance(auth, Bearer) and not _TOKEN.fullmatch(auth.token):
        raise InvalidInput("auth.token is no bearer token: letters, digits and - . _ ~ + / = only")
    if isinstance(auth, Basic) and (":" in auth.user or _CONTROL.search(auth.user + auth.password)):
        raise InvalidInput(
            "auth.user must have no colon, and neither it nor auth.password control characters"
        )
    if isinstance(auth, OAuth2):
        _check_oauth2(auth)
    return auth


def identity_of(given: IdentityNew | None) -> ClientIdentity | None:
    """The identity as it is stored, None where it says nothing. Raises InvalidInput."""
    if given is None:
        return None
    plain = msgspec.structs.replace(given, proxy=given.proxy or "")
    identity: ClientIdentity = _converted(plain, ClientIdentity, "identity")
    if identity == ClientIdentity():
        return None
    check_identity(Identity(*msgspec.structs.astuple(identity)))
    return identity


def check_dialect(consumer: Consumer) -> Consumer:
    """The consumer itself, where what is set of it goes together. Raises InvalidInput."""
    if consumer.protocol is Protocol.X5 and consumer.x5 is None:
        raise InvalidInput("protocol x5 needs x5: the appid and the appkey that the consumer knows")
    if consumer.protocol is not Protocol.X5 and consumer.x5 is not None:
        raise InvalidInput("x5 is for protocol x5 only: set protocol to x5, or x5 to null")
    if consumer.protocol is Protocol.STANDARD and not consumer.signed:
        raise InvalidInput("protocol standard is always signed: leave signed true")
    if consumer.auth is not None and "authorization" in consumer.headers:
        raise InvalidInput("header authorization is set by auth: give one of the two")
    if consumer.protocol in (Protocol.CLOUDEVENTS_BINARY, Protocol.CLOUDEVENTS_STRUCTURED):
        for name in consumer.headers:
            if name.startswith("ce-"):
                raise InvalidInput(f"header {name} is set by the protocol {consumer.protocol}")
    identity = consumer.identity
    if identity and (identity.ca or identity.certificate) and not parse_endpoint(consumer.url).tls:
        raise InvalidInput("identity.ca and identity.certificate need a URL with https://")
    return consumer


def masked_x5(account: X5Account | None) -> X5Account | None:
    """The account without its key."""
    return account and X5Account(account.appid, MASK)


def masked_auth(auth: Auth | None) -> Auth | None:
    """The authentication without what proves it."""
    if isinstance(auth, Basic):
        return Basic(auth.user, MASK)
    if isinstance(auth, Bearer):
        return Bearer(MASK)
    if isinstance(auth, OAuth2):
        extra = masked_headers(auth.extra)
        return msgspec.structs.replace(auth, client_secret=MASK, extra=extra)
    return None


def masked_identity(identity: ClientIdentity | None) -> ClientIdentity | None:
    """The identity without its key and the proxy's credentials; certificates are public."""
    if identity is None:
        return None
    proxy = _PROXY_CREDENTIALS.sub(MASK, identity.proxy)
    return msgspec.structs.replace(identity, key=MASK if identity.key else "", proxy=proxy)


def _check_oauth2(auth: OAuth2) -> None:
    try:
        parse_endpoint(auth.token_url)
    except InvalidInput as error:
        raise InvalidInput(f"auth.token_url: {error}") from None
    for name in auth.extra:
        if not name or name in _RESERVED_EXTRA:
            raise InvalidInput(f"auth.extra: {name!r} is set by the token request itself")


def _converted(given: msgspec.Struct, kind: Any, where: str) -> Any:
    for name in given.__struct_fields__:
        if getattr(given, name) == MASK:
            raise InvalidInput(f"the value of {where}.{name} is a mask; give the real one")
    return msgspec.convert(msgspec.to_builtins(given), kind)
