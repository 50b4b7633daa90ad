"""Producers, consumers and subscriptions. Every change raises the version of the directory."""

import sqlite3
from typing import TypeVar

import msgspec

from notify.domain.errors import Conflict, NotFound
from notify.domain.model import (
    Consumer,
    Directory,
    Producer,
    Record,
    Subscription,
    SubscriptionStatus,
)
from notify.storage import rows
from notify.storage.sqlite.queries import QUERIES

R = TypeVar("R", bound=Record)


def config_version(db: sqlite3.Connection) -> int:
    """The version of the directory."""
    found: tuple[int] | None = db.execute(QUERIES["config_version"]).fetchone()
    return found[0] if found else 0


def directory(db: sqlite3.Connection) -> Directory:
    """Everything configured, at one version (the transaction sees one moment)."""
    producers = [rows.producer(row) for row in db.execute(QUERIES["all_producers"])]
    consumers = [rows.consumer(row) for row in db.execute(QUERIES["all_consumers"])]
    subscriptions = [rows.subscription(row) for row in db.execute(QUERIES["all_subscriptions"])]
    return Directory(
        version=config_version(db),
        producers={producer.id: producer for producer in producers},
        consumers={consumer.id: consumer for consumer in consumers},
        subscriptions={subscription.id: subscription for subscription in subscriptions},
    )


def add_producer(db: sqlite3.Connection, new: Producer) -> Producer:
    """Store with the next id. Raises Conflict."""
    _name_is_free(db, "producer", new.name, own_id=0)
    stored = _with_next_id(db, "next_producer_id", new)
    db.execute(QUERIES["insert_producer"], rows.producer_row(stored))
    db.execute(QUERIES["raise_config_version"])
    return stored


def add_consumer(db: sqlite3.Connection, new: Consumer) -> Consumer:
    """Store with the next id. Raises Conflict."""
    _name_is_free(db, "consumer", new.name, own_id=0)
    stored = _with_next_id(db, "next_consumer_id", new)
    db.execute(QUERIES["insert_consumer"], rows.consumer_row(stored))
    db.execute(QUERIES["raise_config_version"])
    return stored


def add_subscription(db: sqlite3.Connection, new: Subscription) -> Subscription:
    """Store with the next id."""
    stored = _with_next_id(db, "next_subscription_id", new)
    db.execute(QUERIES["insert_subscription"], rows.subscription_row(stored))
    db.execute(QUERIES["raise_config_version"])
    return stored


def update_producer(db: sqlite3.Connection, changed: Producer) -> None:
    """Store a change. Raises NotFound, Conflict."""
    if not changed.deleted_ms:
        _name_is_free(db, "producer", changed.name, changed.id)
    _update(db, "producer", rows.producer_row(changed))


def update_consumer(db: sqlite3.Connection, changed: Consumer) -> None:
    """Store a change. Raises NotFound, Conflict."""
    if not changed.deleted_ms:
        _name_is_free(db, "consumer", changed.name, changed.id)
    _update(db, "consumer", rows.consumer_row(changed))


def update_subscription(db: sqlite3.Connection, changed: Subscription) -> None:
    """Store a change. Raises NotFound."""
    _update(db, "subscription", rows.subscription_row(changed))


def set_subscription_status(
    db: sqlite3.Connection,
    sub_id: int,
    status: SubscriptionStatus,
    reason: str,
    now_ms: int,
    seen: Subscription | None,
) -> Subscription:
    """Change only the status, if it is as seen. Raises NotFound."""
    row = (sub_id, status.value, reason, now_ms)
    if seen is None:
        changed = db.execute(QUERIES["set_subscription_status"], row).rowcount
    else:
        expected = (seen.status.value, seen.updated_ms)
        changed = db.execute(QUERIES["set_seen_subscription_status"], row + expected).rowcount
    stored = db.execute(QUERIES["one_subscription"], (sub_id,)).fetchone()
    subscription = None if stored is None else rows.subscription(stored)
    if subscription is None or subscription.deleted_ms:
        raise NotFound(f"there is no subscription {sub_id}")
    if changed:
        db.execute(QUERIES["raise_config_version"])
    return subscription


def _name_is_free(db: sqlite3.Connection, kind: str, name: str, own_id: int) -> None:
    holder = db.execute(QUERIES[f"{kind}_named"], (name,)).fetchone()
    if holder is not None and holder[0] != own_id:
        raise Conflict(f"there is a {kind} named {name!r}: choose another name")


def _with_next_id(db: sqlite3.Connection, query: str, new: R) -> R:
    (next_id,) = db.execute(QUERIES[query]).fetchone()
    return msgspec.structs.replace(new, id=next_id)


def _update(db: sqlite3.Connection, kind: str, row: tuple[int | str, ...]) -> None:
    if not db.execute(QUERIES[f"update_{kind}"], row).rowcount:
        raise NotFound(f"there is no {kind} {row[0]}")
    db.execute(QUERIES["raise_config_version"])
