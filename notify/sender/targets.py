"""Everything about a consumer that its requests share, worked out once per change."""

from typing import NamedTuple

import msgspec

from notify.domain.model import Consumer
from notify.domain.ports import Endpoint
from notify.transport.endpoint import parse_endpoint, request_prefix
from notify_core import sign
from notify_core.records import MessageRecord

_headers = msgspec.json.Decoder(dict[str, str])


class Target(NamedTuple):
    """Where and how to deliver to one consumer."""

    consumer: Consumer
    endpoint: Endpoint
    prefix: bytes
    signer: sign.Signer

    def request_head(
        self, message: MessageRecord, body: bytes, sub_id: int, attempt: int, now_ms: int
    ) -> bytes:
        """The signed request head of one try (DESIGN section 6)."""
        return sign.request_head(
            self.prefix,
            self.signer,
            message.id,
            now_ms // 1000,
            message.type,
            message.content_type or "application/json",
            sub_id,
            attempt,
            self._message_headers(message) if message.headers else b"",
            body,
        )

    def _message_headers(self, message: MessageRecord) -> bytes:
        lines = [
            f"{name}: {value}\r\n"
            for name, value in _headers.decode(message.headers).items()
            if name not in self.consumer.headers
        ]
        return "".join(lines).encode("ascii")


class Targets:
    """The targets by consumer; rebuilt when the consumer changed."""

    def __init__(self) -> None:
        self._by_consumer: dict[int, Target] = {}

    def of(self, consumer: Consumer) -> Target:
        """The target of a consumer. Raises InvalidInput where its URL is not usable."""
        target = self._by_consumer.get(consumer.id)
        if target is None or target.consumer is not consumer:
            endpoint = parse_endpoint(consumer.url)
            target = Target(
                consumer,
                endpoint,
                request_prefix(endpoint, consumer.headers),
                sign.Signer([sign.decode_secret(secret) for secret in consumer.secrets]),
            )
            self._by_consumer[consumer.id] = target
        return target
