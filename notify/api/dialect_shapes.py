"""How a consumer is spoken to, as callers give it; what they are shown are the domain's structs."""

from enum import StrEnum
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

PEM_CHARS_MAX = 65_536
EXTRA_MAX = 16

Credential = Annotated[str, Meta(min_length=1, max_length=4096)]
Short = Annotated[str, Meta(max_length=1024)]
Pem = Annotated[str, Meta(max_length=PEM_CHARS_MAX)]
TokenUrl = Annotated[str, Meta(min_length=1, max_length=2048)]


class SecretKind(StrEnum):
    """The signature that a secret makes: v1 is HMAC-SHA256 (whsec_), v1a ed25519 (whsk_)."""

    V1 = "v1"
    V1A = "v1a"


class X5New(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The account that Notify has with a consumer that speaks X5."""

    appid: Annotated[str, Meta(min_length=1, max_length=128)]
    appkey: Credential


class BasicNew(
    msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="kind",
    tag="basic",
):  # fmt: skip
    """HTTP Basic authentication."""

    user: Credential
    password: Short


class BearerNew(
    msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="kind",
    tag="bearer",
):  # fmt: skip
    """A fixed bearer token."""

    token: Credential


class OAuth2New(
    msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="kind",
    tag="oauth2",
):  # fmt: skip
    """OAuth2 client credentials; the token is fetched and renewed by the Sender.

    extra: further parameters of the token request, such as an audience.
    """

    token_url: TokenUrl
    client_id: Credential
    client_secret: Credential
    scope: Short = ""
    extra: Annotated[dict[Short, Short], Meta(max_length=EXTRA_MAX)] = {}


class IdentityNew(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How connections to the consumer are made.

    ca: PEM certificates to be believed instead of the system's authorities. certificate and key:
    what Notify shows of itself (mTLS), PEM, our own certificate first, the key not encrypted.
    proxy: http://[user:password@]host:port to go through. The token endpoint of `auth` is
    reached the same way.
    """

    ca: Pem = ""
    certificate: Pem = ""
    key: Pem = ""
    proxy: TokenUrl | None = None


AuthNew: TypeAlias = BasicNew | BearerNew | OAuth2New
