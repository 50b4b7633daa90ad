"""Messages: stored once under their id, and once under their idempotency key."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from notify.domain.errors import StorageUnavailable
from notify.domain.model import Message
from notify.domain.ports import Inserted
from notify.storage.mysql import queries
from notify.storage.mysql.connection import Session
from notify.storage.mysql.failures import Duplicate
from notify_core import ids as message_ids
from notify_core import receive
from notify_core.records import DeliveryRecord, MessageRecord

_CROSSINGS_MAX: Final = 8
# How long after its claim a key without its message is taken for a commit that a sharded server
# carried out in part. An older one was purged, and stays so.
REPAIR_MS: Final = 3_600_000


def key_hash(biz_id: int, key: str) -> int:
    """The 63-bit hash under which an idempotency key is stored."""
    digest = blake2b(f"{biz_id}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def insert(db: Session, batch: receive.Batch, now_ms: int) -> Inserted:
    """Store what is new of a stamped batch, all or nothing.

    Without keys and within one statement that statement is the transaction: one round trip.
    All that is known already shows as a duplicate key; then it is done again with a look first.
    """
    ids = list(batch.ids)
    statements = batch.insert_sql(False, queries.ROWS_MAX, db.statement_bytes_max)
    try:
        if len(statements) == 1 and not any(batch.keys):
            db.change_all(statements)
        elif statements:
            with db.transaction():
                db.insert("take_keys", _claims(batch, now_ms).values())
                db.change_all(statements)
        return Inserted(ids, list(range(len(ids))))
    except Duplicate:
        pass
    for _ in range(_CROSSINGS_MAX):
        try:
            with db.transaction():
                return _insert_news(db, batch, now_ms)
        except Duplicate:
            continue
    raise StorageUnavailable("other requests claim the same keys again and again: try again")


def _insert_news(db: Session, batch: receive.Batch, now_ms: int) -> Inserted:
    """Store what is new, where anything of a batch is known.

    Who holds a key is read back: the winner is the row that holds one's own id. Raises Duplicate
    where that is nobody whom this transaction sees: a later one will.
    """
    ids = list(batch.ids)
    claims = _claims(batch, now_ms)
    holders: dict[tuple[int, str], int] = {}
    if claims:
        db.insert("claim_keys", claims.values())
        for part in queries.parts([claim[0] for claim in claims.values()]):
            for biz_id, key, id_ in db.rows("key_holders", part):
                holders[biz_id, key.decode()] = id_
    for position, (_, biz_id, _, _, _) in claims.items():
        holder = holders.get((biz_id, batch.keys[position]))
        if holder is None:
            raise Duplicate
        ids[position] = holder
    known = _known(db, ids)
    # This very call may have stored them before its connection was lost.
    own = set(batch.ids) if db.retried else set()
    lost = {position for position, id_ in enumerate(ids) if id_ != batch.ids[position]}
    _repair(db, batch, {p: ids[p] for p in lost if ids[p] not in known}, now_ms)
    mine = [position for position in range(len(ids)) if position not in lost]
    new = [position for position in mine if ids[position] not in known]
    stored = batch.take(new).insert_sql(True, queries.ROWS_MAX, db.statement_bytes_max)
    db.change_all(stored)
    return Inserted(ids, [p for p in mine if ids[p] not in known or ids[p] in own])


def _claims(batch: receive.Batch, now_ms: int) -> dict[int, tuple[int, int, bytes, int, int]]:
    """The keys of a batch by position, in one order everywhere: fewer deadlocks."""
    claims = [
        ((key_hash(biz_id, key), biz_id, key.encode(), id_, now_ms), position)
        for position, (biz_id, key, id_) in enumerate(
            zip(batch.biz_ids, batch.keys, batch.ids, strict=True)
        )
        if key
    ]
    claims.sort(key=lambda entry: (entry[0][:3], entry[1]))
    return {position: claim for claim, position in claims}


def _repair(db: Session, batch: receive.Batch, missing: dict[int, int], now_ms: int) -> None:
    """Store messages under the ids that hold their keys; missing: id by position.

    A key and its message are one transaction, and so are both there or neither. A sharded
    server that was cut off between its nodes may have kept the key alone: then the message
    is stored by the next who sends it. The Rescuer finds it unsplit.
    """
    oldest = message_ids.id_floor(max(0, now_ms - REPAIR_MS))
    by_id = {id_: position for position, id_ in sorted(missing.items(), reverse=True)}
    wanted = {id_: position for id_, position in by_id.items() if id_ >= oldest}
    wanted = {id_: position for id_, position in wanted.items() if id_ not in batch.ids}
    for id_, position in wanted.items():
        one = batch.take([position])
        one.stamp(one.biz_ids[0], [id_])
        db.change_all(one.insert_sql(True, 1, db.statement_bytes_max))


def _known(db: Session, ids: Sequence[int]) -> set[int]:
    return {row[0] for part in queries.parts(ids) for row in db.rows("known_messages", part)}


def message(db: Session, message_id: int) -> Message | None:
    """One message, None where there is none."""
    rows = db.rows("message", message_id)
    if not rows:
        return None
    id_, biz_id, type_, content_type, headers, key, ordering_key, deliver, expires, payload = rows[
        0
    ]
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


def payloads(db: Session, ids: Sequence[int]) -> dict[int, bytes]:
    """Payloads by message id."""
    found: dict[int, bytes] = {}
    for part in queries.parts(ids):
        found.update(db.rows("payloads", part))
    return found


def last_id(db: Session) -> int:
    """The highest message id, 0 for none."""
    rows = db.rows("last_message_id")
    return int(rows[0][0]) if rows else 0


def unsplit(
    db: Session, after_id: int, below_id: int, limit: int, inline_bytes_max: int
) -> list[MessageRecord]:
    """Messages without delivery rows."""
    rows = db.rows("unsplit", inline_bytes_max, after_id, below_id, limit)
    return [MessageRecord(*row) for row in rows]


def records(
    db: Session, keys: Sequence[tuple[int, int]], inline_bytes_max: int
) -> list[DeliveryRecord]:
    """Deliveries as records; keys: (message id, attempts), in the order wanted."""
    found = {
        row[0]: MessageRecord(*row)
        for part in queries.parts([id_ for id_, _ in keys])
        for row in db.rows("records", inline_bytes_max, part)
    }
    return [DeliveryRecord(attempts, found[id_]) for id_, attempts in keys if id_ in found]
