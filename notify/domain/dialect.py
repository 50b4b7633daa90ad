"""How a consumer is spoken to: its protocol, and who Notify is to it. No secret is in a repr."""

from enum import StrEnum
from typing import TypeAlias

import msgspec


class Protocol(StrEnum):
    """What a request to a consumer looks like."""

    STANDARD = "standard"
    X5 = "x5"
    CLOUDEVENTS_BINARY = "cloudevents-binary"
    CLOUDEVENTS_STRUCTURED = "cloudevents-structured"


class X5Account(msgspec.Struct, frozen=True):
    """Who Notify is to a consumer that speaks X5 (DESIGN section 7)."""

    appid: str
    appkey: str

    def __repr__(self) -> str:
        return f"X5Account(appid={self.appid!r}, appkey=***)"


class Basic(msgspec.Struct, frozen=True, tag_field="kind", tag="basic"):
    """HTTP Basic authentication (RFC 7617)."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Basic(user={self.user!r}, password=***)"


class Bearer(msgspec.Struct, frozen=True, tag_field="kind", tag="bearer"):
    """A fixed bearer token (RFC 6750)."""

    token: str

    def __repr__(self) -> str:
        return "Bearer(token=***)"


class OAuth2(msgspec.Struct, frozen=True, tag_field="kind", tag="oauth2"):
    """Bearer tokens by client credentials (RFC 6749 section 4.4).

    extra: further parameters of the token request, such as an audience.
    """

    token_url: str
    client_id: str
    client_secret: str
    scope: str = ""
    extra: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"OAuth2(token_url={self.token_url!r}, client_id={self.client_id!r}, …)"


Auth: TypeAlias = Basic | Bearer | OAuth2


class ClientIdentity(msgspec.Struct, frozen=True):
    """How connections to a consumer are made. PEM texts; "" where there is none.

    ca: whose certificates are believed. certificate and key: what Notify shows (mTLS).
    proxy: http://[user:password@]host:port, through which the connection goes.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""
    proxy: str = ""

    def __repr__(self) -> str:
        given = [name for name in self.__struct_fields__ if getattr(self, name)]
        return f"ClientIdentity({', '.join(f'{name}=***' for name in given)})"
