"""What a fan-out stores, and the lists of deliveries."""

import asyncio

import pytest

from notify.domain.model import Delivery, DeliveryStatus, Reason
from notify.domain.ports import DeliveryFilter, Storage
from notify_core.records import (
    DROPPED,
    PENDING,
    QUEUED,
    REASON_DISCARDED,
    REASON_UNMATCHED,
    UNMATCHED_SUB,
)
from tests.conformance.storage.backends import Backend, Run
from tests.conformance.storage.samples import (
    DELIVERED,
    ID_MAX,
    NOW,
    account,
    checked_ledger,
    chunks,
    grid,
    message_ids,
    outcome,
    split,
)


@pytest.mark.parametrize("size", [1, 7, 1000, 4000])
def test_a_split_of_any_size_is_stored_and_accounted(storage: Storage, run: Run, size: int) -> None:
    ids = message_ids(size)
    assert run(storage.insert_deliveries(grid(ids, [1, 2]))) == set()
    assert run(checked_ledger(storage)) == {s: account(s, queued=size) for s in (1, 2)}


def test_an_empty_split_is_nothing(storage: Storage, run: Run) -> None:
    assert run(storage.insert_deliveries(split())) == set()
    assert run(storage.ledger()) == []


def test_a_row_is_read_as_it_was_stored(storage: Storage, run: Run) -> None:
    rows = [
        (ID_MAX, 3, DROPPED, 0, REASON_DISCARDED, 0, NOW),
        (ID_MAX, 1, PENDING, 0, 0, NOW + 5, NOW),
        (ID_MAX, ID_MAX, QUEUED, 0, 0, 0, NOW),
    ]
    run(storage.insert_deliveries(split(*rows)))
    found = run(storage.deliveries(ID_MAX))
    assert [delivery.subscription_id for delivery in found] == [1, 3, ID_MAX]
    assert found[0] == Delivery(
        message_id=ID_MAX,
        subscription_id=1,
        status=DeliveryStatus.PENDING,
        attempts=0,
        reason=Reason.NONE,
        due_ms=NOW + 5,
        updated_ms=NOW,
    )
    assert found[1].reason is Reason.DISCARDED
    assert run(storage.deliveries(4)) == []


def test_each_status_has_its_place_in_the_ledger(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(split((1, 9, QUEUED), (2, 9, PENDING), (3, 9, DROPPED))))
    assert run(checked_ledger(storage)) == {9: account(9, queued=1, pending=1, dropped=1)}


def test_matching_nobody_is_stored_but_not_accounted(storage: Storage, run: Run) -> None:
    unmatched = split((1, UNMATCHED_SUB, DROPPED, 0, REASON_UNMATCHED), (2, 5, QUEUED))
    run(storage.insert_deliveries(unmatched))
    assert run(checked_ledger(storage)) == {5: account(5, queued=1)}
    (row,) = run(storage.deliveries(1))
    assert (row.subscription_id, row.reason) == (UNMATCHED_SUB, Reason.UNMATCHED)


def test_the_same_split_again_changes_nothing(storage: Storage, run: Run) -> None:
    made = grid([1, 2, 3], [1, 2])
    run(storage.insert_deliveries(made))
    assert run(storage.insert_deliveries(made)) == {1, 2, 3}
    assert run(checked_ledger(storage)) == {s: account(s, queued=3) for s in (1, 2)}


def test_only_new_rows_are_accounted(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(split((2, 1, QUEUED), (2, 2, QUEUED), (4, 1, PENDING))))
    run(storage.mark(chunks(outcome(2, 1, DELIVERED))))
    wider = split(
        (1, 1, QUEUED), (2, 1, QUEUED), (2, 2, DROPPED), (2, 3, PENDING), (4, 1, QUEUED),
        (5, 2, QUEUED),
    )  # fmt: skip
    assert run(storage.insert_deliveries(wider)) == {2, 4}
    assert run(checked_ledger(storage)) == {
        1: account(1, delivered=1, pending=1, queued=1),
        2: account(2, queued=2),
        3: account(3, pending=1),
    }


def test_a_row_twice_in_one_split_is_one(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(split((1, 1, QUEUED), (1, 1, PENDING), (2, 1, QUEUED))))
    assert run(checked_ledger(storage)) == {1: account(1, queued=2)}


def test_concurrent_splits_are_accounted_once(storage: Storage, run: Run) -> None:
    async def race() -> None:
        await asyncio.gather(
            *(storage.insert_deliveries(grid(range(1, 1 + n * 7), [1, 2, 3])) for n in range(8))
        )

    run(race())
    assert run(checked_ledger(storage)) == {s: account(s, queued=49) for s in (1, 2, 3)}


def test_standings_of_what_exists(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(split((1, 1, QUEUED), (1, 2, PENDING), (ID_MAX, 1, DROPPED))))
    assert run(storage.standings([])) == {}
    asked = {(1, 1), (1, 2), (1, 3), (2, 1), (ID_MAX, 1)}
    assert run(storage.standings(asked)) == {
        (1, 1): (DeliveryStatus.QUEUED, 0),
        (1, 2): (DeliveryStatus.PENDING, 0),
        (ID_MAX, 1): (DeliveryStatus.DROPPED, 0),
    }


def test_a_standing_counts_the_tries_that_were_marked(storage: Storage, run: Run) -> None:
    run(storage.insert_deliveries(split((1, 1, QUEUED))))
    run(storage.mark(chunks(outcome(1, 1, QUEUED, attempts=3, due_ms=NOW + 99))))
    assert run(storage.standings([(1, 1)])) == {(1, 1): (DeliveryStatus.QUEUED, 3)}


