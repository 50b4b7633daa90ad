"""Connections to the data file: who may open it, on which thread, in which transaction."""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from notify.domain.errors import StorageRefused, StorageUnavailable
from notify.storage.sqlite.failures import as_storage_error

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

MEMORY: Final = ":memory:"
BUSY_TIMEOUT_MS: Final = 5_000
# STRICT tables came with 3.37, RETURNING and json_each were there before.
SQLITE_LEAST: Final = (3, 37, 0)
_CACHE_KIB: Final = 32_768
_CHECKPOINT_PAGES: Final = 4_000
_WAL_BYTES_KEPT: Final = 64 << 20


def check_library() -> None:
    """Raises StorageRefused where Python's SQLite is too old."""
    if sqlite3.sqlite_version_info < SQLITE_LEAST:
        least = ".".join(map(str, SQLITE_LEAST))
        raise StorageRefused(
            f"this Python has SQLite {sqlite3.sqlite_version}, Notify needs {least} or newer: use"
            " another build of Python"
        )


class Lane:
    """One connection and the one thread that uses it; calls run one after the other.

    begin: the statement that starts each transaction. inline: no thread, the caller's own
    runs everything at once, so that a simulation is deterministic. check: looks at the file
    before anything of it is changed.
    """

    def __init__(self, path: str, begin: str, inline: bool, check: Work[object]) -> None:
        self._path = path
        self._begin = begin
        self._inline = inline
        self._check = check
        self._db: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Connect. Raises StorageUnavailable or StorageRefused."""
        if not self._inline:
            self._thread = ThreadPoolExecutor(1, f"notify-sqlite {self._begin}")
        try:
            await self._call(self._connect)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish the calls under way, then disconnect; again is no error."""
        try:
            if self._inline or self._thread is not None:
                await self._call(self._disconnect)
        finally:
            thread, self._thread = self._thread, None
            if thread is not None:
                thread.shutdown()

    async def run(self, work: Work[T]) -> T:
        """Do work in one transaction, committed when this returns, else rolled back."""
        return await self._call(lambda: self._transact(work))

    async def _call(self, function: Callable[[], T]) -> T:
        if self._inline:
            return function()
        if self._thread is None:
            raise StorageUnavailable(f"the storage {self._path} is not open")
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _transact(self, work: Work[T]) -> T:
        db = self._db
        if db is None:
            raise StorageUnavailable(f"the storage {self._path} is not open")
        try:
            db.execute(self._begin)
            try:
                answer = work(db)
                db.execute("COMMIT")
            except BaseException:
                # A full disk or an I/O error has often rolled back already.
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise as_storage_error(error, self._path) from error
        return answer

    def _connect(self) -> None:
        try:
            self._db = sqlite3.connect(
                self._path,
                isolation_level=None,  # transactions are begun by hand, never by the module
                check_same_thread=False,
                cached_statements=256,
            )
            self._check(self._db)
            for pragma in (
                f"busy_timeout={BUSY_TIMEOUT_MS}",
                "journal_mode=WAL",
                "synchronous=FULL",  # a commit is on the disk when it returns
                f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
                f"journal_size_limit={_WAL_BYTES_KEPT}",
                f"cache_size=-{_CACHE_KIB}",
                "temp_store=MEMORY",
                "trusted_schema=OFF",
            ):
                self._db.execute(f"PRAGMA {pragma}").fetchall()
            (mode,) = self._db.execute("PRAGMA journal_mode").fetchone()
        except sqlite3.Error as error:
            raise as_storage_error(error, self._path) from error
        if mode not in ("wal", "memory"):
            raise StorageRefused(
                f"{self._path} is on a file system without shared memory: put it on a local disk"
            )

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


class FileLock:
    """Keeps every other process away from a data file (flock on `<file>.lock`).

    Two processes would each believe that their queue is the only one and send twice.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._held: int | None = None

    def take(self) -> None:
        """Lock. Raises StorageRefused where another process holds it, or for lack of rights."""
        try:
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
            # The data file holds secrets; SQLite gives its side files the same rights.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            held = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageRefused(
                f"{error.filename or self._path} cannot be written: {error.strerror}; give this"
                " user the right to write there, or name another file in storage.url"
            ) from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(held, 20, 0).decode(errors="replace").strip()
            os.close(held)
            raise StorageRefused(
                f"{self._path} is used by another process (pid {holder or 'unknown'}): one process"
                " at a time may; stop that one, or name another file in storage.url"
            ) from error
        os.ftruncate(held, 0)
        os.pwrite(held, b"%d\n" % os.getpid(), 0)
        self._held = held

    def release(self) -> None:
        """Unlock; the lock file stays, for removing it would let two processes in."""
        held, self._held = self._held, None
        if held is not None:
            os.close(held)
