"""Outcomes: finals once, retries in any order, the attempts log."""

import asyncio
from itertools import permutations

import pytest

from notify.domain.model import Attempt, DeliveryStatus, Reason
from notify.domain.ports import Storage
from notify_core.errors import ChunkError
from notify_core.records import REASON_EXHAUSTED, REASON_REFUSED
from tests.conformance.storage.backends import Backend, Run
from tests.conformance.storage.samples import (
    DELIVERED,
    DROPPED,
    ID_MAX,
    NOW,
    PENDING,
    QUEUED,
    account,
    batch,
    checked_ledger,
    chunks,
    grid,
    message_ids,
    outcome,
    split,
    status_of,
)


@pytest.mark.parametrize("size", [1, 3, 999, 2500])
def test_any_number_of_successes(storage: Storage, run: Run, size: int) -> None:
    ids = message_ids(size)
    run(storage.insert_deliveries(grid(ids, [1])))
    run(storage.mark(chunks(*(outcome(id_, 1, DELIVERED) for id_ in ids))))
    assert run(checked_ledger(storage)) == {1: account(1, delivered=size)}


def test_no_outcomes_are_nothing(storage: Storage, run: Run) -> None:
    run(storage.mark([]))
    run(storage.mark(chunks() or [b"\x94\x01\x03\x00\x90"]))
    assert run(storage.ledger()) == []


def test_a_first_success_sets_the_row_and_logs_nothing(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(split((1, 1, QUEUED))))
    run(storage.mark(chunks(outcome(1, 1, DELIVERED, at_ms=NOW + 77))))
    (row,) = run(storage.deliveries(1))
    assert (row.status, row.attempts, row.updated_ms) == (DeliveryStatus.DELIVERED, 1, NOW + 77)
    assert run(storage.attempts(1)) == []


def test_a_drop_keeps_its_reason(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(grid([1], [1, 2])))
    gone = outcome(1, 1, DROPPED, reason=REASON_REFUSED, code=410)
    expired = outcome(1, 2, DROPPED, 0, reason=Reason.EXPIRED, code=0)
    run(storage.mark(chunks(gone, expired)))
    first, second = run(storage.deliveries(1))
    assert (first.status, first.reason, first.attempts) == (DROPPED, Reason.REFUSED, 1)
    assert (second.status, second.reason, second.attempts) == (DROPPED, Reason.EXPIRED, 0)
    # One was tried and logged; the other was decided without a try.
    assert [attempt.code for attempt in run(storage.attempts(1))] == [410]


def test_finals_reach_pending_deliveries_too(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(split((1, 1, PENDING), (2, 1, QUEUED), (3, 1, PENDING))))
    run(storage.mark(chunks(*(outcome(id_, 1, DELIVERED) for id_ in (1, 2, 3)))))
    assert run(checked_ledger(storage)) == {1: account(1, delivered=3)}
    assert all(run(storage.deliveries(id_))[0].due_ms == 0 for id_ in (1, 2, 3))


def test_many_subscriptions_and_kinds_in_one_call(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(grid(range(1, 41), [1, 2, 3, 4])))
    outcomes = [outcome(id_, 1, DELIVERED) for id_ in range(1, 41)]
    outcomes += [outcome(id_, 2, DROPPED, 3, reason=REASON_EXHAUSTED) for id_ in range(1, 11)]
    outcomes += [outcome(id_, 2, DELIVERED, 2) for id_ in range(11, 21)]
    outcomes += [outcome(id_, 3, QUEUED, 1, due_ms=NOW + 99) for id_ in range(1, 6)]
    outcomes += [outcome(id_, 3, PENDING, 1, due_ms=NOW + 9999) for id_ in range(6, 11)]
    run(storage.mark(chunks(*outcomes, size=7)))
    assert run(checked_ledger(storage)) == {
        1: account(1, delivered=40),
        2: account(2, delivered=10, dropped=10, queued=20),
        3: account(3, queued=35, pending=5),
        4: account(4, queued=40),
    }


