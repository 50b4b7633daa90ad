"""What ordered delivery asks of the database: what waits, and how far each key's line came."""

from collections.abc import Collection
from typing import Final

from notify.domain.ports import OrderHead
from notify.storage.mysql import messages, queries, rescue
from notify.storage.mysql.connection import Session
from notify_core.records import PENDING, DeliveryRecord

# A key in a statement: 128 bytes, each of which may need a backslash, and what goes around it.
_KEY_BYTES: Final = 300


def waiting(db: Session, sub_id: int, after: tuple[int, int], limit: int) -> list[tuple[int, int]]:
    """(due_ms, message) of what is pending, behind one."""
    return rescue.due(db, sub_id, rescue.INT_MAX, after, limit)


def pending_records(
    db: Session, sub_id: int, message_ids: Collection[int], inline_bytes_max: int
) -> list[DeliveryRecord]:
    """Those that are pending, by message: two look-ups by primary key."""
    keys = [
        (state[0], state[3])
        for part in queries.parts(sorted(set(message_ids)))
        for state in db.rows("states_of_subscription", sub_id, sub_id, part)
        if state[2] == PENDING
    ]
    return messages.records(db, sorted(keys), inline_bytes_max)


def heads(db: Session, sub_id: int, keys: Collection[str]) -> dict[str, OrderHead]:
    """The heads of those keys that have one."""
    wanted = sorted(key.encode() for key in set(keys))
    size = min(queries.IDS_MAX, db.statement_bytes_max // _KEY_BYTES)
    found = [
        OrderHead(okey.decode(), *rest)
        for part in queries.parts(wanted, size)
        for okey, *rest in db.rows("order_heads", sub_id, sub_id, part)
    ]
    return {head.key: head for head in found}


def set_heads(db: Session, sub_id: int, new: Collection[OrderHead], now_ms: int) -> None:
    """Move keys on. In one order everywhere, so that two writers do not wait for each other."""
    rows = sorted((head.key.encode(), *head[1:]) for head in new)
    db.insert("set_order_heads", [(sub_id, *row, now_ms) for row in rows])
