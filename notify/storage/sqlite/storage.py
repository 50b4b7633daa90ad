"""The port Storage over one SQLite file."""
# ruff: noqa: D102 - the contract of every method is written once, in notify.domain.ports

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TypeVar

from notify.domain.model import (
    Attempt,
    Consumer,
    Delivery,
    Directory,
    LedgerRow,
    Message,
    Producer,
    Subscription,
    SubscriptionStatus,
)
from notify.domain.ports import (
    Audit,
    DeliveryFilter,
    Difference,
    Inserted,
    OrderHead,
    QueuedRow,
    QueuedSpan,
    Standing,
    Storage,
    WorkerLease,
)
from notify.storage.sqlite import (
    accounts,
    audit,
    configured,
    deliveries,
    marking,
    messages,
    ordering,
    replay,
    rescue,
    workers,
)
from notify.storage.sqlite.connection import MEMORY, FileLock, Lane, Work, check_library
from notify.storage.sqlite.migrate import migrate, schema_version
from notify_core import fanout, receive
from notify_core.records import DeliveryRecord, MessageRecord

T = TypeVar("T")


class SqliteStorage(Storage):
    """Storage in one SQLite file of one process.

    path: the data file, made with its directory where absent; ":memory:" keeps nothing.
    inline: every call runs at once on the caller's thread, over one connection, so that a
    simulation repeats exactly. Otherwise writes have a thread and a connection, and reads
    another (WAL: neither waits for the other).
    """

    def __init__(self, path: str, *, inline: bool = False) -> None:
        self._path = path
        self._lock = None if path == MEMORY else FileLock(path)
        check = partial(schema_version, path=path)
        self._writer = Lane(path, "BEGIN IMMEDIATE", inline, check)
        self._reader = self._writer
        if path != MEMORY and not inline:
            self._reader = Lane(path, "BEGIN", inline, check)

    async def open(self) -> None:
        check_library()
        if self._lock is not None:
            self._lock.take()
        try:
            await self._writer.open()
            await self._writer.run(partial(migrate, path=self._path))
            if self._reader is not self._writer:
                await self._reader.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        try:
            if self._reader is not self._writer:
                await self._reader.close()
            # The last connection to go empties the write-ahead log into the data file.
            await self._writer.close()
        finally:
            if self._lock is not None:
                self._lock.release()

    async def config_version(self) -> int:
        return await self._read(configured.config_version)

    async def directory(self) -> Directory:
        return await self._read(configured.directory)

    async def add_producer(self, name: str, key_hash: str, now_ms: int) -> Producer:
        new = Producer(id=0, name=name, key_hash=key_hash, created_ms=now_ms, updated_ms=now_ms)
        return await self._write(partial(configured.add_producer, new=new))

    async def add_consumer(self, new: Consumer) -> Consumer:
        return await self._write(partial(configured.add_consumer, new=new))

    async def add_subscription(self, new: Subscription) -> Subscription:
        return await self._write(partial(configured.add_subscription, new=new))

    async def update_producer(self, changed: Producer) -> None:
        await self._write(partial(configured.update_producer, changed=changed))

    async def update_consumer(self, changed: Consumer) -> None:
        await self._write(partial(configured.update_consumer, changed=changed))

    async def update_subscription(self, changed: Subscription) -> None:
        await self._write(partial(configured.update_subscription, changed=changed))

    async def set_subscription_status(
        self,
        subscription_id: int,
        status: SubscriptionStatus,
        reason: str,
        now_ms: int,
        seen: Subscription | None = None,
    ) -> Subscription:
        return await self._write(
            lambda db: configured.set_subscription_status(
                db, subscription_id, status, reason, now_ms, seen
            )
        )

    async def insert_messages(self, batch: receive.Batch, now_ms: int) -> Inserted:
        return await self._write(lambda db: messages.insert(db, batch, now_ms))

    async def message(self, message_id: int) -> Message | None:
        return await self._read(lambda db: messages.message(db, message_id))

    async def payloads(self, message_ids: Sequence[int]) -> dict[int, bytes]:
        return await self._read(lambda db: messages.payloads(db, message_ids))

    async def last_message_id(self) -> int:
        return await self._read(messages.last_id)

    async def insert_deliveries(self, split: fanout.Split) -> set[int]:
        return await self._write(lambda db: deliveries.insert(db, split))

    async def mark(self, outcome_chunks: Sequence[bytes]) -> None:
        await self._write(lambda db: marking.apply(db, outcome_chunks))

    async def replay(self, keys: Collection[tuple[int, int]], now_ms: int) -> int:
        return await self._write(lambda db: replay.replay(db, keys, now_ms))

    async def deliveries(self, message_id: int) -> list[Delivery]:
        return await self._read(lambda db: deliveries.of_message(db, message_id))

    async def attempts(self, message_id: int, subscription_id: int | None = None) -> list[Attempt]:
        return await self._read(lambda db: deliveries.attempts(db, message_id, subscription_id))

    async def list_deliveries(
        self, wanted: DeliveryFilter, after: tuple[int, int] | None, limit: int
    ) -> list[Delivery]:
        return await self._read(lambda db: deliveries.list_filtered(db, wanted, after, limit))

    async def ledger(self) -> list[LedgerRow]:
        return await self._read(accounts.ledger)

    async def counted_ledger(self) -> list[LedgerRow]:
        return (await self.audit(lambda *_: None)).counted

    async def audit(self, progress: Callable[[int, int], None]) -> Audit:
        return await self._read(lambda db: audit.audit(db, progress))

    async def correct_ledger(self, corrections: int, differences: Mapping[int, Difference]) -> bool:
        return await self._write(lambda db: audit.correct(db, corrections, differences))

    async def relist(self, keys: Collection[tuple[int, int]]) -> None:
        """Nothing: what is pending or dropped is found by indexes."""

    async def queued(self, span: QueuedSpan, before_ms: int, limit: int) -> list[QueuedRow]:
        return await self._read(lambda db: rescue.queued(db, span, before_ms, limit))

    async def forget_rows(
        self, subscription_id: int, rows: Sequence[QueuedRow], now_ms: int
    ) -> int:
        return await self._write(lambda db: rescue.forget_rows(db, subscription_id, rows, now_ms))

    async def unsplit(
        self, after_id: int, below_id: int, limit: int, inline_bytes_max: int
    ) -> list[MessageRecord]:
        return await self._read(
            lambda db: messages.unsplit(db, after_id, below_id, limit, inline_bytes_max)
        )

    async def pending(
        self, subscription_id: int, now_ms: int, limit: int, inline_bytes_max: int
    ) -> list[DeliveryRecord]:
        return await self._read(
            lambda db: rescue.pending(db, subscription_id, now_ms, limit, inline_bytes_max)
        )

    async def set_queued(
        self, subscription_id: int, message_ids: Sequence[int], now_ms: int
    ) -> int:
        return await self._write(
            lambda db: rescue.set_queued(db, subscription_id, message_ids, now_ms)
        )

    async def drop_pending(self, subscription_id: int, reason: int, now_ms: int, limit: int) -> int:
        return await self._write(
            lambda db: rescue.drop_pending(db, subscription_id, reason, now_ms, limit)
        )

    async def forget_queued(
        self, subscription_ids: Collection[int] | None, before_ms: int, now_ms: int
    ) -> int:
        return await self._write(
            lambda db: rescue.forget_queued(db, subscription_ids, before_ms, now_ms)
        )

    async def standings(self, keys: Collection[tuple[int, int]]) -> dict[tuple[int, int], Standing]:
        return await self._read(lambda db: deliveries.standings(db, keys))

    async def waiting(
        self, subscription_id: int, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int]]:
        return await self._read(lambda db: ordering.waiting(db, subscription_id, after, limit))

    async def pending_records(
        self, subscription_id: int, message_ids: Collection[int], inline_bytes_max: int
    ) -> list[DeliveryRecord]:
        return await self._read(
            lambda db: ordering.pending_records(db, subscription_id, message_ids, inline_bytes_max)
        )

    async def order_heads(
        self, subscription_id: int, keys: Collection[str]
    ) -> dict[str, OrderHead]:
        return await self._read(lambda db: ordering.heads(db, subscription_id, keys))

    async def set_order_heads(
        self, subscription_id: int, heads: Collection[OrderHead], now_ms: int
    ) -> None:
        await self._write(lambda db: ordering.set_heads(db, subscription_id, heads, now_ms))

    async def lease_worker(self, owner: str, now_ms: int, ttl_ms: int) -> WorkerLease:
        return await self._write(lambda db: workers.lease(db, owner, now_ms, ttl_ms))

    async def renew_worker(self, lease: WorkerLease, owner: str, now_ms: int, ttl_ms: int) -> bool:
        return await self._write(lambda db: workers.renew(db, lease, owner, now_ms, ttl_ms))

    async def release_worker(self, lease: WorkerLease, owner: str, floor_ms: int) -> None:
        await self._write(lambda db: workers.release(db, lease, owner, floor_ms))

    async def note(self, name: str) -> int:
        return await self._read(lambda db: workers.note(db, name))

    async def set_note(self, name: str, value: int) -> None:
        await self._write(lambda db: workers.set_note(db, name, value))

    async def _read(self, work: Work[T]) -> T:
        return await self._reader.run(work)

    async def _write(self, work: Work[T]) -> T:
        return await self._writer.run(work)
