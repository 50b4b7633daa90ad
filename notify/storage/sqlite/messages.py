"""Messages: stored once under their id, and once under their idempotency key."""

import sqlite3
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from notify.domain.model import Message
from notify.domain.ports import Inserted
from notify.storage.sqlite.keys import json_set
from notify.storage.sqlite.queries import QUERIES
from notify_core import receive
from notify_core.records import DeliveryRecord, MessageRecord


def key_hash(biz_id: int, key: str) -> int:
    """The 63-bit hash under which an idempotency key is stored."""
    digest = blake2b(f"{biz_id}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def insert(db: sqlite3.Connection, batch: receive.Batch, now_ms: int) -> Inserted:
    """Store what is new of a stamped batch."""
    ids = list(batch.ids)
    lost = _claim(db, batch, ids, now_ms) if any(batch.keys) else set()
    rows = batch.rows()
    fresh = [position for position in range(len(rows)) if position not in lost]
    if lost:
        rows = [rows[position] for position in fresh]
    if not rows:
        return Inserted(ids, [])
    db.execute("SAVEPOINT messages")
    if db.executemany(QUERIES["insert_messages"], rows).rowcount < len(rows):
        # The same batch once more, after an answer that got lost: which were there already?
        db.execute("ROLLBACK TO messages")
        known = _known(db, batch.ids)
        fresh = [position for position in fresh if batch.ids[position] not in known]
        db.executemany(QUERIES["insert_messages"], rows)
    return Inserted(ids, fresh)


def _claim(db: sqlite3.Connection, batch: receive.Batch, ids: list[int], now_ms: int) -> set[int]:
    """Claim the keys of a batch; the positions whose key another message holds.

    Their entries of ids become the holder's id.
    """
    claims = {
        position: (key_hash(biz_id, key), biz_id, key, ids[position], now_ms)
        for position, (biz_id, key) in enumerate(zip(batch.biz_ids, batch.keys, strict=True))
        if key
    }
    if db.executemany(QUERIES["claim_keys"], claims.values()).rowcount == len(claims):
        return set()
    keys = json_set(claim[:3] for claim in claims.values())
    holders = {
        (biz_id, key): id_ for biz_id, key, id_ in db.execute(QUERIES["key_holders"], (keys,))
    }
    lost = set()
    for position, (_, biz_id, key, own_id, _) in claims.items():
        ids[position] = holders[biz_id, key]
        if ids[position] != own_id:
            lost.add(position)
    return lost


def _known(db: sqlite3.Connection, ids: Sequence[int]) -> set[int]:
    return {id_ for (id_,) in db.execute(QUERIES["known_messages"], (json_set(ids),))}


def message(db: sqlite3.Connection, message_id: int) -> Message | None:
    """One message, None where there is none."""
    row = db.execute(QUERIES["message"], (message_id,)).fetchone()
    if row is None:
        return None
    id_, biz_id, type_, content_type, headers, key, ordering_key, deliver, expires, payload = row
    return Message(
        id=id_,
        producer_id=biz_id,
        type=type_,
        content_type=content_type,
        headers=msgspec.json.decode(headers, type=dict[str, str]) if headers else {},
        key=key,
        ordering_key=ordering_key,
        deliver_ms=deliver,
        expires_ms=expires,
        payload=payload,
    )


def payloads(db: sqlite3.Connection, message_ids: Sequence[int]) -> dict[int, bytes]:
    """Payloads by message id."""
    return dict(db.execute(QUERIES["payloads"], (json_set(message_ids),)))


def last_id(db: sqlite3.Connection) -> int:
    """The highest message id, 0 for none."""
    found: tuple[int] = db.execute(QUERIES["last_message_id"]).fetchone()
    return found[0]


def unsplit(
    db: sqlite3.Connection, after_id: int, below_id: int, limit: int, inline_bytes_max: int
) -> list[MessageRecord]:
    """Messages without delivery rows."""
    window = (inline_bytes_max, after_id, below_id, limit)
    return [MessageRecord(*row) for row in db.execute(QUERIES["unsplit"], window)]


def records(
    db: sqlite3.Connection, keys: Sequence[tuple[int, int]], inline_bytes_max: int
) -> list[DeliveryRecord]:
    """Deliveries as records; keys: (message id, attempts), in the order wanted."""
    found = db.execute(QUERIES["records"], (inline_bytes_max, json_set(keys)))
    return [DeliveryRecord(attempts, MessageRecord(*row)) for attempts, *row in found]
