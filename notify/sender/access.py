"""What has to be fetched before a consumer may be called: a token, its consent to deliveries."""

from typing import Optional

from notify.domain.dialect import OAuth2
from notify.domain.model import Consumer
from notify.domain.ports import Clock, Endpoint, Transport
from notify.sender.fetched import Fetched, Lease
from notify.sender.handshake import Consent, fetch_consent
from notify.sender.oauth2 import TokenSource


class Access:
    """The access to one consumer. prefix: of its requests, without the token."""

    def __init__(self, consumer: Consumer, endpoint: Endpoint, prefix: bytes, origin: str) -> None:
        self._endpoint = endpoint
        self._fixed = prefix
        self._prefix = prefix
        self._origin = origin
        self._timeout_ms = consumer.timeout_ms
        self._token: Fetched[str] | None = None
        if isinstance(consumer.auth, OAuth2):
            source = TokenSource(consumer.auth, endpoint.identity, consumer.timeout_ms)
            self._token = Fetched(source.fetch)
        self._consent = Fetched(self._ask) if consumer.handshake else None
        # The one that make_ready goes by, as soon as it was called.
        self._clock: Clock | None = None

    @classmethod
    def of(
        cls, consumer: Consumer, endpoint: Endpoint, prefix: bytes, origin: str
    ) -> Optional["Access"]:
        """None where nothing is to be fetched. Raises InvalidInput."""
        if isinstance(consumer.auth, OAuth2) or consumer.handshake:
            return cls(consumer, endpoint, prefix, origin)
        return None

    @property
    def allowed_rate_per_s(self) -> float | None:
        """What the consumer allows, None: any rate, or it was not asked."""
        consent = self._consent.value if self._consent else None
        return consent.rate_per_s if consent else None

    def is_due(self) -> bool:
        """Whether make_ready has something to do."""
        if self._clock is None:
            return True
        now_ms = self._clock.now_ms()
        return any(part.is_due(now_ms) for part in (self._token, self._consent) if part)

    async def make_ready(self, transport: Transport, clock: Clock) -> bytes:
        """The prefix of requests from now on. Raises TransportError: stage "auth"."""
        self._clock = clock
        if self._token is not None:
            token = await self._token.get(transport, clock)
            self._prefix = self._fixed + b"authorization: Bearer %s\r\n" % token.encode("ascii")
        if self._consent is not None:
            await self._consent.get(transport, clock)
        return self._prefix

    def refused(self) -> None:
        """The consumer answered 401: forget the token, once.

        Until a try's time-out after it came, answers are still of the token before it.
        """
        if self._token is not None and self._clock is not None:
            self._token.forget(self._clock.now_ms(), self._timeout_ms)

    async def _ask(self, transport: Transport, now_ms: int) -> Lease[Consent]:
        return await fetch_consent(
            transport, self._endpoint, self._prefix, self._origin, self._timeout_ms, now_ms
        )
