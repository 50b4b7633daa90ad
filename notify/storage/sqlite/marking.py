"""Outcomes to statuses, the attempts log and the counters, each exactly once.

A Marker that crashed leaves its chunks to another one, so an outcome may come again, and late.
The fast path assumes that everything is news and sees from the numbers of changed rows whether
it was; if not, it is undone and done again without what the database has. What concerns a delivery
that was replayed is never taken for news at once.
"""

import sqlite3
from collections.abc import Sequence

from notify.storage.news import Logged, unlogged
from notify.storage.sqlite.accounts import Changes
from notify.storage.sqlite.deliveries import standings
from notify.storage.sqlite.keys import json_set
from notify.storage.sqlite.queries import QUERIES
from notify_core import chunk, mark
from notify_core.records import DELIVERED, DROPPED, PENDING, QUEUED

_FINAL = (DELIVERED, DROPPED)
_NEVER_REPLAYED = 0
_ANY_REASON = 127


def apply(db: sqlite3.Connection, outcome_chunks: Sequence[bytes]) -> None:
    """Apply outcome chunks. Raises ChunkError."""
    marks = mark.group(outcome_chunks, ())
    changes = Changes()
    db.execute("SAVEPOINT marks")
    if not _write(db, marks, changes, _NEVER_REPLAYED):
        db.execute("ROLLBACK TO marks")
        marks = _news(db, outcome_chunks)
        changes = Changes()
        _write(db, marks, changes, _ANY_REASON)
    for sub_id, minute, delivered, dropped, failed, latency_ms in marks.minutes.tolist():
        changes.happened(sub_id, minute, (0, delivered, dropped, failed, latency_ms))
    changes.write(db)


def _write(db: sqlite3.Connection, marks: mark.Marks, changes: Changes, reason_most: int) -> bool:
    """Write marks; whether all of it was news. False: the counters of marks are not right.

    reason_most: of an open delivery's row; above 0 it was replayed.
    """
    news = True
    for sub_id, status, attempts, reason, updated_ms, msg_ids in marks.finals:
        left = len(msg_ids)
        parameters = {
            "status": status,
            "attempts": attempts,
            "reason": reason,
            "updated_ms": updated_ms,
            "sub_id": sub_id,
            "msg_ids": json_set(msg_ids),
            "reason_most": reason_most,
        }
        for before in (QUEUED, PENDING):
            if left:
                parameters["before"] = before
                count = db.execute(QUERIES["finish"], parameters).rowcount
                changes.moved(sub_id, before, status, count)
                left -= count
        news = news and not left
    if marks.retries:
        news = _write_retries(db, marks.retries, changes, reason_most) and news
    if marks.attempts:
        logged = db.executemany(QUERIES["insert_attempts"], marks.attempts).rowcount
        news = news and logged == len(marks.attempts)
    return news


def _write_retries(
    db: sqlite3.Connection,
    retries: Sequence[tuple[int, int, int, int, int, int, int]],
    changes: Changes,
    reason_most: int,
) -> bool:
    """Apply those that are later than what is stored; False where one may be no news.

    Later: more attempts, or as many and not older; a parking comes without a try of its own.
    """
    keys = json_set(row[:2] for row in retries)
    stored = {row[:2]: row[2:] for row in db.execute(QUERIES["states"], (keys,))}
    rows = []
    all_news = True
    for msg_id, sub_id, status, attempts, _, due_ms, at_ms in retries:
        before, reason, *moment = stored.get((msg_id, sub_id), (DROPPED, 0))
        if before in _FINAL or reason > reason_most:
            all_news = False
        elif [attempts, at_ms] >= moment:
            rows.append((status, attempts, due_ms, at_ms, msg_id, sub_id))
            changes.moved(sub_id, before, status, 1)
    db.executemany(QUERIES["retry"], rows)
    return all_news


def _news(db: sqlite3.Connection, outcome_chunks: Sequence[bytes]) -> mark.Marks:
    """The outcomes grouped again, without those that the database has already.

    Of deliveries that are finished or purged everything is left out.
    """
    outcomes = [
        outcome for outcomes in outcome_chunks for outcome in chunk.unpack_outcomes(outcomes)
    ]
    keys = {(outcome.msg_id, outcome.sub_id) for outcome in outcomes}
    found = standings(db, keys)
    finished = {key for key in keys if key not in found or found[key].status in _FINAL}
    logged = [Logged(*row) for row in db.execute(QUERIES["logged_attempts"], (json_set(keys),))]
    return mark.group([chunk.pack_outcomes(unlogged(outcomes, logged))], finished)
