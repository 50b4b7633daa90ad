"""Small state of services: worker numbers of the id maker, and notes."""

from typing import Final

from notify.domain.errors import Busy
from notify.domain.ports import WorkerLease
from notify.storage.mysql.connection import Session
from notify_core import ids

_LINE: Final = "worker_lease"


def lease(db: Session, owner: str, now_ms: int, ttl_ms: int) -> WorkerLease:
    """A free number: one never held, else the one that is free the longest. Raises Busy.

    Never a number whose lease runs, not even to its own holder: two id makers of one number
    would make the same ids.
    """
    db.run("raise_note", _LINE)
    held = {row[0]: row[1:] for row in db.rows("workers")}
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
    _store(db, worker, owner, taken.expires_ms, floor_ms)
    return taken


def renew(db: Session, held: WorkerLease, owner: str, now_ms: int, ttl_ms: int) -> bool:
    """Prolong; False where the number is somebody else's or nobody's."""
    expires_ms = _expires_ms(db, held, owner)
    if expires_ms is None:
        return False
    _store(db, held.worker, owner, max(expires_ms, now_ms + ttl_ms), held.floor_ms)
    return True


def release(db: Session, held: WorkerLease, owner: str, floor_ms: int) -> None:
    """Give back; nothing where the number is no longer the owner's."""
    if _expires_ms(db, held, owner) is not None:
        _store(db, held.worker, "", 0, max(held.floor_ms, floor_ms))


def _expires_ms(db: Session, held: WorkerLease, owner: str) -> int | None:
    """Until when this lease runs; the floor tells it from a later one of the same owner."""
    for stored_owner, expires_ms, floor_ms in db.rows("lock_worker", held.worker):
        if stored_owner.decode() == owner and floor_ms == held.floor_ms:
            return int(expires_ms)
    return None


def _store(db: Session, worker: int, owner: str, expires_ms: int, floor_ms: int) -> None:
    db.insert("lease_worker", [(worker, owner.encode(), expires_ms, floor_ms)])


def note(db: Session, name: str) -> int:
    """A kept number, 0 at first."""
    rows = db.rows("note", name.encode())
    return int(rows[0][0]) if rows else 0


def set_note(db: Session, name: str, value: int) -> None:
    """Keep a number."""
    db.insert("set_note", [(name.encode(), value)])
