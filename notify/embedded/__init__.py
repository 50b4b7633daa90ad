"""Notify in one process: all services, SQLite, an in-memory queue."""

from notify.embedded.notify import DATA_FILE, Notify

__all__ = ["DATA_FILE", "Notify"]