def test_many_standings_at_once(storage: Storage, run: Run) -> None:
    ids = message_ids(3000)
    run(storage.insert_deliveries(grid(ids, [4])))
    found = run(storage.standings([(id_, 4) for id_ in ids]))
    assert found == {(id_, 4): (DeliveryStatus.QUEUED, 0) for id_ in ids}


@pytest.fixture
def listed(storage: Storage, run: Run) -> list[tuple[int, int]]:
    """Keys newest first: 6 messages, a second apart, to 2 subscriptions each, in 4 statuses."""
    ids = [message_ids(1, NOW + 1000 * n)[0] for n in range(6)]
    statuses = [QUEUED, PENDING, DROPPED, QUEUED, PENDING, DROPPED]
    rows = [(i, sub, s) for i, s in zip(ids, statuses, strict=True) for sub in (1, 2)]
    rows.append((ids[0] + 1, UNMATCHED_SUB, DROPPED, 0, REASON_UNMATCHED))
    run(storage.insert_deliveries(split(*rows)))
    run(storage.mark(chunks(outcome(ids[3], 1, DELIVERED), outcome(ids[3], 2, DELIVERED))))
    return sorted(((row[0], row[1]) for row in rows if row[1]), reverse=True)


def keys(deliveries: list[Delivery]) -> list[tuple[int, int]]:
    return [(delivery.message_id, delivery.subscription_id) for delivery in deliveries]


def test_lists_are_newest_first_and_limited(
    storage: Storage, run: Run, listed: list[tuple[int, int]]
) -> None:
    everything = DeliveryFilter()
    assert keys(run(storage.list_deliveries(everything, None, 100))) == listed
    assert keys(run(storage.list_deliveries(everything, None, 5))) == listed[:5]


FILTERS = [
    DeliveryFilter(),
    DeliveryFilter(subscription_id=2),
    DeliveryFilter(status=DeliveryStatus.PENDING),
    DeliveryFilter(status=DeliveryStatus.QUEUED),
    DeliveryFilter(status=DeliveryStatus.DELIVERED),
    DeliveryFilter(status=DeliveryStatus.DROPPED),
    DeliveryFilter(subscription_id=1, status=DeliveryStatus.DROPPED),
    DeliveryFilter(subscription_id=1, status=DeliveryStatus.DELIVERED),
    DeliveryFilter(since_ms=NOW + 1000),
    DeliveryFilter(until_ms=NOW + 4000),
    DeliveryFilter(since_ms=NOW + 1000, until_ms=NOW + 4000),
    DeliveryFilter(subscription_id=2, since_ms=NOW + 1001, until_ms=NOW + 4001),
    DeliveryFilter(status=DeliveryStatus.DROPPED, since_ms=NOW + 2001),
    DeliveryFilter(since_ms=NOW + 4000, until_ms=NOW + 4000),
    DeliveryFilter(subscription_id=77),
]


@pytest.mark.parametrize("wanted", FILTERS)
def test_pages_add_up_to_what_the_filter_wants(
    storage: Storage, run: Run, listed: list[tuple[int, int]], wanted: DeliveryFilter
) -> None:
    standings = run(storage.standings(listed))
    low = message_ids(1, wanted.since_ms or 0)[0]
    high = message_ids(1, wanted.until_ms)[0] if wanted.until_ms is not None else ID_MAX
    expected = [
        key
        for key in listed
        if wanted.subscription_id in (None, key[1])
        and wanted.status in (None, standings[key].status)
        and low <= key[0] < high
    ]
    for page in (1, 2, 3, 100):
        found: list[tuple[int, int]] = []
        after = None
        while part := keys(run(storage.list_deliveries(wanted, after, page))):
            assert len(part) <= page
            found += part
            after = part[-1]
        assert found == expected


def test_a_page_follows_a_key_that_does_not_exist(
    storage: Storage, run: Run, listed: list[tuple[int, int]]
) -> None:
    after = (listed[4][0], listed[4][1] + 50)
    assert keys(run(storage.list_deliveries(DeliveryFilter(), after, 2))) == listed[4:6]
    above = (ID_MAX, ID_MAX)
    assert keys(run(storage.list_deliveries(DeliveryFilter(), above, 2))) == listed[:2]
    assert run(storage.list_deliveries(DeliveryFilter(), (0, 0), 2)) == []


@pytest.mark.usefixtures("listed")
def test_what_matched_nobody_is_listed_on_request(storage: Storage, run: Run) -> None:
    wanted = DeliveryFilter(subscription_id=UNMATCHED_SUB)
    (found,) = run(storage.list_deliveries(wanted, None, 10))
    assert found.reason is Reason.UNMATCHED
    dropped = DeliveryFilter(subscription_id=UNMATCHED_SUB, status=DeliveryStatus.DROPPED)
    assert run(storage.list_deliveries(dropped, None, 10)) == [found]


def test_deliveries_and_ledger_outlive_a_restart(durable: Backend, run: Run) -> None:
    run(durable.storage.insert_deliveries(grid([1, 2], [1])))
    storage = run(durable.reopen())
    assert run(checked_ledger(storage)) == {1: account(1, queued=2)}
    assert run(storage.insert_deliveries(grid([2, 3], [1]))) == {2}
    assert run(checked_ledger(storage)) == {1: account(1, queued=3)}
