"""The data file: who may open it, what happens when it or its disk is not well."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from notify.domain.errors import StorageRefused, StorageUnavailable
from notify.storage.sqlite import SqliteStorage
from notify.storage.sqlite.failures import as_storage_error
from tests.conformance.storage.samples import (
    NOW,
    batch,
    checked_ledger,
    chunks,
    grid,
    message_ids,
    outcome,
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "notify.db")


@pytest.fixture
def storage(path: str, run):
    storage = SqliteStorage(path)
    run(storage.open())
    yield storage
    run(storage.close())


def refused(run, path: str, match: str) -> None:
    with pytest.raises(StorageRefused, match=match):
        run(SqliteStorage(path).open())


def test_a_second_user_of_the_file_is_refused(storage, path: str, run) -> None:
    refused(run, path, rf"used by another process \(pid {os.getpid()}\)")
    run(storage.close())
    second = SqliteStorage(path)
    run(second.open())
    run(second.close())


OPEN_ONCE = """
import asyncio, sys
from notify.storage.sqlite import SqliteStorage
asyncio.run(SqliteStorage(sys.argv[1]).open())
"""


def test_a_second_process_is_refused(storage, path: str) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended = subprocess.run(
        [sys.executable, "-c", OPEN_ONCE, path],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode
    assert "used by another process" in ended.stderr


def test_opening_and_closing_may_be_repeated(storage, run) -> None:
    for _ in range(3):
        run(storage.set_note("n", run(storage.note("n")) + 1))
        run(storage.close())
        run(storage.close())
        run(storage.open())
    assert run(storage.note("n")) == 3


@pytest.mark.parametrize("inline", [True, False])
def test_calls_outside_open_and_close_are_unavailable(path: str, run, inline: bool) -> None:
    storage = SqliteStorage(path, inline=inline)
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match="not open"):
            run(storage.note("n"))
        with pytest.raises(StorageUnavailable, match="not open"):
            run(storage.set_note("n", 1))
        run(storage.open())
        run(storage.close())


def test_closing_finishes_what_runs(storage, path: str, run) -> None:
    async def write_and_close() -> None:
        ids = message_ids(200)
        async with asyncio.TaskGroup() as group:
            for id_ in ids:
                group.create_task(storage.insert_messages(batch([id_]), NOW))
            await asyncio.sleep(0)
            await storage.close()

    run(write_and_close())
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM biz_msg").fetchone() == (200,)


def test_a_cancelled_caller_leaves_the_storage_sound(storage, run) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(storage.insert_messages(batch([1]), NOW))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await storage.insert_messages(batch([2]), NOW)
        assert 2 in await storage.payloads([1, 2])

    run(cancel())


def test_reads_do_not_wait_for_a_write(storage, run) -> None:
    async def both() -> None:
        read = threading.Event()
        writing = asyncio.create_task(storage._write(lambda _: read.wait(20)))
        assert await storage.note("n") == 0
        assert not writing.done()
        read.set()
        assert await writing

    run(both())


def test_a_failed_write_leaves_nothing(storage, run) -> None:
    def half(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO note (name, value) VALUES ('half', 1)")
        raise ValueError("our own mistake")

    with pytest.raises(ValueError, match="our own"):
        run(storage._write(half))
    with pytest.raises(StorageRefused, match="mistake in Notify"):
        run(storage._write(lambda db: db.execute("INSERT INTO note VALUES ('n', NULL)")))
    assert run(storage.note("half")) == 0
    run(storage.set_note("half", 2))
    assert run(storage.note("half")) == 2


def test_what_was_answered_survives_a_power_cut(storage, path: str, run, tmp_path: Path) -> None:
    run(storage.insert_messages(batch([1, 2, 3], keys=["k", "", ""]), NOW))
    run(storage.insert_deliveries(grid([1, 2], [1])))
    run(storage.mark(chunks(outcome(1, 1, 2))))
    # The files as they are on the disk now, without a proper close.
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for file in ("notify.db", "notify.db-wal"):
        shutil.copy(tmp_path / file, crashed / file)
    survivor = SqliteStorage(str(crashed / "notify.db"))
    run(survivor.open())
    assert set(run(survivor.payloads([1, 2, 3]))) == {1, 2, 3}
    ledger = run(checked_ledger(survivor))
    assert (ledger[1].delivered, ledger[1].queued) == (1, 1)
    assert run(survivor.insert_messages(batch([9], keys=["k"]), NOW)).ids == [1]
    run(survivor.close())


def test_commits_are_synchronous(storage, run) -> None:
    def pragma(name: str):
        return lambda db: db.execute(f"PRAGMA {name}").fetchone()[0]

    assert run(storage._write(pragma("synchronous"))) == 2  # FULL
    assert run(storage._write(pragma("journal_mode"))) == "wal"
    assert run(storage._write(pragma("foreign_keys"))) == 0
    assert run(storage._read(pragma("busy_timeout"))) == 5000


def test_the_file_is_private(storage, path: str) -> None:
    assert Path(path).stat().st_mode & 0o077 == 0
    assert Path(f"{path}-wal").stat().st_mode & 0o077 == 0


def test_a_full_disk_is_said_and_passes(storage, path: str, run) -> None:
    run(storage.insert_messages(batch([1]), NOW))

    def limit(pages: int):
        return lambda db: db.execute(f"PRAGMA max_page_count={pages}").fetchone()

    run(storage._write(limit(1)))  # SQLite makes it the present size
    large = batch([2, 3], keys=["a", "b"], payloads=[b"x" * 500_000] * 2)
    with pytest.raises(StorageUnavailable, match=f"disk is full.*{path}"):
        run(storage.insert_messages(large, NOW))
    assert run(storage.last_message_id()) == 1
    run(storage._write(limit(1_000_000)))
    assert run(storage.insert_messages(large, NOW)).fresh == [0, 1]


def test_a_locked_file_is_unavailable(storage, path: str, run) -> None:
    run(storage._write(lambda db: db.execute("PRAGMA busy_timeout=0").fetchone()))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match="locked by another program"):
            run(storage.set_note("n", 1))
        other.execute("ROLLBACK")
    run(storage.set_note("n", 1))


def test_a_file_of_something_else_is_refused_and_left_alone(path: str, run) -> None:
    Path(path).write_bytes(b"these are my holiday photos" * 1000)
    before = Path(path).read_bytes()
    refused(run, path, "not an SQLite database")
    assert Path(path).read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_alone(path: str, run) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE bookmarks (id INTEGER)")
    before = Path(path).read_bytes()
    refused(run, path, "another program")
    assert Path(path).read_bytes() == before


def test_a_newer_file_is_refused(storage, path: str, run) -> None:
    run(storage._write(lambda db: db.execute("INSERT INTO schema_version VALUES (99, 'later')")))
    run(storage.close())
    refused(run, path, "schema version 99")


def test_a_damaged_file_is_refused(storage, path: str, run) -> None:
    run(storage.insert_messages(batch(message_ids(3000)), NOW))
    run(storage.close())
    size = Path(path).stat().st_size
    with Path(path).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    damaged = SqliteStorage(path)

    async def use() -> None:
        await damaged.open()
        await damaged.last_message_id()

    with pytest.raises(StorageRefused, match="damaged: restore"):
        run(use())
    run(damaged.close())


def test_a_directory_in_place_of_the_file_is_refused(tmp_path: Path, run) -> None:
    refused(run, str(tmp_path), "cannot be written")
    file = tmp_path / "file"
    file.touch()
    refused(run, str(file / "notify.db"), "cannot be written")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_without_rights_is_refused(storage, path: str, run) -> None:
    run(storage.close())
    Path(path).chmod(0o400)
    refused(run, path, "cannot be written.*give this user the right")


def test_a_file_that_turned_read_only_is_refused(storage, path: str, run) -> None:
    run(storage._write(lambda db: db.execute("PRAGMA query_only=ON")))
    with pytest.raises(StorageRefused, match="cannot be written: give this user the right"):
        run(storage.set_note("n", 1))


def test_every_kind_of_error_is_classified() -> None:
    def error(code: int | None) -> sqlite3.Error:
        made = sqlite3.OperationalError("what SQLite says")
        if code is not None:
            made.sqlite_errorcode = code
        return made

    retryable = [5, 6, 7, 10, 13, 10 | 4 << 8, None]
    permanent = [1, 3, 8, 11, 14, 19, 20, 26, sqlite3.SQLITE_IOERR_CORRUPTFS]
    for codes, kind in ((retryable, StorageUnavailable), (permanent, StorageRefused)):
        for code in codes:
            made = as_storage_error(error(code), "/data/x.db")
            assert type(made) is kind, code
            assert "/data/x.db" in str(made)
            assert "what SQLite says" in str(made)


def test_an_old_sqlite_is_refused(path: str, run, monkeypatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    refused(run, path, "Notify needs 3.37.0")


def test_inline_calls_use_no_thread(path: str, run) -> None:
    before = threading.active_count()
    storage = SqliteStorage(path, inline=True)
    run(storage.open())
    run(storage.set_note("n", 1))
    assert run(storage.note("n")) == 1
    assert threading.active_count() == before
    refused(run, path, "used by another process")
    run(storage.close())
