"""Choosing an adapter by the URL."""

from pathlib import Path

import pytest

from notify.config import StorageConfig
from notify.domain.errors import ConfigError
from notify.storage import open_storage
from notify.storage.sqlite import SqliteStorage


def test_relative_and_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run) -> None:
    monkeypatch.chdir(tmp_path)
    for url, made in (
        ("sqlite:///data/sub/notify.db", tmp_path / "data/sub/notify.db"),
        (f"sqlite:///{tmp_path}/absolute.db", tmp_path / "absolute.db"),
        ("sqlite:///with%20space.db", tmp_path / "with space.db"),
    ):
        storage = open_storage(StorageConfig(url=url))
        assert isinstance(storage, SqliteStorage)
        assert not made.exists()
        run(storage.open())
        run(storage.close())
        assert made.is_file()


def test_in_memory_keeps_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run) -> None:
    monkeypatch.chdir(tmp_path)
    storage = open_storage(StorageConfig(url="sqlite:///:memory:"))
    run(storage.open())
    run(storage.set_note("n", 1))
    assert run(storage.note("n")) == 1
    run(storage.close())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["postgres://host/db", "notify.db", "", "sqlite3:///x.db"])
def test_an_unknown_scheme_names_the_known_ones(url: str) -> None:
    with pytest.raises(ConfigError, match="sqlite:///"):
        open_storage(StorageConfig(url=url))


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite://notify.db",
        "sqlite:///dir/",
        "sqlite:///x?y=1",
    ],
)
def test_a_url_without_a_file_says_the_form(url: str) -> None:
    with pytest.raises(ConfigError, match="write sqlite:///relative"):
        open_storage(StorageConfig(url=url))
