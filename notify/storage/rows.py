"""Configured objects as rows, the same in every adapter: columns, and JSON for what has none.

A row may come back with its texts as bytes, where the adapter keeps them binary.
"""

from typing import Any, TypeVar

import msgspec

from notify.domain.dialect import Auth, ClientIdentity, Protocol, X5Account
from notify.domain.model import Consumer, Producer, Record, Subscription, SubscriptionStatus
from notify.domain.policy import PERMANENT_DEFAULT, Batch, Ordering
from notify.domain.retry import Retry

S = TypeVar("S", bound=msgspec.Struct)


class _ConsumerConfig(msgspec.Struct, frozen=True):
    """receive.config; what a later release adds is not read."""

    secrets: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    timeout_ms: int = 10_000
    protocol: Protocol = Protocol.STANDARD
    signed: bool = True
    x5: X5Account | None = None
    auth: Auth | None = None
    identity: ClientIdentity | None = None
    handshake: bool = False


_CONSUMER_FIELDS = _ConsumerConfig.__struct_fields__


class _SubscriptionConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """biz_receive.config; what a later release adds is not read."""

    types: tuple[str, ...] = ()
    retry: dict[str, Any] | None = None
    concurrency_max: int | None = None
    rate_per_s: float | None = None
    rate_burst: int | None = None
    permanent_codes: tuple[int | str, ...] = PERMANENT_DEFAULT
    ordering: Ordering = Ordering.NONE
    batch: dict[str, Any] | None = None


def producer_row(producer: Producer) -> tuple[int | str, ...]:
    """id, name, key_hash, created_ms, updated_ms, deleted_ms."""
    return (producer.id, producer.name, producer.key_hash, *_times(producer))


def producer(row: tuple[Any, ...]) -> Producer:
    """The producer of a row."""
    id_, name, key_hash, created_ms, updated_ms, deleted_ms = row
    return Producer(
        id=id_,
        name=_text(name),
        key_hash=_text(key_hash),
        created_ms=created_ms,
        updated_ms=updated_ms,
        deleted_ms=deleted_ms,
    )


def consumer_row(consumer: Consumer) -> tuple[int | str, ...]:
    """id, name, url, config, created_ms, updated_ms, deleted_ms."""
    config = _ConsumerConfig(*(getattr(consumer, name) for name in _CONSUMER_FIELDS))
    text = msgspec.json.encode(config).decode()
    return (consumer.id, consumer.name, consumer.url, text, *_times(consumer))


def consumer(row: tuple[Any, ...]) -> Consumer:
    """The consumer of a row."""
    id_, name, url, text, created_ms, updated_ms, deleted_ms = row
    config = msgspec.json.decode(text, type=_ConsumerConfig)
    return Consumer(
        id=id_,
        name=_text(name),
        url=_text(url),
        created_ms=created_ms,
        updated_ms=updated_ms,
        deleted_ms=deleted_ms,
        **{name: getattr(config, name) for name in _CONSUMER_FIELDS},
    )


def subscription_row(sub: Subscription) -> tuple[int | str, ...]:
    """id, biz_id, receive_id, status, status_reason, config, created_ms, updated_ms, deleted_ms."""
    config = _SubscriptionConfig(
        sub.types,
        None if sub.retry is None else msgspec.to_builtins(sub.retry),
        sub.concurrency_max,
        sub.rate_per_s,
        sub.rate_burst,
        sub.permanent_codes,
        sub.ordering,
        None if sub.batch is None else msgspec.to_builtins(sub.batch),
    )
    text = msgspec.json.encode(config).decode()
    ids = (sub.id, sub.producer_id, sub.consumer_id)
    return (*ids, sub.status.value, sub.status_reason, text, *_times(sub))


def subscription(row: tuple[Any, ...]) -> Subscription:
    """The subscription of a row."""
    id_, biz_id, receive_id, status, reason, text, created_ms, updated_ms, deleted_ms = row
    config = msgspec.json.decode(text, type=_SubscriptionConfig)
    return Subscription(
        id=id_,
        producer_id=biz_id,
        consumer_id=receive_id,
        types=config.types,
        status=SubscriptionStatus(_text(status)),
        status_reason=_text(reason),
        retry=_known(config.retry, Retry),
        concurrency_max=config.concurrency_max,
        rate_per_s=config.rate_per_s,
        rate_burst=config.rate_burst,
        permanent_codes=config.permanent_codes,
        ordering=config.ordering,
        batch=_known(config.batch, Batch),
        created_ms=created_ms,
        updated_ms=updated_ms,
        deleted_ms=deleted_ms,
    )


def _known(stored: dict[str, Any] | None, kind: type[S]) -> S | None:
    """The struct of what this release knows; itself it refuses the rest, for it is API input."""
    if stored is None:
        return None
    names = {field.name for field in msgspec.structs.fields(kind)}
    return msgspec.convert({name: stored[name] for name in stored if name in names}, kind)


def _times(record: Record) -> tuple[int, int, int]:
    return record.created_ms, record.updated_ms, record.deleted_ms


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
