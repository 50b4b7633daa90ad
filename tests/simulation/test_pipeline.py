"""Rules 1 to 4 of the design, for many seeds: accept, split, deliver, mark, lose, rebuild."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import pytest

from notify.domain.model import DeliveryStatus, SubscriptionStatus
from tests.simulation.loop import SimulatedLoop
from tests.simulation.world import World

pytestmark = pytest.mark.simulation

BUSY_S = 40.0
SETTLE_S = 3600.0


def simulate(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(work)


async def traffic(world: World) -> None:
    """Batches of any size at random moments."""
    until_ms = world.clock.now_ms() + BUSY_S * 1000
    while world.clock.now_ms() < until_ms:
        await world.accept(world.random.choice((1, 1, 2, 5, 30)))
        await world.clock.sleep(world.random.choice((0.0, 0.05, 0.5, 2.0)))


async def operator(world: World) -> None:
    """Somebody pauses and resumes subscriptions meanwhile."""
    for _ in range(6):
        await world.clock.sleep(world.random.random() * BUSY_S / 8)
        sub_id = world.random.randint(1, 4)
        for status in (SubscriptionStatus.PAUSED, SubscriptionStatus.NORMAL):
            await world.database.set_subscription_status(sub_id, status, "", world.clock.now_ms())
            await world.clock.sleep(world.random.random() * 5)


async def misfortune(world: World, kills: bool, flushes: bool) -> None:
    """Crashes and lost queues at random moments."""
    for _ in range(5):
        await world.clock.sleep(world.random.random() * BUSY_S / 4)
        if kills and (not flushes or world.random.random() < 0.5):
            await world.kill()
        elif flushes:
            world.flush()


async def check_rules(world: World) -> None:
    expected = world.expected()
    stored = {id_ for id_ in world.accepted if await world.database.message(id_)}
    assert stored == set(world.accepted), "rule 1: a promised message is not stored"
    missing = expected - set(world.endpoints.received)
    assert not missing, f"rule 2: {len(missing)} deliveries never arrived"
    ledger = {row.subscription_id: row for row in await world.database.ledger()}
    counted = {row.subscription_id: row for row in await world.database.counted_ledger()}
    assert ledger == counted, "rule 3: the kept account differs from the counted one"
    assert all(row.difference == 0 for row in ledger.values()), "rule 3: conservation"
    for sub_id, row in ledger.items():
        assert row.matched >= sum(1 for key in expected if key[1] == sub_id)
    for message_id, sub_id in expected:
        standings = await world.database.standings([(message_id, sub_id)])
        assert standings[message_id, sub_id].status is DeliveryStatus.DELIVERED
    assert all(len(seen) == 1 for seen in world.endpoints.ids_seen.values()), "rule 4: same id"
    if not world.error_rate:  # with errors anywhere at any time every delivery is under way in one
        assert not world.unexplained_repeats(), "rule 4: a repeat without a crash"


async def scenario(
    seed: int, *, kills: bool = False, flushes: bool = False, errors: float = 0.0
) -> World:
    world = World(seed, errors)
    await world.open()
    world.set_errors(on=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic(world))
        group.create_task(operator(world))
        group.create_task(misfortune(world, kills, flushes))
    await world.settle(SETTLE_S)
    await check_rules(world)
    await world.close()
    return world


@pytest.fixture(autouse=True)
def no_bugs_logged(caplog: pytest.LogCaptureFixture) -> Any:
    """A service survives its own bugs; here they fail the test."""
    caplog.set_level(logging.ERROR)
    yield
    bugs = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert not bugs


@pytest.mark.parametrize("seed", range(6))
def test_everything_arrives_once_where_only_consumers_fail(seed: int) -> None:
    async def run() -> None:
        world = await scenario(seed)
        assert len(world.accepted) > 100
        assert not world.endpoints.repeated

    simulate(run())


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_by_kills(seed: int) -> None:
    async def run() -> None:
        world = await scenario(seed, kills=True)
        assert len(world.crashes_ms) == 5

    simulate(run())


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_by_a_lost_queue(seed: int) -> None:
    async def run() -> None:
        world = await scenario(seed, flushes=True)
        assert len(world.crashes_ms) == 5

    simulate(run())


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_by_kills_lost_queues_and_errors_anywhere(seed: int) -> None:
    async def run() -> None:
        world = await scenario(seed, kills=True, flushes=True, errors=0.1)
        assert world.storage.faults

    simulate(run())
