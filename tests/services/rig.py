"""Real storage and queue under a simulated clock, with what the services' tests need of them."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from notify.config import Config
from notify.domain.model import Delivery, LedgerRow, Subscription, SubscriptionStatus
from notify.domain.ports import Answer, Endpoint, Gauge, Push, Stream, StreamKind
from notify.maker import Maker
from notify.marker import Marker
from notify.queue.memory import MemoryQueue
from notify.rescuer import Rescuer
from notify.runtime.directory import DirectoryCache
from notify.runtime.steps import Stopping
from notify.sender import Sender
from notify.storage.sqlite import SqliteStorage
from notify_core import ids, receive
from notify_core.body import Limits
from notify_core.records import MessageRecord
from tests.conformance.storage.samples import new_consumer
from tests.simulation.loop import START_MS, SeededRandom, SimulatedClock
from tests.simulation.world import SECRET, small_config
from tests.support.answers import Answering, Told

INGEST = Stream(StreamKind.INGEST, 0)
MARK = Stream(StreamKind.MARK, 0)
SECRETS = (SECRET,)

# What a consumer does: an answer, or an error, after some seconds.
Behaviour = Callable[["Request"], Told]

OK = Answer(200, b"", "")


class Request:
    """One request that a consumer got."""

    def __init__(self, endpoint: Endpoint, head: bytes, body: bytes, timeout_ms: int) -> None:
        lines = head.decode().split("\r\n")[1:-2]
        self.headers = dict(line.split(": ", 1) for line in lines)
        assert len(self.headers) == len(lines), "a header is there twice"
        self.endpoint = endpoint
        self.body = body
        self.timeout_ms = timeout_ms
        webhook_id = self.headers["webhook-id"]
        self.message_id = int(webhook_id) if webhook_id.isdigit() else 0  # 0: a batch
        self.sub_id = int(self.headers["notify-subscription"])
        self.attempt = int(self.headers["notify-attempt"])
        self.at_s = asyncio.get_running_loop().time()


class Consumers(Answering):
    """All consumers (port Transport)."""

    def __init__(self) -> None:
        super().__init__()
        self.behaviour: Behaviour = lambda _: (0.0, OK)
        self.requests: list[Request] = []

    def answer(self, endpoint: Endpoint, head: bytes, body: bytes, timeout_ms: int) -> Told:
        request = Request(endpoint, head, body, timeout_ms)
        self.requests.append(request)
        return self.behaviour(request)

    def got(self, sub_id: int | None = None) -> list[int]:
        """The message ids of the requests, in their order."""
        return [r.message_id for r in self.requests if sub_id in (None, r.sub_id)]


class Rig:
    """One database and one queue; services are made over them, one or many."""

    def __init__(self, **flags: Any) -> None:
        self.config: Config = small_config(**flags)
        self.clock = SimulatedClock()
        self.random = SeededRandom(7)
        self.storage = SqliteStorage(":memory:", inline=True)
        self.queue = MemoryQueue(self.clock)
        self.directory = DirectoryCache(self.storage)
        self.consumers = Consumers()
        self.stopping = Stopping(self.clock)
        self.producer_id = 0
        self._made = 0
        self._workers = 0

    async def open(self, subscriptions: int = 1, epoch: bool = True) -> None:
        """A database with a producer and so many subscriptions to everything, ids from 1."""
        await self.storage.open()
        self.producer_id = (await self.storage.add_producer("shop", "hash", START_MS)).id
        await self.directory.refresh()
        for _ in range(subscriptions):
            await self.subscribe()
        if epoch:
            await self.queue.begin_epoch(f"{self.clock.now_ms()}-1")
            await self.storage.set_note("rebuilt_epoch_ms", self.clock.now_ms())

    async def subscribe(
        self, headers: dict[str, str] | None = None, timeout_ms: int = 5000, **more: Any
    ) -> Subscription:
        """One more consumer with one subscription."""
        name = f"c{len((await self.storage.directory()).consumers)}"
        consumer = await self.storage.add_consumer(
            new_consumer(name, secrets=SECRETS, headers=headers or {}, timeout_ms=timeout_ms)
        )
        fields = {"created_ms": START_MS, "updated_ms": START_MS} | more
        new = Subscription(id=0, producer_id=self.producer_id, consumer_id=consumer.id, **fields)
        made = await self.storage.add_subscription(new)
        await self.directory.refresh()
        return made

    async def set_status(self, sub_id: int, status: SubscriptionStatus) -> None:
        await self.storage.set_subscription_status(sub_id, status, "", self.clock.now_ms())
        await self.directory.refresh()

    async def delete(self, sub_id: int) -> None:
        known = (await self.storage.directory()).subscriptions[sub_id]
        fields = {name: getattr(known, name) for name in known.__struct_fields__}
        await self.storage.update_subscription(
            Subscription(**fields | {"deleted_ms": self.clock.now_ms()})
        )
        await self.directory.refresh()

    async def store(self, n: int, **fields: Any) -> receive.Batch:
        """N messages in the database, of this moment; fields as in the API."""
        items = [{"type": "order.paid", "payload": {"n": i}, **fields} for i in range(n)]
        batch = receive.parse(json.dumps(items).encode(), "application/json", Limits())
        floor = ids.id_floor(self.clock.now_ms())
        self._made += n
        batch.stamp(self.producer_id, [floor + self._made - n + i + 1 for i in range(n)])
        await self.storage.insert_messages(batch, self.clock.now_ms())
        return batch

    async def accept(self, n: int, **fields: Any) -> list[int]:
        """As the Api does it: stored, then in the ingest stream. Their ids."""
        batch = await self.store(n, **fields)
        chunk = batch.chunk(self.directory.version, self.config.queue.inline_bytes_max)
        await self.queue.push([Push(INGEST, chunk, n)])
        return list(batch.ids)

    def records(self, batch: receive.Batch) -> list[MessageRecord]:
        return batch.records(self.config.queue.inline_bytes_max)

    def maker(self, worker: str = "maker", directory: DirectoryCache | None = None) -> Maker:
        return Maker(
            self.storage,
            self.queue,
            directory or self.directory,
            self.clock,
            self.random,
            self.config.maker,
            self.config.queue,
            worker,
        )

    def sender(self, worker: str = "sender", drain_ms: int = 10_000) -> Sender:
        return Sender(
            self.storage,
            self.queue,
            self.consumers,
            self.directory,
            self.clock,
            self.random,
            self.config.sender,
            self.config.queue,
            drain_ms,
            worker,
        )

    def marker(self, worker: str = "marker") -> Marker:
        return Marker(
            self.storage,
            self.queue,
            self.clock,
            self.random,
            self.config.marker,
            self.config.queue,
            self.config.runtime.drain_ms,
            worker,
        )

    def rescuer(self, worker: str = "rescuer") -> Rescuer:
        return Rescuer(
            self.storage,
            self.queue,
            self.directory,
            self.clock,
            self.random,
            self.config.rescuer,
            self.config.queue,
            worker,
        )

    async def split(self) -> None:
        """Have a Maker empty the ingest stream."""
        await self._drain(self.maker(self._worker()), INGEST)

    async def mark(self) -> None:
        """Have a Marker empty the mark stream."""
        await self._drain(self.marker(self._worker()), MARK)

    def _worker(self) -> str:
        """A name that nobody had: a worker is told of a lost queue, a new one has lost nothing."""
        self._workers += 1
        return f"worker-{self._workers}"

    async def _drain(self, service: Maker | Marker, stream: Stream) -> None:
        never_waiting = Stopping(self.clock)
        never_waiting.set()
        before = -1
        while before != (before := (await self.gauge(stream)).depth):
            await service.chunks.step(never_waiting)

    async def queued(self, n: int, **fields: Any) -> list[int]:
        """N messages, accepted and split."""
        made = await self.accept(n, **fields)
        await self.split()
        return made

    async def gauge(self, stream: Stream) -> Gauge:
        return (await self.queue.gauges([stream]))[0]

    async def depth(self, sub_id: int = 1) -> int:
        return (await self.gauge(sub(sub_id))).depth

    async def account(self, sub_id: int = 1) -> LedgerRow:
        """The proven account of one subscription."""
        kept = await self.storage.ledger()
        assert kept == await self.storage.counted_ledger()
        assert all(row.difference == 0 for row in kept)
        rows = {row.subscription_id: row for row in kept}
        return rows.get(sub_id, LedgerRow(subscription_id=sub_id))

    async def delivery(self, message_id: int, sub_id: int = 1) -> Delivery:
        [found] = [
            delivery
            for delivery in await self.storage.deliveries(message_id)
            if delivery.subscription_id == sub_id
        ]
        return found


def sub(sub_id: int) -> Stream:
    """A subscription's queue."""
    return Stream(StreamKind.SUBSCRIPTION, sub_id)


def counts(row: LedgerRow) -> Sequence[int]:
    """Delivered, dropped, queued, pending."""
    return (row.delivered, row.dropped, row.queued, row.pending)
