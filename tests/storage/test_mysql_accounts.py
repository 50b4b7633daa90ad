"""Slots, lanes, side tables and the per-minute counters."""

from collections import Counter

import pytest

from notify.domain.model import DeliveryStatus
from notify.domain.ports import DeliveryFilter
from notify.storage.mysql import MysqlStorage, accounts
from notify.storage.mysql.accounts import SLOTS_MAX, SPAN_BITS
from notify.storage.mysql.connection import Session
from notify.storage.mysql.deliveries import WAITING_MAX
from notify.storage.mysql.messages import key_hash
from notify.storage.mysql.pool import LANES
from notify_core.records import UNMATCHED_SUB
from tests.conformance.storage.samples import (
    DELIVERED,
    DROPPED,
    INLINE,
    NOW,
    PENDING,
    QUEUED,
    batch,
    checked_ledger,
    chunks,
    grid,
    message_ids,
    outcome,
    split,
)
from tests.servers.mariadb import Mariadb
from tests.storage.conftest import DATABASE

MINUTE = NOW // 60_000
SPAN = 1 << SPAN_BITS


def minutes(server: Mariadb) -> list[tuple[int, ...]]:
    rows = server.sql(
        "SELECT sub_id, minute, SUM(matched), SUM(delivered), SUM(dropped), SUM(failed),"
        " SUM(latency_ms) FROM stat_minute GROUP BY sub_id, minute ORDER BY sub_id, minute",
        database=DATABASE,
    )
    return [tuple(map(int, row)) for row in rows]


def count(server: Mariadb, table: str, where: str = "1") -> int:
    ((number,),) = server.sql(f"SELECT COUNT(*) FROM {table} WHERE {where}", database=DATABASE)
    return number


def test_minutes_count_what_happened_once(server: Mariadb, mysql: MysqlStorage, run) -> None:
    made = split((1, 1, QUEUED), (2, 1, DROPPED), (3, 1, PENDING), (4, UNMATCHED_SUB, DROPPED))
    outcomes = chunks(
        outcome(1, 1, QUEUED, 1, NOW + 1, latency_ms=10),
        outcome(1, 1, DELIVERED, 2, NOW + 60_000, latency_ms=20),
    )
    for _ in range(2):
        run(mysql.insert_deliveries(made))
        run(mysql.mark(outcomes * 2))
    assert minutes(server) == [(1, MINUTE, 3, 0, 1, 1, 10), (1, MINUTE + 1, 0, 1, 0, 0, 20)]
    run(mysql.drop_pending(1, 2, NOW + 120_000, 9))
    assert minutes(server)[-1] == (1, MINUTE + 2, 0, 0, 1, 0, 0)


def test_a_delivery_that_goes_through_costs_no_side_row(
    server: Mariadb, run, mysql: MysqlStorage
) -> None:
    sent: list[bytes] = []
    storage = MysqlStorage(server.options(DATABASE), record=sent.append)
    run(storage.open())
    ids = list(range(1, 101))
    run(storage.insert_deliveries(grid(ids, [1])))
    run(storage.mark(chunks(*(outcome(id_, 1, DELIVERED) for id_ in ids))))
    verbs = Counter(b" ".join(text.split()[:3]).split(b"(")[0].strip() for text in sent)
    assert verbs[b"INSERT INTO receive_msg"] == 1
    assert verbs[b"UPDATE receive_msg SET"] == 1
    assert not any(b"receive_timer" in verb or b"receive_drop" in verb for verb in verbs)
    # Beside these two, each transaction writes its two counters and is begun and committed.
    assert sum(verbs.values()) == 2 + 2 * 4 + 2  # and the look at the server and the schema
    run(storage.close())


def test_timers_are_the_pending_deliveries(server: Mariadb, mysql: MysqlStorage, run) -> None:
    ids = list(range(1, 11))
    run(mysql.insert_messages(batch(ids), NOW))
    run(mysql.insert_deliveries(grid(ids, [1], PENDING)))
    run(mysql.set_queued(1, [1, 2], NOW))
    run(mysql.mark(chunks(outcome(3, 1, DELIVERED), outcome(4, 1, DROPPED))))
    run(mysql.mark(chunks(outcome(5, 1, QUEUED), outcome(6, 1, PENDING, due_ms=NOW + 5))))
    run(mysql.mark(chunks(outcome(6, 1, PENDING, 2, NOW + 20, due_ms=NOW + 9))))
    run(mysql.drop_pending(1, 2, NOW, 1))
    run(mysql.forget_queued([1], NOW + 1, NOW + 1))
    timers = server.sql("SELECT due_ms, msg_id FROM receive_timer ORDER BY 1, 2", database=DATABASE)
    rows = server.sql(
        "SELECT due_ms, msg_id FROM receive_msg WHERE status = 0 ORDER BY 1, 2", database=DATABASE
    )
    assert timers == rows
    assert len(rows) == 6
    assert count(server, "receive_drop") == count(server, "receive_msg", "status = 3") == 2


