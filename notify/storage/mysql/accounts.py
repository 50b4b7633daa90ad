"""Ledger and per-minute counters: what a transaction changes in them, by what really changed.

An account is kept in slots: a span of message ids (about two minutes of messages) x a lane.

- Lanes: two writers of one subscription do not wait for each other's commit, because each
  connection adds to a row of its own.
- Spans: the slots with queued deliveries say where in receive_msg those are, so what a queue
  forgot is found without an index on the status and without reading what was delivered long ago.

Slots are folded once there are many: what is not queued goes to slot 0.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from notify.domain.model import LedgerRow
from notify.storage.mysql import queries
from notify.storage.mysql.connection import Session
from notify_core.records import DELIVERED, DROPPED, PENDING, QUEUED, UNMATCHED_SUB

MINUTE_MS: Final = 60_000
# Of an id (ms41 << 22 | ...): 2**17 ms to a span.
SPAN_BITS: Final = 39
LANE_BITS: Final = 3
FOLDED: Final = 0
SLOTS_MAX: Final = 24
FOLDS_MAX: Final = 50
_MATCHED: Final = 0
_COLUMN: Final = {DELIVERED: 1, DROPPED: 2, QUEUED: 3, PENDING: 4}


def slot_of(span: int, lane: int) -> int:
    """The slot of a span and lane; above FOLDED."""
    return ((span + 1) << LANE_BITS) + lane


class Changes:
    """Changes of the accounts, added up in memory and written once, before the commit."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[int, int], list[int]] = {}
        self._minutes: dict[tuple[int, int], list[int]] = {}

    def matched(self, sub_id: int, span: int, status: int, at_ms: int, count: int) -> None:
        """New deliveries that begin in this status (also as delivered or dropped of a minute)."""
        if sub_id == UNMATCHED_SUB:
            return
        account = self._accounts.setdefault((sub_id, span), [0] * 5)
        account[_MATCHED] += count
        account[_COLUMN[status]] += count
        delivered, dropped = count * (status == DELIVERED), count * (status == DROPPED)
        self.happened(sub_id, at_ms // MINUTE_MS, (count, delivered, dropped, 0, 0))

    def moved(self, sub_id: int, before: int, after: int, rising_ids: Sequence[int]) -> None:
        """Deliveries of these messages went from one status to another."""
        if before == after:
            return
        for span, count in _spans(rising_ids):
            account = self._accounts.setdefault((sub_id, span), [0] * 5)
            account[_COLUMN[before]] -= count
            account[_COLUMN[after]] += count

    def happened(self, sub_id: int, minute: int, counts: Iterable[int]) -> None:
        """counts: matched, delivered, dropped, failed attempts, sum of latencies."""
        total = self._minutes.setdefault((sub_id, minute), [0] * 5)
        self._minutes[sub_id, minute] = [a + b for a, b in zip(total, counts, strict=True)]

    def write(self, db: Session) -> None:
        """Write everything, in one order everywhere: fewer deadlocks."""
        db.insert(
            "change_ledger",
            [
                (sub_id, slot_of(span, db.lane), *counts)
                for (sub_id, span), counts in sorted(self._accounts.items())
                if any(counts)
            ],
        )
        db.insert(
            "change_minutes",
            [
                (*key, db.lane, *counts)
                for key, counts in sorted(self._minutes.items())
                if any(counts)
            ],
        )


def _spans(rising_ids: Sequence[int]) -> list[tuple[int, int]]:
    """(span, how many of the ids are in it); nearly always one."""
    if not rising_ids:
        return []
    span, last = rising_ids[0] >> SPAN_BITS, rising_ids[-1] >> SPAN_BITS
    if span == last:
        return [(span, len(rising_ids))]
    found = []
    start = 0
    while start < len(rising_ids):
        span = rising_ids[start] >> SPAN_BITS
        end = bisect_left(rising_ids, (span + 1) << SPAN_BITS, start)
        found.append((span, end - start))
        start = end
    return found


class Window(NamedTuple):
    """Messages above `after`, up to `last`, some of which a subscription has queued."""

    sub_id: int
    after: int
    last: int


def queued_windows(db: Session, sub_ids: Collection[int] | None) -> list[Window]:
    """Where the queued deliveries are, by subscription and rising.

    From the account, not from the rows: where a sharded server lost a part of a transaction,
    `notify fsck --repair` puts the account right first.
    """
    sums: dict[tuple[int, int], int] = {}
    for sub_id, slot, queued in _queued_slots(db, sub_ids):
        if slot != FOLDED:
            key = (sub_id, (slot >> LANE_BITS) - 1)
            sums[key] = sums.get(key, 0) + queued
    return [
        Window(sub_id, (span << SPAN_BITS) - 1, ((span + 1) << SPAN_BITS) - 1)
        for (sub_id, span), queued in sorted(sums.items())
        if queued
    ]


def _queued_slots(db: Session, sub_ids: Collection[int] | None) -> Iterable[tuple[int, int, int]]:
    """(subscription, slot, queued): one subscription's cost nothing where there are many others."""
    if sub_ids is None:
        return db.rows("queued_slots")
    parts = queries.parts(sorted(sub_ids))
    return [row for part in parts for row in db.rows("queued_slots_of", part)]


def ledger(db: Session) -> list[LedgerRow]:
    """The kept accounts; accounts of many slots are folded on the way."""
    rows = db.rows("ledger")
    crowded = [row[0] for row in rows if row[-1] > SLOTS_MAX]
    for sub_id in crowded[:FOLDS_MAX]:
        with db.transaction():
            fold(db, sub_id)
    return _rows(rows)


def kept(db: Session) -> list[LedgerRow]:
    """The kept accounts, and nothing is changed."""
    return _rows(db.rows("ledger"))


def fold(db: Session, sub_id: int) -> None:
    """Move what is not queued to slot 0, and what is queued to one lane of each span."""
    slots = db.rows("lock_account", sub_id)
    total = [0] * 5
    queued: dict[int, int] = {}
    for slot, *counts in slots:
        total = [a + b for a, b in zip(total, counts, strict=True)]
        if slot != FOLDED:
            span = slot >> LANE_BITS
            queued[span] = queued.get(span, 0) + counts[_COLUMN[QUEUED]]
    total[_COLUMN[QUEUED]] -= sum(queued.values())
    db.run("delete_slots", sub_id, [slot for slot, *_ in slots])
    rows = [(sub_id, FOLDED, *total)]
    rows += [(sub_id, span << LANE_BITS, 0, 0, 0, n, 0) for span, n in queued.items() if n]
    db.insert("change_ledger", rows)


def _rows(sums: Iterable[Sequence[Any]]) -> list[LedgerRow]:
    return [
        LedgerRow(
            subscription_id=sub_id,
            matched=int(matched),
            delivered=int(delivered),
            dropped=int(dropped),
            queued=int(queued),
            pending=int(pending),
        )
        for sub_id, matched, delivered, dropped, queued, pending, _ in sums
    ]
