"""How the server reads for each SELECT of the daily work: by ranges of an index, never through.

MariaDB may take `ref` on a subscription's whole index where a range was meant, which costs (and
locks) all its deliveries; see queries.sql.
"""

import pytest

from notify.storage.mysql import MysqlStorage, queries
from notify_core import mark, sqltext
from tests.conformance.storage.samples import NOW, message_ids
from tests.servers.mariadb import Mariadb
from tests.storage.conftest import DATABASE

MESSAGES, SUBS = 12_000, 5
ACCOUNTS, SLOTS = 500, 8
IDS = message_ids(MESSAGES)
FAR = 1 << 62


@pytest.fixture(scope="module")
def filled(server: Mariadb) -> Mariadb:
    rows = [(id_, sub, 1, 0, 0, 0, NOW) for id_ in IDS for sub in range(1, SUBS + 1)]
    messages = [(id_, 7, "t", "", b"", "", "", 0, 0, b"x" * 50) for id_ in IDS]
    head = b"INSERT INTO biz_msg (id,biz_id,type,content_type,headers,dkey,ordering_key,"
    head += b"deliver_ms,expires_ms,payload) VALUES "
    statements = queries.insert_grouped("insert_deliveries", rows, 10**6)
    statements += queries.insert("insert_timers", [(row[1], row[0], row[0]) for row in rows], 10**6)
    at_once = [(9, 0, id_) for id_ in IDS]
    statements += queries.insert("insert_timers", at_once, 10**6)
    lines = [(sub, b"%d" % id_, 1, id_, 0, NOW) for id_ in IDS for sub in range(1, SUBS + 1)]
    statements += queries.insert("set_order_heads", lines, 10**6)
    statements += queries.insert("insert_drops", [row[:2] for row in rows], 10**6)
    statements += sqltext.insert(head, messages, b"", 2000, 10**6, False)
    tries = [(id_, 1, 1, NOW, 5, 500, "", b"") for id_ in IDS]
    head = b"INSERT INTO receive_attempt (%s) VALUES " % mark.ATTEMPT_COLUMNS.encode()
    statements += sqltext.insert(head, tries, b"", 2000, 10**6, False)
    slots = [(sub, slot, 1, 0, 0, 1, 0) for sub in range(1, ACCOUNTS) for slot in range(SLOTS)]
    statements += queries.insert("change_ledger", slots, 10**6)
    statements += queries.insert("take_keys", [(id_, 1, b"k", id_, NOW) for id_ in IDS], 10**6)
    server.sql(*statements, database=DATABASE)
    for table in server.sql("SHOW TABLES", database=DATABASE):
        server.sql(f"ANALYZE TABLE {table[0]}", database=DATABASE)
    return server


@pytest.mark.parametrize("size", [1, 100, 500, queries.IDS_MAX])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("states_of_subscription", (3, 3)),
        ("lock_states", (3, 3)),
        ("rows_of_subscription", (3, 3)),
        ("lock_pending", (3, 3, 127)),
        ("states_of_message", (IDS[7], IDS[7])),
        ("known_messages", ()),
        ("payloads", ()),
        ("records", (100,)),
        ("logged_attempts", ()),
        ("earlier_attempts", ()),
        ("key_holders", ()),
        ("known_drops", (3, 3)),
    ],
)
def test_sets_are_read_by_their_keys(
    filled: Mariadb, name: str, values: tuple[int, ...], size: int
) -> None:
    read_well(filled, queries.statement(name, *values, IDS[:size]), size)


@pytest.mark.parametrize("size", [1, 100, queries.IDS_MAX])
@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("finish", (2, 1, 0, NOW, 3), (1, 0)),
        ("end_run", (-1000, 1), ()),
        ("replay", (NOW, 3), ()),
        ("delete_drops", (3,), ()),
        ("set_status", (1, NOW, 3), ()),
        ("set_pending", (0, NOW, 3), ()),
        ("drop", (2, NOW, 3), ()),
    ],
)
def test_sets_are_changed_by_their_keys(
    filled: Mariadb, name: str, before: tuple[int, ...], after: tuple[int, ...], size: int
) -> None:
    read_well(filled, queries.statement(name, *before, IDS[:size], *after), size)


