"""Delivery rows: what a fan-out stores, and reading them back."""

import sqlite3
from collections import Counter
from collections.abc import Collection
from operator import itemgetter
from typing import Any, Final

from notify.domain.model import Attempt, Delivery, DeliveryStatus, Reason
from notify.domain.ports import DeliveryFilter, Standing
from notify.storage.runs import numbered
from notify.storage.sqlite.accounts import Changes
from notify.storage.sqlite.keys import json_set
from notify.storage.sqlite.queries import QUERIES
from notify_core import fanout, ids

ID_MAX: Final = (1 << 63) - 1
_sub_status_updated = itemgetter(1, 2, 6)


def insert(db: sqlite3.Connection, split: fanout.Split) -> set[int]:
    """Store the rows that are new and account for exactly these; whose rows were there."""
    rows = split.rows
    if not rows:
        return set()
    known: dict[tuple[int, int], Standing] = {}
    db.execute("SAVEPOINT deliveries")
    if db.executemany(QUERIES["insert_deliveries"], rows).rowcount < len(rows):
        # Split before, at least in part: only what was not there may be counted.
        db.execute("ROLLBACK TO deliveries")
        known = standings(db, {row[:2] for row in rows})
        first = {row[:2]: row for row in reversed(rows)}
        rows = [row for key, row in first.items() if key not in known]
        db.executemany(QUERIES["insert_deliveries"], rows)
    changes = Changes()
    for (sub_id, status, updated_ms), count in Counter(map(_sub_status_updated, rows)).items():
        changes.matched(sub_id, status, updated_ms, count)
    changes.write(db)
    return {msg_id for msg_id, _ in known}


def standings(
    db: sqlite3.Connection, keys: Collection[tuple[int, int]]
) -> dict[tuple[int, int], Standing]:
    """How those stand that exist."""
    found = db.execute(QUERIES["standings"], (json_set(keys),))
    return {
        (msg_id, sub_id): Standing(DeliveryStatus(status), attempts)
        for msg_id, sub_id, status, attempts in found
    }


def of_message(db: sqlite3.Connection, message_id: int) -> list[Delivery]:
    """A message's deliveries by subscription id."""
    return [_delivery(row) for row in db.execute(QUERIES["deliveries"], (message_id,))]


def attempts(db: sqlite3.Connection, message_id: int, sub_id: int | None) -> list[Attempt]:
    """The logged tries of a message, or of one of its deliveries."""
    low, high = (0, ID_MAX) if sub_id is None else (sub_id, sub_id)
    return numbered(
        Attempt(
            message_id=msg_id,
            subscription_id=sub_id,
            attempt=attempt,
            at_ms=at_ms,
            latency_ms=latency_ms,
            code=code,
            error=error,
            response=response,
        )
        for msg_id, sub_id, attempt, at_ms, latency_ms, code, error, response in db.execute(
            QUERIES["attempts"], (message_id, low, high)
        )
    )


def list_filtered(
    db: sqlite3.Connection, wanted: DeliveryFilter, after: tuple[int, int] | None, limit: int
) -> list[Delivery]:
    """Newest message first, below `after`; no OFFSET, so every page costs the same."""
    top = ID_MAX if wanted.until_ms is None else ids.id_floor(wanted.until_ms) - 1
    below = ID_MAX
    if after is not None and after[0] <= top:
        top, below = after
    status = wanted.status
    name = "list_all" if wanted.subscription_id is None else "list_one"
    if status == DeliveryStatus.DROPPED:
        name += "_dropped"
    parameters = {
        "low": 0 if wanted.since_ms is None else ids.id_floor(wanted.since_ms),
        "top": top,
        "below": below,
        "sub_id": wanted.subscription_id,
        "least": DeliveryStatus.PENDING if status is None else status,
        "most": DeliveryStatus.DROPPED if status is None else status,
        "limit": limit,
    }
    return [_delivery(row) for row in db.execute(QUERIES[name], parameters)]


def _delivery(row: tuple[Any, ...]) -> Delivery:
    msg_id, sub_id, status, attempts, reason, due_ms, updated_ms = row
    return Delivery(
        message_id=msg_id,
        subscription_id=sub_id,
        status=DeliveryStatus(status),
        attempts=attempts,
        reason=Reason(reason),
        due_ms=due_ms,
        updated_ms=updated_ms,
    )
