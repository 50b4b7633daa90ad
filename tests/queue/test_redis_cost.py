"""What the queue costs Redis: commands while nothing happens, memory for what waits."""

import asyncio
import time

import pytest

from notify.config import load
from notify.domain.ports import Push, Stream, StreamKind
from notify.embedded import Notify

SUBSCRIPTIONS = 1000
COMMANDS_S_MAX = 50


def calls(client):
    stats = client.info("commandstats")
    return sum(entry["calls"] for name, entry in stats.items() if name != "cmdstat_info")


def test_a_thousand_idle_subscriptions(run, serve, tmp_path):
    """All services together, over their real adapters: under 50 commands a second."""
    server = serve()

    async def scenario():
        config = load(environ={}, flags={"queue.url": server.url})
        async with Notify(tmp_path / "data", config=config, http=False) as notify:
            shop = await notify.add_producer("shop")
            target = await notify.add_consumer("crm", "http://127.0.0.1:9/hook")
            for n in range(SUBSCRIPTIONS):
                await notify.subscribe(shop.id, target.id, types=[f"order.{n}"])
            await asyncio.sleep(3.5)  # every worker has seen every subscription
            with server.client() as client:
                client.config_resetstat()
                began = time.monotonic()
                await asyncio.sleep(5)
                per_second = calls(client) / (time.monotonic() - began)
                shown = {k: v["calls"] for k, v in client.info("commandstats").items()}
            assert per_second < COMMANDS_S_MAX, shown
            print(f"\n{per_second:.1f} commands/s: {shown}")

    run(scenario())


def test_known_empty_streams_are_not_asked(run, serve, connect):
    server = serve()
    streams = [Stream(StreamKind.SUBSCRIPTION, n) for n in range(SUBSCRIPTIONS)]

    async def scenario():
        async with connect(server.url) as queue, connect(server.url) as other:
            await queue.begin_epoch("1")

            async def step():
                await queue.promote(streams, 10)
                await queue.claim(streams, "w1", 1)
                await queue.takeover(streams, "w1", 60_000, 1)
                return await queue.wait(streams, "w1", 0)

            await step()
            with server.client() as client:
                client.config_resetstat()
                assert await step() == []
                assert calls(client) < 20
                await other.push([Push(streams[5], b"1", 1), Push(streams[7], b"2", 1, 10)])
                client.config_resetstat()
                assert set(await step()) == {streams[5], streams[7]}
                assert calls(client) < 120  # the commands inside the functions count too

    run(scenario())


@pytest.mark.parametrize(("size", "over_max"), [(650, 200), (65_000, 8_000)])
def test_memory_of_an_entry(run, serve, connect, size, over_max):
    """What an entry costs above its payload stays small: large ones by the allocator's steps."""
    server = serve()
    count = 2_000_000 // size
    stream = Stream(StreamKind.SUBSCRIPTION, 1)

    async def scenario():
        async with connect(server.url) as queue:
            await queue.begin_epoch("1")
            with server.client() as client:
                before = client.info("memory")["used_memory_dataset"]
                for _ in range(0, count, 50):
                    await queue.push([Push(stream, b"x" * size, 1)] * 50)
                pushed = (count + 49) // 50 * 50
                over = (client.info("memory")["used_memory_dataset"] - before) / pushed - size
                print(f"\n{over:.0f} B above the {size} B of an entry")
                assert over < over_max
                while claims := await queue.claim([stream], "w1", 500):
                    await queue.ack(claims)
                client.execute_command("MEMORY", "PURGE")
                assert client.memory_usage("nt:{s1}:q") < 2000

    run(scenario())


def test_streams_that_came_and_went_leave_no_keys(run, serve, connect):
    server = serve()
    streams = [Stream(StreamKind.SUBSCRIPTION, n) for n in range(50)]

    async def scenario():
        async with connect(server.url) as queue:
            await queue.begin_epoch("1")
            await queue.push([Push(stream, b"x", 1, n % 2) for n, stream in enumerate(streams)])
            await queue.promote(streams, 1)
            await queue.ack(await queue.claim(streams, "w1", 1))
            await queue.spill(streams, on=True)
            await queue.spill(streams, on=False)
            with server.client() as client:
                for key in client.scan_iter("nt:{s*"):
                    assert 0 < client.ttl(key) <= 60, key

    run(scenario())