@pytest.mark.parametrize("top", [IDS[MESSAGES // 2], FAR])
@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("list_one", (3, 3, 0), ([0, 1, 2, 3], 50)),
        ("list_drops_one", (3, 3, 0), (50,)),
        ("untouched", (3, 3, 0), (FAR, 900)),
        ("timers", (3, 3, 0), (-1, 900)),
        ("unsplit", (100, 0), (900,)),
    ],
)
def test_windows_are_read_in_the_order_of_an_index(
    filled: Mariadb, name: str, before: tuple, after: tuple, top: int
) -> None:
    # The server estimates; a wrong plan would read all five subscriptions, or begin at the top.
    read_well(filled, queries.statement(name, *before, top, *after), 2 * MESSAGES)


@pytest.mark.parametrize("times", [1, 30, queries.IDS_MAX])
@pytest.mark.parametrize(("name", "values"), [("known_timers", (3, 3)), ("delete_timers", (3,))])
def test_timers_are_found_by_their_keys_however_many_times_they_have(
    filled: Mariadb, name: str, values: tuple[int, ...], times: int
) -> None:
    timers: dict[int, list[int]] = {}
    for position, id_ in enumerate(IDS[: queries.IDS_MAX]):
        timers.setdefault(IDS[position % times], []).append(id_)
    read_well(filled, queries.any_of(name, values, timers.items()), queries.IDS_MAX)


@pytest.mark.parametrize("size", [1, 200, queries.IDS_MAX])
def test_heads_are_read_by_their_keys(filled: Mariadb, size: int) -> None:
    keys = [b"%d" % id_ for id_ in IDS[:size]]
    read_well(filled, queries.statement("order_heads", 3, 3, keys), size)


def test_what_waits_is_read_on_from_a_key_without_what_is_before_it(filled: Mariadb, run) -> None:
    storage = MysqlStorage(filled.options(DATABASE, "&connections_max=1"))
    run(storage.open())
    deep, limit = IDS[MESSAGES // 2], 100
    for sub, after in ((9, (0, deep)), (3, (deep, deep))):
        before = reads(storage, run)
        assert len(run(storage.waiting(sub, after, limit))) == limit
        assert reads(storage, run) - before <= limit + 5
    run(storage.close())


def reads(storage: MysqlStorage, run) -> int:
    """How many rows the server has read on its only connection."""
    text = b"SHOW SESSION STATUS LIKE 'Handler_read%'"

    return sum(int(row[1]) for row in run(storage._pool.run(lambda db: db.found(text))))


@pytest.mark.parametrize("subs", [1, 20])
def test_the_slots_of_one_account_are_read_without_the_others(filled: Mariadb, subs: int) -> None:
    statement = queries.statement("queued_slots_of", list(range(1, subs + 1)))
    [(_, _, _, kind, _, key, _, _, rows, extra)] = filled.sql(
        b"EXPLAIN " + statement, database=DATABASE
    )
    assert (kind in ("ref", "range"), key) == (True, "PRIMARY")
    assert int(rows) <= 2 * subs * SLOTS
    assert "filesort" not in extra


def test_pages_of_everything_go_on_at_their_key(filled: Mariadb) -> None:
    key = IDS[MESSAGES // 2]
    read_well(filled, queries.statement("delivery_page", key, key, 3, 900), MESSAGES * SUBS)


@pytest.mark.parametrize("name", ["list_all", "list_drops"])
def test_pages_over_all_subscriptions_too(filled: Mariadb, name: str) -> None:
    statuses = [[0, 1, 2, 3]] if name == "list_all" else []
    text = queries.statement(name, IDS[9], IDS[-9], IDS[-9], 3, *statuses, 50)
    read_well(filled, text, MESSAGES * SUBS)


def read_well(server: Mariadb, statement: bytes, rows_max: int) -> None:
    """The plan has no full scan, no sort, no sub-query and no look-up of a whole subscription."""
    for _, _, table, kind, _, key, _, _, rows, extra in server.sql(
        b"EXPLAIN " + statement, database=DATABASE
    ):
        if table is None:
            assert "no matching row" in extra.lower() or "impossible" in extra.lower(), extra
            continue
        assert key is not None, (table, kind)
        # A look-up of all rows of one message is fine, of one subscription it is not.
        few = kind == "ref" and key == "PRIMARY" and int(rows) <= SUBS
        assert few or kind in ("range", "const", "eq_ref"), (table, kind, key)
        assert "filesort" not in extra, extra
        assert "temporary" not in extra, extra
        assert int(rows) <= rows_max + 1, (table, rows)
