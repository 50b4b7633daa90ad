"""Dead letters that are delivered after all."""

import sqlite3
from collections.abc import Collection

from notify.storage import runs
from notify.storage.sqlite.accounts import Changes
from notify.storage.sqlite.deliveries import standings
from notify.storage.sqlite.keys import json_set
from notify.storage.sqlite.queries import QUERIES
from notify_core.records import DROPPED, PENDING, UNMATCHED_SUB


def replay(db: sqlite3.Connection, keys: Collection[tuple[int, int]], now_ms: int) -> int:
    """Dropped ones become pending, and what was logged of them is of an earlier run; how many."""
    by_sub: dict[int, list[int]] = {}
    for (msg_id, sub_id), standing in standings(db, keys).items():
        if standing.status == DROPPED and sub_id != UNMATCHED_SUB:
            by_sub.setdefault(sub_id, []).append(msg_id)
    changes = Changes()
    for sub_id, msg_ids in by_sub.items():
        found = db.execute(
            QUERIES["earlier_attempts"], (json_set((msg_id, sub_id) for msg_id in msg_ids),)
        )
        earlier = [(msg_id, attempt) for msg_id, _, attempt, _ in found]
        for place, ended in runs.places(msg_ids, earlier).items():
            parameters = {"place": place, "sub_id": sub_id, "msg_ids": json_set(ended)}
            db.execute(QUERIES["end_run"], parameters)
        parameters = {"now_ms": now_ms, "sub_id": sub_id, "msg_ids": json_set(msg_ids)}
        db.execute(QUERIES["replay"], parameters)
        changes.moved(sub_id, DROPPED, PENDING, len(msg_ids))
    changes.write(db)
    return sum(map(len, by_sub.values()))
