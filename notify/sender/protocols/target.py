"""What every protocol's target is made of: the endpoint, the fixed head, the signature."""

from base64 import b64encode
from typing import ClassVar, Final

import msgspec

from notify.domain.dialect import Basic, Bearer
from notify.domain.errors import InvalidInput
from notify.domain.model import Consumer
from notify.domain.ports import Answer, Clock, Endpoint, Identity, Transport
from notify.sender.access import Access
from notify.transport.endpoint import parse_endpoint, request_prefix
from notify_core import sign
from notify_core.records import MessageRecord

_headers: Final = msgspec.json.Decoder(dict[str, str])


class Target:
    """Where and how to deliver to one consumer; here what a Standard Webhooks request is.

    Built once per change of the consumer. Raises InvalidInput where it cannot be called.
    kept_bytes: how much of an answer `refusal` has to see, 0 where none.
    """

    kept_bytes: ClassVar[int] = 0

    def __init__(self, consumer: Consumer, origin: str) -> None:
        self.consumer = consumer
        self.timeout_ms = consumer.timeout_ms
        given = consumer.identity
        identity = Identity(*msgspec.structs.astuple(given)) if given else None
        self.endpoint: Endpoint = parse_endpoint(consumer.url, identity)
        self._prefix = request_prefix(self.endpoint, consumer.headers)
        self._own = frozenset(consumer.headers) | ({"authorization"} if consumer.auth else set())
        if isinstance(consumer.auth, Basic | Bearer):
            self._prefix += b"authorization: %s\r\n" % credentials(consumer.auth)
        self._signer: sign.Signer | None = None
        if consumer.signed:
            self._signer = sign.Signer([sign.decode_secret(secret) for secret in consumer.secrets])
        self._access = Access.of(consumer, self.endpoint, self._prefix, origin)

    @property
    def has_access(self) -> bool:
        """Whether there is anything that make_ready may have to fetch."""
        return self._access is not None

    @property
    def needs_care(self) -> bool:
        """Whether make_ready has to be awaited before the next request."""
        return self._access is not None and self._access.is_due()

    @property
    def allowed_rate_per_s(self) -> float | None:
        """What the consumer's answer to the validation request allows; None: any rate."""
        return None if self._access is None else self._access.allowed_rate_per_s

    async def make_ready(self, transport: Transport, clock: Clock) -> None:
        """Have a token, and the consumer's consent. Raises TransportError: stage "auth"."""
        if self._access is not None:
            self._prefix = await self._access.make_ready(transport, clock)

    def met(self, answer: Answer) -> None:
        """Learn from an answer: 401 says that the token is no good."""
        if self._access is not None and answer.code == 401:
            self._access.refused()

    def refusal(self, answer: Answer) -> str | None:  # noqa: ARG002 - of some protocols
        """Why a 2xx answer is no success; None: it is one."""
        return None

    def request(
        self,
        message: MessageRecord,
        body: bytes,
        sub_id: int,
        attempt: int,
        now_ms: int,
        extra: bytes = b"",
    ) -> tuple[bytes, bytes]:
        """Head and body of one try. extra: further header lines, each ended by CRLF."""
        if message.headers:
            extra = self._message_headers(message) + extra
        head = sign.request_head(
            self._prefix,
            self._signer,
            str(message.id),
            now_ms // 1000,
            message.type,
            message.content_type,
            sub_id,
            attempt,
            extra,
            body,
        )
        return head, body

    def batch_request(
        self,
        batch_id: str,
        content_type: str,
        body: bytes,
        sub_id: int,
        attempt: int,
        now_ms: int,
        extra: bytes = b"",
    ) -> tuple[bytes, bytes]:
        """The same for a body of many deliveries, signed as a whole. Raises InvalidInput."""
        head = sign.request_head(
            self._prefix,
            self._signer,
            batch_id,
            now_ms // 1000,
            "",
            content_type,
            sub_id,
            attempt,
            extra,
            body,
        )
        return head, body

    def _message_headers(self, message: MessageRecord) -> bytes:
        lines = [
            f"{name}: {value}\r\n"
            for name, value in _headers.decode(message.headers).items()
            if name not in self._own
        ]
        return "".join(lines).encode("ascii")


class SingleTarget(Target):
    """A protocol whose requests carry one message each."""

    def batch_request(self, *_: object, **__: object) -> tuple[bytes, bytes]:
        """Raises InvalidInput."""
        raise InvalidInput(
            f"the consumer's protocol {self.consumer.protocol.value} has no batches: take batch "
            "delivery off its subscriptions, or set its protocol to standard"
        )


def credentials(auth: Basic | Bearer) -> bytes:
    """The value of the authorization header."""
    if isinstance(auth, Bearer):
        return b"Bearer " + auth.token.encode("ascii")
    return b"Basic " + b64encode(f"{auth.user}:{auth.password}".encode())
