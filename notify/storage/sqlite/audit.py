"""Counting every delivery against the kept accounts.

It is one transaction, so all is of one moment while others write; the write-ahead log grows
until it ends.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from notify.domain.ports import Audit, Difference
from notify.storage.sqlite import accounts, workers
from notify.storage.sqlite.queries import QUERIES
from notify.storage.tally import PAGE_ROWS, Row, Tally

CORRECTIONS: Final = "ledger_corrections"
# Of an id (ms41 << 22 | ...): 2**17 ms to a span.
SPAN_BITS: Final = 39


def audit(db: sqlite3.Connection, progress: Callable[[int, int], None]) -> Audit:
    """Count everything, page by page."""
    corrections = workers.note(db, CORRECTIONS)
    kept = accounts.ledger(db)
    total = sum(row.matched for row in kept)
    tally = Tally(SPAN_BITS)
    for page in _pages(db):
        tally.add(page)
        progress(tally.rows, max(total, tally.rows))
    return tally.audit(kept, corrections)


def _pages(db: sqlite3.Connection) -> Iterator[Sequence[Row]]:
    key = (-1, -1)
    while True:
        page = db.execute(QUERIES["delivery_page"], (*key, PAGE_ROWS)).fetchall()
        if page:
            yield page
            key = page[-1][:2]
        if len(page) < PAGE_ROWS:
            return


def correct(
    db: sqlite3.Connection, corrections: int, differences: Mapping[int, Difference]
) -> bool:
    """Add differences to the accounts, if nobody did since `corrections` was read."""
    if workers.note(db, CORRECTIONS) != corrections:
        return False
    workers.set_note(db, CORRECTIONS, corrections + 1)
    rows = [(sub_id, *wrong[:5]) for sub_id, wrong in sorted(differences.items())]
    db.executemany(QUERIES["change_ledger"], rows)
    return True
