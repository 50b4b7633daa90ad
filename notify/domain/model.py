"""Producers, consumers, subscriptions, messages and deliveries as plain data."""

from enum import IntEnum, StrEnum
from typing import Any, Generic, TypeVar

import msgspec

from notify.domain.dialect import Auth, ClientIdentity, Protocol, X5Account
from notify.domain.policy import PERMANENT_DEFAULT, Batch, Ordering, burst_of
from notify.domain.retry import Retry
from notify_core import records

T = TypeVar("T")


class SubscriptionStatus(StrEnum):
    """What happens to matching messages (biz_receive.status)."""

    NORMAL = "normal"
    PAUSED = "paused"
    DISCARDED = "discarded"


class DeliveryStatus(IntEnum):
    """Where a delivery stands (receive_msg.status)."""

    PENDING = records.PENDING
    QUEUED = records.QUEUED
    DELIVERED = records.DELIVERED
    DROPPED = records.DROPPED


class Reason(IntEnum):
    """Why a delivery was dropped (receive_msg.reason); of an open one, before its replay."""

    NONE = records.REASON_NONE
    UNMATCHED = records.REASON_UNMATCHED
    DISCARDED = records.REASON_DISCARDED
    EXPIRED = records.REASON_EXPIRED
    REFUSED = records.REASON_REFUSED
    EXHAUSTED = records.REASON_EXHAUSTED
    DELETED = records.REASON_DELETED


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What every configured object has. Times are unix ms; deleted_ms 0: it exists."""

    id: int
    created_ms: int
    updated_ms: int
    deleted_ms: int = 0


class Producer(Record, frozen=True, kw_only=True):
    """A business system that sends messages (biz). key_hash: SHA-256 of its API key, hex."""

    name: str
    key_hash: str


class Consumer(Record, frozen=True, kw_only=True):
    """A target system (receive).

    secrets: `whsec_…` or `whsk_…`, the first is current, all sign. signed: False leaves out the
    signature of Standard Webhooks, where the protocol has one of its own or needs none.
    handshake: it is asked whether it wants deliveries before it gets any (CloudEvents web hooks).
    """

    name: str
    url: str
    secrets: tuple[str, ...]
    headers: dict[str, str]
    timeout_ms: int
    protocol: Protocol = Protocol.STANDARD
    signed: bool = True
    x5: X5Account | None = None
    auth: Auth | None = None
    identity: ClientIdentity | None = None
    handshake: bool = False

    def __repr__(self) -> str:
        return f"Consumer(id={self.id}, name={self.name!r}, url={self.url!r}, secrets=***)"


class Subscription(Record, frozen=True, kw_only=True):
    """Producer x consumer with its filter and policy (biz_receive).

    types: patterns, () matches all. status_reason: why it left `normal`, for the operator.
    retry None: the configured default. concurrency_max: tries at a time; None: found out
    from how the endpoint answers. rate_per_s: tries begun in a second, None: no limit;
    rate_burst: so many at once after a silence, None: a second's worth. permanent_codes:
    status codes, or "3xx", "4xx", "5xx", after which nothing is tried again.
    """

    producer_id: int
    consumer_id: int
    types: tuple[str, ...] = ()
    status: SubscriptionStatus = SubscriptionStatus.NORMAL
    status_reason: str = ""
    retry: Retry | None = None
    concurrency_max: int | None = None
    rate_per_s: float | None = None
    rate_burst: int | None = None
    permanent_codes: tuple[int | str, ...] = PERMANENT_DEFAULT
    ordering: Ordering = Ordering.NONE
    batch: Batch | None = None

    @property
    def burst(self) -> int:
        """How many tries may begin at once after a silence. Only where rate_per_s is set."""
        assert self.rate_per_s is not None
        return burst_of(self.rate_per_s, self.rate_burst)


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One stored message (biz_msg); fields as in MessageRecord, key "" for none."""

    id: int
    producer_id: int
    type: str
    content_type: str
    headers: dict[str, str]
    key: str
    ordering_key: str
    deliver_ms: int
    expires_ms: int
    payload: bytes


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery record (receive_msg). due_ms: not before (unix ms, 0: at once)."""

    message_id: int
    subscription_id: int
    status: DeliveryStatus
    attempts: int
    reason: Reason
    due_ms: int
    updated_ms: int


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One logged HTTP try (receive_attempt). code 0: no answer, then error says why."""

    message_id: int
    subscription_id: int
    attempt: int
    at_ms: int
    latency_ms: int
    code: int
    error: str
    response: bytes


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """The account of one subscription: matched = delivered + dropped + queued + pending."""

    subscription_id: int
    matched: int = 0
    delivered: int = 0
    dropped: int = 0
    queued: int = 0
    pending: int = 0

    @property
    def difference(self) -> int:
        """0 where the account balances."""
        return self.matched - self.delivered - self.dropped - self.queued - self.pending


class Directory(msgspec.Struct, frozen=True, kw_only=True):
    """Everything configured, at one version; deleted objects included until purged."""

    version: int
    producers: dict[int, Producer]
    consumers: dict[int, Consumer]
    subscriptions: dict[int, Subscription]


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list. next: pass it as `after` for what follows, None at the end."""

    items: list[T]
    next: Any = None
