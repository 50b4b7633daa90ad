"""Unsplit messages, pending and queued deliveries."""

import asyncio

import pytest

from notify.domain.model import DeliveryStatus, Reason
from notify.domain.ports import Storage
from notify_core.records import (
    REASON_DELETED,
    REASON_UNMATCHED,
    UNMATCHED_SUB,
    MessageRecord,
)
from tests.conformance.storage.backends import Backend, Run
from tests.conformance.storage.samples import (
    DELIVERED,
    DROPPED,
    ID_MAX,
    INLINE,
    NOW,
    PENDING,
    QUEUED,
    account,
    batch,
    checked_ledger,
    chunks,
    grid,
    outcome,
    split,
    status_of,
)


async def unsplit(storage: Storage, after: int, below: int, limit: int = 100) -> list[int]:
    return [message.id for message in await storage.unsplit(after, below, limit, INLINE)]


async def pending(storage: Storage, sub_id: int, now_ms: int = NOW, limit: int = 100) -> list[int]:
    return [
        delivery.message.id
        for delivery in await storage.pending(sub_id, now_ms, limit, INLINE)
    ]  # fmt: skip


def test_unsplit_messages_come_rising_within_the_window(storage: Storage, run: Run) -> None:
    run(storage.insert_messages(batch([30, 10, 20, 40]), NOW))
    assert run(unsplit(storage, 0, ID_MAX)) == [10, 20, 30, 40]
    assert run(unsplit(storage, 10, 40)) == [20, 30]  # both ends are open
    assert run(unsplit(storage, 0, ID_MAX, limit=3)) == [10, 20, 30]
    assert run(unsplit(storage, 30, ID_MAX, limit=3)) == [40]
    assert run(unsplit(storage, 40, 10)) == []


def test_any_delivery_row_makes_a_message_split(storage: Storage, run: Run) -> None:
    run(storage.insert_messages(batch([1, 2, 3, 4, 5]), NOW))
    rows = [(1, 1, QUEUED), (2, 1, PENDING), (4, UNMATCHED_SUB, DROPPED, 0, REASON_UNMATCHED)]
    run(storage.insert_deliveries(split(*rows, (5, 8, DROPPED))))
    assert run(unsplit(storage, 0, ID_MAX)) == [3]
    run(storage.insert_deliveries(split((3, 1, QUEUED))))
    assert run(unsplit(storage, 0, ID_MAX)) == []


def test_an_unsplit_message_comes_whole(storage: Storage, run: Run) -> None:
    made = batch(
        [1, 2],
        types=["a.b"] * 2,
        headers=[b'{"x":"y"}', b""],
        keys=["k", ""],
        ordering_keys=["o", ""],
        deliver_ms=[5, 0],
        expires_ms=[6, 0],
        content_types=["text/plain", ""],
        payloads=[b"12345", b"123456"],
    )
    run(storage.insert_messages(made, NOW))
    assert run(storage.unsplit(0, ID_MAX, 10, 5)) == made.records(5)
    assert run(storage.unsplit(0, ID_MAX, 10, 5))[1].payload is None


def test_pending_deliveries_come_by_due_time_then_oldest_first_with_their_message(
    storage: Storage, run: Run
) -> None:
    made = batch(
        [1, 2, 3, 4], payloads=[b"one", b"two", b"three", b"four!"], keys=["k", "", "", ""]
    )
    run(storage.insert_messages(made, NOW))
    run(storage.insert_deliveries(split((4, 1, PENDING), (2, 1, PENDING), (1, 1, PENDING))))
    run(storage.mark(chunks(outcome(2, 1, PENDING, 3, NOW, due_ms=NOW))))
    found = run(storage.pending(1, NOW, 10, 4))
    records = made.records(4)
    assert [delivery.message for delivery in found] == [records[0], records[3], records[1]]
    assert isinstance(found[0].message, MessageRecord)
    assert found[1].message.payload is None
    assert [delivery.attempts for delivery in found] == [0, 0, 3]


