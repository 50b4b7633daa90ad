"""Notify in one process: all services, SQLite, an in-memory queue."""

from notify.embedded.notify import Notify

__all__ = ["Notify"]
