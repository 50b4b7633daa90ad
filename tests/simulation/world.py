"""A whole Notify under a simulated clock, with endpoints and faults made from one seed."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from notify.config import Config, load
from notify.domain.errors import Busy, NotifyError, StorageError, TransportError
from notify.domain.model import Subscription
from notify.domain.ports import Answer, Endpoint
from notify.domain.retry import Retry
from notify.embedded.services import Services
from notify.queue.memory import MemoryQueue
from notify.storage.sqlite import SqliteStorage
from notify_core import ids, receive
from notify_core.body import Limits
from tests.simulation.faulty import FaultyQueue, FaultyStorage
from tests.simulation.loop import SeededRandom, SimulatedClock
from tests.support.answers import Answering, Told

Key = tuple[int, int]  # message id, subscription id

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TYPES = ("order.created", "order.paid", "stock.changed")


def small_config(**flags: Any) -> Config:
    """Bounds so small that a short run meets all of them."""
    return load(
        environ={},
        flags={
            "queue.depth_max": 20,
            "queue.chunk_rows_max": 4,
            "queue.inline_bytes_max": 64,
            "queue.delay_horizon_ms": 5000,
            "queue.lease_ms": 3000,
            "maker.batch_chunks_max": 3,
            "sender.concurrency_max": 3,
            "sender.in_flight_max": 8,
            "sender.outcome_rows_max": 3,
            "rescuer.forgotten_grace_ms": 8000,
            "rescuer.unsplit_grace_ms": 2000,
            "rescuer.feed_rows_max": 7,
            "api.deliver_ahead_ms_max": 60_000,
        }
        | flags,
    )


class SimulatedEndpoints(Answering):
    """Consumers that answer late, badly, twice or not at all (port Transport)."""

    def __init__(self, clock: SimulatedClock, random: SeededRandom) -> None:
        super().__init__()
        self._clock = clock
        self._random = random
        self.failure_rate = 0.3
        self.received: dict[Key, list[int]] = defaultdict(list)
        self.acknowledged: set[Key] = set()
        self.repeated: dict[Key, int] = {}  # when a delivery came again after its 2xx
        self.ids_seen: dict[Key, set[str]] = defaultdict(set)

    def answer(self, endpoint: Endpoint, head: bytes, body: bytes, timeout_ms: int) -> Told:
        lines = head.decode().split("\r\n")[1:-2]
        headers = dict(line.split(": ", 1) for line in lines)
        key = (int(headers["webhook-id"]), int(headers["notify-subscription"]))
        seconds = self._random.choice((0.001, 0.01, 0.1, 1.0))
        return seconds, lambda: self._arrived(key, headers["webhook-id"])

    def _arrived(self, key: Key, shown_id: str) -> Answer | TransportError:
        draw = self._random.random() / (self.failure_rate or 1e-9)
        if draw < 0.4:
            return TransportError("connect", "simulated: nobody listens")
        if draw < 0.6:
            return Answer(503, b"busy", self._random.choice(("", "2", "nonsense")))
        if draw < 0.9:
            return Answer(500, b"error", "")
        if key in self.acknowledged:
            self.repeated[key] = self._clock.now_ms()
        # Received, but in the last case the answer is lost on its way back.
        self.received[key].append(self._clock.now_ms())
        self.ids_seen[key].add(shown_id)
        if draw < 1.0:
            return TransportError("closed", "simulated: the answer was lost")
        self.acknowledged.add(key)
        return Answer(200, b"", "")


class _Surviving(FaultyStorage):
    """A database that outlives its clients: opened and closed by the world only."""

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None


class World:
    """One run. `accepted` holds what was promised, `faults_ms` when anything went wrong."""

    def __init__(self, seed: int, error_rate: float) -> None:
        self.random = SeededRandom(seed)
        self.clock = SimulatedClock()
        self.config = small_config()
        self.database = SqliteStorage(":memory:", inline=True)
        self.storage = _Surviving(self.database, self.random, 0.0)
        self.error_rate = error_rate
        self.endpoints = SimulatedEndpoints(self.clock, self.random)
        self.services: Services | None = None
        self.memory = MemoryQueue(self.clock)
        self.queue = FaultyQueue(self.memory, self.random, 0.0)
        self.accepted: dict[int, str] = {}
        self.crashes_ms: list[int] = []

    async def open(self) -> None:
        """A database with one producer and four subscriptions; services running."""
        await self.database.open()
        producer = await self.database.add_producer("shop", "hash", self.clock.now_ms())
        self.producer_id = producer.id
        for number, types in enumerate([(), ("order.*",), ("stock.changed",), ("*.paid",)]):
            consumer = await self.database.add_consumer(
                f"c{number}", "http://10.0.0.1/hook", (SECRET,), {}, 5000, self.clock.now_ms()
            )
            await self.database.add_subscription(
                Subscription(
                    id=0,
                    created_ms=self.clock.now_ms(),
                    updated_ms=self.clock.now_ms(),
                    producer_id=producer.id,
                    consumer_id=consumer.id,
                    types=types,
                    retry=Retry(initial_ms=500, factor=2, max_ms=8000, attempts=60),
                )
            )
        await self.start()

    async def start(self) -> None:
        """Start services, again and again where an injected error hits the start."""
        while True:
            services = Services(
                self.config,
                self.storage,  # type: ignore[arg-type]  # delegates the whole port
                self.queue,  # type: ignore[arg-type]
                self.endpoints,
                self.clock,
                self.random,
                f"w{self.random.getrandbits(32):08x}",
            )
            try:
                await services.start()
            except NotifyError:
                await services.kill()
                await self.clock.sleep(0.1)
                continue
            self.services = services
            return

    async def kill(self) -> None:
        """The process dies; with it the queue in its memory."""
        assert self.services
        self.crashes_ms.append(self.clock.now_ms())
        dying, self.services = self.services, None
        await dying.kill()
        self.memory = MemoryQueue(self.clock)
        self.queue = FaultyQueue(self.memory, self.random, self.queue.rate)
        await self.start()

    def flush(self) -> None:
        """The queue loses everything under running services."""
        self.crashes_ms.append(self.clock.now_ms())
        self.memory.flush()

    def set_errors(self, on: bool) -> None:
        """Let storage and queue fail at random, or work."""
        self.storage.rate = self.queue.rate = self.error_rate if on else 0.0

    async def accept(self, count: int) -> None:
        """Send one batch; remember what was promised. Nobody listens between kill and start."""
        if self.services is None:
            return
        types = [self.random.choice(TYPES) for _ in range(count)]
        items = [
            f'{{"type":"{type_}","payload":"{"x" * self.random.choice((3, 30, 300))}"'
            f"{self._deliver_at()}}}"
            for type_ in types
        ]
        body = ("[" + ",".join(items) + "]").encode()
        batch = receive.parse(body, "application/json", Limits())
        try:
            made = await self.services.acceptor.accept(batch, self.producer_id)
        except (Busy, StorageError):
            return
        self.accepted.update(zip(made, types, strict=True))

    def _deliver_at(self) -> str:
        if self.random.random() < 0.9:
            return ""
        ahead_ms = self.random.randint(1000, 20_000)
        moment = datetime.fromtimestamp((self.clock.now_ms() + ahead_ms) / 1000, UTC)
        return f',"deliver_at":"{moment.isoformat()}"'

    async def settle(self, timeout_s: float) -> None:
        """Faults over: wait until nothing is open any more."""
        self.set_errors(False)
        self.endpoints.failure_rate = 0.05
        async with asyncio.timeout(timeout_s):
            while True:
                rows = await self.database.ledger()
                unsplit = await self.database.unsplit(0, 1 << 62, 1, 0)
                if not unsplit and not any(row.queued or row.pending for row in rows):
                    return
                await self.clock.sleep(1.0)

    async def close(self) -> None:
        """Stop in order and close the database."""
        assert self.services
        await self.services.stop()
        await self.database.close()

    def expected(self) -> set[Key]:
        """Every delivery that the accepted messages promise."""
        matching = {
            "order.created": (1, 2),
            "order.paid": (1, 2, 4),
            "stock.changed": (1, 3),
        }
        return {(id_, sub) for id_, type_ in self.accepted.items() for sub in matching[type_]}

    def unexplained_repeats(self) -> dict[Key, int]:
        """Deliveries that came again after their 2xx though nothing crashed under way."""
        return {
            key: at_ms
            for key, at_ms in self.endpoints.repeated.items()
            if not any(ids.id_ms(key[0]) <= crash_ms <= at_ms for crash_ms in self.crashes_ms)
        }
