"""What ordered delivery asks of the database: what waits, and how far each key's line came."""

import sqlite3
from collections.abc import Collection

from notify.domain.ports import OrderHead
from notify.storage.sqlite import messages
from notify.storage.sqlite.deliveries import standings
from notify.storage.sqlite.keys import json_set
from notify.storage.sqlite.queries import QUERIES
from notify_core.records import PENDING, DeliveryRecord


def waiting(
    db: sqlite3.Connection, sub_id: int, after: tuple[int, int], limit: int
) -> list[tuple[int, int]]:
    """(due_ms, message) of what is pending, behind one."""
    return db.execute(QUERIES["waiting"], (sub_id, *after, limit)).fetchall()


def pending_records(
    db: sqlite3.Connection, sub_id: int, message_ids: Collection[int], inline_bytes_max: int
) -> list[DeliveryRecord]:
    """Those that are pending, by message."""
    found = standings(db, {(msg_id, sub_id) for msg_id in message_ids})
    keys = [(msg_id, one.attempts) for (msg_id, _), one in found.items() if one.status == PENDING]
    return messages.records(db, sorted(keys), inline_bytes_max)


def heads(db: sqlite3.Connection, sub_id: int, keys: Collection[str]) -> dict[str, OrderHead]:
    """The heads of those keys that have one."""
    found = db.execute(QUERIES["order_heads"], (json_set(set(keys)), sub_id))
    return {row[0]: OrderHead(*row) for row in found}


def set_heads(db: sqlite3.Connection, sub_id: int, new: Collection[OrderHead], now_ms: int) -> None:
    """Move keys on."""
    db.executemany(QUERIES["set_order_head"], [(sub_id, *head, now_ms) for head in new])
