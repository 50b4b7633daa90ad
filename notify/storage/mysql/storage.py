"""The port Storage over MySQL, MariaDB and what speaks their protocol."""
# ruff: noqa: D102 - the contract of every method is written once, in notify.domain.ports

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

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
from notify.storage.mysql import (
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
from notify.storage.mysql.connection import Record
from notify.storage.mysql.migrate import check_version
from notify.storage.mysql.pool import Pool
from notify.storage.mysql.url import Options
from notify_core import fanout, receive
from notify_core.records import DeliveryRecord, MessageRecord


class MysqlStorage(Storage):
    """Storage in a MySQL database that any number of processes share.

    The schema is made by `notify migrate`; open() refuses any other than this release's. Calls
    run on up to options.connections_max connections at a time, writes each in one transaction.
    record: sees every statement, for tests.
    """

    def __init__(self, options: Options, *, record: Record | None = None) -> None:
        self._pool = Pool(options, record)

    async def open(self) -> None:
        self._pool.open()
        try:
            await self._pool.run(partial(check_version, shown=self._pool.shown))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._pool.close()

    async def config_version(self) -> int:
        return await self._pool.run(configured.config_version)

    async def directory(self) -> Directory:
        return await self._pool.transact(configured.directory)

    async def add_producer(self, name: str, key_hash: str, now_ms: int) -> Producer:
        new = Producer(id=0, name=name, key_hash=key_hash, created_ms=now_ms, updated_ms=now_ms)
        return await self._pool.transact(partial(configured.add_producer, new=new))

    async def add_consumer(self, new: Consumer) -> Consumer:
        return await self._pool.transact(partial(configured.add_consumer, new=new))

    async def add_subscription(self, new: Subscription) -> Subscription:
        return await self._pool.transact(partial(configured.add_subscription, new=new))

    async def update_producer(self, changed: Producer) -> None:
        await self._pool.transact(partial(configured.update_producer, changed=changed))

    async def update_consumer(self, changed: Consumer) -> None:
        await self._pool.transact(partial(configured.update_consumer, changed=changed))

    async def update_subscription(self, changed: Subscription) -> None:
        await self._pool.transact(partial(configured.update_subscription, changed=changed))

    async def set_subscription_status(
        self,
        subscription_id: int,
        status: SubscriptionStatus,
        reason: str,
        now_ms: int,
        seen: Subscription | None = None,
    ) -> Subscription:
        return await self._pool.transact(
            lambda db: configured.set_subscription_status(
                db, subscription_id, status, reason, now_ms, seen
            )
        )

    async def insert_messages(self, batch: receive.Batch, now_ms: int) -> Inserted:
        return await self._pool.run(lambda db: messages.insert(db, batch, now_ms))

    async def message(self, message_id: int) -> Message | None:
        return await self._pool.run(lambda db: messages.message(db, message_id))

    async def payloads(self, message_ids: Sequence[int]) -> dict[int, bytes]:
        return await self._pool.run(lambda db: messages.payloads(db, message_ids))

    async def last_message_id(self) -> int:
        return await self._pool.run(messages.last_id)

    async def insert_deliveries(self, split: fanout.Split) -> set[int]:
        return await self._pool.run(lambda db: deliveries.insert(db, split))

    async def mark(self, outcome_chunks: Sequence[bytes]) -> None:
        await self._pool.run(lambda db: marking.apply(db, outcome_chunks))

    async def replay(self, keys: Collection[tuple[int, int]], now_ms: int) -> int:
        return await self._pool.transact(lambda db: replay.replay(db, keys, now_ms))

    async def deliveries(self, message_id: int) -> list[Delivery]:
        return await self._pool.run(lambda db: deliveries.of_message(db, message_id))

    async def attempts(self, message_id: int, subscription_id: int | None = None) -> list[Attempt]:
        return await self._pool.run(lambda db: deliveries.attempts(db, message_id, subscription_id))

    async def list_deliveries(
        self, wanted: DeliveryFilter, after: tuple[int, int] | None, limit: int
    ) -> list[Delivery]:
        return await self._pool.run(lambda db: deliveries.list_filtered(db, wanted, after, limit))

    async def ledger(self) -> list[LedgerRow]:
        return await self._pool.run(accounts.ledger)

    async def counted_ledger(self) -> list[LedgerRow]:
        return (await self.audit(lambda *_: None)).counted

    async def audit(self, progress: Callable[[int, int], None]) -> Audit:
        return await self._pool.run(lambda db: audit.audit(db, progress))

    async def correct_ledger(self, corrections: int, differences: Mapping[int, Difference]) -> bool:
        return await self._pool.transact(lambda db: audit.correct(db, corrections, differences))

    async def relist(self, keys: Collection[tuple[int, int]]) -> None:
        await self._pool.run(lambda db: audit.relist(db, keys))

    async def queued(self, span: QueuedSpan, before_ms: int, limit: int) -> list[QueuedRow]:
        return await self._pool.run(lambda db: rescue.queued(db, span, before_ms, limit))

    async def forget_rows(
        self, subscription_id: int, rows: Sequence[QueuedRow], now_ms: int
    ) -> int:
        return await self._pool.run(
            lambda db: rescue.forget_rows(db, subscription_id, rows, now_ms)
        )

    async def unsplit(
        self, after_id: int, below_id: int, limit: int, inline_bytes_max: int
    ) -> list[MessageRecord]:
        return await self._pool.run(
            lambda db: messages.unsplit(db, after_id, below_id, limit, inline_bytes_max)
        )

    async def pending(
        self, subscription_id: int, now_ms: int, limit: int, inline_bytes_max: int
    ) -> list[DeliveryRecord]:
        return await self._pool.run(
            lambda db: rescue.pending(db, subscription_id, now_ms, limit, inline_bytes_max)
        )

    async def set_queued(
        self, subscription_id: int, message_ids: Sequence[int], now_ms: int
    ) -> int:
        return await self._pool.transact(
            lambda db: rescue.set_queued(db, subscription_id, message_ids, now_ms)
        )

    async def drop_pending(self, subscription_id: int, reason: int, now_ms: int, limit: int) -> int:
        return await self._pool.transact(
            lambda db: rescue.drop_pending(db, subscription_id, reason, now_ms, limit)
        )

    async def forget_queued(
        self, subscription_ids: Collection[int] | None, before_ms: int, now_ms: int
    ) -> int:
        return await self._pool.run(
            lambda db: rescue.forget_queued(db, subscription_ids, before_ms, now_ms)
        )

    async def standings(self, keys: Collection[tuple[int, int]]) -> dict[tuple[int, int], Standing]:
        return await self._pool.run(lambda db: deliveries.standings(db, keys))

    async def waiting(
        self, subscription_id: int, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int]]:
        return await self._pool.run(lambda db: ordering.waiting(db, subscription_id, after, limit))

    async def pending_records(
        self, subscription_id: int, message_ids: Collection[int], inline_bytes_max: int
    ) -> list[DeliveryRecord]:
        return await self._pool.run(
            lambda db: ordering.pending_records(db, subscription_id, message_ids, inline_bytes_max)
        )

    async def order_heads(
        self, subscription_id: int, keys: Collection[str]
    ) -> dict[str, OrderHead]:
        return await self._pool.run(lambda db: ordering.heads(db, subscription_id, keys))

    async def set_order_heads(
        self, subscription_id: int, heads: Collection[OrderHead], now_ms: int
    ) -> None:
        await self._pool.run(lambda db: ordering.set_heads(db, subscription_id, heads, now_ms))

    async def lease_worker(self, owner: str, now_ms: int, ttl_ms: int) -> WorkerLease:
        return await self._pool.transact(lambda db: workers.lease(db, owner, now_ms, ttl_ms))

    async def renew_worker(self, lease: WorkerLease, owner: str, now_ms: int, ttl_ms: int) -> bool:
        return await self._pool.transact(lambda db: workers.renew(db, lease, owner, now_ms, ttl_ms))

    async def release_worker(self, lease: WorkerLease, owner: str, floor_ms: int) -> None:
        await self._pool.transact(lambda db: workers.release(db, lease, owner, floor_ms))

    async def note(self, name: str) -> int:
        return await self._pool.run(lambda db: workers.note(db, name))

    async def set_note(self, name: str, value: int) -> None:
        await self._pool.transact(lambda db: workers.set_note(db, name, value))
