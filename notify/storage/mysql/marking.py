"""Outcomes to statuses, the attempts log and the counters, each exactly once.

A Marker that crashed leaves its chunks to another one, so an outcome may come again, and late.
The fast path assumes that everything is news and sees from the numbers of updated rows, and from
the log's primary key, whether it was; if not, it is rolled back and done again without what the
database has. The number of an UPDATE is reliable on MySQL, MariaDB and Spider (rows changed, as
the connection does not ask for CLIENT.FOUND_ROWS); a status here always changes. What concerns a
delivery that was replayed is never taken for news at once.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from notify.domain.errors import StorageUnavailable
from notify.storage.mysql import queries
from notify.storage.mysql.accounts import Changes
from notify.storage.mysql.connection import Session
from notify.storage.mysql.deliveries import (
    ANY_REASON,
    Key,
    Row,
    add_drops,
    add_timers,
    delete_timers,
    plain,
)
from notify.storage.mysql.failures import Duplicate
from notify.storage.news import Logged, unlogged
from notify_core import chunk, mark
from notify_core.records import DELIVERED, DROPPED, PENDING, QUEUED, OutcomeRecord

_FINAL: Final = (DELIVERED, DROPPED)
_CROSSINGS_MAX: Final = 8
_NEVER_REPLAYED: Final = 0
# (message, subscription, status, attempts, due_ms, updated_ms, reason)
State = tuple[int, int, int, int, int, int, int]


class _KnownAlready(Exception):
    """Some of the outcomes are in the database, or may be; or their deliveries are not."""


def apply(db: Session, outcome_chunks: Sequence[bytes]) -> None:
    """Apply outcome chunks. Raises ChunkError."""
    marks = mark.group(outcome_chunks, ())
    if not len(marks.minutes):
        return
    for crossing in range(_CROSSINGS_MAX):
        try:
            with db.transaction():
                if crossing:
                    marks = _news(db, outcome_chunks)
                _write(db, marks, ANY_REASON if crossing else _NEVER_REPLAYED)
        except (Duplicate, _KnownAlready):
            continue
        return
    raise StorageUnavailable("other Markers apply the same outcomes again and again: try again")


def _write(db: Session, marks: mark.Marks, reason_most: int) -> None:
    """Write marks. Raises _KnownAlready or Duplicate where a part of them is no news.

    reason_most: of an open delivery's row; above 0 it was replayed.
    """
    changes = Changes()
    for sub_id, status, attempts, reason, updated_ms, msg_ids in marks.finals:
        for part in queries.parts(msg_ids):
            values = (status, attempts, reason, updated_ms)
            count = db.run("finish", *values, sub_id, part, QUEUED, reason_most)
            waited = []
            if count < len(part):
                waited = _finish_pending(db, sub_id, part, values, reason_most)
            if count + len(waited) < len(part):
                raise _KnownAlready
            changes.moved(sub_id, PENDING, status, waited)
            queued = sorted(set(part).difference(waited)) if waited else part
            changes.moved(sub_id, QUEUED, status, queued)
        if status == DROPPED:
            add_drops(db, ((msg_id, sub_id) for msg_id in msg_ids))
    if marks.retries:
        _write_retries(db, marks.retries, changes, reason_most)
    db.change_all(
        plain(text) for text in marks.attempts_sql(queries.ROWS_MAX, db.statement_bytes_max)
    )
    for sub_id, minute, delivered, dropped, failed, latency_ms in marks.minutes.tolist():
        changes.happened(sub_id, minute, (0, delivered, dropped, failed, latency_ms))
    changes.write(db)


def _finish_pending(
    db: Session,
    sub_id: int,
    msg_ids: Sequence[int],
    values: tuple[int, int, int, int],
    reason_most: int,
) -> list[int]:
    """Finish those of these deliveries that are pending; which."""
    timers = db.rows("lock_pending", sub_id, sub_id, reason_most, msg_ids)
    pending = sorted(msg_id for _, msg_id in timers)
    if pending:
        db.run("finish", *values, sub_id, pending, PENDING, reason_most)
        delete_timers(db, ((sub_id, *timer) for timer in timers))
    return pending


def _write_retries(db: Session, retries: Sequence[Row], changes: Changes, reason_most: int) -> None:
    """Apply those that are later than what is stored. Raises _KnownAlready where one may be old.

    Later: more attempts, or as many and not older; a parking comes without a try of its own.
    """
    stored = _locked(db, ((row[0], row[1]) for row in retries))
    rows: list[Row] = []
    ended: list[tuple[int, int, int]] = []
    begun: list[tuple[int, int, int]] = []
    moves: dict[tuple[int, int, int], list[int]] = {}
    for row in retries:
        msg_id, sub_id, status, attempts, _, due_ms, at_ms = row
        state = stored.get((msg_id, sub_id))
        if state is None or state[2] in _FINAL or state[6] > reason_most:
            raise _KnownAlready
        _, _, before, stored_attempts, stored_due_ms, updated_ms, _ = state
        if (attempts, at_ms) < (stored_attempts, updated_ms):
            continue
        rows.append(row)
        moves.setdefault((sub_id, before, status), []).append(msg_id)
        if before == PENDING:
            ended.append((sub_id, stored_due_ms, msg_id))
        if status == PENDING:
            begun.append((sub_id, due_ms, msg_id))
    db.insert("move", rows)
    delete_timers(db, ended)
    add_timers(db, begun)
    for (sub_id, before, status), msg_ids in moves.items():
        changes.moved(sub_id, before, status, msg_ids)


def _locked(db: Session, keys: Iterable[Key]) -> dict[Key, State]:
    """The states of those that exist, which stay so until the transaction ends."""
    by_sub: dict[int, list[int]] = {}
    for msg_id, sub_id in sorted(set(keys)):
        by_sub.setdefault(sub_id, []).append(msg_id)
    return {
        state[:2]: state
        for sub_id, msg_ids in sorted(by_sub.items())
        for part in queries.parts(msg_ids)
        for state in db.rows("lock_states", sub_id, sub_id, part)
    }


def _news(db: Session, outcome_chunks: Sequence[bytes]) -> mark.Marks:
    """The outcomes grouped again, without those that the database has already.

    Of deliveries that are finished or purged everything is left out; the rows of open ones are
    locked here.
    """
    outcomes = [
        outcome for outcomes in outcome_chunks for outcome in chunk.unpack_outcomes(outcomes)
    ]
    keys = {(outcome.msg_id, outcome.sub_id) for outcome in outcomes}
    found = _locked(db, keys)
    finished = {key for key in keys if key not in found or found[key][2] in _FINAL}
    # After the locks: the snapshot of this read holds what the last holder of them logged.
    news = unlogged(outcomes, _logged(db, outcomes))
    return mark.group([chunk.pack_outcomes(news)], finished)


def _logged(db: Session, outcomes: Iterable[OutcomeRecord]) -> list[Logged]:
    msg_ids = sorted({outcome.msg_id for outcome in outcomes})
    return [
        Logged(*row) for part in queries.parts(msg_ids) for row in db.rows("logged_attempts", part)
    ]
