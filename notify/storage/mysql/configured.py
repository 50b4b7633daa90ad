"""Producers, consumers and subscriptions. Every change raises the version of the directory.

It does so first: the version's row is then locked until the commit, so changes come one after
the other, and each sees the names and ids that the one before it took.
"""

from typing import Final, TypeVar

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
from notify.storage.mysql.connection import Session

R = TypeVar("R", bound=Record)
_VERSION: Final = "config_version"


def config_version(db: Session) -> int:
    """The version of the directory."""
    found = db.rows("config_version")
    return int(found[0][0]) if found else 0


def directory(db: Session) -> Directory:
    """Everything configured.

    The version is read first: where the server's isolation lets a change come in between, the
    answer is newer than its version says, and is read again.
    """
    version = config_version(db)
    producers = [rows.producer(row) for row in db.rows("all_producers")]
    consumers = [rows.consumer(row) for row in db.rows("all_consumers")]
    subscriptions = [rows.subscription(row) for row in db.rows("all_subscriptions")]
    return Directory(
        version=version,
        producers={producer.id: producer for producer in producers},
        consumers={consumer.id: consumer for consumer in consumers},
        subscriptions={subscription.id: subscription for subscription in subscriptions},
    )


def add_producer(db: Session, new: Producer) -> Producer:
    """Store with the next id. Raises Conflict."""
    db.run("raise_note", _VERSION)
    _name_is_free(db, "producer", new.name, own_id=0)
    stored = _with_next_id(db, "last_producer_id", new)
    db.insert("store_producer", [rows.producer_row(stored)])
    return stored


def add_consumer(db: Session, new: Consumer) -> Consumer:
    """Store with the next id. Raises Conflict."""
    db.run("raise_note", _VERSION)
    _name_is_free(db, "consumer", new.name, own_id=0)
    stored = _with_next_id(db, "last_consumer_id", new)
    db.insert("store_consumer", [rows.consumer_row(stored)])
    return stored


def add_subscription(db: Session, new: Subscription) -> Subscription:
    """Store with the next id."""
    db.run("raise_note", _VERSION)
    stored = _with_next_id(db, "last_subscription_id", new)
    db.insert("store_subscription", [rows.subscription_row(stored)])
    return stored


def update_producer(db: Session, changed: Producer) -> None:
    """Store a change. Raises NotFound, Conflict."""
    db.run("raise_note", _VERSION)
    _exists(db, "producer", changed)
    if not changed.deleted_ms:
        _name_is_free(db, "producer", changed.name, changed.id)
    db.insert("store_producer", [rows.producer_row(changed)])


def update_consumer(db: Session, changed: Consumer) -> None:
    """Store a change. Raises NotFound, Conflict."""
    db.run("raise_note", _VERSION)
    _exists(db, "consumer", changed)
    if not changed.deleted_ms:
        _name_is_free(db, "consumer", changed.name, changed.id)
    db.insert("store_consumer", [rows.consumer_row(changed)])


def update_subscription(db: Session, changed: Subscription) -> None:
    """Store a change. Raises NotFound."""
    db.run("raise_note", _VERSION)
    _exists(db, "subscription", changed)
    db.insert("store_subscription", [rows.subscription_row(changed)])


def set_subscription_status(
    db: Session,
    sub_id: int,
    status: SubscriptionStatus,
    reason: str,
    now_ms: int,
    seen: Subscription | None,
) -> Subscription:
    """Change only the status, if it is as seen. Raises NotFound."""
    found = db.rows("lock_subscription", sub_id)
    stored = rows.subscription(found[0]) if found else None
    if stored is None or stored.deleted_ms:
        raise NotFound(f"there is no subscription {sub_id}")
    if seen is not None and (stored.status, stored.updated_ms) != (seen.status, seen.updated_ms):
        return stored
    db.run("raise_note", _VERSION)
    db.run("set_subscription_status", status.value, reason, now_ms, sub_id)
    return msgspec.structs.replace(stored, status=status, status_reason=reason, updated_ms=now_ms)


def _name_is_free(db: Session, kind: str, name: str, own_id: int) -> None:
    # Bytes are compared as they are; a text would be, by the rules of some collation.
    for (holder,) in db.rows(f"{kind}_named", name.encode()):
        if holder != own_id:
            raise Conflict(f"there is a {kind} named {name!r}: choose another name")


def _with_next_id(db: Session, query: str, new: R) -> R:
    last = db.rows(query)
    return msgspec.structs.replace(new, id=last[0][0] + 1 if last else 1)


def _exists(db: Session, kind: str, changed: Record) -> None:
    """Raises NotFound; what is deleted stays so: only deleting it again finds it."""
    found = db.rows(f"deleted_{kind}", changed.id)
    if not found or (found[0][0] and not changed.deleted_ms):
        raise NotFound(f"there is no {kind} {changed.id}")
