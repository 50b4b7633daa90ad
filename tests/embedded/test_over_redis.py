"""The whole product with its queue in Redis: what is lost there comes back by itself."""

import asyncio
import time

import pytest

import notify.queue.redis.client as redis_client
from notify.domain.errors import QueueError
from tests.servers.redis import RedisServer
from tests.support.receiver import Receiver
from tests.support.waiting import until

MESSAGES = 600


def numbered(first, count):
    return [{"type": "order.paid", "payload": {"n": n}} for n in range(first, first + count)]


async def send(it, shop, batches):
    for batch in batches:
        while True:
            try:
                await it.send(shop.id, batch)
                break
            except QueueError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("fault", ["none", "flushall", "restart", "functions"])
def test_everything_is_delivered(run, notify, fault):
    server = RedisServer()
    server.start()

    async def scenario():
        # A delivery marked while it is fed again leaves its round to the sweep of the forgotten.
        flags = {"queue.url": server.url, "rescuer.forgotten_grace_ms": 2000}
        async with notify(flags) as (it, _), Receiver() as receiver:
            shop = await it.add_producer("shop")
            target = await it.add_consumer("crm", receiver.url, secret=receiver.secret)
            for _ in range(3):
                await it.subscribe(shop.id, target.id, types=["order.*"])
            sending = asyncio.create_task(
                send(it, shop, [numbered(n, 20) for n in range(0, MESSAGES, 20)])
            )
            await receiver.holding(100)
            struck = time.monotonic()
            if fault == "flushall":
                with server.client() as client:
                    client.flushall()
            elif fault == "restart":
                server.kill()
                server.start()
            elif fault == "functions":
                with server.client() as client:
                    client.function_flush()
            await sending
            await receiver.holding(3 * MESSAGES, 30)
            print(f"\n{fault}: all delivered {time.monotonic() - struck:.2f} s after")

            async def marked():
                rows = (await it.stats()).subscriptions
                return [(row.matched, row.delivered) for row in rows] == [(MESSAGES, MESSAGES)] * 3

            await until(marked, "all marked")
            again = sum(receiver.taken.values()) - 3 * MESSAGES
            print(f"{again} duplicates")
            assert again <= (0 if fault in ("none", "functions") else MESSAGES)

    try:
        run(scenario())
    finally:
        server.remove()


# What an operator, a failover or a fuller machine does to a Redis in use, and its end.
TROUBLES = {
    "evicts": (
        ["CONFIG SET maxmemory-policy allkeys-lru", "CONFIG SET maxmemory 64mb"],
        ["CONFIG SET maxmemory-policy noeviction"],
    ),
    "memory": (["CONFIG SET maxmemory 1"], ["CONFIG SET maxmemory 0"]),
    "readonly": (["REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"]),
    "password": (["CONFIG SET requirepass x", "CLIENT KILL TYPE normal"],
                 ["AUTH x", "CONFIG SET requirepass ''"]),
}  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES)
def test_messages_are_accepted_while_redis_refuses_and_delivered_afterwards(
    run, notify, monkeypatch, trouble
):
    monkeypatch.setattr(redis_client, "LOOK_S", 0)
    server = RedisServer()
    server.start()
    begin, end = TROUBLES[trouble]

    def do(commands):
        with server.client() as client:
            for command in commands:
                client.execute_command(*(word.strip("'") for word in command.split()))

    async def scenario():
        flags = {"queue.url": server.url, "rescuer.unsplit_grace_ms": 300}
        async with notify(flags) as (it, _), Receiver() as receiver:
            shop = await it.add_producer("shop")
            target = await it.add_consumer("crm", receiver.url, secret=receiver.secret)
            await it.subscribe(shop.id, target.id)
            await it.send(shop.id, numbered(0, 10))
            await receiver.holding(10)
            do(begin)
            for n in range(10, 60, 10):
                await it.send(shop.id, numbered(n, 10))
            assert len(receiver.taken) < 60
            do(end)
            await receiver.holding(60, 30)

    try:
        run(scenario())
    finally:
        server.remove()
