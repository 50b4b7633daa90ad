"""Dead letters that are delivered after all."""

from collections.abc import Collection, Sequence

from notify.storage import runs
from notify.storage.mysql import queries
from notify.storage.mysql.accounts import Changes
from notify.storage.mysql.connection import Session
from notify.storage.mysql.deliveries import Key, add_timers
from notify_core.records import DROPPED, PENDING, UNMATCHED_SUB


def replay(db: Session, keys: Collection[Key], now_ms: int) -> int:
    """Dropped ones become pending, and what was logged of them is of an earlier run; how many."""
    by_sub: dict[int, list[int]] = {}
    for msg_id, sub_id in sorted(set(keys)):
        if sub_id != UNMATCHED_SUB:
            by_sub.setdefault(sub_id, []).append(msg_id)
    changes = Changes()
    count = 0
    for sub_id, msg_ids in sorted(by_sub.items()):
        for part in queries.parts(msg_ids):
            states = db.rows("lock_states", sub_id, sub_id, part)
            dropped = sorted(state[0] for state in states if state[2] == DROPPED)
            if dropped:
                _begin_again(db, sub_id, dropped, now_ms)
                changes.moved(sub_id, DROPPED, PENDING, dropped)
                count += len(dropped)
    changes.write(db)
    return count


def _begin_again(db: Session, sub_id: int, rising_ids: Sequence[int], now_ms: int) -> None:
    earlier = [
        (msg_id, attempt)
        for msg_id, of, attempt, _ in db.rows("earlier_attempts", rising_ids)
        if of == sub_id
    ]
    for place, ended in runs.places(rising_ids, earlier).items():
        db.run("end_run", place, sub_id, ended)
    db.run("replay", now_ms, sub_id, rising_ids)
    db.run("delete_drops", sub_id, rising_ids)
    add_timers(db, ((sub_id, 0, msg_id) for msg_id in rising_ids))
