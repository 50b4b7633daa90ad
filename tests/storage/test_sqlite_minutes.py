"""The per-minute counters: they add up to the ledger, however often outcomes come."""

import random
from collections.abc import Sequence

import pytest

from notify.storage.sqlite import SqliteStorage
from notify_core.records import DELIVERED, DROPPED, PENDING, QUEUED, UNMATCHED_SUB
from tests.conformance.storage.samples import NOW, chunks, grid, outcome, split

MINUTE = NOW // 60_000


@pytest.fixture
def storage(run):
    storage = SqliteStorage(":memory:", inline=True)
    run(storage.open())
    yield storage
    run(storage.close())


def minutes(run, storage) -> Sequence[tuple[int, ...]]:
    found = run(storage._read(lambda db: db.execute("SELECT * FROM stat_minute").fetchall()))
    return sorted(found)


def test_a_split_counts_what_matched_and_what_was_dropped_at_once(storage, run) -> None:
    made = split((1, 1, QUEUED), (2, 1, DROPPED), (3, 1, PENDING), (4, UNMATCHED_SUB, DROPPED))
    run(storage.insert_deliveries(made))
    run(storage.insert_deliveries(made))
    assert minutes(run, storage) == [(1, MINUTE, 3, 0, 1, 0, 0)]


def test_outcomes_count_in_their_minute(storage, run) -> None:
    run(storage.insert_deliveries(grid([1, 2], [1])))
    made = chunks(
        outcome(1, 1, QUEUED, 1, NOW + 1, latency_ms=10),
        outcome(1, 1, DELIVERED, 2, NOW + 60_000, latency_ms=20),
        outcome(2, 1, DROPPED, 1, NOW + 60_000, latency_ms=5),
    )
    for _ in range(2):
        run(storage.mark(made * 2))
        assert minutes(run, storage) == [
            (1, MINUTE, 2, 0, 0, 1, 10),
            (1, MINUTE + 1, 0, 1, 1, 1, 25),
        ]


def test_drops_of_the_feeder_count(storage, run) -> None:
    run(storage.insert_deliveries(grid([1, 2, 3], [1], PENDING)))
    run(storage.drop_pending(1, 2, NOW + 120_000, 2))
    assert minutes(run, storage) == [(1, MINUTE, 3, 0, 0, 0, 0), (1, MINUTE + 2, 0, 0, 2, 0, 0)]


@pytest.mark.parametrize("seed", range(8))
def test_minutes_add_up_to_ledger_and_log(storage, run, seed: int) -> None:
    rng = random.Random(seed)
    keys = [(msg, sub) for msg in range(1, 15) for sub in (1, 2)]
    outcomes = []
    for msg, sub in keys:
        tries = rng.randint(1, 4)
        for attempt in range(1, tries + 1):
            last = rng.choice([DELIVERED, DROPPED, QUEUED]) if attempt == tries else QUEUED
            outcomes.append(
                outcome(msg, sub, last, attempt, NOW + attempt * 40_000, latency_ms=attempt)
            )
    run(storage.insert_deliveries(grid(range(1, 15), [1, 2])))
    # Redelivery keeps the order of a delivery's tries, and repeats at random.
    outcomes.sort(key=lambda one: one.at_ms)
    done = 0
    while done < len(outcomes):
        size = rng.randint(1, 8)
        part = outcomes[max(0, done - rng.randint(0, 6)) : done + size]
        run(storage.mark(chunks(*part, size=rng.randint(1, 5)) * rng.randint(1, 2)))
        done += size
    total = {sub: [0] * 5 for sub in (1, 2)}
    for sub, _, *counts in minutes(run, storage):
        total[sub] = [a + b for a, b in zip(total[sub], counts, strict=True)]
    for row in run(storage.ledger()):
        own = [one for one in outcomes if one.sub_id == row.subscription_id]
        assert total[row.subscription_id] == [
            row.matched,
            row.delivered,
            row.dropped,
            sum(one.status != DELIVERED for one in own),
            sum(one.latency_ms for one in own),
        ]
