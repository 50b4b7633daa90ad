"""Pending and queued deliveries: what the Rescuer and the feeder move between them.

Whoever moves a delivery locks its row first, then writes row, timer and account in one
transaction, so that nobody moves it twice.
"""

from collections.abc import Callable, Collection, Sequence
from operator import itemgetter
from typing import Final

from notify.domain.ports import QueuedRow, QueuedSpan
from notify.storage.mysql import accounts, messages, queries
from notify.storage.mysql.accounts import MINUTE_MS, Changes, Window
from notify.storage.mysql.connection import Session
from notify.storage.mysql.deliveries import ANY_REASON, add_drops, add_timers, delete_timers
from notify_core.records import DROPPED, PENDING, QUEUED, DeliveryRecord

INT_MAX: Final = (1 << 63) - 1


def pending(
    db: Session, sub_id: int, now_ms: int, limit: int, inline_bytes_max: int
) -> list[DeliveryRecord]:
    """Due ones, in the order of due time and message.

    Three look-ups by primary key instead of a join, whose plan would hang on statistics. A
    timer without a pending delivery (left by a sharded server, or by a purge) is passed over.
    """
    found: list[DeliveryRecord] = []
    behind = (-1, -1)
    while len(found) < limit:
        wanted = limit - len(found)
        timers = due(db, sub_id, now_ms, behind, wanted)
        ids = [msg_id for _, msg_id in timers]
        states = {
            state[0]: state
            for part in queries.parts(ids)
            for state in db.rows("states_of_subscription", sub_id, sub_id, part)
        }
        keys = [
            (id_, states[id_][3])
            for due_ms, id_ in timers
            if id_ in states and (states[id_][2], states[id_][4]) == (PENDING, due_ms)
        ]
        found += messages.records(db, keys, inline_bytes_max)
        if len(timers) < wanted:
            break
        behind = timers[-1]
    return found


def due(
    db: Session, sub_id: int, until_ms: int, behind: tuple[int, int], limit: int
) -> list[tuple[int, int]]:
    """(due_ms, message) of the timers behind one, in their order."""
    due_ms, msg_id = behind
    rows: list[tuple[int, int, int]] = []
    if due_ms >= 0:
        rows += db.rows("timers", sub_id, sub_id, due_ms, min(due_ms, until_ms), msg_id, limit)
    if len(rows) < limit:
        left = limit - len(rows)
        rows += db.rows("timers", sub_id, sub_id, due_ms + 1, until_ms, -1, left)
    return [(due_ms, msg_id) for _, due_ms, msg_id in rows]


def set_queued(db: Session, sub_id: int, message_ids: Sequence[int], now_ms: int) -> int:
    """Pending ones become queued; how many."""
    changes = Changes()
    count = 0
    for part in queries.parts(sorted(set(message_ids))):
        timers = _locked_pending(db, sub_id, part)
        if timers:
            ids = [msg_id for _, _, msg_id in timers]
            db.run("set_status", QUEUED, now_ms, sub_id, ids)
            delete_timers(db, timers)
            changes.moved(sub_id, PENDING, QUEUED, ids)
            count += len(ids)
    changes.write(db)
    return count


def drop_pending(db: Session, sub_id: int, reason: int, now_ms: int, limit: int) -> int:
    """Drop up to limit pending ones; how many."""
    timers = due(db, sub_id, INT_MAX, (-1, -1), limit)
    changes = Changes()
    count = 0
    for part in queries.parts(sorted({msg_id for _, msg_id in timers})):
        locked = _locked_pending(db, sub_id, part)
        if locked:
            ids = [msg_id for _, _, msg_id in locked]
            db.run("drop", reason, now_ms, sub_id, ids)
            delete_timers(db, locked)
            add_drops(db, ((id_, sub_id) for id_ in ids))
            changes.moved(sub_id, PENDING, DROPPED, ids)
            count += len(ids)
    changes.happened(sub_id, now_ms // MINUTE_MS, (0, 0, count, 0, 0))
    changes.write(db)
    return count


def _locked_pending(
    db: Session, sub_id: int, rising_ids: Sequence[int]
) -> list[tuple[int, int, int]]:
    """Those that are pending, as timers by rising message; they stay so in this transaction."""
    timers = db.rows("lock_pending", sub_id, sub_id, ANY_REASON, rising_ids)
    return sorted(((sub_id, *timer) for timer in timers), key=itemgetter(2))


def forget_queued(db: Session, sub_ids: Collection[int] | None, before_ms: int, now_ms: int) -> int:
    """Queued ones untouched since before_ms become pending; how many.

    Reads only the spans of messages in which the accounts have queued deliveries. Each part is a
    transaction of its own: cut off in between, the next call goes on.
    """
    windows = accounts.queued_windows(db, sub_ids)
    return sum([_forget_window(db, window, before_ms, now_ms) for window in windows])


def _forget_window(db: Session, window: Window, before_ms: int, now_ms: int) -> int:
    sub_id, after, last = window
    count = 0
    while True:
        limit = queries.IDS_MAX
        found = queued(db, QueuedSpan(sub_id, after, last), before_ms, limit)
        ids = [row.message_id for row in found]
        if ids:
            with db.transaction():
                count += _forget(db, sub_id, ids, now_ms, lambda state: state[5] < before_ms)
        if len(ids) < limit:
            return count
        after = ids[-1]


def queued(db: Session, span: QueuedSpan, before_ms: int, limit: int) -> list[QueuedRow]:
    """Queued ones in a span of messages, untouched since before_ms."""
    sub_id, after, last = span
    found = db.rows("untouched", sub_id, sub_id, after, last, before_ms, limit)
    return [QueuedRow(*row[1:]) for row in found]


def forget_rows(db: Session, sub_id: int, rows: Sequence[QueuedRow], now_ms: int) -> int:
    """These become pending, those of them that are as they were read; how many."""
    seen = {row.message_id: row for row in rows}
    count = 0
    for part in queries.parts(sorted(seen)):
        with db.transaction():
            count += _forget(
                db, sub_id, part, now_ms, lambda state: seen[state[0]][1:] == (state[3], state[5])
            )
    return count


def _forget(
    db: Session,
    sub_id: int,
    rising_ids: Sequence[int],
    now_ms: int,
    is_forgotten: Callable[[tuple[int, ...]], bool],
) -> int:
    due: dict[int, int] = {}
    for state in db.rows("lock_states", sub_id, sub_id, rising_ids):
        msg_id, _, status, _, due_ms, *_ = state
        if status == QUEUED and is_forgotten(state):
            # What waited in the queue's delay set keeps its time, if that is still to come.
            due[msg_id] = due_ms if due_ms > now_ms else 0
    at_once = sorted(msg_id for msg_id, due_ms in due.items() if not due_ms)
    later = sorted(msg_id for msg_id, due_ms in due.items() if due_ms)
    if at_once:
        db.run("set_pending", 0, now_ms, sub_id, at_once)
    if later:
        db.run("set_status", PENDING, now_ms, sub_id, later)
    add_timers(db, ((sub_id, due_ms, msg_id) for msg_id, due_ms in due.items()))
    changes = Changes()
    changes.moved(sub_id, QUEUED, PENDING, sorted(due))
    changes.write(db)
    return len(due)
