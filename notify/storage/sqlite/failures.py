"""SQLite's errors as storage errors: retryable or permanent, with what to do about it."""

import sqlite3

from notify.domain.errors import StorageError, StorageRefused, StorageUnavailable

# By primary result code (https://www.sqlite.org/rescode.html).
_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: "{path} is locked by another program: end it; then it goes on by itself",
    sqlite3.SQLITE_LOCKED: "{path} is locked: it goes on by itself",
    sqlite3.SQLITE_FULL: "the disk is full: free space on the one that holds {path}",
    sqlite3.SQLITE_IOERR: "reading or writing {path} failed: check the disk that holds it",
    sqlite3.SQLITE_NOMEM: "no memory left for {path}: free some on this machine",
    sqlite3.SQLITE_INTERRUPT: "a statement on {path} was interrupted: it may be repeated",
    sqlite3.SQLITE_PROTOCOL: "{path} is locked by another program: end it",
}
_REFUSED = {
    sqlite3.SQLITE_CORRUPT: "{path} is damaged: restore it from a backup, or try"
    " `sqlite3 {path} .recover`",
    sqlite3.SQLITE_NOTADB: "{path} is not an SQLite database: name another file in storage.url",
    sqlite3.SQLITE_READONLY: "{path} cannot be written: give this user the right to write to"
    " it and its directory",
    sqlite3.SQLITE_PERM: "{path} cannot be used: give this user the rights to it",
    sqlite3.SQLITE_CANTOPEN: "{path} cannot be opened: its directory must exist and be writable"
    " for this user, and {path} must be a file",
}
_DAMAGED_IO = {sqlite3.SQLITE_IOERR_CORRUPTFS, sqlite3.SQLITE_CORRUPT_INDEX}


def as_storage_error(error: sqlite3.Error, path: str) -> StorageError:
    """The storage error that an error of SQLite means; path: the data file, for the text."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # raised by the Python module itself, such as a closed connection
        return StorageUnavailable(f"{path} cannot be used now: {error}")
    primary = code & 0xFF
    if primary in _UNAVAILABLE and code not in _DAMAGED_IO:
        return StorageUnavailable(f"{_UNAVAILABLE[primary].format(path=path)} ({error})")
    text = _REFUSED.get(primary, "{path} refused a statement, which is a mistake in Notify")
    return StorageRefused(f"{text.format(path=path)} ({error})")