def test_a_timer_without_a_delivery_is_passed_over(
    server: Mariadb, mysql: MysqlStorage, run
) -> None:
    """A sharded server may keep one from a transaction that it lost in part."""
    run(mysql.insert_messages(batch([1, 2, 3, 4, 5]), NOW))
    run(mysql.insert_deliveries(grid([4, 5], [1], PENDING)))
    server.sql(
        "INSERT INTO receive_timer VALUES (1, 0, 1), (1, 0, 2), (1, 0, 3), (1, 7, 4)",
        database=DATABASE,
    )
    for limit in (1, 2, 3):
        found = run(mysql.pending(1, NOW, limit, INLINE))
        assert [one.message.id for one in found] == [4, 5][:limit]


def test_slots_are_folded_and_their_sums_stay(server: Mariadb, mysql: MysqlStorage, run) -> None:
    ids = [span * SPAN + 7 for span in range(2 * SLOTS_MAX)]
    run(mysql.insert_deliveries(grid(ids, [1, 2])))
    run(mysql.mark(chunks(*(outcome(id_, 1, DELIVERED) for id_ in ids))))
    run(mysql.mark(chunks(*(outcome(id_, 2, DELIVERED) for id_ in ids[3:]))))
    before = run(checked_ledger(mysql))
    assert count(server, "ledger") == 1 + 1 + 3  # the total of each, and three queued ones
    assert run(checked_ledger(mysql)) == before
    # What happens to folded deliveries is found and accounted as before.
    assert run(mysql.forget_queued(None, NOW + 1, NOW + 1)) == 3
    run(mysql.insert_deliveries(grid([id_ + 1 for id_ in ids], [2])))
    run(mysql.mark(chunks(*(outcome(id_, 2, DELIVERED) for id_ in ids))))
    ledger = run(checked_ledger(mysql))
    assert (ledger[2].delivered, ledger[2].queued) == (len(ids), len(ids))


def test_only_spans_with_queued_deliveries_are_read(mysql: MysqlStorage, run) -> None:
    ids = [span * SPAN + 7 for span in range(10)]
    run(mysql.insert_deliveries(grid(ids, [1, 2])))
    run(mysql.mark(chunks(*(outcome(id_, 1, DELIVERED) for id_ in ids if id_ != ids[4]))))

    def windows(db: Session) -> list[accounts.Window]:
        return accounts.queued_windows(db, {1})

    (window,) = run(mysql._pool.run(windows))
    assert window.after < ids[4] <= window.last
    assert run(mysql.forget_queued([1], NOW + 1, NOW + 1)) == 1
    assert run(mysql._pool.run(windows)) == []


def test_lanes_keep_connections_apart(server: Mariadb, run, mysql: MysqlStorage) -> None:
    sessions = []

    def look(db: Session) -> None:
        sessions.append(db)

    for _ in range(2):
        run(mysql._pool.run(look))
    assert sessions[0] is sessions[1]
    assert 0 <= sessions[0].lane < LANES


@pytest.mark.parametrize("more", [0, WAITING_MAX])
def test_lists_of_what_waits_are_right_for_few_and_many(
    mysql: MysqlStorage, run, more: int
) -> None:
    ids = list(range(1, 31 + more))
    run(mysql.insert_deliveries(grid(ids, [1], PENDING)))
    run(mysql.insert_deliveries(grid(ids, [2], QUEUED)))
    run(mysql.set_queued(1, ids[::3], NOW))
    wanted = DeliveryFilter(subscription_id=1, status=DeliveryStatus.PENDING)
    found = run(mysql.list_deliveries(wanted, None, 5))
    expected = [id_ for id_ in reversed(ids) if id_ % 3 != 1]
    assert [one.message_id for one in found] == expected[:5]
    rest = run(mysql.list_deliveries(wanted, (found[-1].message_id, 1), 4000))
    assert [one.message_id for one in rest] == expected[5:]


def test_a_key_without_its_message_is_repaired(server: Mariadb, mysql: MysqlStorage, run) -> None:
    """A sharded server may keep the claim of a key and lose the message."""
    (recent,) = message_ids(1)
    run(mysql.insert_messages(batch([recent], keys=["k"]), NOW))
    server.sql("DELETE FROM biz_msg", database=DATABASE)
    again = batch([recent + 64], keys=["k"], payloads=[b"again"])
    assert run(mysql.insert_messages(again, NOW + 1)).ids == [recent]
    message = run(mysql.message(recent))
    assert (message.payload, message.key) == (b"again", "k")
    # One that was purged long ago stays so.
    server.sql("DELETE FROM biz_msg", database=DATABASE)
    assert run(mysql.insert_messages(again, NOW + 10**9)).ids == [recent]
    assert run(mysql.message(recent)) is None


def test_the_key_hash_is_the_same_in_every_adapter() -> None:
    assert key_hash(7, "order-1") == 6571707748046509378
