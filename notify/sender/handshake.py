"""The validation request of CloudEvents web hooks (HTTP 1.1 Web Hooks 1.0, section 4).

Notify asks by OPTIONS whether deliveries are wanted, and how many a minute. The consumer answers
in the response; permission that is granted later, through a callback, is not supported: it would
be asked again with the next try.
"""

from typing import Final, NamedTuple

from notify.domain.errors import TransportError
from notify.domain.ports import Answer, Endpoint, Transport
from notify.sender.fetched import Lease
from notify.transport.post import post

# How long a permission is believed; each Sender process asks for itself.
CONSENT_MS: Final = 86_400_000
_ANY: Final = "*"
_ANSWER_BYTES_MAX: Final = 256


class Consent(NamedTuple):
    """A consumer's permission. rate_per_s None: any."""

    rate_per_s: float | None


async def fetch_consent(
    transport: Transport,
    endpoint: Endpoint,
    prefix: bytes,
    origin: str,
    timeout_ms: int,
    now_ms: int,
) -> Lease[Consent]:
    """Ask. prefix: of a delivery request, whose headers go along. Raises TransportError."""
    method, _, rest = prefix.partition(b" ")
    assert method == b"POST"
    head = b"OPTIONS %swebhook-request-origin: %s\r\n\r\n" % (rest, origin.encode("ascii"))
    try:
        answer = await post(transport, endpoint, head, b"", timeout_ms, _ANSWER_BYTES_MAX)
    except TransportError as error:
        raise TransportError(
            "auth", f"no answer to the validation request (OPTIONS): {error.stage}: {error}"
        ) from None
    _check(answer, origin)
    return Lease(
        Consent(_rate_per_s(answer.allowed[1])),
        now_ms,
        now_ms + CONSENT_MS,
        now_ms + CONSENT_MS,
    )


def _check(answer: Answer, origin: str) -> None:
    if not 200 <= answer.code < 300:
        raise TransportError(
            "auth",
            f"the consumer answered {answer.code} to the validation request (OPTIONS): have it "
            f"allow {origin}, or set its handshake to false",
        )
    allowed = answer.allowed[0].strip()
    if allowed != _ANY and allowed.lower() != origin.lower():
        raise TransportError(
            "auth",
            f"the consumer does not allow deliveries from {origin}: it answers the validation "
            f"request (OPTIONS) {'without' if not allowed else 'with another'} "
            "webhook-allowed-origin",
        )


def _rate_per_s(text: str) -> float | None:
    """The permitted requests a minute, by the second; no number is no limit."""
    text = text.strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) == 0:
        return None
    return int(text) / 60