def test_the_log_holds_failed_and_later_tries(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(grid([1], [1, 2])))
    run(storage.mark(chunks(outcome(1, 2, QUEUED, 1, NOW + 1, error="timeout", code=0))))
    failed = outcome(1, 1, QUEUED, 1, NOW + 1, code=503, response=b"\xffbusy", latency_ms=40)
    run(storage.mark(chunks(failed)))
    run(storage.mark(chunks(outcome(1, 1, DELIVERED, 2, NOW + 2, response=b"ok", code=204))))
    expected = Attempt(
        message_id=1,
        subscription_id=1,
        attempt=1,
        at_ms=NOW + 1,
        latency_ms=40,
        code=503,
        error="",
        response=b"\xffbusy",
    )
    logged = run(storage.attempts(1))
    assert logged[0] == expected
    assert [(a.subscription_id, a.attempt, a.code) for a in logged] == [
        (1, 1, 503),
        (1, 2, 204),
        (2, 1, 0),
    ]
    assert run(storage.attempts(1, 1)) == logged[:2]
    assert run(storage.attempts(1, 2))[0].error == "timeout"
    assert run(storage.attempts(1, 3)) == []
    assert run(storage.attempts(2)) == []


def test_a_retry_moves_the_row_on(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(split((1, 1, QUEUED))))
    run(storage.mark(chunks(outcome(1, 1, PENDING, 1, NOW + 1, due_ms=NOW + 999))))
    (row,) = run(storage.deliveries(1))
    assert (row.status, row.attempts, row.due_ms) == (PENDING, 1, NOW + 999)
    assert row.updated_ms == NOW + 1
    run(storage.mark(chunks(outcome(1, 1, QUEUED, 2, NOW + 2, due_ms=NOW + 50))))
    (row,) = run(storage.deliveries(1))
    assert (row.status, row.attempts, row.due_ms) == (QUEUED, 2, NOW + 50)
    assert run(checked_ledger(storage)) == {1: account(1, queued=1)}


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("end", [DELIVERED, DROPPED])
def test_tries_of_the_same_number_may_fail_and_end_it(
    storage: Storage, run: Run, together: bool, end: DeliveryStatus
) -> None:
    """Sent twice, as after a lost queue: each outcome counts, others with them too."""
    run(storage.insert_deliveries(grid([1, 2], [1])))
    failed = [outcome(1, 1, QUEUED, number, NOW + number, code=500) for number in (1, 2)]
    ends = [outcome(1, 1, end, 2, NOW + 3, code=204), outcome(2, 1, DELIVERED)]
    for part in ([*failed, *ends],) if together else (failed, ends):
        run(storage.mark(chunks(*part)))
        run(storage.mark(chunks(*part)))
    assert [run(storage.deliveries(id_))[0].status for id_ in (1, 2)] == [end, DELIVERED]
    logged = [(one.attempt, one.at_ms, one.code) for one in run(storage.attempts(1))]
    assert logged == [(1, NOW + 1, 500), (2, NOW + 2, 500), (3, NOW + 3, 204)]
    assert run(storage.deliveries(1))[0].attempts == 3


def test_everything_again_changes_nothing(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(grid([1, 2, 3, 4], [1])))
    made = chunks(
        outcome(1, 1, DELIVERED),
        outcome(2, 1, QUEUED, 1, due_ms=NOW + 9),
        outcome(3, 1, DROPPED, 1, reason=REASON_REFUSED),
        outcome(4, 1, PENDING, 1, due_ms=NOW + 9),
    )
    run(storage.mark(made))
    before = [run(storage.deliveries(id_)) for id_ in (1, 2, 3, 4)]
    logged = [run(storage.attempts(id_)) for id_ in (1, 2, 3, 4)]
    for again in (made, made * 2):
        run(storage.mark(again))
        assert [run(storage.deliveries(id_)) for id_ in (1, 2, 3, 4)] == before
        assert [run(storage.attempts(id_)) for id_ in (1, 2, 3, 4)] == logged
    ledger = run(checked_ledger(storage))
    assert ledger == {1: account(1, delivered=1, dropped=1, queued=1, pending=1)}


