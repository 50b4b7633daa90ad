"""Kills at random moments under a steady load over HTTP, as a machine room deals them out."""

import asyncio
import random
import sys

import httpx
import pytest

from notify.domain.model import DeliveryStatus
from tests.support import data_file
from tests.support.http_api import HttpApi
from tests.support.receiver import Receiver

pytestmark = pytest.mark.crash

KILLS = 3
PRODUCERS = 4
TYPES = ("order.created", "order.paid", "stock.changed")
RETRY = {"initial_ms": 50, "factor": 1.5, "max_ms": 300, "attempts": 60}


class Load:
    """Producers that send on and on, and send again under the same key until they hear 202.

    promised: the ids of each idempotency key, from every 202 that named it.
    """

    def __init__(self, api, shop, generator):
        self.api = api
        self.shop = shop
        self.random = generator
        self.promised = {}
        self.types = {}
        self.broken_off = 0
        self.stopped = False

    async def produce(self, number):
        count = 0
        while not self.stopped:
            size = self.random.choice((1, 1, 3, 8))
            batch = [
                {
                    "type": self.random.choice(TYPES),
                    "payload": {"producer": number, "n": count + i, "é": "x" * size},
                    "key": f"{number}-{count + i}",
                }
                for i in range(size)
            ]
            count += size
            for item in batch:
                self.types[item["key"]] = item["type"]
            await self._send(batch)
            if self.random.random() < 0.1:
                await self._send(batch)  # a producer that is not sure sends once more

    async def _send(self, batch):
        headers = {"authorization": f"Bearer {self.shop['api_key']}"}
        while True:
            try:
                answer = await self.api.post("/v1/messages", batch, headers)
            except httpx.TransportError:
                self.broken_off += 1
                await asyncio.sleep(0.02)
                continue
            if answer.status_code == 202:
                break
            assert answer.status_code in (429, 503), answer.text
            await asyncio.sleep(0.02)
        for item, id_ in zip(batch, answer.json()["ids"], strict=True):
            self.promised.setdefault(item["key"], set()).add(int(id_))


class Door:
    """Where the producers knock: whichever process serves at the moment."""

    def __init__(self):
        self.url = ""
        self._client = httpx.AsyncClient(timeout=5, trust_env=False)

    async def post(self, path, body, headers):
        return await self._client.post(self.url + path, json=body, headers=headers)

    async def close(self):
        await self._client.aclose()


def flaky(generator, share, delay_s):
    """A consumer that takes its time and now and then answers 503."""

    async def answering(wire):
        await asyncio.sleep(delay_s * generator.random())
        await wire.answer(503 if generator.random() < share else 200)

    return answering


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_by_kills_under_load(run, notify, data_dir, seed):
    generator = random.Random(seed)

    async def scenario():
        door = Door()
        quick = Receiver(flaky(generator, 0.0, 0.01))
        bad = Receiver(flaky(generator, 0.2, 0.03))
        unmarked = []  # after each kill: what the database knew and did not know as delivered
        async with quick, bad:
            async with notify(data_dir) as it, HttpApi(it.url, it.token) as api:
                shop = await api.producer()
                subscriptions = {
                    await api.subscribe(shop, quick, "all", retry=RETRY): TYPES,
                    await api.subscribe(
                        shop, quick, "orders", types=["order.*"], retry=RETRY
                    ): TYPES[:2],
                    await api.subscribe(
                        shop, bad, "paid", types=["*.paid", "stock.*"], retry=RETRY
                    ): TYPES[1:],
                }
            load = Load(door, shop, generator)
            producing = [asyncio.create_task(load.produce(n)) for n in range(PRODUCERS)]
            for _ in range(KILLS):
                async with notify(data_dir) as it:
                    door.url = it.url
                    await asyncio.sleep(0.1 + 0.4 * generator.random())
                    await it.kill()
                await quick.disconnected()
                await bad.disconnected()
                known = data_file.statuses(data_dir)
                unmarked.append({k for k in known if known[k] is not DeliveryStatus.DELIVERED})
            async with notify(data_dir) as it, HttpApi(it.url, it.token) as api:
                door.url = it.url
                load.stopped = True
                await asyncio.gather(*producing)
                expected = expected_deliveries(load, subscriptions)
                rows = await api.settled(len(expected))
                assert sum(row["delivered"] for row in rows.values()) == len(expected)
                assert await it.terminate() == 0
            await door.close()
            await data_file.check_ledger(data_dir)

            taken = quick.taken + bad.taken
            assert set(taken) == expected, "lost, or never promised"
            assert not quick.unverified + bad.unverified
            twice = {key for key, times in taken.items() if times > 1}
            for key in twice:
                kills = sum(key in left for left in unmarked)
                assert taken[key] - 1 <= kills, "sent again without having been in flight"
            assert data_file.messages(data_dir) == {
                i for ids in load.promised.values() for i in ids
            }
            assert load.broken_off >= KILLS
            sys.stdout.write(
                f"seed {seed}: {len(load.promised)} messages, {len(expected)} deliveries, "
                f"{load.broken_off} requests broken off, {len(twice)} duplicates of "
                f"{[len(left) for left in unmarked]} open at the kills\n"
            )

    run(scenario())


def expected_deliveries(load, subscriptions):
    """What the 202s promise. The same key never gave a second message."""
    assert set(load.promised) == set(load.types)
    assert all(len(ids) == 1 for ids in load.promised.values())
    return {
        (id_, subscription)
        for key, (id_,) in load.promised.items()
        for subscription, types in subscriptions.items()
        if load.types[key] in types
    }