def test_only_what_is_due_and_pending_comes(storage: Storage, run: Run) -> None:
    ids = list(range(1, 9))
    run(storage.insert_messages(batch(ids), NOW))
    rows = [
        (1, 1, PENDING, 0, 0, NOW + 1),
        (2, 1, PENDING, 0, 0, NOW),
        (3, 1, PENDING, 0, 0, 0),
        (4, 1, QUEUED),
        (5, 1, DROPPED),
        (6, 2, PENDING),
        (7, 1, PENDING, 0, 0, NOW - 1),
        (8, 1, PENDING, 0, 0, 0),
    ]
    run(storage.insert_deliveries(split(*rows)))
    assert run(pending(storage, 1)) == [3, 8, 7, 2]
    assert run(pending(storage, 1, NOW + 1)) == [3, 8, 7, 2, 1]
    assert run(pending(storage, 1, NOW - 1)) == [3, 8, 7]
    assert run(pending(storage, 1, limit=2)) == [3, 8]
    assert run(pending(storage, 2)) == [6]
    assert run(pending(storage, 3)) == []
    assert run(pending(storage, 1, limit=0)) == []


@pytest.mark.parametrize("size", [1, 5, 1500])
def test_the_feeder_moves_pending_deliveries_in_order(
    storage: Storage, run: Run, size: int
) -> None:
    ids = list(range(1, size + 1))
    run(storage.insert_messages(batch(ids), NOW))
    run(storage.insert_deliveries(grid(ids, [1], PENDING)))
    moved: list[int] = []
    while part := run(pending(storage, 1, limit=400)):
        assert run(storage.set_queued(1, part, NOW + 1)) == len(part)
        moved += part
    assert moved == ids
    assert run(checked_ledger(storage)) == {1: account(1, queued=size)}


def test_only_pending_deliveries_become_queued(storage: Storage, run: Run) -> None:
    rows = [(1, 1, PENDING), (2, 1, QUEUED), (3, 1, DROPPED), (4, 1, QUEUED), (1, 2, PENDING)]
    run(storage.insert_deliveries(split(*rows)))
    run(storage.mark(chunks(outcome(4, 1, DELIVERED))))
    assert run(storage.set_queued(1, [1, 2, 3, 4, 5], NOW + 8)) == 1
    assert run(storage.set_queued(1, [1, 2, 3, 4, 5], NOW + 9)) == 0
    assert run(storage.set_queued(1, [], NOW + 9)) == 0
    assert [run(status_of(storage, id_, 1)) for id_ in (1, 2, 3, 4)] == [
        QUEUED, QUEUED, DROPPED, DELIVERED,
    ]  # fmt: skip
    assert run(storage.deliveries(1))[0].updated_ms == NOW + 8
    assert run(checked_ledger(storage)) == {
        1: account(1, queued=2, dropped=1, delivered=1),
        2: account(2, pending=1),
    }


def test_pending_deliveries_are_dropped_up_to_a_limit(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(grid(range(1, 8), [1, 2], PENDING)))
    run(storage.insert_deliveries(grid([8, 9], [1], PENDING, due_ms=NOW + 10**6)))
    run(storage.insert_deliveries(grid([10, 11], [1], QUEUED)))
    assert run(storage.drop_pending(1, REASON_DELETED, NOW + 3, 5)) == 5
    assert run(checked_ledger(storage))[1] == account(1, dropped=5, pending=4, queued=2)
    assert run(storage.drop_pending(1, REASON_DELETED, NOW + 3, 5)) == 4
    assert run(storage.drop_pending(1, REASON_DELETED, NOW + 3, 5)) == 0
    assert run(checked_ledger(storage)) == {
        1: account(1, dropped=9, queued=2),
        2: account(2, pending=7),
    }
    (row,) = [row for row in run(storage.deliveries(8)) if row.subscription_id == 1]
    assert (row.status, row.reason, row.due_ms) == (DROPPED, Reason.DELETED, 0)
    assert row.updated_ms == NOW + 3


