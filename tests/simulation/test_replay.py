"""Dead letters replayed while everything fails: each is delivered in the end, and counted once."""

import asyncio
from contextlib import suppress

import pytest

from notify.domain.errors import StorageError
from notify.domain.model import DeliveryStatus
from notify.domain.ports import DeliveryFilter, Storage
from notify.domain.retry import Retry
from notify_core.records import UNMATCHED_SUB
from tests.simulation.test_pipeline import (
    BUSY_S,
    SETTLE_S,
    check_rules,
    misfortune,
    simulate,
    traffic,
)
from tests.simulation.world import World

pytestmark = pytest.mark.simulation

DROPPED = DeliveryFilter(status=DeliveryStatus.DROPPED)


async def replayed(world: World, storage: Storage) -> int:
    """Have everything that is dropped now delivered after all; how many were found."""
    found = await storage.list_deliveries(DROPPED, None, 10_000)
    keys = [(one.message_id, one.subscription_id) for one in found]
    assert not any(sub_id == UNMATCHED_SUB for _, sub_id in keys)
    await storage.replay(keys, world.clock.now_ms())
    return len(keys)


async def impatient_operator(world: World) -> int:
    """Somebody replays whatever was given up, again and again; how often that was."""
    until_ms = world.clock.now_ms() + BUSY_S * 1000
    count = 0
    while world.clock.now_ms() < until_ms:
        await world.clock.sleep(world.random.random() * 4)
        with suppress(StorageError):
            count += await replayed(world, world.storage)  # type: ignore[arg-type]
    return count


@pytest.mark.parametrize(("seed", "errors"), [(0, 0.0), (1, 0.0), (2, 0.02), (3, 0.02)])
def test_every_replayed_dead_letter_arrives(seed: int, errors: float) -> None:
    async def run() -> None:
        world = World(seed, errors)
        world.retry = Retry(schedule_ms=(200,), jitter=0.5)
        await world.open()
        world.set_errors(on=True)
        async with asyncio.TaskGroup() as group:
            group.create_task(traffic(world))
            group.create_task(misfortune(world, kills=True, flushes=True))
            operator = group.create_task(impatient_operator(world))
        assert operator.result() > 5
        await world.settle(SETTLE_S)
        while await replayed(world, world.database):
            await world.settle(SETTLE_S)
        await check_rules(world)
        await world.close()

    simulate(run())
