"""The bodies of requests and answers; the OpenAPI document is made from these structs."""

from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from notify.api.dialect_shapes import AuthNew, IdentityNew, SecretKind, X5New
from notify.api.moments import Moment
from notify.domain.dialect import Auth, ClientIdentity, Protocol, X5Account
from notify.domain.policy import (
    CODE_LEAST,
    CODE_MAX,
    CODES_MAX,
    RATE_LEAST,
    RATE_MAX,
    Batch,
    Ordering,
)
from notify.domain.retry import Retry

T = TypeVar("T")

NAME_CHARS_MAX = 100
TYPES_MAX = 50
PATTERN = r"^[A-Za-z0-9_.:/*\-]+$"
PATTERN_CHARS = "A-Z a-z 0-9 _ . : / - *"

Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS_MAX)]
Pattern = Annotated[str, Meta(max_length=128, pattern=PATTERN)]
Patterns = Annotated[tuple[Pattern, ...], Meta(min_length=1, max_length=TYPES_MAX)]
Timeout = Annotated[int, Meta(ge=100, le=60_000)]
Concurrency = Annotated[int, Meta(ge=1, le=1000)]
Rate = Annotated[float, Meta(ge=RATE_LEAST, le=RATE_MAX)]
Burst = Annotated[int, Meta(ge=1, le=RATE_MAX)]
Code = Annotated[int, Meta(ge=CODE_LEAST, le=CODE_MAX)] | Literal["3xx", "4xx", "5xx"]
Codes = Annotated[tuple[Code, ...], Meta(max_length=CODES_MAX)]
DropReason = Literal["discarded", "expired", "refused", "exhausted", "deleted"]
Url = Annotated[str, Meta(min_length=1, max_length=2048)]


