"""Delivery rows: what a fan-out stores, and reading them back."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from notify.domain.errors import StorageUnavailable
from notify.domain.model import Attempt, Delivery, DeliveryStatus, Reason
from notify.domain.ports import DeliveryFilter, Standing
from notify.storage.mysql import accounts, queries
from notify.storage.mysql.accounts import SPAN_BITS, Changes
from notify.storage.mysql.connection import Session
from notify.storage.mysql.failures import Duplicate
from notify.storage.runs import numbered
from notify_core import fanout, ids
from notify_core.records import DROPPED, PENDING, QUEUED, UNMATCHED_SUB

ID_MAX: Final = (1 << 63) - 1
# Above every reason: of rows whatever their reason.
ANY_REASON: Final = 127
# As many pending deliveries of a subscription are looked up one by one for a list; where there
# are more, reading its newest deliveries soon meets some.
WAITING_MAX: Final = 1000
# A timer that shares its time with no other, as a term of a statement.
_TIMER_BYTES: Final = 80
_CROSSINGS_MAX: Final = 8
_IGNORE: Final = b"INSERT IGNORE INTO"

Row = tuple[int, int, int, int, int, int, int]
Key = tuple[int, int]


def insert(db: Session, split: fanout.Split) -> set[int]:
    """Store the rows that are new and account for exactly these; whose rows were there.

    Plain INSERTs: a row that exists is a duplicate key error, not a number to be believed
    (Spider inverts the count of INSERT IGNORE). Then what exists is read and the rest tried
    again; that another writer comes between the two shows as one more duplicate.
    """
    if not split.row_count:
        return set()
    statements = [
        plain(text) for text in split.insert_sql(queries.ROWS_MAX, db.statement_bytes_max)
    ]
    counts = split.counts(SPAN_BITS)
    # Mostly all are queued, which no list tells: then no row becomes a tuple.
    rows: list[Row] = split.rows if any(count[2] != QUEUED for count in counts) else []
    known: set[Key] = set()
    own: set[Key] = set()
    for _ in range(_CROSSINGS_MAX):
        try:
            with db.transaction():
                db.change_all(statements)
                _account(db, counts, rows)
        except Duplicate:
            first = {row[:2]: row for row in reversed(split.rows)}
            states = {state[:2]: state[2:] for state in _states(db, first.keys())}
            known = set(states)
            if db.retried:
                # This very call stored them before its connection was lost: they are no others'.
                own = {key for key in known if states[key] == _state(first[key])}
            rows = [first[key] for key in sorted(first) if key not in known]
            alike = Counter([(row[1], row[0] >> SPAN_BITS, row[2], row[6]) for row in rows])
            counts = [(*key, count) for key, count in alike.items()]
            statements = queries.insert_grouped("insert_deliveries", rows, db.statement_bytes_max)
        else:
            return {msg_id for msg_id, _ in known - own}
    raise StorageUnavailable("other Makers split the same messages again and again: try again")


def _state(row: Row) -> tuple[int, ...]:
    """Status, attempts, due_ms and updated_ms of a row, as they are read back."""
    return row[2], row[3], row[5], row[6]


def plain(statement: bytes) -> bytes:
    """An INSERT IGNORE of the core as an INSERT that reports what exists."""
    assert statement.startswith(_IGNORE)
    return b"INSERT INTO" + statement[len(_IGNORE) :]


def _account(
    db: Session, counts: Iterable[tuple[int, int, int, int, int]], rows: Sequence[Row]
) -> None:
    """Add to the account; rows: all that are new, at least where any is not queued."""
    changes = Changes()
    seen = set()
    for sub_id, span, status, updated_ms, count in counts:
        changes.matched(sub_id, span, status, updated_ms, count)
        seen.add(status)
    if PENDING in seen:
        add_timers(db, ((row[1], row[5], row[0]) for row in rows if row[2] == PENDING))
    if DROPPED in seen:
        add_drops(db, (row[:2] for row in rows if row[2] == DROPPED))
    changes.write(db)


def add_timers(db: Session, timers: Iterable[tuple[int, int, int]]) -> None:
    """(subscription, due_ms, message) of deliveries that are pending now."""
    db.insert("insert_timers", sorted(timers))


def delete_timers(db: Session, timers: Iterable[tuple[int, int, int]]) -> None:
    """(subscription, due_ms, message) of deliveries that are pending no more."""
    for sub_id, of_sub in groupby(sorted(timers), itemgetter(0)):
        for times in by_time(db, [timer[1:] for timer in of_sub]):
            db.change(queries.any_of("delete_timers", (sub_id,), times))


def by_time(
    db: Session, timers: Sequence[tuple[int, int]]
) -> Iterator[Collection[tuple[int, list[int]]]]:
    """Timers (due_ms, message) as (due_ms, messages), so many at a time as fit one statement."""
    for part in queries.parts(timers, min(queries.IDS_MAX, db.statement_bytes_max // _TIMER_BYTES)):
        found: dict[int, list[int]] = {}
        for due_ms, msg_id in part:
            found.setdefault(due_ms, []).append(msg_id)
        yield found.items()


def add_drops(db: Session, keys: Iterable[Key]) -> None:
    """Deliveries that are dropped now; of subscription 0 every row is, they need no list."""
    db.insert("insert_drops", sorted(key for key in keys if key[1] != UNMATCHED_SUB))


def _states(db: Session, keys: Collection[Key]) -> Iterable[tuple[int, int, int, int, int, int]]:
    """(message, subscription, status, attempts, due_ms, updated_ms) of those that exist."""
    by_sub: dict[int, list[int]] = {}
    by_msg: dict[int, list[int]] = {}
    for msg_id, sub_id in sorted(set(keys)):
        by_sub.setdefault(sub_id, []).append(msg_id)
        by_msg.setdefault(msg_id, []).append(sub_id)
    # Many messages of few subscriptions (a Sender), or a few messages of many (a fan-out).
    name, groups = "states_of_subscription", by_sub
    if len(by_msg) < len(by_sub):
        name, groups = "states_of_message", by_msg
    for one, others in groups.items():
        for part in queries.parts(others):
            yield from db.rows(name, one, one, part)


def standings(db: Session, keys: Collection[Key]) -> dict[Key, Standing]:
    """How those stand that exist."""
    return {
        (msg_id, sub_id): Standing(DeliveryStatus(status), attempts)
        for msg_id, sub_id, status, attempts, _, _ in _states(db, keys)
    }


def of_message(db: Session, message_id: int) -> list[Delivery]:
    """A message's deliveries by subscription id."""
    return [_delivery(row) for row in db.rows("deliveries", message_id)]


