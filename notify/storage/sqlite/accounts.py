"""Ledger and per-minute counters: what a transaction changes in them, by what really changed."""

import sqlite3
from collections.abc import Iterable
from typing import Final

from notify.domain.model import LedgerRow
from notify.storage.sqlite.queries import QUERIES
from notify_core.records import DELIVERED, DROPPED, PENDING, QUEUED, UNMATCHED_SUB

MINUTE_MS: Final = 60_000
_MATCHED: Final = 0
_COLUMN: Final = {DELIVERED: 1, DROPPED: 2, QUEUED: 3, PENDING: 4}


class Changes:
    """Changes of the accounts, added up in memory and written once, before the commit."""

    def __init__(self) -> None:
        self._accounts: dict[int, list[int]] = {}
        self._minutes: dict[tuple[int, int], list[int]] = {}

    def matched(self, sub_id: int, status: int, at_ms: int, count: int) -> None:
        """New deliveries that begin in this status (also as delivered or dropped of a minute)."""
        if sub_id == UNMATCHED_SUB:
            return
        account = self._accounts.setdefault(sub_id, [0] * 5)
        account[_MATCHED] += count
        account[_COLUMN[status]] += count
        delivered, dropped = count * (status == DELIVERED), count * (status == DROPPED)
        self.happened(sub_id, at_ms // MINUTE_MS, (count, delivered, dropped, 0, 0))

    def moved(self, sub_id: int, before: int, after: int, count: int) -> None:
        """Deliveries that went from one status to another."""
        if count and before != after:
            account = self._accounts.setdefault(sub_id, [0] * 5)
            account[_COLUMN[before]] -= count
            account[_COLUMN[after]] += count

    def happened(self, sub_id: int, minute: int, counts: Iterable[int]) -> None:
        """counts: matched, delivered, dropped, failed attempts, sum of latencies."""
        total = self._minutes.setdefault((sub_id, minute), [0] * 5)
        self._minutes[sub_id, minute] = [a + b for a, b in zip(total, counts, strict=True)]

    def write(self, db: sqlite3.Connection) -> None:
        """Write everything."""
        db.executemany(
            QUERIES["change_ledger"],
            [(sub_id, *counts) for sub_id, counts in self._accounts.items() if any(counts)],
        )
        db.executemany(
            QUERIES["change_minutes"],
            [(*key, *counts) for key, counts in self._minutes.items() if any(counts)],
        )


def ledger(db: sqlite3.Connection) -> list[LedgerRow]:
    """The kept accounts."""
    return [
        LedgerRow(
            subscription_id=sub_id,
            matched=matched,
            delivered=delivered,
            dropped=dropped,
            queued=queued,
            pending=pending,
        )
        for sub_id, matched, delivered, dropped, queued, pending in db.execute(QUERIES["ledger"])
    ]