def test_what_the_queue_forgot_becomes_pending_at_once(storage: Storage, run: Run) -> None:
    run(storage.insert_messages(batch([1, 2, 3, 4]), NOW))
    rows = [(1, 1, QUEUED, 0, 0, NOW + 7, NOW - 9), (2, 1, QUEUED, 0, 0, 0, NOW)]
    run(storage.insert_deliveries(split(*rows, (3, 1, DROPPED, 0, 0, 0, NOW - 9))))
    assert run(storage.forget_queued(None, NOW, NOW + 7)) == 1
    (row,) = run(storage.deliveries(1))
    assert (row.status, row.due_ms, row.updated_ms) == (PENDING, 0, NOW + 7)
    assert run(pending(storage, 1, 1)) == [1]
    assert run(storage.forget_queued(None, NOW, NOW + 7)) == 0
    assert run(storage.forget_queued(None, NOW + 1, NOW + 7)) == 1
    assert run(checked_ledger(storage)) == {1: account(1, pending=2, dropped=1)}


def test_what_the_queue_forgot_is_not_due_before_its_time(storage: Storage, run: Run) -> None:
    """deliver_at, and the time of a retry: the queue held both in its delay set."""
    run(storage.insert_messages(batch([1, 2]), NOW))
    run(storage.insert_deliveries(split((1, 1, QUEUED, 0, 0, NOW + 500, NOW), (2, 1, QUEUED))))
    run(storage.mark(chunks(outcome(2, 1, QUEUED, due_ms=NOW + 800))))
    assert run(storage.forget_queued(None, NOW + 20, NOW + 20)) == 2
    assert run(pending(storage, 1, now_ms=NOW + 499)) == []
    assert run(pending(storage, 1, now_ms=NOW + 500)) == [1]
    assert run(pending(storage, 1, now_ms=NOW + 800)) == [1, 2]


def test_forgetting_keeps_the_number_of_attempts(storage: Storage, run: Run) -> None:
    run(storage.insert_messages(batch([1]), NOW))
    run(storage.insert_deliveries(split((1, 1, QUEUED))))
    run(storage.mark(chunks(outcome(1, 1, QUEUED, 4, NOW + 1))))
    run(storage.forget_queued([1], NOW + 9, NOW + 9))
    (found,) = run(storage.pending(1, NOW, 5, INLINE))
    assert found.attempts == 4


def test_only_the_named_subscriptions_forget(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(grid([1, 2, 3], [1, 2, 3, 4])))
    assert run(storage.forget_queued([], NOW + 9, NOW + 9)) == 0
    assert run(storage.forget_queued([2, 4, 77], NOW + 9, NOW + 9)) == 6
    assert run(storage.forget_queued({2}, NOW + 9, NOW + 9)) == 0
    ledger = run(checked_ledger(storage))
    assert [ledger[sub].pending for sub in (1, 2, 3, 4)] == [0, 3, 0, 3]
    assert run(storage.forget_queued(None, NOW + 9, NOW + 9)) == 6


def test_an_outcome_still_reaches_what_was_forgotten(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(grid([1, 2], [1])))
    run(storage.forget_queued(None, NOW + 9, NOW + 9))
    run(storage.mark(chunks(outcome(1, 1, DELIVERED), outcome(2, 1, QUEUED, 1, NOW + 10))))
    assert run(checked_ledger(storage)) == {1: account(1, delivered=1, queued=1)}


def test_two_feeders_never_queue_one_delivery_twice(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(grid(range(1, 101), [1], PENDING)))

    async def race() -> int:
        parts = (list(range(start, start + 60)) for start in (1, 21, 41))
        return sum(await asyncio.gather(*(storage.set_queued(1, part, NOW) for part in parts)))

    assert run(race()) == 100
    assert run(checked_ledger(storage)) == {1: account(1, queued=100)}


def test_pending_deliveries_outlive_a_restart(durable: Backend, run: Run) -> None:
    run(durable.storage.insert_messages(batch([1, 2, 3]), NOW))
    run(durable.storage.insert_deliveries(split((1, 1, PENDING), (2, 1, QUEUED))))
    storage = run(durable.reopen())
    assert run(pending(storage, 1)) == [1]
    assert run(unsplit(storage, 0, ID_MAX)) == [3]
    assert run(storage.forget_queued(None, NOW + 1, NOW + 1)) == 1
    assert run(status_of(storage, 2, 1)) == DeliveryStatus.PENDING
