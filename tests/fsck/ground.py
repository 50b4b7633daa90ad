"""A database and a queue that tests damage by hand, and what fsck says of them."""

from collections.abc import Sequence
from typing import Any

from notify.config import load
from notify.domain.model import Subscription
from notify.domain.ports import Push, Queue, Storage, Stream, StreamKind
from notify.fsck import Finding, Fsck, Report
from notify.runtime.clock import SystemClock, SystemRandom
from notify.runtime.rescue import REBUILT_EPOCH
from notify.runtime.streams import INGEST, MARK
from notify_core import chunk, ids
from notify_core.records import QUEUED, DeliveryRecord, MessageRecord, OutcomeRecord
from tests.conformance.storage.samples import batch, new_consumer, split
from tests.simulation.world import SECRET

SUBS = (1, 2)
HOUR_MS = 3_600_000
FIRST_EPOCH = "1-first"
# Of ids, so that a few messages are in several spans and windows.
STEP = 1 << 37


def sub(number: int) -> Stream:
    return Stream(StreamKind.SUBSCRIPTION, number)


class Nobody:
    """A Watcher that remembers what it was told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []

    def step(self, what: str, done: int, total: int) -> None:
        self.steps.append((what, done, total))


class Ground:
    """Everything here happened an hour ago, so no grace passes anything over."""

    def __init__(self, storage: Storage, queue: Queue) -> None:
        self.storage = storage
        self.queue = queue
        self.config = load(environ={}, flags={"queue.inline_bytes_max": 1000})
        self.clock = SystemClock()
        self.past_ms = self.clock.now_ms() - 10 * HOUR_MS
        self.producer_id = 0
        self._made = 0

    async def open(self) -> None:
        await self.storage.open()
        await self.queue.open()
        self.producer_id = (await self.storage.add_producer("shop", "hash", 1)).id
        for number in SUBS:
            consumer = await self.storage.add_consumer(
                new_consumer(f"c{number}", secrets=(SECRET,))
            )
            await self.storage.add_subscription(
                Subscription(
                    id=0,
                    created_ms=1,
                    updated_ms=1,
                    producer_id=self.producer_id,
                    consumer_id=consumer.id,
                )
            )
        await self.begin()

    async def begin(self) -> None:
        """A queue that is whole."""
        await self.queue.begin_epoch(FIRST_EPOCH)
        await self.storage.set_note(REBUILT_EPOCH, 1)

    async def close(self) -> None:
        await self.queue.close()
        await self.storage.close()

    async def store(self, n: int) -> list[int]:
        """Messages without delivery rows."""
        first = ids.id_floor(self.past_ms) + self._made * STEP
        self._made += n
        made = [first + number * STEP for number in range(n)]
        await self.storage.insert_messages(batch(made, self.producer_id), self.past_ms)
        return made

    async def deliveries(
        self, n: int, status: int = QUEUED, subs: Sequence[int] = SUBS, due_ms: int = 0
    ) -> list[int]:
        """Messages with delivery rows, which are in no queue."""
        made = await self.store(n)
        rows = [
            (id_, number, status, 0, 0, due_ms, self.past_ms) for id_ in made for number in subs
        ]
        await self.storage.insert_deliveries(split(*rows))
        return made

    async def queued(self, n: int, size: int = 3) -> list[int]:
        """Messages with delivery rows and in their queues, so many to a chunk."""
        made = await self.deliveries(n)
        for number in SUBS:
            for start in range(0, n, size):
                await self.push(number, made[start : start + size])
        return made

    async def push(
        self, number: int, message_ids: Sequence[int], due_ms: int = 0, attempts: int = 0
    ) -> None:
        records = [DeliveryRecord(attempts, record(id_)) for id_ in message_ids]
        packed = chunk.pack_deliveries(number, records)
        await self.queue.push([Push(sub(number), packed, len(records), due_ms)])

    async def push_ingest(self, message_ids: Sequence[int]) -> None:
        packed = chunk.pack_messages(1, [record(id_) for id_ in message_ids])
        await self.queue.push([Push(INGEST, packed, len(message_ids))])

    async def push_outcomes(self, *outcomes: OutcomeRecord) -> None:
        await self.queue.push([Push(MARK, chunk.pack_outcomes(outcomes), len(outcomes))])

    async def finish(self, outcomes: Sequence[OutcomeRecord]) -> None:
        await self.storage.mark([chunk.pack_outcomes(outcomes)])

    async def in_queue(self, number: int) -> list[int]:
        """What a Sender would claim now or later, in any order."""
        after, found = "", []
        while True:
            page, after = await self.queue.contents(sub(number), after, 100)
            for content in page:
                _, deliveries = chunk.unpack_deliveries(content.chunk)
                assert len(deliveries) == content.items
                found += [delivery.message.id for delivery in deliveries]
            if not after:
                (gauge,) = await self.queue.gauges([sub(number)])
                assert gauge.depth == len(found)
                return sorted(found)

    def fsck(self, **changed: Any) -> Fsck:
        parts: dict[str, Any] = {
            "storage": self.storage,
            "queue": self.queue,
            "clock": self.clock,
            "random": SystemRandom(),
            "limits": self.config.queue,
            "watcher": Nobody(),
            "grace_ms": HOUR_MS,
            "settle_s": 0.001,
        }
        return Fsck(**parts | changed)

    async def check(self) -> dict[tuple[str, int], Finding]:
        """What a look without a repair finds, by check and subscription."""
        report = await self.fsck().run(repair=False)
        assert report.clean is not bool(report.findings)
        assert report.remaining is None
        return by_key(report.findings)

    async def repair(self) -> Report:
        """What a repair says; after it, nothing may be left."""
        report = await self.fsck().run(repair=True)
        assert report.findings
        assert report.clean, report.remaining
        assert report.remaining == []
        assert await self.check() == {}
        return report


def by_key(findings: Sequence[Finding]) -> dict[tuple[str, int], Finding]:
    found = {(one.check.value, one.subscription_id): one for one in findings}
    assert len(found) == len(findings)
    return found


def record(id_: int) -> MessageRecord:
    return MessageRecord(id_, 1, "order.paid", "", b"", "", 0, 0, b"{}")