def test_the_same_chunk_twice_in_one_call_counts_once(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(grid([1, 2], [1])))
    run(storage.mark(chunks(outcome(1, 1, DELIVERED), outcome(2, 1, QUEUED)) * 3))
    assert run(checked_ledger(storage)) == {1: account(1, delivered=1, queued=1)}
    assert len(run(storage.attempts(2))) == 1


def test_the_first_final_outcome_counts(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(grid([1, 2, 3], [1])))
    run(storage.mark(chunks(outcome(1, 1, DELIVERED), outcome(1, 1, DROPPED, 2))))
    run(storage.mark(chunks(outcome(2, 1, DELIVERED))))
    run(storage.mark(chunks(outcome(2, 1, DROPPED, 2, reason=REASON_REFUSED))))
    run(storage.mark(chunks(outcome(3, 1, DROPPED, 2, reason=REASON_REFUSED))))
    run(storage.mark(chunks(outcome(3, 1, DELIVERED, 3), outcome(2, 1, DELIVERED, 3))))
    found = [run(status_of(storage, id_, 1)) for id_ in (1, 2, 3)]
    assert found == [DELIVERED, DELIVERED, DROPPED]
    assert run(checked_ledger(storage)) == {1: account(1, delivered=2, dropped=1)}
    assert run(storage.deliveries(3))[0].reason is Reason.REFUSED


def test_old_and_new_outcomes_mixed(storage: Storage, run: Run) -> None:
    ids = list(range(1, 101))
    run(storage.insert_deliveries(grid(ids, [1, 2])))
    run(storage.mark(chunks(*(outcome(id_, 1, DELIVERED) for id_ in ids[:60]))))
    mixed = [outcome(id_, 1, DELIVERED) for id_ in ids]
    mixed += [outcome(id_, 2, QUEUED) for id_ in ids]
    run(storage.mark(chunks(*mixed)))
    run(storage.mark(chunks(*mixed, *(outcome(id_, 2, DELIVERED, 2) for id_ in ids[:30]))))
    assert run(checked_ledger(storage)) == {
        1: account(1, delivered=100),
        2: account(2, delivered=30, queued=70),
    }
    assert len(run(storage.attempts(1, 2))) == 2


STEPS = [
    outcome(1, 1, QUEUED, 1, NOW + 1, due_ms=NOW + 100),
    outcome(1, 1, PENDING, 2, NOW + 2, due_ms=NOW + 200),
    outcome(1, 1, DELIVERED, 3, NOW + 3),
]


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("together", [False, True])
def test_outcomes_in_any_order_end_the_same(
    storage: Storage, run: Run, order: tuple[int, ...], together: bool
) -> None:
    run(storage.insert_deliveries(split((1, 1, QUEUED))))
    made = [chunks(STEPS[position])[0] for position in order]
    for call in [made] if together else [[one] for one in made]:
        run(storage.mark(call))
        run(checked_ledger(storage))
    assert run(status_of(storage, 1, 1)) == DELIVERED
    (row,) = run(storage.deliveries(1))
    assert (row.attempts, row.due_ms) == (3, 0)
    assert run(checked_ledger(storage)) == {1: account(1, delivered=1)}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_retry_with_more_attempts_stays(
    storage: Storage, run: Run, order: tuple[int, ...]
) -> None:
    run(storage.insert_deliveries(split((1, 1, QUEUED))))
    for position in order:
        run(storage.mark(chunks(STEPS[position])))
    (row,) = run(storage.deliveries(1))
    assert (row.status, row.attempts, row.due_ms) == (PENDING, 2, NOW + 200)
    assert run(checked_ledger(storage)) == {1: account(1, pending=1)}
    assert [attempt.attempt for attempt in run(storage.attempts(1))] == [1, 2]


