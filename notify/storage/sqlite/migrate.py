"""Bringing a data file to the schema of this release."""

import re
import sqlite3
from importlib import resources

from notify.domain.errors import StorageRefused

_FILE = re.compile(r"(\d{3})_(\w+)\.sql", re.ASCII)


def migrations() -> list[tuple[int, str, str]]:
    """The steps (number, name, statements), rising from 1 without a gap."""
    files = resources.files(__package__).joinpath("migrations").iterdir()
    found = [(_FILE.fullmatch(file.name), file) for file in files]
    steps = [(int(name[1]), name[2], file.read_text("utf-8")) for name, file in found if name]
    steps.sort()
    assert [number for number, _, _ in steps] == list(range(1, len(steps) + 1))
    return steps


def migrate(db: sqlite3.Connection, path: str) -> None:
    """Apply the steps that the data file lacks; to be called inside a transaction.

    Raises StorageRefused where the file is of a newer release, or of another program.
    """
    steps = migrations()
    version = schema_version(db, path)
    check_known(version, path)
    for number, name, text in steps[version:]:
        for statement in statements(text):
            db.execute(statement)
        db.execute("INSERT INTO schema_version (version, name) VALUES (?, ?)", (number, name))


def check_known(version: int, path: str) -> None:
    """Raises StorageRefused where a newer release wrote the file."""
    known = len(migrations())
    if version > known:
        raise StorageRefused(
            f"{path} has schema version {version}, this release knows {known}: start the newer"
            " release of Notify that wrote it, or restore a backup"
        )


def schema_version(db: sqlite3.Connection, path: str) -> int:
    """The version of a data file, 0 for an empty one. Raises StorageRefused (not ours)."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    if not tables:
        return 0
    if "schema_version" not in tables:
        raise StorageRefused(
            f"{path} is the database of another program: name another file in storage.url"
        )
    version: int
    (version,) = db.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    return version


def statements(text: str) -> list[str]:
    """The single statements of a script (executescript would commit our transaction)."""
    found = []
    part = ""
    for line in text.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            found.append(part)
            part = ""
    assert not part.strip(), "a script ends with a semicolon"
    return found
