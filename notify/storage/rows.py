"""Configured objects as rows, the same in every adapter: columns, and JSON for what has none.

A row may come back with its texts as bytes, where the adapter keeps them binary.
"""

from typing import Any

import msgspec

from notify.domain.dialect import Auth, ClientIdentity, Protocol, X5Account
from notify.domain.model import Consumer, Producer, Record, Subscription, SubscriptionStatus
from notify.domain.retry import Retry

_RETRY_FIELDS = {field.name for field in msgspec.structs.fields(Retry)}


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
    retry = None if sub.retry is None else msgspec.to_builtins(sub.retry)
    text = msgspec.json.encode(_SubscriptionConfig(sub.types, retry, sub.concurrency_max)).decode()
    ids = (sub.id, sub.producer_id, sub.consumer_id)
    return (*ids, sub.status.value, sub.status_reason, text, *_times(sub))


def subscription(row: tuple[Any, ...]) -> Subscription:
    """The subscription of a row."""
    id_, biz_id, receive_id, status, reason, text, created_ms, updated_ms, deleted_ms = row
    config = msgspec.json.decode(text, type=_SubscriptionConfig)
    retry = None
    if config.retry is not None:
        # Retry itself refuses unknown fields: it also reads what people send to the API.
        known = {name: value for name, value in config.retry.items() if name in _RETRY_FIELDS}
        retry = msgspec.convert(known, Retry)
    return Subscription(
        id=id_,
        producer_id=biz_id,
        consumer_id=receive_id,
        types=config.types,
        status=SubscriptionStatus(_text(status)),
        status_reason=_text(reason),
        retry=retry,
        concurrency_max=config.concurrency_max,
        created_ms=created_ms,
        updated_ms=updated_ms,
        deleted_ms=deleted_ms,
    )


def _times(record: Record) -> tuple[int, int, int]:
    return record.created_ms, record.updated_ms, record.deleted_ms


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
