"""The storage of embedded mode: one SQLite file, one process."""

from notify.storage.sqlite.storage import SqliteStorage

__all__ = ["SqliteStorage"]