def test_a_parking_needs_no_further_try(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(grid([1, 2], [1])))
    run(storage.mark(chunks(outcome(2, 1, QUEUED, 1, NOW + 1))))
    parked = chunks(
        outcome(1, 1, PENDING, 0, NOW + 5, code=0), outcome(2, 1, PENDING, 1, NOW + 5, code=0)
    )
    run(storage.mark(parked))
    assert run(checked_ledger(storage)) == {1: account(1, pending=2)}
    assert run(storage.attempts(1)) == []
    # Once they are queued again, the old word does not count any more.
    assert run(storage.set_queued(1, [1, 2], NOW + 9)) == 2
    run(storage.mark(parked))
    assert run(checked_ledger(storage)) == {1: account(1, queued=2)}


def test_a_late_retry_does_not_undo_a_rescue(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(split((1, 1, QUEUED))))
    late = chunks(outcome(1, 1, QUEUED, 1, NOW + 1, due_ms=NOW + 60_000))
    run(storage.mark(late))
    assert run(storage.forget_queued(None, NOW + 5, NOW + 6)) == 1
    run(storage.mark(late))
    assert run(status_of(storage, 1, 1)) == PENDING


def test_purged_deliveries_are_no_error(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(split((1, 1, QUEUED))))
    purged = [
        outcome(ID_MAX, 1, DELIVERED),
        outcome(5, 1, DELIVERED, 2),
        outcome(6, 1, QUEUED),
        outcome(7, 9, DROPPED),
    ]
    run(storage.mark(chunks(*purged)))
    run(storage.mark(chunks(*purged, outcome(1, 1, DELIVERED))))
    assert run(checked_ledger(storage)) == {1: account(1, delivered=1)}
    for id_ in (5, 6, 7, ID_MAX):
        assert run(storage.deliveries(id_)) == []
        assert run(storage.attempts(id_)) == []


def test_a_damaged_chunk_applies_nothing(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(split((1, 1, QUEUED))))
    good = chunks(outcome(1, 1, DELIVERED))
    for bad in (b"", b"\xc1", good[0][:-1], b"\x94\x01\x02\x00\x90"):
        with pytest.raises(ChunkError):
            run(storage.mark([*good, bad]))
    assert run(checked_ledger(storage)) == {1: account(1, queued=1)}
    run(storage.mark(good))
    assert run(status_of(storage, 1, 1)) == DELIVERED


def test_concurrent_marks_count_once(storage: Storage, run: Run) -> None:
    ids = list(range(1, 201))
    run(storage.insert_deliveries(grid(ids, [1])))
    made = [chunks(*(outcome(id_, 1, DELIVERED) for id_ in ids[n : n + 100])) for n in (0, 50, 100)]

    async def race() -> None:
        await asyncio.gather(*(storage.mark(one) for one in made * 3))

    run(race())
    assert run(checked_ledger(storage)) == {1: account(1, delivered=200)}


def test_large_responses_and_texts(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(split((1, 1, QUEUED))))
    error = "Zeitüberschreitung ⏱ '\\\""
    made = outcome(1, 1, QUEUED, error=error, response=bytes(range(256)) * 300)
    run(storage.mark(chunks(made)))
    (logged,) = run(storage.attempts(1))
    assert (logged.error, logged.response) == (error, bytes(range(256)) * 300)


def test_outcomes_outlive_a_restart(durable: Backend, run: Run) -> None:
    storage = durable.storage
    run(storage.insert_messages(batch([1, 2]), NOW))
    run(storage.insert_deliveries(grid([1, 2], [1])))
    made = chunks(outcome(1, 1, DELIVERED), outcome(2, 1, QUEUED))
    run(storage.mark(made))
    storage = run(durable.reopen())
    run(storage.mark(made))
    assert run(checked_ledger(storage)) == {1: account(1, delivered=1, queued=1)}
    assert len(run(storage.attempts(2))) == 1
