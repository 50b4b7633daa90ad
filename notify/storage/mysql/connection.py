"""One connection: statements as bytes, transactions, and what the server must agree to."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pymysql

from notify.domain.errors import StorageRefused, StorageUnavailable
from notify.storage.mysql import queries
from notify.storage.mysql.failures import (
    DUPLICATE,
    LOST,
    READ_ONLY,
    Duplicate,
    as_storage_error,
    code_of,
)
from notify.storage.mysql.queries import Value, Values
from notify.storage.mysql.url import Options

Record = Callable[[bytes], None]

# A statement may not be larger than the server's max_allowed_packet, less what goes around it.
_PACKET_ROOM: Final = 1024
PACKET_LEAST: Final = 65_536


class Session:
    """A connection that one thread uses at a time.

    lane: which of the counters' lanes it writes. retried: the work is done for the second
    time, and the first may have been committed. usable: False once the connection is lost.
    record: sees every statement, for tests. settled: the server's settings must be such that it
    can be worked with; otherwise it can only be looked at.
    """

    def __init__(
        self, options: Options, lane: int, record: Record | None = None, settled: bool = True
    ) -> None:
        self.lane = lane
        self.retried = False
        self.usable = True
        self._shown = options.shown
        self._record = record
        self._in_transaction = False
        self._packet = PACKET_LEAST  # until the server told
        self._db = pymysql.connect(charset="utf8mb4", autocommit=True, **options.connect)
        if settled:
            try:
                self._settle()
            except BaseException:
                self.close()
                raise

    def _settle(self) -> None:
        ((mode, packet),) = self.rows("settings")
        modes = mode.decode() if isinstance(mode, bytes) else str(mode)
        self._packet = int(packet)
        if found := objections(self._shown, modes, self._packet):
            raise StorageUnavailable(found[0])
        self.statement_bytes_max = min(queries.STATEMENT_BYTES, self._packet - _PACKET_ROOM)

    def close(self) -> None:
        """Disconnect; again is no error."""
        self.usable = False
        if self._db.open:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What happens inside is committed at the end, all of it, or rolled back."""
        assert not self._in_transaction, "transactions do not nest"
        self.run("begin")
        self._in_transaction = True
        try:
            yield
            self.run("commit")
        except BaseException:
            self._in_transaction = False
            if self.usable:
                self.run("rollback")
            raise
        self._in_transaction = False

    def run(self, name: str, *values: Values) -> int:
        """Carry out a named statement; how many rows it changed."""
        return self.change(queries.statement(name, *values))

    def rows(self, name: str, *values: Values) -> tuple[tuple[Any, ...], ...]:
        """What a named statement finds."""
        return self.found(queries.statement(name, *values))

    def found(self, statement: bytes) -> tuple[tuple[Any, ...], ...]:
        """What a finished statement finds."""
        with self._executed(statement) as cursor:
            found: tuple[tuple[Any, ...], ...] = cursor.fetchall()
        return found

    def insert(self, name: str, rows: Iterable[Sequence[Value]]) -> None:
        """Carry out a named statement with rows. Raises Duplicate."""
        self.change_all(queries.insert(name, rows, self.statement_bytes_max))

    def change_all(self, statements: Iterable[bytes]) -> int:
        """Carry out finished statements; how many rows they changed. Raises Duplicate."""
        return sum([self.change(statement) for statement in statements])

    def change(self, statement: bytes) -> int:
        """Carry out a finished statement; how many rows it changed. Raises Duplicate.

        Only the number of an UPDATE may be relied on: Spider inverts that of INSERT IGNORE.
        """
        with self._executed(statement) as cursor:
            count: int = cursor.rowcount
        return count

    @contextmanager
    def _executed(self, statement: bytes) -> Iterator[Any]:
        if len(statement) >= self._packet:
            # The server would cut the connection in the middle of the statement.
            raise StorageRefused(
                f"a statement of {len(statement)} bytes is larger than max_allowed_packet of"
                f" {self._shown} ({self._packet}): raise it on the server above the largest"
                " payload that may come, twice as large to be safe"
            )
        if self._record is not None:
            self._record(statement)
        cursor = self._db.cursor()
        try:
            cursor.execute(statement)
            yield cursor
        except pymysql.MySQLError as error:
            code = code_of(error)
            if code == DUPLICATE:
                raise Duplicate from error
            # A read-only server may have been the primary: the next connection may find it.
            if code in LOST or code in READ_ONLY or not self._db.open:
                self._abandon()
            raise

    def _abandon(self) -> None:
        self.usable = False
        self._in_transaction = False
        if self._db.open:
            self._db.close()


def objections(shown: str, modes: str, packet_bytes: int) -> list[str]:
    """Why a server with these settings cannot be worked with, and what to do there."""
    found = []
    if "NO_BACKSLASH_ESCAPES" in modes.upper():
        found.append(
            f"{shown} has NO_BACKSLASH_ESCAPES in its sql_mode, under which texts would be stored"
            " wrongly: take it out of sql_mode on the server"
        )
    if packet_bytes < PACKET_LEAST:
        found.append(
            f"max_allowed_packet of {shown} is {packet_bytes} bytes: raise it on the server to at"
            f" least {PACKET_LEAST}, better to 64M"
        )
    return found


def connect(
    options: Options, lane: int, record: Record | None = None, *, settled: bool = True
) -> Session:
    """A new connection. Raises StorageUnavailable or StorageRefused."""
    try:
        return Session(options, lane, record, settled)
    except pymysql.MySQLError as error:
        raise as_storage_error(error, options.shown) from error
    except (OSError, ValueError, RuntimeError) as error:
        # A certificate that is not there, a cipher or an authentication plugin that is not known.
        raise StorageRefused(
            f"{options.shown} cannot be connected to as storage.url says: {error}"
        ) from error
