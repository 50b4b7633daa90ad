"""Pending and queued deliveries: what the Rescuer and the feeder move between them."""

import sqlite3
from collections.abc import Collection, Sequence

from notify.domain.ports import QueuedRow, QueuedSpan
from notify.storage.sqlite import messages
from notify.storage.sqlite.accounts import MINUTE_MS, Changes
from notify.storage.sqlite.keys import json_set
from notify.storage.sqlite.queries import QUERIES
from notify_core.records import DROPPED, PENDING, QUEUED, DeliveryRecord


def pending(
    db: sqlite3.Connection, sub_id: int, now_ms: int, limit: int, inline_bytes_max: int
) -> list[DeliveryRecord]:
    """Due ones, by due time, then message: the order of their index."""
    keys = db.execute(QUERIES["pending"], (sub_id, now_ms, limit)).fetchall()
    return messages.records(db, keys, inline_bytes_max) if keys else []


def set_queued(db: sqlite3.Connection, sub_id: int, message_ids: Sequence[int], now_ms: int) -> int:
    """Pending ones become queued; how many."""
    count = db.execute(QUERIES["set_queued"], (now_ms, sub_id, json_set(message_ids))).rowcount
    changes = Changes()
    changes.moved(sub_id, PENDING, QUEUED, count)
    changes.write(db)
    return count


def drop_pending(db: sqlite3.Connection, sub_id: int, reason: int, now_ms: int, limit: int) -> int:
    """Drop up to limit pending ones; how many."""
    parameters = {"sub_id": sub_id, "reason": reason, "now_ms": now_ms, "limit": limit}
    count = db.execute(QUERIES["drop_pending"], parameters).rowcount
    changes = Changes()
    changes.moved(sub_id, PENDING, DROPPED, count)
    changes.happened(sub_id, now_ms // MINUTE_MS, (0, 0, count, 0, 0))
    changes.write(db)
    return count


def forget_queued(
    db: sqlite3.Connection, sub_ids: Collection[int] | None, before_ms: int, now_ms: int
) -> int:
    """Queued ones untouched since before_ms become pending; how many."""
    changes = Changes()
    forgotten = {}
    for sub_id, count in db.execute(QUERIES["count_forgotten"], (before_ms,)):
        if sub_ids is None or sub_id in sub_ids:
            changes.moved(sub_id, QUEUED, PENDING, count)
            forgotten[sub_id] = count
    if not forgotten:
        return 0
    parameters = {"now_ms": now_ms, "before_ms": before_ms, "sub_ids": json_set(forgotten)}
    changed = db.execute(QUERIES["forget_queued"], parameters).rowcount
    assert changed == sum(forgotten.values())
    changes.write(db)
    return changed


def queued(db: sqlite3.Connection, span: QueuedSpan, before_ms: int, limit: int) -> list[QueuedRow]:
    """Queued ones in a span of messages, untouched since before_ms."""
    found = db.execute(QUERIES["queued"], (*span, before_ms, limit))
    return [QueuedRow(*row) for row in found]


def forget_rows(db: sqlite3.Connection, sub_id: int, rows: Sequence[QueuedRow], now_ms: int) -> int:
    """These become pending, those of them that are as they were read; how many."""
    keys = [row._asdict() | {"sub_id": sub_id, "now_ms": now_ms} for row in rows]
    count = db.executemany(QUERIES["forget_row"], keys).rowcount if keys else 0
    changes = Changes()
    changes.moved(sub_id, QUEUED, PENDING, count)
    changes.write(db)
    return count
