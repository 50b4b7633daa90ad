"""What `notify doctor` says of a data file; it leaves everything as it was."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from notify.config import load
from notify.domain.finding import Level
from notify.runtime.clock import SystemClock
from notify.storage import examine_storage, sqlite_url
from notify.storage.sqlite import SqliteStorage, examine


def examined(file: Path):
    config = load(environ={}, flags={"storage.url": sqlite_url(file)})
    return list(examine_storage(config, SystemClock()))


def only(found):
    (one,) = [one for one in found if one.level is not Level.OK]
    return one


@pytest.fixture
def file(tmp_path: Path, run) -> Path:
    made = tmp_path / "notify.db"
    storage = SqliteStorage(str(made))
    run(storage.open())
    run(storage.close())
    return made


def test_a_file_at_rest_is_read_without_touching_anything(file: Path) -> None:
    before = sorted(file.parent.iterdir()), file.stat().st_mtime_ns
    found = examined(file)
    assert [one.level for one in found] == [Level.OK] * 3
    assert found[-1].text.endswith("the one of this release")
    assert (sorted(file.parent.iterdir()), file.stat().st_mtime_ns) == before


def test_a_file_in_use_can_be_looked_at_and_used_on(file: Path, run) -> None:
    storage = SqliteStorage(str(file))
    run(storage.open())
    run(storage.set_note("n", 1))
    assert [one.level for one in examined(file)] == [Level.OK] * 3
    run(storage.set_note("n", 2))
    assert run(storage.note("n")) == 2
    run(storage.close())


def test_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    found = examined(tmp_path / "deep" / "down" / "notify.db")
    assert [one.level for one in found] == [Level.OK] * 2
    assert "not there yet" in found[0].text
    assert list(tmp_path.iterdir()) == []


def test_a_newer_schema_another_program_and_garbage(file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute("INSERT INTO schema_version (version, name) VALUES (99, 'x')")
    db.close()
    assert "newer release" in only(examined(file)).text
    with sqlite3.connect(file) as db:
        db.execute("DROP TABLE schema_version")
    db.close()
    assert "of another program" in only(examined(file)).text
    file.write_bytes(b"nonsense" * 1000)
    assert "is not an SQLite database" in only(examined(file)).text


def test_what_is_no_file_and_what_keeps_nothing(tmp_path: Path) -> None:
    assert "is not a file" in only(examined(tmp_path)).text
    assert only(list(examine.examine(":memory:"))).level is Level.WARNING
    (wrong,) = examine_storage(load(environ={}, flags={"storage.url": "sqlite:///"}), SystemClock())
    assert (wrong.level, wrong.subject) == (Level.ERROR, "storage")


def test_rights_and_space(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:  # a superuser may write everywhere
        patched.setattr(os, "access", lambda path, _: Path(path) != file)
        assert f"{file} cannot be written" in only(examined(file)).text
        patched.setattr(os, "access", lambda path, _: Path(path) == file)
        assert f"{file.parent} cannot be written" in only(examined(file)).text
    usage = shutil.disk_usage(file)._replace(free=5 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    one = only(examined(file))
    assert (one.level, one.subject) == (Level.WARNING, "storage disk")
