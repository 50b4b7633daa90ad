"""Counting every delivery against what is kept beside it: accounts, timers, lists of drops.

One transaction reads it all, so InnoDB shows it as of one moment (REPEATABLE READ) while others
write. The server keeps old versions of what they change until it ends. Under READ COMMITTED, or
over shards, each statement reads another moment: the accounts, read again at the end, tell.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

from notify.domain.ports import Audit, Difference
from notify.storage.mysql import accounts, queries, workers
from notify.storage.mysql.accounts import FOLDED, LANE_BITS, SPAN_BITS, slot_of
from notify.storage.mysql.connection import Session
from notify.storage.mysql.deliveries import add_drops, add_timers, by_time
from notify.storage.tally import PAGE_ROWS, Key, Row, Tally
from notify_core.records import DROPPED, PENDING, UNMATCHED_SUB

CORRECTIONS: Final = "ledger_corrections"


def audit(db: Session, progress: Callable[[int, int], None]) -> Audit:
    """Count everything, page by page."""
    with db.transaction():
        corrections = workers.note(db, CORRECTIONS)
        kept = accounts.kept(db)
        slots = db.rows("queued_slots")
        total = sum(row.matched for row in kept)
        tally = Tally(SPAN_BITS)
        for page in _pages(db):
            tally.add(page)
            tally.add_unlisted(_unlisted(db, page))
            progress(tally.rows, max(total, tally.rows))
        moving = frozenset(row.subscription_id for row in {*kept} ^ {*accounts.kept(db)})
    found = tally.audit(kept, corrections, _wrong_places(slots, tally.queued_spans()))
    return found._replace(moving=moving)


def _pages(db: Session) -> Iterator[Sequence[Row]]:
    msg_id, sub_id = -1, -1
    while True:
        page = db.rows("delivery_page", msg_id, msg_id, sub_id, PAGE_ROWS)
        if page:
            yield page
            msg_id, sub_id = page[-1][:2]
        if len(page) < PAGE_ROWS:
            return


def _unlisted(db: Session, page: Sequence[Row]) -> list[Key]:
    """Of a page, what is pending without its timer or dropped without its entry."""
    listed: dict[Key, list[int]] = {}
    for msg_id, sub_id, status in page:
        if status == PENDING or (status == DROPPED and sub_id != UNMATCHED_SUB):
            listed.setdefault((sub_id, status), []).append(msg_id)
    return [
        (msg_id, sub_id)
        for (sub_id, status), msg_ids in listed.items()
        for part in queries.parts(msg_ids)
        for msg_id in set(part).difference(_known(db, sub_id, status, part))
    ]


def _known(db: Session, sub_id: int, status: int, part: Sequence[int]) -> Iterator[int]:
    """Which of these pending, or dropped, deliveries are in their list."""
    if status == DROPPED:
        yield from (row[0] for row in db.rows("known_drops", sub_id, sub_id, part))
        return
    states = db.rows("states_of_subscription", sub_id, sub_id, part)
    for times in by_time(db, [(state[4], state[0]) for state in states]):
        found = db.found(queries.any_of("known_timers", (sub_id, sub_id), times))
        yield from (row[0] for row in found)


def _wrong_places(
    slots: Sequence[tuple[int, ...]], counted: Mapping[Key, int]
) -> dict[int, list[Key]]:
    """Slots (of lane 0) whose queued deliveries are not what was counted, by subscription."""
    delta = {(sub_id, slot_of(span, 0)): count for (sub_id, span), count in counted.items()}
    for sub_id, slot, queued in slots:
        key = (sub_id, slot >> LANE_BITS << LANE_BITS)
        delta[key] = delta.get(key, 0) - queued
    wrong: dict[int, list[Key]] = {}
    for (sub_id, slot), count in sorted(delta.items()):
        if count:
            wrong.setdefault(sub_id, []).append((slot, count))
    return wrong


def correct(db: Session, corrections: int, differences: Mapping[int, Difference]) -> bool:
    """Add differences to the accounts, if nobody did since `corrections` was read."""
    # Raising the note locks it: of two who counted the same difference one adds it.
    db.run("raise_note", CORRECTIONS)
    if workers.note(db, CORRECTIONS) != corrections + 1:
        return False
    rows = []
    for sub_id, wrong in sorted(differences.items()):
        matched, delivered, dropped, queued, pending, places = wrong
        elsewhere = queued - sum(count for _, count in places)
        rows.append((sub_id, FOLDED, matched, delivered, dropped, elsewhere, pending))
        rows += [(sub_id, slot, 0, 0, 0, count, 0) for slot, count in places]
    db.insert("change_ledger", rows)
    return True


def relist(db: Session, keys: Collection[Key]) -> None:
    """Write the timers and entries of those that are pending or dropped now."""
    by_sub: dict[int, list[int]] = {}
    for msg_id, sub_id in sorted(keys):
        by_sub.setdefault(sub_id, []).append(msg_id)
    for sub_id, msg_ids in by_sub.items():
        for part in queries.parts(msg_ids):
            with db.transaction():
                states = db.rows("lock_states", sub_id, sub_id, part)
                add_timers(db, ((sub_id, row[4], row[0]) for row in states if row[2] == PENDING))
                add_drops(db, (row[:2] for row in states if row[2] == DROPPED))
