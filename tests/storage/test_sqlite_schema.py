"""The schema, the migrations and the named statements hold together."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest

import notify.storage.sqlite
from notify.domain.errors import StorageRefused
from notify.domain.ports import OrderHead
from notify.storage.sqlite import SqliteStorage
from notify.storage.sqlite.messages import key_hash
from notify.storage.sqlite.migrate import migrate, migrations, statements
from notify.storage.sqlite.queries import QUERIES, parse
from notify_core import fanout, mark, receive
from tests.conformance.storage.samples import NOW, PENDING, account, batch, checked_ledger, grid

FILES = resources.files("notify.storage.sqlite")


@pytest.fixture
def migrated() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db, "x.db")
        yield db


def master(db: sqlite3.Connection) -> list[tuple[str, str, str]]:
    rows = db.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master ORDER BY type, name")
    return [(kind, name, re.sub(r"\s+", " ", sql)) for kind, name, sql in rows]


def test_the_schema_is_what_the_migrations_make(migrated: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(FILES.joinpath("schema.sql").read_text("utf-8"))
        assert master(db) == master(migrated)


def test_migrations_are_named_and_applied_once(migrated: sqlite3.Connection) -> None:
    before = master(migrated)
    migrate(migrated, "x.db")
    assert master(migrated) == before
    applied = migrated.execute("SELECT version, name FROM schema_version").fetchall()
    assert applied == [(number, name) for number, name, _ in migrations()]


def test_a_newer_schema_is_refused(migrated: sqlite3.Connection) -> None:
    migrated.execute("INSERT INTO schema_version (version, name) VALUES (900, 'future')")
    with pytest.raises(StorageRefused, match=r"schema version 900.*newer release"):
        migrate(migrated, "x.db")


def test_an_older_schema_is_brought_up(tmp_path: Path, run, monkeypatch) -> None:
    storage = SqliteStorage(str(tmp_path / "n.db"))
    run(storage.open())
    run(storage.set_note("kept", 7))
    run(storage.close())
    steps = migrations()
    added = (len(steps) + 1, "add_extra", "CREATE TABLE extra (id INTEGER PRIMARY KEY) STRICT;\n")
    monkeypatch.setattr(notify.storage.sqlite.migrate, "migrations", lambda: [*steps, added])
    run(storage.open())
    assert run(storage.note("kept")) == 7
    assert run(storage._read(lambda db: db.execute("SELECT * FROM extra").fetchall())) == []
    run(storage.close())


def test_a_file_of_the_first_release_is_brought_up_by_the_start(
    tmp_path: Path, run, monkeypatch
) -> None:
    storage = SqliteStorage(str(tmp_path / "n.db"))
    first = migrations()[:1]
    with monkeypatch.context() as patched:
        patched.setattr(notify.storage.sqlite.migrate, "migrations", lambda: first)
        run(storage.open())
        run(storage.insert_messages(batch([1, 2]), NOW))
        run(storage.insert_deliveries(grid([1, 2], [1], PENDING)))
        run(storage.close())
    run(storage.open())
    assert run(storage.waiting(1, (-1, 0), 9)) == [(0, 1), (0, 2)]
    run(storage.set_order_heads(1, [OrderHead("k", 1, 1, 0)], NOW))
    assert run(storage.order_heads(1, ["k"])) == {"k": OrderHead("k", 1, 1, 0)}
    assert run(checked_ledger(storage)) == {1: account(1, pending=2)}
    run(storage.close())


def test_a_migration_that_fails_leaves_the_old_schema(tmp_path: Path, run, monkeypatch) -> None:
    path = str(tmp_path / "n.db")
    storage = SqliteStorage(path)
    run(storage.open())
    run(storage.close())
    steps = migrations()
    broken = (len(steps) + 1, "break", "CREATE TABLE extra (id INTEGER);\nSELECT nothing;\n")
    with monkeypatch.context() as patched:
        patched.setattr(notify.storage.sqlite.migrate, "migrations", lambda: [*steps, broken])
        with pytest.raises(StorageRefused):
            run(storage.open())
    run(storage.open())
    run(storage.close())
    with closing(sqlite3.connect(path)) as db:
        assert "extra" not in {name for _, name, _ in master(db)}


def test_every_table_is_strict_and_nothing_is_null(migrated: sqlite3.Connection) -> None:
    tables = migrated.execute("PRAGMA table_list").fetchall()
    for schema, name, kind, _, _, strict in tables:
        if schema == "main" and kind == "table" and not name.startswith("sqlite_"):
            assert strict, name
            for _, column, _, not_null, _, key in migrated.execute(f"PRAGMA table_info({name})"):
                assert not_null or key, (name, column)


def test_rows_of_the_core_fit_the_tables(migrated: sqlite3.Connection) -> None:
    for query, table, columns in (
        ("insert_messages", "biz_msg", receive.COLUMNS),
        ("insert_deliveries", "receive_msg", fanout.COLUMNS),
        ("insert_attempts", "receive_attempt", mark.ATTEMPT_COLUMNS),
    ):
        named = re.search(r"\(([^)]+)\)", QUERIES[query])
        assert named is not None
        assert re.sub(r"\s", "", named[1]) == columns
        stored = [row[1] for row in migrated.execute(f"PRAGMA table_info({table})")]
        assert ",".join(stored) == columns


def test_every_statement_is_valid_and_used(migrated: sqlite3.Connection) -> None:
    code = "".join(file.read_text("utf-8") for file in FILES.iterdir() if file.name.endswith(".py"))
    # Names that the code puts together.
    built = {"list_one", "list_one_dropped", "list_all", "list_all_dropped"}
    built |= {f"update_{kind}" for kind in ("producer", "consumer", "subscription")}
    built |= {f"{kind}_named" for kind in ("producer", "consumer")}
    for name, statement in QUERIES.items():
        assert sqlite3.complete_statement(statement), name
        assert explain(migrated, statement)
        assert f'"{name}"' in code or name in built, name


MAY_SCAN = {
    "all_producers": "few rows, all wanted",
    "all_consumers": "few rows, all wanted",
    "all_subscriptions": "few rows, all wanted",
    "ledger": "a row a subscription, all wanted",
    "workers": "at most 256 rows",
}
MAY_SORT = {
    "pending_since": "only what is due, which is fed as it comes",
    "count_forgotten": "only what is queued and old",
}


@pytest.mark.parametrize("name", ["finish", "set_queued", "drop_pending", "retry"])
def test_sets_of_deliveries_are_changed_by_primary_key(
    migrated: sqlite3.Connection, name: str
) -> None:
    plan = explain(migrated, QUERIES[name])
    assert plan[0] == "SEARCH receive_msg USING PRIMARY KEY (msg_id=? AND sub_id=?)"


def test_what_waits_is_read_by_its_index_on_from_a_key(migrated: sqlite3.Connection) -> None:
    (plan,) = explain(migrated, QUERIES["waiting"])
    assert plan.endswith("INDEX receive_msg_pending (sub_id=? AND (due_ms,msg_id)>(?,?))")


@pytest.mark.parametrize("name", sorted(set(QUERIES) - set(MAY_SCAN)))
def test_no_statement_scans_a_table(migrated: sqlite3.Connection, name: str) -> None:
    for detail in explain(migrated, QUERIES[name]):
        assert "SCAN" not in detail or "VIRTUAL TABLE" in detail or "CONSTANT" in detail, detail
        assert "USE TEMP B-TREE" not in detail or name in MAY_SORT, detail


def explain(db: sqlite3.Connection, statement: str) -> list[str]:
    """Its plan, after compiling it."""
    names = re.findall(r":(\w+)", statement)
    numbers = [int(number) for number in re.findall(r"\?(\d+)", statement)]
    count = max(numbers, default=statement.count("?"))
    values = dict.fromkeys(names, 0) if names else [0] * count
    assert db.execute(f"EXPLAIN {statement}", values).fetchall()
    return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", values)] or [""]


def test_the_parser_refuses_careless_sections() -> None:
    assert parse("-- head\n-- name: a\n-- why\nSELECT 1;\n\n-- name: b\n-- c\nSELECT\n2;\n") == {
        "a": "SELECT 1;",
        "b": "SELECT\n2;",
    }
    for text in (
        "-- name: a\nSELECT 1;",
        "-- name: a\n-- why",
        "-- name: a\n-- x\nSELECT 1;\n-- name: a\n-- x\nSELECT 1;",
    ):
        with pytest.raises(AssertionError):
            parse(text)
    assert statements("SELECT ';';\n-- c\nSELECT\n2;\n") == ["SELECT ';';\n", "-- c\nSELECT\n2;\n"]


def test_the_key_hash_is_63_bits_and_stays_as_it_is() -> None:
    # Stored in every database: a change would forget all keys.
    assert key_hash(7, "order-1") == 6571707748046509378
    assert all(0 <= key_hash(1, str(n)) < 1 << 63 for n in range(1000))