class Asked(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a caller may send: a field that nobody knows is an error, not a silent typo."""


class Shown(msgspec.Struct, kw_only=True, frozen=True):
    """What a caller is shown."""


class Listed(msgspec.Struct, Generic[T], kw_only=True, frozen=True):
    """A part of a list. next: pass it as `after` for the next part; null: this is the last."""

    items: list[T]
    next: str | None


# --- producers ----------------------------------------------------------------------------


class ProducerNew(Asked, kw_only=True, frozen=True):
    """A business system that will send messages."""

    name: Name


class ProducerChange(Asked, kw_only=True, frozen=True):
    """What may change of a producer."""

    name: Name | UnsetType = UNSET


class ProducerShown(Shown, kw_only=True, frozen=True):
    """A producer; its API key cannot be shown again."""

    id: int
    name: str
    created_at: Moment
    updated_at: Moment


class ProducerCreated(ProducerShown, kw_only=True, frozen=True):
    """A producer with its API key: keep it, it is shown only now."""

    api_key: str


# --- consumers ----------------------------------------------------------------------------


class ConsumerNew(Asked, kw_only=True, frozen=True):
    """A target system.

    secret: signs what is sent; `whsec_` and base64 of 24 to 64 bytes, or `whsk_` and base64 of an
    ed25519 key; made if not given, of secret_kind (absent or null: v1).
    headers: sent with every request. timeout_ms: of one try; absent or null: the default.
    protocol: what a request looks like; x5 needs `x5`. signed: false leaves out the Standard
    Webhooks signature, which the protocols other than standard can do without.
    auth: who Notify says it is: basic, bearer or oauth2. identity: how connections are made.
    handshake: ask the endpoint by OPTIONS before it gets deliveries (CloudEvents web hooks).
    """

    name: Name
    url: Url
    secret: str | None = None
    secret_kind: SecretKind | None = None
    headers: dict[str, str] = {}
    timeout_ms: Timeout | None = None
    protocol: Protocol = Protocol.STANDARD
    signed: bool = True
    x5: X5New | None = None
    auth: AuthNew | None = None
    identity: IdentityNew | None = None
    handshake: bool = False


class ConsumerChange(Asked, kw_only=True, frozen=True):
    """What may change of a consumer.

    headers, x5, auth and identity replace all of it, null takes the last three away; timeout_ms
    null: the default.
    """

    name: Name | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    timeout_ms: Timeout | UnsetType | None = UNSET
    protocol: Protocol | UnsetType = UNSET
    signed: bool | UnsetType = UNSET
    x5: X5New | UnsetType | None = UNSET
    auth: AuthNew | UnsetType | None = UNSET
    identity: IdentityNew | UnsetType | None = UNSET
    handshake: bool | UnsetType = UNSET


class ConsumerShown(Shown, kw_only=True, frozen=True):
    """A consumer. Secrets, and header values that look like credentials, are masked.

    previous_secret: keeps signing beside the current one until it is removed; else null.
    public_key: `whpk_`, what verifies the signatures of a `whsk_` secret; else null.
    """

    id: int
    name: str
    url: str
    secret: str
    public_key: str | None
    previous_secret: str | None
    previous_public_key: str | None
    headers: dict[str, str]
    timeout_ms: int
    protocol: Protocol
    signed: bool
    x5: X5Account | None
    auth: Auth | None
    identity: ClientIdentity | None
    handshake: bool
    created_at: Moment
    updated_at: Moment


class SecretRotation(Asked, kw_only=True, frozen=True):
    """A new signing secret; made if not given, of kind, or else of the current one's kind."""

    secret: str | None = None
    kind: SecretKind | None = None


# --- subscriptions ------------------------------------------------------------------------


class SubscriptionNew(Asked, kw_only=True, frozen=True):
    """Which messages of a producer go to a consumer, and how they are delivered.

    types: patterns with `*` for any run of characters; absent or null: all.
    retry: absent or null for the configured default.
    concurrency_max: tries at a time; absent or null: found out from how the endpoint answers.
    rate_per_s: tries begun in a second; rate_burst: so many at once after a silence, absent or
    null: a second's worth. permanent_codes: answers after which nothing is tried again, status
    codes or "3xx", "4xx" (but 408, 425 and 429, which have to be named), "5xx"; absent or null:
    410. ordering: key: a delivery waits for those before it of the same ordering_key; strict:
    for all before it. batch: several deliveries in one request; absent or null: one.
    """

    producer_id: int
    consumer_id: int
    types: Patterns | None = None
    retry: Retry | None = None
    concurrency_max: Concurrency | None = None
    rate_per_s: Rate | None = None
    rate_burst: Burst | None = None
    permanent_codes: Codes | None = None
    ordering: Ordering | None = None
    batch: Batch | None = None


class SubscriptionChange(Asked, kw_only=True, frozen=True):
    """What may change of a subscription; null sets the default again."""

    types: Patterns | UnsetType | None = UNSET
    retry: Retry | UnsetType | None = UNSET
    concurrency_max: Concurrency | UnsetType | None = UNSET
    rate_per_s: Rate | UnsetType | None = UNSET
    rate_burst: Burst | UnsetType | None = UNSET
    permanent_codes: Codes | UnsetType | None = UNSET
    ordering: Ordering | UnsetType | None = UNSET
    batch: Batch | UnsetType | None = UNSET


class StatusChange(Asked, kw_only=True, frozen=True):
    """Why the status changes, for whoever looks later."""

    reason: Annotated[str, Meta(max_length=200)] = ""


class SubscriptionShown(Shown, kw_only=True, frozen=True):
    """A subscription. status: normal, paused or discarded; types `["*"]` matches all."""

    id: int
    producer_id: int
    consumer_id: int
    types: tuple[str, ...]
    status: str
    status_reason: str
    retry: Retry | None
    concurrency_max: int | None
    rate_per_s: float | None
    rate_burst: int | None
    permanent_codes: tuple[int | str, ...]
    ordering: Ordering
    batch: Batch | None
    created_at: Moment
    updated_at: Moment


# --- messages and deliveries --------------------------------------------------------------


class Accepted(Shown, kw_only=True, frozen=True):
    """The messages are stored; ids in the order of the request.

    Of a message whose `key` is known already it is the id of the earlier one.
    """

    accepted: int
    ids: list[str]


class AttemptShown(Shown, kw_only=True, frozen=True):
    """One HTTP try. code null: no answer, then error says why. response: its first bytes.

    attempt: 1, 2, 3 and so on, over replays too.
    """

    attempt: int
    at: Moment
    latency_ms: int
    code: int | None
    error: str | None
    response: str


class DeliveryShown(Shown, kw_only=True, frozen=True):
    """One message to one subscription. attempts: tries made, since its replay if there was one.

    status: pending (waits in the database), queued (in the queue or being tried), delivered
    or dropped; reason: why it was dropped. due_at: when it is tried next.
    subscription_id 0, reason `unmatched`: the message matched no subscription.
    """

    message_id: str
    subscription_id: int
    status: str
    attempts: int
    reason: str | None
    due_at: Moment | None
    updated_at: Moment


class DeliveryTraced(DeliveryShown, kw_only=True, frozen=True):
    """A delivery with the log of its tries."""

    log: list[AttemptShown]


class ReplayAsked(Asked, kw_only=True, frozen=True):
    """Which dead letters of a subscription to deliver after all; absent or null: all.

    since, until: of messages accepted at or after, and before, these moments. reasons: why they
    were dropped. after: `next` of the previous answer.
    """

    since: Moment | None = None
    until: Moment | None = None
    reasons: tuple[DropReason, ...] | None = None
    after: str | None = None


class Replayed(Shown, kw_only=True, frozen=True):
    """How many dead letters are pending again.

    more: there may be others; call again with `next` as `after`, which passes over what was
    replayed before and came back meanwhile. next: null where there is no more.
    """

    replayed: int
    more: bool
    next: str | None


class MessageShown(Shown, kw_only=True, frozen=True):
    """One message and what became of it; deliveries is empty until it was split.

    payload: the JSON as it was sent where payload_encoding is `json`, else a base64 text.
    """

    id: str
    producer_id: int
    type: str
    key: str | None
    ordering_key: str | None
    content_type: str
    headers: dict[str, str]
    accepted_at: Moment
    deliver_at: Moment | None
    expires_at: Moment | None
    payload_encoding: str
    payload: msgspec.Raw
    deliveries: list[DeliveryTraced]


class SubscriptionStats(Shown, kw_only=True, frozen=True):
    """The account of a subscription. difference: anything but 0 is a defect."""

    id: int
    producer_id: int | None
    producer: str | None
    consumer_id: int | None
    consumer: str | None
    types: tuple[str, ...]
    status: str
    deleted: bool
    matched: int
    delivered: int
    dropped: int
    queued: int
    pending: int
    difference: int


class Stats(Shown, kw_only=True, frozen=True):
    """The account of every subscription, of those that never matched anything too."""

    subscriptions: list[SubscriptionStats]


class Health(Shown, kw_only=True, frozen=True):
    """The state of this process: alive, or ready."""

    status: str
