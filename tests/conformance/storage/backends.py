"""What the suite needs of an adapter beyond the port: an empty database, and a restart.

To put another adapter through the suite, implement Backend for it and add it to BACKENDS.
"""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

from notify.domain.ports import Storage
from notify.storage.sqlite import SqliteStorage

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


BACKENDS: Final[dict[str, type[Backend]]] = {
    "sqlite": SqliteBackend,
    "sqlite in memory": SqliteMemoryBackend,
}
