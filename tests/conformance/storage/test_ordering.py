"""What waits in order, and how far the line of each key came."""

import asyncio

import pytest

from notify.domain.ports import OrderHead, Storage
from tests.conformance.storage.backends import Backend, Run
from tests.conformance.storage.samples import (
    DELIVERED,
    DROPPED,
    INLINE,
    NOW,
    PENDING,
    QUEUED,
    batch,
    chunks,
    grid,
    message_ids,
    outcome,
    split,
)

BEGIN = (-1, 0)


def test_what_waits_comes_by_due_time_and_message_whatever_is_due(
    storage: Storage, run: Run
) -> None:
    rows = [
        (4, 1, PENDING, 0, 0, 0),
        (2, 1, PENDING, 0, 0, 0),
        (3, 1, PENDING, 0, 0, NOW + 10**9),
        (1, 1, PENDING, 0, 0, NOW),
        (5, 1, QUEUED),
        (6, 1, DROPPED),
        (7, 2, PENDING),
    ]
    run(storage.insert_deliveries(split(*rows)))
    keys = [(0, 2), (0, 4), (NOW, 1), (NOW + 10**9, 3)]
    assert run(storage.waiting(1, BEGIN, 10)) == keys
    for position, key in enumerate(keys):
        assert run(storage.waiting(1, key, 10)) == keys[position + 1 :]
        assert run(storage.waiting(1, key, 2)) == keys[position + 1 : position + 3]
    assert run(storage.waiting(1, (0, 3), 10)) == keys[1:]
    assert run(storage.waiting(1, (5, 9), 10)) == keys[2:]
    assert run(storage.waiting(1, BEGIN, 0)) == []
    assert run(storage.waiting(2, BEGIN, 10)) == [(0, 7)]
    assert run(storage.waiting(3, BEGIN, 10)) == []


def test_what_waits_moves_with_its_outcomes(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(grid([1, 2, 3], [1], PENDING)))
    run(storage.mark(chunks(outcome(1, 1, PENDING, due_ms=NOW + 50), outcome(2, 1, DELIVERED))))
    assert run(storage.waiting(1, BEGIN, 10)) == [(0, 3), (NOW + 50, 1)]
    run(storage.mark(chunks(outcome(1, 1, PENDING, 2, NOW + 60, due_ms=NOW + 99))))
    assert run(storage.waiting(1, (0, 3), 10)) == [(NOW + 99, 1)]
    run(storage.mark(chunks(outcome(1, 1, DELIVERED, 3), outcome(3, 1, DROPPED, 1))))
    assert run(storage.waiting(1, BEGIN, 10)) == []


@pytest.mark.parametrize("page", [1, 7, 1000])
def test_pages_of_what_waits_join(storage: Storage, run: Run, page: int) -> None:
    ids = list(range(1, 31))
    rows = [(id_, 1, PENDING, 0, 0, (id_ % 4) * 1000) for id_ in ids]
    run(storage.insert_deliveries(split(*rows)))
    found: list[tuple[int, int]] = []
    while part := run(storage.waiting(1, found[-1] if found else BEGIN, page)):
        found += part
    assert found == sorted(((id_ % 4) * 1000, id_) for id_ in ids)


def test_pending_records_are_those_that_still_are(storage: Storage, run: Run) -> None:
    made = batch([1, 2, 3, 4, 5], payloads=[b"one", b"two", b"three!", b"four", b"five"])
    run(storage.insert_messages(made, NOW))
    run(storage.insert_deliveries(grid([1, 2, 3, 4, 5], [1], PENDING)))
    run(storage.insert_deliveries(grid([1, 2], [2])))
    run(storage.mark(chunks(outcome(3, 1, PENDING, 4, due_ms=NOW + 10**6))))
    run(storage.mark(chunks(outcome(2, 1, DELIVERED))))
    run(storage.set_queued(1, [5], NOW))
    found = run(storage.pending_records(1, [5, 4, 3, 2, 1, 77, 1], 5))
    records = made.records(5)
    assert [one.message for one in found] == [records[0], records[2], records[3]]
    assert found[1].message.payload is None
    assert [one.attempts for one in found] == [0, 4, 0]
    assert run(storage.pending_records(2, [1, 2], INLINE)) == []
    assert run(storage.pending_records(1, [], INLINE)) == []


