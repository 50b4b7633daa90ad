"""Order, for many seeds: what comes before is finished before, whatever fails, dies or is lost."""

import asyncio
import logging
from collections import defaultdict
from typing import Any

import pytest

from notify.domain.errors import Busy, StorageError, TransportError
from notify.domain.model import DeliveryStatus, Subscription
from notify.domain.policy import Ordering
from notify.domain.ports import Answer, Endpoint
from notify.runtime.steps import Stopping
from notify.sender import Sender
from notify_core import receive
from notify_core.body import Limits
from tests.conformance.storage.samples import new_consumer
from tests.simulation.loop import SimulatedLoop
from tests.simulation.world import SECRET, SimulatedEndpoints, World
from tests.support.answers import Told

pytestmark = pytest.mark.simulation

BUSY_S = 15.0
SETTLE_S = 3600.0
KEYS = ("a", "b", "c", "d", "e")
ORDERINGS = (Ordering.KEY, Ordering.KEY, Ordering.STRICT)


class Line:
    """What was accepted, tried first and finished of one key of one subscription."""

    def __init__(self) -> None:
        self.accepted: list[int] = []  # the producer's numbers, rising
        self.begun: set[int] = set()
        self.finished: set[int] = set()
        self.place = (0, 0)  # sequence and message of the last one tried first


class OrderedEndpoints(SimulatedEndpoints):
    """Consumers that look at the order. A payload is its key and the producer's number."""

    lines: defaultdict[tuple[int, str], Line]
    exact: bool

    def answer(self, endpoint: Endpoint, head: bytes, body: bytes, timeout_ms: int) -> Told:
        fields = head.decode().split("\r\n")[1:-2]
        headers = dict(line.split(": ", 1) for line in fields)
        sub_id, message_id = int(headers["notify-subscription"]), int(headers["webhook-id"])
        key, _, digits = body.decode().strip('"').partition(":")
        number = int(digits)
        line = self.lines[sub_id, self.line_of(sub_id, key)]
        place = (int(headers["notify-sequence"]), int(headers.get("notify-previous-id", "0")))
        if number not in line.begun:
            line.begun.add(number)
            before = [one for one in line.accepted if one < number]
            unfinished = [one for one in before if one not in line.finished]
            assert not unfinished, f"{number} of {key!r} came before {unfinished}"
            assert place[0] > line.place[0], "the sequence rises"
            if self.exact:
                assert place == (line.place[0] + 1, line.place[1]), "without a gap"
            line.place = (place[0], message_id)
        elif self.exact:
            assert place[0] == line.place[0], "every try of it has the same number"
        seconds, result = super().answer(endpoint, head, body, timeout_ms)
        assert callable(result)
        return seconds, lambda: self.seen(line, number, result())

    @staticmethod
    def line_of(sub_id: int, key: str) -> str:
        return "" if ORDERINGS[sub_id - 1] is Ordering.STRICT else key

    def seen(self, line: Line, number: int, result: Any) -> Answer | TransportError:
        if isinstance(result, Answer) and result.code == 200:
            line.finished.add(number)
        return result


