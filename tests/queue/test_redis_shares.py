"""Shared keys in Redis: what a heartbeat costs, and what lost answers and deleted keys do."""

import pytest

from notify.domain.errors import QueueUnavailable
from tests.servers.redis import free_port
from tests.support.cutting_proxy import CuttingProxy
from tests.support.waiting import until

MEMBERS, HOLDERS = "nt:{share:g}:m", "nt:{share:g}:k"
LONG_MS = 60_000


@pytest.mark.parametrize("after", [False, True], ids=["not carried out", "carried out"])
def test_a_connection_that_ends_in_a_call(run, serve, connect, after):
    server = serve(port=free_port())
    proxy = CuttingProxy(server.port)

    async def scenario():
        url = f"redis://127.0.0.1:{proxy.port}"
        async with connect(url) as queue, connect(server.url) as other:
            await queue.share("g", "a", LONG_MS, [1, 2])
            proxy.cut(b"notify1_share", after=after)
            with pytest.raises(QueueUnavailable):
                await queue.share("g", "a", LONG_MS, [3, 4], [2])
            # 4 is not wanted any longer, and 2 was taken meanwhile if it was given back.
            took = await other.share("g", "b", LONG_MS, [2])
            assert took.held == ({2} if after else set())
            share = await queue.share("g", "a", LONG_MS, [1, 3], [2])
            assert share.held == ({1, 3, 4} if after else {1, 3})
            assert (await queue.share("g", "a", LONG_MS, [1, 3], [4])).held == {1, 3}
            assert (await other.share("g", "b", LONG_MS, [1, 2, 3, 4])).held == {2, 4}

    try:
        run(scenario())
    finally:
        proxy.close()
    assert proxy.cuts == 1


def test_a_call_that_arrives_after_its_caller_gave_it_up_does_nothing(run, serve, connect):
    server = serve()

    async def scenario():
        async with connect(server.url) as queue, connect(server.url) as again:
            await queue.share("g", "a", LONG_MS, [1, 2])
            late = ("FCALL", "notify1_share", 2, MEMBERS, HOLDERS, "a", LONG_MS, 1, 1, 1, 2, 3)
            # Another link knows as little of what it holds as one whose answer got lost.
            assert (await again.share("g", "a", LONG_MS, [])).held == {1, 2}
            with server.client() as client:
                assert client.execute_command(*late)[0] == 0
            assert (await again.share("g", "a", LONG_MS, [1])).held == {1, 2}
            assert (await queue.share("g", "b", LONG_MS, [2, 3])).held == {3}

    run(scenario())


def test_a_heartbeat_costs_the_same_for_any_number_of_keys(run, serve, connect):
    server = serve()

    async def cost(client, keys):
        async with connect(server.url) as queue:
            await queue.share("g", "a", LONG_MS, keys)
            client.config_resetstat()
            await queue.share("g", "a", LONG_MS, keys)
            stats = client.info("commandstats")
            commands = {name: entry["calls"] for name, entry in stats.items()}
            return commands, client.info("stats")["total_net_input_bytes"]

    async def scenario():
        with server.client() as client:
            few, few_bytes = await cost(client, range(1))
            many, many_bytes = await cost(client, range(5000))
        assert few == many
        assert many["cmdstat_fcall"] == 1
        assert many_bytes <= few_bytes + 10

    run(scenario())


def test_nothing_is_left_when_everybody_is_gone(run, serve, connect):
    server = serve()

    async def scenario():
        async with connect(server.url) as queue:
            with server.client() as client:
                await queue.share("g", "a", LONG_MS, range(1000))
                await queue.share("g", "b", 2 * LONG_MS, [])
                await queue.share("g", "c", LONG_MS, [])
                for key in (MEMBERS, HOLDERS):
                    assert LONG_MS < client.pttl(key) <= 2 * LONG_MS
                await queue.leave("g", "a")
                await queue.leave("g", "b")
                assert client.exists(MEMBERS, HOLDERS) == 2
                await queue.leave("g", "c")
                assert not client.keys()
                await queue.share("g", "a", 10, [1])
                await until(lambda: not client.keys(), "the keys of a dead group gone")

    run(scenario())


async def takes_all(queue):
    return (await queue.share("g", "stays", LONG_MS, [1, 2])).held == {1, 2}


def test_who_comes_and_goes_leaves_nothing_behind(run, serve, connect):
    server = serve()

    async def scenario():
        async with connect(server.url) as queue:
            await queue.share("g", "stays", LONG_MS, [])
            with server.client() as client:
                fields = client.hlen(HOLDERS)
                for n in range(20):
                    await queue.share("g", f"w{n}", 1, [1, 2])
                await until(lambda: takes_all(queue), "what the dead held taken")
                assert client.zcard(MEMBERS) == 1
                assert client.hlen(HOLDERS) == fields + 2

    run(scenario())


@pytest.mark.parametrize("key", [MEMBERS, HOLDERS])
def test_somebody_deletes_one_of_the_two(run, serve, connect, key):
    server = serve()

    async def scenario():
        async with connect(server.url) as queue, connect(server.url) as other:
            await queue.share("g", "a", LONG_MS, [1, 2])
            await other.share("g", "b", LONG_MS, [3, 4])
            with server.client() as client:
                client.delete(key)
            assert (await other.share("g", "b", LONG_MS, [2, 3])).held == {2, 3}
            assert (await queue.share("g", "a", LONG_MS, [1, 2, 3, 4])).held == {1, 4}
            assert (await other.share("g", "b", LONG_MS, [1, 2, 3, 4])).held == {2, 3}

    run(scenario())
