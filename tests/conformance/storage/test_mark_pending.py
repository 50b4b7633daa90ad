"""Outcomes of deliveries that are tried straight from pending and were never queued."""

from collections.abc import Sequence
from itertools import permutations

import pytest

from notify.domain.ports import Storage
from notify_core.records import REASON_EXHAUSTED, OutcomeRecord
from tests.conformance.storage.backends import Run
from tests.conformance.storage.samples import (
    DELIVERED,
    DROPPED,
    INLINE,
    NOW,
    PENDING,
    account,
    batch,
    checked_ledger,
    chunks,
    grid,
    message_ids,
    outcome,
)

BEGIN = (-1, 0)
DUE = NOW + 60_000
FAILED = outcome(1, 1, PENDING, 1, NOW + 1, due_ms=DUE)
AGAIN = outcome(1, 1, PENDING, 2, NOW + 2, due_ms=DUE + 5)
# The same two tries as AGAIN, put off once more without another.
PUT_OFF = outcome(1, 1, PENDING, 2, NOW + 3, due_ms=DUE + 9, code=0)
DONE = outcome(1, 1, DELIVERED, 3, NOW + 4)
GIVEN_UP = outcome(1, 1, DROPPED, 3, NOW + 4, reason=REASON_EXHAUSTED)


def stored(storage: Storage, run: Run, count: int = 1) -> None:
    ids = list(range(1, count + 1))
    run(storage.insert_messages(batch(ids), NOW))
    run(storage.insert_deliveries(grid(ids, [1], PENDING)))


def states(storage: Storage, run: Run, count: int = 1) -> set[tuple[int, int, int]]:
    """Statuses, attempts and due times, after proving that lists and accounts say the same."""
    rows = [run(storage.deliveries(id_))[0] for id_ in range(1, count + 1)]
    waiting = sorted((row.due_ms, row.message_id) for row in rows if row.status == PENDING)
    assert run(storage.waiting(1, BEGIN, 99)) == waiting
    for due_ms in {due_ms for due_ms, _ in waiting}:
        due = run(storage.pending(1, due_ms, 99, INLINE))
        assert [one.message.id for one in due] == [id_ for at, id_ in waiting if at <= due_ms]
    names = {"delivered": DELIVERED, "dropped": DROPPED, "pending": PENDING}
    counts = {name: sum(row.status == status for row in rows) for name, status in names.items()}
    assert run(checked_ledger(storage)) == {1: account(1, **counts)}
    return {(row.status, row.attempts, row.due_ms) for row in rows}


def logged(storage: Storage, run: Run, msg_id: int = 1) -> list[tuple[int, int]]:
    return [(one.attempt, one.code) for one in run(storage.attempts(msg_id, 1))]


@pytest.mark.parametrize("last", [DONE, GIVEN_UP])
@pytest.mark.parametrize("times", [1, 2])
def test_a_failed_try_then_another_then_the_end(
    storage: Storage, run: Run, last: OutcomeRecord, times: int
) -> None:
    stored(storage, run)
    for made, expected in (
        (FAILED, (PENDING, 1, DUE)),
        (AGAIN, (PENDING, 2, DUE + 5)),
        (PUT_OFF, (PENDING, 2, DUE + 9)),
        (last, (last.status, 3, 0)),
        (last, (last.status, 3, 0)),
        (AGAIN, (last.status, 3, 0)),
    ):
        for _ in range(times):
            run(storage.mark(chunks(made)))
            assert states(storage, run) == {expected}
    assert logged(storage, run) == [(1, 500), (2, 500), (3, last.code)]


@pytest.mark.parametrize("made", [DONE, GIVEN_UP, outcome(1, 1, DELIVERED)])
def test_an_end_at_once(storage: Storage, run: Run, made: OutcomeRecord) -> None:
    stored(storage, run)
    run(storage.mark(chunks(made, made)))
    assert states(storage, run) == {(made.status, made.attempts, 0)}


@pytest.mark.parametrize("together", ["one chunk", "one call", "apart"])
def test_put_off_in_any_order_ends_the_same(storage: Storage, run: Run, together: str) -> None:
    orders = list(permutations([FAILED, AGAIN, PUT_OFF]))
    stored(storage, run, len(orders))
    for _ in range(2):
        mark_each(storage, run, orders, together)
        assert states(storage, run, len(orders)) == {(PENDING, 2, DUE + 9)}
        for msg_id in range(1, len(orders) + 1):
            assert logged(storage, run, msg_id) == [(1, 500), (2, 500)]


@pytest.mark.parametrize("together", ["one chunk", "one call", "apart"])
def test_the_end_in_any_order_stays(storage: Storage, run: Run, together: str) -> None:
    orders = list(permutations([FAILED, AGAIN, DONE]))
    stored(storage, run, len(orders))
    for _ in range(2):
        mark_each(storage, run, orders, together)
        assert states(storage, run, len(orders)) == {(DELIVERED, 3, 0)}


def mark_each(
    storage: Storage, run: Run, orders: Sequence[Sequence[OutcomeRecord]], together: str
) -> None:
    """Mark each order of outcomes, of a message of its own."""
    for msg_id, order in enumerate(orders, 1):
        size = len(order) if together == "one chunk" else 1
        parts = chunks(*(step._replace(msg_id=msg_id) for step in order), size=size)
        for call in [[part] for part in parts] if together == "apart" else [parts]:
            run(storage.mark(call))


def test_many_at_once_each_due_at_its_own_time(storage: Storage, run: Run) -> None:
    ids = message_ids(1200)
    run(storage.insert_deliveries(grid(ids, [1, 2], PENDING)))
    failed = [
        outcome(id_, sub, PENDING, due_ms=DUE + n) for n, id_ in enumerate(ids) for sub in (1, 2)
    ]
    run(storage.mark(chunks(*failed, size=2400)))
    assert run(storage.waiting(2, BEGIN, 9999)) == [(DUE + n, id_) for n, id_ in enumerate(ids)]
    done = [outcome(id_, sub, DELIVERED, 2) for id_ in ids for sub in (1, 2)]
    run(storage.mark(chunks(*done[:2000], size=2400)))
    assert run(storage.waiting(2, BEGIN, 9999)) == [
        (DUE + n, id_) for n, id_ in enumerate(ids) if n >= 1000
    ]
    ledger = run(checked_ledger(storage))
    assert ledger == {sub: account(sub, delivered=1000, pending=200) for sub in (1, 2)}