class OrderedWorld(World):
    """Three ordered subscriptions and up to three Senders."""

    def __init__(self, seed: int, error_rate: float, exact: bool) -> None:
        super().__init__(seed, error_rate)
        self.watching = OrderedEndpoints(self.clock, self.random)
        self.watching.lines = defaultdict(Line)
        self.watching.exact = exact
        self.endpoints = self.watching
        self.numbers = 0
        self.more: list[tuple[asyncio.Task[None], Stopping]] = []

    async def open(self) -> None:
        await self.database.open()
        now_ms = self.clock.now_ms()
        producer = await self.database.add_producer("shop", "hash", now_ms)
        self.producer_id = producer.id
        for number, ordering in enumerate(ORDERINGS):
            consumer = await self.database.add_consumer(
                new_consumer(f"c{number}", secrets=(SECRET,))
            )
            await self.database.add_subscription(
                Subscription(
                    id=0,
                    created_ms=now_ms,
                    updated_ms=now_ms,
                    producer_id=producer.id,
                    consumer_id=consumer.id,
                    retry=self.retry,
                    ordering=ordering,
                )
            )
        await self.start()

    async def accept(self, count: int) -> None:
        if self.services is None:
            return
        made = []
        for _ in range(count):
            self.numbers += 1
            made.append((self.random.choice(KEYS), self.numbers))
        items = ",".join(
            f'{{"type":"a","payload":"{key}:{number}","ordering_key":"{key}"}}'
            for key, number in made
        )
        batch = receive.parse(f"[{items}]".encode(), "application/json", Limits())
        try:
            ids = await self.services.acceptor.accept(batch, self.producer_id)
        except (Busy, StorageError):
            return
        for id_, (key, number) in zip(ids, made, strict=True):
            self.accepted[id_] = key
            for sub_id in range(1, len(ORDERINGS) + 1):
                line = self.watching.lines[sub_id, self.watching.line_of(sub_id, key)]
                line.accepted.append(number)

    def add_sender(self) -> None:
        """One more Sender beside that of the services."""
        services = self.services
        assert services
        stopping = Stopping(self.clock)
        sender = Sender(
            self.storage,  # type: ignore[arg-type]  # delegates the whole port
            self.queue,  # type: ignore[arg-type]
            self.endpoints,
            services.directory,
            self.clock,
            self.random,
            self.config.sender,
            self.config.queue,
            5000,
            f"more-{self.random.getrandbits(32):08x}",
        )
        self.more.append((asyncio.create_task(sender.run(stopping)), stopping))

    async def remove_sender(self, kill: bool) -> None:
        """Stop one of those in order, or kill it."""
        task, stopping = self.more.pop(0)
        stopping.set()
        if kill:
            task.cancel()
        await asyncio.gather(task, return_exceptions=kill)

    async def kill(self) -> None:
        while self.more:
            await self.remove_sender(kill=True)
        await super().kill()


async def misfortune(world: OrderedWorld, kills: bool, flushes: bool) -> None:
    """Senders come and go; crashes and lost queues at random moments."""
    for _ in range(8):
        await world.clock.sleep(world.random.random() * BUSY_S / 4)
        if len(world.more) < 2 and world.random.random() < 0.6:
            world.add_sender()
        elif world.more:
            await world.remove_sender(kill=kills)
        if flushes and world.random.random() < 0.3:
            world.flush()
        elif kills and world.random.random() < 0.2:
            await world.kill()


async def traffic(world: OrderedWorld) -> None:
    until_ms = world.clock.now_ms() + BUSY_S * 1000
    while world.clock.now_ms() < until_ms:
        await world.accept(world.random.choice((1, 1, 2, 5, 12)))
        await world.clock.sleep(world.random.choice((0.0, 0.01, 0.5, 1.0)))


async def scenario(
    seed: int, *, kills: bool = False, flushes: bool = False, errors: float = 0.0
) -> None:
    # What a crash has tried again has a number of its own: its first one died with the outcome.
    world = OrderedWorld(seed, errors, exact=not (kills or flushes or errors))
    await world.open()
    world.set_errors(on=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic(world))
        group.create_task(misfortune(world, kills, flushes))
    await world.settle(SETTLE_S)
    while world.more:
        await world.remove_sender(kill=False)
    for sub_id in range(1, len(ORDERINGS) + 1):
        keys = [(id_, sub_id) for id_ in world.accepted]
        standings = await world.database.standings(keys)
        assert {standings[key].status for key in keys} == {DeliveryStatus.DELIVERED}
        assert {key for key in keys if key not in world.endpoints.received} == set()
    for line in world.watching.lines.values():
        assert set(line.accepted) <= line.finished
    await world.close()


@pytest.fixture(autouse=True)
def no_bugs_logged(caplog: pytest.LogCaptureFixture) -> Any:
    """What breaks the order is raised where a request is sent, and logged as a bug there."""
    caplog.set_level(logging.ERROR)
    yield
    bugs = [str(one.exc_info or one.getMessage()) for one in caplog.records]
    assert not bugs


def simulate(seed: int, **faults: Any) -> None:
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(scenario(seed, **faults))


@pytest.mark.parametrize("seed", range(6))
def test_places_have_no_gaps_while_senders_come_and_go(seed: int) -> None:
    simulate(seed)


@pytest.mark.parametrize("seed", range(6))
def test_killed_senders_keep_the_order(seed: int) -> None:
    simulate(seed, kills=True)


@pytest.mark.parametrize("seed", range(6))
def test_a_lost_queue_keeps_the_order(seed: int) -> None:
    simulate(seed, flushes=True)


@pytest.mark.parametrize("seed", range(4))
def test_everything_at_once_keeps_the_order(seed: int) -> None:
    simulate(seed, kills=True, flushes=True, errors=0.05)
