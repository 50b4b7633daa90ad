"""Small state of services: worker numbers of the id maker, and notes."""

import sqlite3

from notify.domain.errors import Busy
from notify.domain.ports import WorkerLease
from notify.storage.sqlite.queries import QUERIES
from notify_core import ids


def lease(db: sqlite3.Connection, owner: str, now_ms: int, ttl_ms: int) -> WorkerLease:
    """A free number: one never held, else the one that is free the longest. Raises Busy.

    Never a number whose lease runs, not even to its own holder: two id makers of one number
    would make the same ids.
    """
    held = {row[0]: row[1:] for row in db.execute(QUERIES["workers"])}
    free = [(0, worker) for worker in range(ids.WORKERS_MAX) if worker not in held]
    for worker, (_, expires_ms, floor_ms) in held.items():
        if expires_ms <= now_ms:
            # Whoever let a lease run out may have made ids until its end.
            free.append((max(expires_ms, floor_ms), worker))
    if not free:
        wait_ms = min(expires_ms for _, expires_ms, _ in held.values()) - now_ms
        raise Busy(
            f"all {ids.WORKERS_MAX} worker numbers are leased: stop some services",
            max(1, -(-wait_ms // 1000)),
        )
    floor_ms, worker = min(free)
    taken = WorkerLease(worker, now_ms + ttl_ms, floor_ms)
    db.execute(QUERIES["lease_worker"], (worker, owner, taken.expires_ms, floor_ms))
    return taken


def renew(db: sqlite3.Connection, held: WorkerLease, owner: str, now_ms: int, ttl_ms: int) -> bool:
    """Prolong; False where the number is somebody else's or nobody's."""
    row = (now_ms + ttl_ms, held.worker, owner, held.floor_ms)
    return db.execute(QUERIES["renew_worker"], row).rowcount == 1


def release(db: sqlite3.Connection, held: WorkerLease, owner: str, floor_ms: int) -> None:
    """Give back; nothing where the number is no longer the owner's."""
    db.execute(QUERIES["release_worker"], (floor_ms, held.worker, owner, held.floor_ms))


def note(db: sqlite3.Connection, name: str) -> int:
    """A kept number, 0 at first."""
    found: tuple[int] | None = db.execute(QUERIES["note"], (name,)).fetchone()
    return found[0] if found else 0


def set_note(db: sqlite3.Connection, name: str, value: int) -> None:
    """Keep a number."""
    db.execute(QUERIES["set_note"], (name, value))
