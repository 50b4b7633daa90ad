"""Schema, migrations and migrators."""

import re
import threading
import time
from importlib import resources

import pytest

import notify.storage.mysql.migrate as migrating
from notify.config import StorageConfig
from notify.domain.errors import ConfigError, StorageRefused, StorageUnavailable
from notify.domain.ports import OrderHead
from notify.storage import migrate_storage, open_storage
from notify.storage.mysql import MysqlStorage
from notify.storage.mysql.migrate import TAKEOVER_MS, migrate, migrations, statements
from tests.conformance.storage.samples import NOW, PENDING, account, batch, checked_ledger, grid
from tests.servers.mariadb import Mariadb

FILES = resources.files("notify.storage.mysql")
OTHER = "nt_other"
NAMES = [f"{number:03}_{name}" for number, name, _ in migrations()]


def now_ms() -> int:
    return int(time.time() * 1000)


@pytest.fixture
def empty(server: Mariadb):
    server.sql(f"DROP DATABASE IF EXISTS {OTHER}", f"CREATE DATABASE {OTHER}")
    yield server
    server.sql(f"DROP DATABASE {OTHER}")


def shown(server: Mariadb, database: str) -> dict[str, str]:
    tables = [row[0] for row in server.sql("SHOW TABLES", database=database)]
    return {t: server.sql(f"SHOW CREATE TABLE {t}", database=database)[0][1] for t in tables}


def test_the_schema_is_what_the_migrations_make(server: Mariadb, empty: Mariadb) -> None:
    empty.sql(*statements(FILES.joinpath("schema.sql").read_text("utf-8")), database=OTHER)
    assert shown(server, OTHER) == shown(server, "nt_storage")


def test_nothing_is_null_and_all_is_utf8mb4_or_binary(server: Mariadb) -> None:
    # The server's default is utf8mb3; it must not matter.
    for text in shown(server, "nt_storage").values():
        assert "DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin" in text
        assert "ENGINE=InnoDB" in text
        columns = re.findall(r"^  `\w+` .*$", text, re.MULTILINE)
        assert columns
        assert all("NOT NULL" in column for column in columns)
        assert "PRIMARY KEY" in text


def test_a_fresh_database_is_migrated_once(empty: Mariadb) -> None:
    assert migrate(empty.options(OTHER), now_ms) == NAMES
    before = shown(empty, OTHER)
    assert migrate(empty.options(OTHER), now_ms) == []
    assert shown(empty, OTHER) == before


def test_two_migrators_do_no_harm(empty: Mariadb) -> None:
    done: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: done.append(migrate(empty.options(OTHER), now_ms)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, done)) == [0, 0, 0, len(migrations())]


def test_a_migrator_that_was_cut_off_is_followed_by_another(empty: Mariadb) -> None:
    migrate(empty.options(OTHER), now_ms)
    whole = shown(empty, OTHER)
    began = now_ms() - TAKEOVER_MS - 1
    empty.sql(
        "DROP TABLE worker",
        f"UPDATE schema_version SET done_ms = 0, started_ms = {began} WHERE version = 1",
        database=OTHER,
    )
    assert migrate(empty.options(OTHER), now_ms) == ["001_create_tables"]
    assert shown(empty, OTHER) == whole


def test_a_migrator_waits_for_one_at_work(empty: Mariadb) -> None:
    migrate(empty.options(OTHER), now_ms)
    empty.sql(
        f"UPDATE schema_version SET done_ms = 0, started_ms = {now_ms()} WHERE version = 1",
        database=OTHER,
    )
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            empty.sql("UPDATE schema_version SET done_ms = 5 WHERE version = 1", database=OTHER)

    assert migrate(empty.options(OTHER), now_ms, sleep) == []
    assert len(waits) == 3
    empty.sql("UPDATE schema_version SET done_ms = 0 WHERE version = 1", database=OTHER)
    stuck = f"UPDATE schema_version SET started_ms = {now_ms()} WHERE version = 1"
    empty.sql(stuck, database=OTHER)
    with pytest.raises(StorageUnavailable, match="another migrator"):
        migrate(empty.options(OTHER), now_ms, lambda _: None)


