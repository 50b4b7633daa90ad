"""What the suite needs of an adapter beyond the port: an empty database, and a restart.

To put another adapter through the suite, implement Backend for it and add it to BACKENDS.
"""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

from notify.domain.ports import Storage
from notify.storage.mysql import MysqlStorage
from notify.storage.sqlite import SqliteStorage
from tests.servers import mariadb
from tests.storage.mysql_dialect import check

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Backend(Protocol):
    """An adapter under test. durable: its data outlives its process."""

    durable: ClassVar[bool]
    storage: Storage

    def __init__(self, directory: Path) -> None:
        """directory: an empty one, for an adapter that keeps files."""

    async def open(self) -> None:
        """Connect to an empty database."""

    async def close(self) -> None:
        """Clean up; also where the storage was closed before."""

    async def reopen(self) -> Storage:
        """Restart: the storage is closed, and another one finds what it stored."""


class SqliteBackend:
    """A data file, as in production: a thread for writes, one for reads."""

    durable: ClassVar[bool] = True

    def __init__(self, directory: Path) -> None:
        self._path = str(directory / "notify.db")
        self.storage: Storage = self._new()

    def _new(self) -> Storage:
        return SqliteStorage(self._path)

    async def open(self) -> None:
        await self.storage.open()

    async def close(self) -> None:
        await self.storage.close()

    async def reopen(self) -> Storage:
        await self.storage.close()
        self.storage = self._new()
        await self.storage.open()
        return self.storage


class SqliteMemoryBackend(SqliteBackend):
    """In memory and without threads, as in a simulation."""

    durable: ClassVar[bool] = False

    def _new(self) -> Storage:
        return SqliteStorage(":memory:", inline=True)


class MysqlBackend:
    """A database on the session's private MariaDB; every statement is held to the dialect."""

    durable: ClassVar[bool] = True
    DATABASE: ClassVar[str] = "nt_conformance"
    made: ClassVar[bool] = False

    def __init__(self, directory: Path) -> None:
        self._server = mariadb.shared()
        self.storage: Storage = self._new()

    def _new(self) -> Storage:
        return MysqlStorage(self._server.options(self.DATABASE), record=check)

    async def open(self) -> None:
        if not MysqlBackend.made:
            self._server.new_database(self.DATABASE)
            MysqlBackend.made = True
        await self.storage.open()

    async def close(self) -> None:
        await self.storage.close()
        self._server.empty(self.DATABASE)

    async def reopen(self) -> Storage:
        await self.storage.close()
        self.storage = self._new()
        await self.storage.open()
        return self.storage


BACKENDS: Final[dict[str, type[Backend]]] = {
    "sqlite": SqliteBackend,
    "sqlite in memory": SqliteMemoryBackend,
    "mysql": MysqlBackend,
}
