"""Dead letters are delivered after all: a budget of their own, one log, balanced accounts."""

import asyncio

import pytest

from notify.domain.model import DeliveryStatus, Reason
from notify.domain.ports import DeliveryFilter, Storage
from notify_core.records import REASON_DISCARDED, REASON_EXHAUSTED, REASON_REFUSED, OutcomeRecord
from tests.conformance.storage.backends import Run
from tests.conformance.storage.samples import (
    DELIVERED,
    DROPPED,
    INLINE,
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

AT = NOW + 100_000


def exhausted(msg_id: int, sub_id: int, attempts: int, at_ms: int) -> OutcomeRecord:
    return outcome(msg_id, sub_id, DROPPED, attempts, at_ms, reason=REASON_EXHAUSTED)


def a_run(msg_id: int, sub_id: int, at_ms: int) -> list[bytes]:
    """Two failed tries, after which the policy gives up."""
    first = outcome(msg_id, sub_id, QUEUED, 1, at_ms, due_ms=at_ms + 10)
    return chunks(first, exhausted(msg_id, sub_id, 2, at_ms + 10))


def test_a_dropped_delivery_is_pending_with_a_budget_of_its_own(storage: Storage, run: Run) -> None:
    [id_] = message_ids(1)
    run(storage.insert_messages(batch([id_]), NOW))
    run(storage.insert_deliveries(grid([id_], [1, 2])))
    run(storage.mark(a_run(id_, 1, NOW + 1)))
    assert run(storage.replay([(id_, 1)], AT)) == 1
    [replayed, other] = run(storage.deliveries(id_))
    assert (replayed.status, replayed.attempts) == (DeliveryStatus.PENDING, 0)
    assert (replayed.due_ms, replayed.updated_ms) == (0, AT)
    assert replayed.reason is Reason.EXHAUSTED
    assert other.status is DeliveryStatus.QUEUED
    assert run(checked_ledger(storage)) == {1: account(1, pending=1), 2: account(2, queued=1)}
    assert run(storage.list_deliveries(DeliveryFilter(1, DeliveryStatus.DROPPED), None, 9)) == []
    waiting = DeliveryFilter(1, DeliveryStatus.PENDING)
    assert run(storage.list_deliveries(waiting, None, 9)) == [replayed]
    [record] = run(storage.pending(1, AT, 9, INLINE))
    assert (record.attempts, record.message.id) == (0, id_)


def test_only_what_is_dropped_is_replayed_and_only_once(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(grid([1, 2, 3, 4], [1])))
    run(storage.insert_deliveries(split((5, 0, DROPPED, 0, int(Reason.UNMATCHED)))))
    done = outcome(1, 1, DELIVERED), exhausted(2, 1, 1, NOW), outcome(3, 1, PENDING)
    run(storage.mark(chunks(*done)))
    keys = [(id_, 1) for id_ in (1, 2, 2, 3, 4, 77)] + [(5, 0)]
    assert run(storage.replay(keys, AT)) == 1
    expected = {1: account(1, delivered=1, queued=1, pending=2)}
    assert run(checked_ledger(storage)) == expected
    assert run(storage.replay(keys, AT + 1)) == 0
    assert run(storage.replay([], AT + 1)) == 0
    assert run(checked_ledger(storage)) == expected
    assert run(status_of(storage, 5, 0)) == DROPPED
    assert len(run(storage.attempts(2))) == 1


@pytest.mark.parametrize("size", [3, 1500])
def test_any_number_at_once(storage: Storage, run: Run, size: int) -> None:
    ids = message_ids(size)
    run(storage.insert_deliveries(grid(ids, [1, 2])))
    run(storage.mark(chunks(*(exhausted(id_, sub, 1, NOW) for id_ in ids for sub in (1, 2)))))
    assert run(storage.replay([(id_, 1) for id_ in ids], AT)) == size
    expected = {1: account(1, pending=size), 2: account(2, dropped=size)}
    assert run(checked_ledger(storage)) == expected
    assert run(storage.audit(lambda *_: None)).unlisted == []
    assert run(storage.set_queued(1, ids, AT + 1)) == size
    run(storage.mark(chunks(*(outcome(id_, 1, DELIVERED, at_ms=AT + 2) for id_ in ids))))
    expected = {1: account(1, delivered=size), 2: account(2, dropped=size)}
    assert run(checked_ledger(storage)) == expected


def test_the_log_goes_on_over_replays(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(grid([1], [1, 2])))
    run(storage.mark(a_run(1, 2, NOW)))
    for again in range(4):
        run(storage.mark(a_run(1, 1, NOW + again * 100)))
        assert run(storage.replay([(1, 1)], NOW + again * 100 + 50)) == 1
    run(storage.mark(chunks(outcome(1, 1, QUEUED, 1, NOW + 900, due_ms=NOW + 950))))
    run(storage.mark(chunks(outcome(1, 1, DELIVERED, 2, NOW + 950))))
    logged = run(storage.attempts(1, 1))
    assert [attempt.attempt for attempt in logged] == list(range(1, 11))
    times = [NOW + again * 100 + late for again in range(4) for late in (0, 10)]
    assert [attempt.at_ms for attempt in logged] == [*times, NOW + 900, NOW + 950]
    everything = run(storage.attempts(1))
    assert [attempt.attempt for attempt in everything] == [*range(1, 11), 1, 2]
    [row, _] = run(storage.deliveries(1))
    assert (row.status, row.attempts, row.reason) == (DELIVERED, 2, Reason.NONE)
    assert run(checked_ledger(storage))[1] == account(1, delivered=1)


def test_what_was_marked_before_a_replay_may_come_again(storage: Storage, run: Run) -> None:
    """A Marker died after its commit: the next one has the same chunks, and changes nothing."""
    run(storage.insert_deliveries(grid([1, 2], [1])))
    old = a_run(1, 1, NOW) + a_run(2, 1, NOW)
    run(storage.mark(old))
    run(storage.replay([(1, 1)], AT))
    logged = run(storage.attempts(1))
    for standing, move in ((PENDING, None), (QUEUED, storage.set_queued(1, [1], AT + 5))):
        if move is not None:
            assert run(move) == 1
        run(storage.mark(old))
        run(storage.mark(old[-1:] + old))
        [row] = run(storage.deliveries(1))
        assert (row.status, row.attempts) == (standing, 0)
        assert run(storage.attempts(1)) == logged
        run(checked_ledger(storage))
    # The same numbers of tries, later: these are news, with the old ones beside them.
    run(storage.mark(chunks(outcome(1, 1, QUEUED, 1, AT + 10, due_ms=AT + 20)) + old))
    [row] = run(storage.deliveries(1))
    assert (row.status, row.attempts) == (QUEUED, 1)
    run(storage.mark(old))
    assert run(status_of(storage, 1, 1)) == QUEUED
    run(storage.mark(old + chunks(exhausted(1, 1, 2, AT + 20))))
    assert [attempt.attempt for attempt in run(storage.attempts(1))] == [1, 2, 3, 4]
    assert run(checked_ledger(storage)) == {1: account(1, dropped=2)}


def test_a_late_success_of_before_counts(storage: Storage, run: Run) -> None:
    """The endpoint has it, whichever Sender was told so: no reason to send it again."""
    run(storage.insert_deliveries(grid([1], [1])))
    run(storage.mark(a_run(1, 1, NOW)))
    run(storage.replay([(1, 1)], AT))
    run(storage.mark(chunks(outcome(1, 1, DELIVERED, 1, NOW + 5))))
    assert run(checked_ledger(storage)) == {1: account(1, delivered=1)}


def test_a_replayed_delivery_can_be_dropped_again_for_another_reason(
    storage: Storage, run: Run
) -> None:
    run(storage.insert_deliveries(grid([1, 2, 3], [1])))
    run(storage.mark(chunks(*(exhausted(id_, 1, 1, NOW) for id_ in (1, 2, 3)))))
    run(storage.replay([(1, 1), (2, 1), (3, 1)], AT))
    run(storage.mark(chunks(outcome(1, 1, DROPPED, 1, AT + 9, reason=REASON_REFUSED, code=410))))
    untried = outcome(2, 1, DROPPED, 0, AT + 9, reason=REASON_DISCARDED, code=0)
    run(storage.mark(chunks(untried)))
    assert run(storage.drop_pending(1, int(Reason.DELETED), AT + 9, 10)) == 1
    reasons = [run(storage.deliveries(id_))[0].reason for id_ in (1, 2, 3)]
    assert reasons == [Reason.REFUSED, Reason.DISCARDED, Reason.DELETED]
    assert run(checked_ledger(storage)) == {1: account(1, dropped=3)}
    dropped = DeliveryFilter(1, DeliveryStatus.DROPPED)
    assert len(run(storage.list_deliveries(dropped, None, 9))) == 3


def test_a_lost_queue_loses_no_replayed_delivery(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(grid([1], [1])))
    run(storage.mark(a_run(1, 1, NOW)))
    run(storage.replay([(1, 1)], AT))
    run(storage.set_queued(1, [1], AT + 1))
    assert run(storage.forget_queued(None, AT + 2, AT + 3)) == 1
    run(storage.mark(a_run(1, 1, NOW)))
    assert run(status_of(storage, 1, 1)) == PENDING
    run(storage.mark(chunks(outcome(1, 1, DELIVERED, 1, AT + 9))))
    assert run(checked_ledger(storage)) == {1: account(1, delivered=1)}


def test_two_who_replay_the_same_replay_it_once(storage: Storage, run: Run) -> None:
    ids = list(range(1, 301))

    async def race() -> list[int]:
        await storage.insert_deliveries(grid(ids, [1]))
        await storage.mark(chunks(*(exhausted(id_, 1, 1, NOW) for id_ in ids)))
        keys = [(id_, 1) for id_ in ids]
        return await asyncio.gather(storage.replay(keys, AT), storage.replay(keys[::-1], AT))

    assert sum(run(race())) == 300
    assert run(checked_ledger(storage)) == {1: account(1, pending=300)}
