"""Batches, fan-outs and outcomes for tests."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from notify.domain.model import Consumer, LedgerRow
from notify.domain.ports import Storage
from notify_core import chunk, ids

# The pure twins, whichever core is loaded: they let a test put any rows into a split or batch.
from notify_core.pure import fanout, receive
from notify_core.records import DELIVERED, DROPPED, PENDING, QUEUED, OutcomeRecord

NOW: Final = 1_750_000_000_000
PRODUCER: Final = 7
ID_MAX: Final = (1 << 63) - 1
INLINE: Final = 65_536


def new_consumer(name: str, **fields: Any) -> Consumer:
    """A consumer to add, of this moment."""
    given = {
        "id": 0,
        "name": name,
        "url": "http://10.0.0.1/hook",
        "secrets": (),
        "headers": {},
        "timeout_ms": 5000,
        "created_ms": NOW,
        "updated_ms": NOW,
    }
    return Consumer(**given | fields)


def message_ids(n: int, now_ms: int = NOW) -> list[int]:
    """N rising ids of one moment."""
    return [ids.id_floor(now_ms) + number * 64 for number in range(n)]


def batch(
    stamped: Sequence[int], producer: int = PRODUCER, **columns: Sequence[Any]
) -> receive.Batch:
    """A stamped batch; columns by their names in Batch, others hold something plain."""
    n = len(stamped)
    made = receive.Batch()
    made.types = list(columns.get("types", ["order.paid"] * n))
    made.content_types = list(columns.get("content_types", [""] * n))
    made.headers = list(columns.get("headers", [b""] * n))
    made.keys = list(columns.get("keys", [""] * n))
    made.ordering_keys = list(columns.get("ordering_keys", [""] * n))
    made.deliver_ms = list(columns.get("deliver_ms", [0] * n))
    made.expires_ms = list(columns.get("expires_ms", [0] * n))
    made.payloads = list(columns.get("payloads", [b'{"n":%d}' % id_ for id_ in stamped]))
    made.stamp(producer, list(stamped))
    return made


def split(*rows: tuple[int, ...]) -> fanout.Split:
    """A fan-out of rows (message, subscription, status[, attempts, reason, due_ms, updated_ms])."""
    made = fanout.Split()
    made.messages = len({row[0] for row in rows})
    made.rows = [(*row, *(0, 0, 0, NOW)[len(row) - 3 :]) for row in rows]
    return made


def grid(
    message_ids: Iterable[int], sub_ids: Iterable[int], status: int = QUEUED, due_ms: int = 0
) -> fanout.Split:
    """Every message to every subscription."""
    subs = list(sub_ids)
    return split(*((msg, sub, status, 0, 0, due_ms, NOW) for msg in message_ids for sub in subs))


def outcome(
    msg_id: int,
    sub_id: int,
    status: int,
    attempts: int = 1,
    at_ms: int = NOW + 10,
    *,
    due_ms: int = 0,
    reason: int = 0,
    code: int | None = None,
    error: str = "",
    response: bytes = b"",
    latency_ms: int = 12,
) -> OutcomeRecord:
    """What became of a try; code None: 200 where delivered, else 500. 0 for no try at all."""
    if code is None:
        code = 200 if status == DELIVERED else 500
    return OutcomeRecord(
        msg_id,
        sub_id,
        int(status),
        attempts,
        at_ms,
        due_ms,
        latency_ms,
        code,
        int(reason),
        error,
        response,
    )


def chunks(*outcomes: OutcomeRecord, size: int = 100) -> list[bytes]:
    """Outcome chunks of so many each."""
    starts = range(0, len(outcomes), size)
    return [chunk.pack_outcomes(outcomes[start : start + size]) for start in starts]


def account(
    sub_id: int, *, delivered: int = 0, dropped: int = 0, queued: int = 0, pending: int = 0
) -> LedgerRow:
    """The balanced account with these numbers."""
    return LedgerRow(
        subscription_id=sub_id,
        matched=delivered + dropped + queued + pending,
        delivered=delivered,
        dropped=dropped,
        queued=queued,
        pending=pending,
    )


async def checked_ledger(storage: Storage) -> dict[int, LedgerRow]:
    """The ledger by subscription, after proving it: balanced, and equal to the counted one."""
    kept = await storage.ledger()
    assert kept == await storage.counted_ledger()
    assert all(row.difference == 0 for row in kept)
    return {row.subscription_id: row for row in kept}


async def status_of(storage: Storage, msg_id: int, sub_id: int) -> int | None:
    """The status of one delivery."""
    standing = (await storage.standings([(msg_id, sub_id)])).get((msg_id, sub_id))
    return None if standing is None else standing.status


__all__ = [
    "DELIVERED",
    "DROPPED",
    "ID_MAX",
    "INLINE",
    "NOW",
    "PENDING",
    "PRODUCER",
    "QUEUED",
    "account",
    "batch",
    "checked_ledger",
    "chunks",
    "grid",
    "message_ids",
    "outcome",
    "split",
    "status_of",
]
