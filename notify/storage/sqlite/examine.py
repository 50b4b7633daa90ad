"""What `notify doctor` says of a data file, also while `notify up` uses it. Nothing is changed."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from notify.domain.errors import StorageError
from notify.domain.finding import Finding, error, ok, warning
from notify.storage.sqlite.connection import BUSY_TIMEOUT_MS, MEMORY, check_library
from notify.storage.sqlite.failures import as_storage_error
from notify.storage.sqlite.migrate import check_known, migrations, schema_version

FILE: Final = "storage"
SCHEMA: Final = "storage schema"
DISK: Final = "storage disk"
FREE_BYTES_LEAST: Final = 1 << 30


def examine(path: str) -> Iterator[Finding]:
    """Look at the file, its directory, its disk and its schema."""
    try:
        check_library()
    except StorageError as failure:
        yield error(FILE, str(failure))
    if path == MEMORY:
        yield warning(FILE, "it is in memory and ends with the process", "name a file")
        return
    file = Path(path)
    place = next(parent for parent in file.absolute().parents if parent.exists())
    yield _file(file, place)
    yield _disk(place)
    if file.is_file():
        yield _schema(file)


def _file(file: Path, place: Path) -> Finding:
    rights = "give this user the right to write there, or name another file in storage.url"
    if file.exists() and not file.is_file():
        return error(FILE, f"{file} is not a file", "name a file in storage.url")
    if not os.access(place, os.W_OK | os.X_OK):
        return error(FILE, f"{place} cannot be written", rights)
    if not file.exists():
        return ok(FILE, f"{file} is not there yet: `notify up` makes it")
    if not os.access(file, os.R_OK | os.W_OK):
        return error(FILE, f"{file} cannot be written", rights)
    return ok(FILE, f"{file} can be read and written")


def _disk(place: Path) -> Finding:
    try:
        free_bytes = shutil.disk_usage(place).free
    except OSError as failure:
        return warning(
            DISK, f"the disk of {place} does not tell its space: {failure}", "look there"
        )
    text = f"{free_bytes / (1 << 30):.1f} GiB are free"
    if free_bytes < FREE_BYTES_LEAST:
        return warning(DISK, f"only {text}", "free some: nothing is accepted on a full disk")
    return ok(DISK, text)


def _schema(file: Path) -> Finding:
    # Without a write-ahead log nobody has the file open, or has written to it yet: then it can be
    # read as it lies, and no side file has to be made for that.
    lies = "" if Path(f"{file}-wal").exists() else "&immutable=1"
    url = f"file:{quote(str(file.absolute()))}?mode=ro{lies}"
    try:
        db = sqlite3.connect(url, uri=True, timeout=BUSY_TIMEOUT_MS / 1000)
        try:
            version = schema_version(db, str(file))
        finally:
            db.close()
        check_known(version, str(file))
    except sqlite3.Error as failure:
        return error(SCHEMA, str(as_storage_error(failure, str(file))))
    except StorageError as failure:
        return error(SCHEMA, str(failure))
    known = len(migrations())
    if version < known:
        return ok(SCHEMA, f"it has version {version}; the next start makes it {known}")
    return ok(SCHEMA, f"it has version {version}, the one of this release")