def test_any_number_of_records(storage: Storage, run: Run) -> None:
    ids = message_ids(1500)
    run(storage.insert_messages(batch(ids), NOW))
    run(storage.insert_deliveries(grid(ids, [1], PENDING)))
    found = run(storage.pending_records(1, set(ids), INLINE))
    assert [one.message.id for one in found] == ids


def test_heads_are_kept_by_subscription_and_key(storage: Storage, run: Run) -> None:
    keys = ["a", "A", "a ", "", "ä", "a\\'\"%", "7", "x" * 128]
    one = [OrderHead(key, number, 100 + number, number) for number, key in enumerate(keys, 1)]
    run(storage.set_order_heads(1, one, NOW))
    run(storage.set_order_heads(2, [OrderHead("a", 9, 109, 108)], NOW))
    assert run(storage.order_heads(1, keys)) == {head.key: head for head in one}
    assert run(storage.order_heads(2, [*keys, *keys])) == {"a": OrderHead("a", 9, 109, 108)}
    assert run(storage.order_heads(3, keys)) == {}
    assert run(storage.order_heads(1, [])) == {}
    run(storage.set_order_heads(1, [], NOW))


def test_a_head_moves_only_on(storage: Storage, run: Run) -> None:
    def written(*heads: OrderHead) -> OrderHead:
        run(storage.set_order_heads(1, heads, NOW))
        return run(storage.order_heads(1, {"k"}))["k"]

    third = OrderHead("k", 3, 33, 22)
    assert written(third) == third
    assert written(OrderHead("k", 2, 99, 98)) == third
    assert written(OrderHead("k", 3, 99, 98)) == third
    assert written(OrderHead("k", 4, 44, 33)) == OrderHead("k", 4, 44, 33)
    # Several of one key in one call, in whatever order.
    sixth = OrderHead("k", 6, 66, 55)
    assert written(sixth, OrderHead("k", 5, 55, 44)) == sixth
    eighth = OrderHead("k", 8, 88, 77)
    assert written(OrderHead("k", 7, 77, 66), eighth, sixth) == eighth


@pytest.mark.parametrize("size", [1, 1100])
def test_any_number_of_heads_also_the_longest(storage: Storage, run: Run, size: int) -> None:
    # Quotes become twice as long in a statement.
    heads = [OrderHead(f"{n:04}" + "'" * 124, 1, n + 1, 0) for n in range(size)]
    run(storage.set_order_heads(1, heads, NOW))
    run(storage.set_order_heads(1, [head._replace(sequence=2) for head in heads[::2]], NOW))
    found = run(storage.order_heads(1, [head.key for head in heads]))
    assert [found[head.key].sequence for head in heads] == [2 - n % 2 for n in range(size)]


def test_of_writers_at_once_the_highest_number_stays(storage: Storage, run: Run) -> None:
    keys = [f"k{n}" for n in range(40)]

    async def write(number: int) -> None:
        heads = [OrderHead(key, number, number, 0) for key in keys]
        await storage.set_order_heads(1, heads if number % 2 else heads[::-1], NOW)

    async def race() -> None:
        await asyncio.gather(*(write(number) for number in range(1, 9)))

    run(race())
    assert {head.sequence for head in run(storage.order_heads(1, keys)).values()} == {8}


def test_heads_outlive_a_restart(durable: Backend, run: Run) -> None:
    head = OrderHead("k", 1, 5, 0)
    run(durable.storage.set_order_heads(1, [head], NOW))
    assert run(run(durable.reopen()).order_heads(1, ["k"])) == {"k": head}
