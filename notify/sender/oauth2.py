"""OAuth2 client credentials (RFC 6749 section 4.4): the token that a consumer's endpoint wants."""

import re
from base64 import b64encode
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import msgspec

from notify.domain.dialect import OAuth2
from notify.domain.errors import TransportError
from notify.domain.ports import Answer, Identity, Transport
from notify.sender.fetched import Lease
from notify.transport.endpoint import parse_endpoint, request_prefix
from notify.transport.post import post

TOKEN_ANSWER_BYTES_MAX: Final = 32_768
# A token is renewed before it ends, so that no request meets its end on the way.
MARGIN_MS_MAX: Final = 60_000
MARGIN_SHARE: Final = 5
# Where the server does not say how long, as it should (section 5.1); a 401 ends it earlier.
LIFE_S_DEFAULT: Final = 300
LIFE_S_MAX: Final = 86_400

_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*", re.ASCII)  # RFC 6750 section 2.1
_ERROR: Final = re.compile(r"[A-Za-z0-9_.\-]{1,60}", re.ASCII)


class TokenSource:
    """Fetches tokens, over the same guarded connections as deliveries. Raises InvalidInput."""

    def __init__(self, auth: OAuth2, identity: Identity | None, timeout_ms: int) -> None:
        self._endpoint = parse_endpoint(auth.token_url, identity)
        self._timeout_ms = timeout_ms
        # Section 2.3.1: both are form-encoded before they become user and password.
        client = f"{quote_plus(auth.client_id)}:{quote_plus(auth.client_secret)}"
        form = {"grant_type": "client_credentials", **auth.extra}
        if auth.scope:
            form["scope"] = auth.scope
        self._body = urlencode(form).encode("ascii")
        self._head = (
            b"%sauthorization: Basic %s\r\naccept: application/json\r\n"
            b"content-type: application/x-www-form-urlencoded\r\ncontent-length: %d\r\n\r\n"
        ) % (
            request_prefix(self._endpoint, {}),
            b64encode(client.encode("ascii")),
            len(self._body),
        )

    async def fetch(self, transport: Transport, now_ms: int) -> Lease[str]:
        """A token. Raises TransportError, whose text holds nothing secret."""
        try:
            answer = await post(
                transport,
                self._endpoint,
                self._head,
                self._body,
                self._timeout_ms,
                TOKEN_ANSWER_BYTES_MAX,
            )
        except TransportError as error:
            raise TransportError(
                "auth", f"no token from {self._endpoint.host}: {error.stage}: {error}"
            ) from None
        token, life_s = self._read(answer)
        life_ms = life_s * 1000
        margin_ms = min(MARGIN_MS_MAX, life_ms // MARGIN_SHARE)
        return Lease(token, now_ms, now_ms + life_ms - margin_ms, now_ms + life_ms)

    def _read(self, answer: Answer) -> tuple[str, int]:
        """Token and seconds to live (section 5.1)."""
        try:
            given: Any = msgspec.json.decode(answer.body)
        except msgspec.DecodeError:
            given = None
        if not isinstance(given, dict):
            given = {}
        if answer.code != 200:
            code = given.get("error")
            # The server's own words are not shown: they may repeat what was sent.
            named = f" ({code})" if isinstance(code, str) and _ERROR.fullmatch(code) else ""
            raise self._unusable(
                f"answered {answer.code}{named}: check client_id, client_secret and scope"
            )
        token, kind = given.get("access_token"), given.get("token_type")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise self._unusable("answered 200 without a usable access_token")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise self._unusable("gave a token that is not of the type Bearer")
        return token, _seconds(given.get("expires_in"))

    def _unusable(self, what: str) -> TransportError:
        return TransportError("auth", f"the token endpoint at {self._endpoint.host} {what}")


def _seconds(given: object) -> int:
    """The life of a token; some servers write the number as a text."""
    try:
        life_s = int(given)  # type: ignore[call-overload]  # what is no number raises
    except (TypeError, ValueError, OverflowError):
        return LIFE_S_DEFAULT
    return min(life_s, LIFE_S_MAX) if life_s > 0 else LIFE_S_DEFAULT