def attempts(db: Session, message_id: int, sub_id: int | None) -> list[Attempt]:
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
        for msg_id, sub_id, attempt, at_ms, latency_ms, code, error, response in db.rows(
            "attempts", message_id, low, high
        )
    )


def list_filtered(
    db: Session, wanted: DeliveryFilter, after: tuple[int, int] | None, limit: int
) -> list[Delivery]:
    """Newest message first, below `after`; no OFFSET, so every page costs the same."""
    low = 0 if wanted.since_ms is None else ids.id_floor(wanted.since_ms)
    top = ID_MAX if wanted.until_ms is None else ids.id_floor(wanted.until_ms) - 1
    below = ID_MAX
    if after is not None and after[0] <= top:
        top, below = after
    sub_id, status = wanted.subscription_id, wanted.status
    if sub_id is not None:
        top, below = _last(sub_id, top, below), ID_MAX
    if status == DROPPED and sub_id != UNMATCHED_SUB:
        return _list_drops(db, sub_id, low, top, below, limit)
    if status == PENDING and sub_id is not None:
        waiting = [row[0] for row in db.rows("waiting_messages", sub_id, WAITING_MAX + 1)]
        if len(waiting) <= WAITING_MAX:
            found = sorted((id_ for id_ in waiting if low <= id_ <= top), reverse=True)
            return _named(db, [(id_, sub_id) for id_ in found], PENDING)[:limit]
    if status == QUEUED:
        windows = accounts.queued_windows(db, None if sub_id is None else {sub_id})
        low = max(low, min((window.after + 1 for window in windows), default=ID_MAX))
        highest = max((window.last for window in windows), default=0)
        if highest < top:
            top, below = highest, ID_MAX
    wanted_statuses = [int(one) for one in (DeliveryStatus if status is None else (status,))]
    if sub_id is None:
        rows = db.rows("list_all", low, top, top, below, wanted_statuses, limit)
    else:
        rows = db.rows("list_one", sub_id, sub_id, low, top, wanted_statuses, limit)
    return [_delivery(row) for row in rows]


def _last(sub_id: int, top: int, below: int) -> int:
    """The highest message whose delivery to this subscription lies below the key."""
    return top if sub_id < below else top - 1


def _list_drops(
    db: Session, sub_id: int | None, low: int, top: int, below: int, limit: int
) -> list[Delivery]:
    """From the list of drops; what is no longer dropped is passed over."""
    found: list[Delivery] = []
    while len(found) < limit:
        if sub_id is None:
            keys = list(db.rows("list_drops", low, top, top, below, limit))
        else:
            last = _last(sub_id, top, below)
            keys = list(db.rows("list_drops_one", sub_id, sub_id, low, last, limit))
        found += _named(db, keys, DROPPED)
        if len(keys) < limit:
            break
        top, below = keys[-1]
    return found[:limit]


def _named(db: Session, keys: Sequence[Key], status: int) -> list[Delivery]:
    """These deliveries, in this order, where they have the status."""
    by_sub: dict[int, list[int]] = {}
    for msg_id, sub_id in keys:
        by_sub.setdefault(sub_id, []).append(msg_id)
    rows = {
        row[:2]: row
        for sub_id, msg_ids in by_sub.items()
        for part in queries.parts(msg_ids)
        for row in db.rows("rows_of_subscription", sub_id, sub_id, part)
        if row[2] == status
    }
    return [_delivery(rows[key]) for key in keys if key in rows]


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