def test_a_later_release_adds_its_steps(empty: Mariadb, monkeypatch, run) -> None:
    migrate(empty.options(OTHER), now_ms)
    steps = migrations()
    added = "-- One more.\nALTER TABLE worker ADD COLUMN extra BIGINT NOT NULL;\n"
    with monkeypatch.context() as patched:
        later = [*steps, (len(steps) + 1, "add_extra", added)]
        patched.setattr(migrating, "migrations", lambda: later)
        storage = MysqlStorage(empty.options(OTHER))
        needed = f"this release needs {len(later)}: run `notify migrate`"
        with pytest.raises(StorageUnavailable, match=needed):
            run(storage.open())
        assert migrate(empty.options(OTHER), now_ms) == [f"{len(later):03}_add_extra"]
        # A step that was done, but for the word that it was.
        empty.sql(
            f"UPDATE schema_version SET done_ms = 0, started_ms = 0 WHERE version = {len(later)}",
            database=OTHER,
        )
        assert migrate(empty.options(OTHER), now_ms) == [f"{len(later):03}_add_extra"]
        run(storage.open())
        run(storage.close())
    with pytest.raises(StorageRefused, match="newer release"):
        run(MysqlStorage(empty.options(OTHER)).open())
    with pytest.raises(StorageRefused, match="newer release"):
        migrate(empty.options(OTHER), now_ms)


def test_a_database_of_the_first_release_keeps_what_it_holds(
    empty: Mariadb, monkeypatch, run
) -> None:
    first = migrations()[:1]
    with monkeypatch.context() as patched:
        patched.setattr(migrating, "migrations", lambda: first)
        migrate(empty.options(OTHER), now_ms)
        old = MysqlStorage(empty.options(OTHER))
        run(old.open())
    run(old.insert_messages(batch([1, 2]), NOW))
    run(old.insert_deliveries(grid([1, 2], [1], PENDING)))
    storage = MysqlStorage(empty.options(OTHER))
    with pytest.raises(StorageUnavailable, match=r"has schema version 1.*run `notify migrate`"):
        run(storage.open())
    assert migrate(empty.options(OTHER), now_ms) == NAMES[1:]
    run(storage.open())
    assert run(storage.waiting(1, (-1, 0), 9)) == [(0, 1), (0, 2)]
    run(storage.set_order_heads(1, [OrderHead("k", 1, 1, 0)], NOW))
    assert run(storage.order_heads(1, ["k"])) == {"k": OrderHead("k", 1, 1, 0)}
    # A process of the first release that runs meanwhile works on.
    run(old.set_queued(1, [1], NOW))
    assert run(checked_ledger(storage)) == {1: account(1, queued=1, pending=1)}
    for one in (old, storage):
        run(one.close())


def test_a_database_without_a_schema_is_waited_for(empty: Mariadb, run) -> None:
    storage = MysqlStorage(empty.options(OTHER))
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match="no schema of Notify yet: run `notify mig"):
            run(storage.open())
    migrate(empty.options(OTHER), now_ms)
    run(storage.open())
    assert run(storage.note("x")) == 0
    run(storage.close())


def test_a_step_that_fails_is_not_done(empty: Mariadb, monkeypatch, run) -> None:
    broken = [(1, "break", "CREATE TABLE a (b NONSENSE);\n")]
    monkeypatch.setattr(migrating, "migrations", lambda: broken)
    with pytest.raises(StorageRefused, match="mistake in Notify"):
        migrate(empty.options(OTHER), now_ms)
    with pytest.raises(StorageUnavailable, match="run `notify migrate`"):
        run(MysqlStorage(empty.options(OTHER)).open())


def test_a_storage_is_migrated_by_its_url(empty: Mariadb, run) -> None:
    config = StorageConfig(url=empty.url(OTHER, "?ssl_disabled=true"))
    assert migrate_storage(config, now_ms) == NAMES
    storage = open_storage(config)
    run(storage.open())
    run(storage.close())
    assert migrate_storage(StorageConfig(url="sqlite:///x.db"), now_ms) == []
    with pytest.raises(ConfigError):
        migrate_storage(StorageConfig(url="sqlite:///"), now_ms)
