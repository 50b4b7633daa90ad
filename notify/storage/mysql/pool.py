"""Connections of one process: bounded, used by worker threads, made anew when lost.

PyMySQL blocks, so each call runs on a thread of its own connection; encoding, network and
database of different calls overlap. There are as many threads as connections.
"""

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import pymysql

from notify.domain.errors import StorageUnavailable
from notify.storage.mysql.connection import Record, Session, connect
from notify.storage.mysql.failures import LOCKED, LOST, NODE, as_storage_error, code_of
from notify.storage.mysql.url import Options

T = TypeVar("T")
Work = Callable[[Session], T]

# Counters are spread over so many rows, for writers whose commits would wait for each other.
LANES: Final = 8
# A deadlock rolled everything back and is normal where writers meet; a lost connection or node
# is tried once more, what remains is the caller's.
_DEADLOCK_TRIES: Final = 8
_PAUSE_S: Final = 0.005


class Pool:
    """Runs work on connections; each work must be repeatable (see `Session.retried`)."""

    def __init__(self, options: Options, record: Record | None = None) -> None:
        self._options = options
        self._record = record
        self._threads: ThreadPoolExecutor | None = None
        self._idle: list[Session] = []
        self._lane = random.randrange(LANES)  # noqa: S311 - spreads load, nothing secret

    @property
    def shown(self) -> str:
        """The database, for messages."""
        return self._options.shown

    def open(self) -> None:
        """Take calls; connections are made when they are needed."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._options.connections_max, "notify-mysql")

    async def close(self) -> None:
        """Finish the calls under way, then disconnect; again is no error."""
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.to_thread(threads.shutdown)
        while self._idle:
            self._idle.pop().close()

    async def run(self, work: Work[T]) -> T:
        """Do work on a connection; it begins its own transactions, if it needs any."""
        return await self._submit(lambda: self._with_retries(work))

    async def transact(self, work: Work[T]) -> T:
        """Do work in one transaction, committed when this returns, else rolled back."""
        return await self.run(lambda db: _in_transaction(db, work))

    async def _submit(self, function: Callable[[], T]) -> T:
        if self._threads is None:
            raise StorageUnavailable(f"the storage {self.shown} is not open")
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    def _with_retries(self, work: Work[T]) -> T:
        deadlocks = losses = 0
        while True:
            db = self._take()
            db.retried = losses > 0
            try:
                return work(db)
            except pymysql.MySQLError as error:
                code = code_of(error)
                if code in LOCKED:
                    deadlocks += 1
                    # 1205 has waited innodb_lock_wait_timeout already: once more is enough.
                    again = deadlocks < (_DEADLOCK_TRIES if code == 1213 else 2)
                else:
                    losses += 1
                    again = losses < 2 and code in LOST | NODE
                if not again:
                    raise as_storage_error(error, self.shown) from error
                if not db.usable:
                    # What was idle while the server restarted is gone as well.
                    self._disconnect_idle()
            finally:
                self._give_back(db)
            time.sleep(_PAUSE_S * (1 << deadlocks) * random.random())  # noqa: S311 - jitter

    def _take(self) -> Session:
        try:
            return self._idle.pop()
        except IndexError:
            self._lane = (self._lane + 1) % LANES
            return connect(self._options, self._lane, self._record)

    def _give_back(self, db: Session) -> None:
        if db.usable and self._threads is not None:
            self._idle.append(db)
        else:
            db.close()

    def _disconnect_idle(self) -> None:
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:  # another thread was faster
                return


def _in_transaction(db: Session, work: Work[T]) -> T:
    with db.transaction():
        return work(db)
