"""What Redis refuses or fails to do becomes one sentence that tells the operator what to do."""

import asyncio
import signal
import time

import pytest

import notify.queue.redis.client as redis_client
from notify.domain.errors import QueueLost, QueueUnavailable
from notify.domain.ports import Push, Stream, StreamKind
from notify.queue.redis import RedisQueue
from notify.queue.redis.examine import examine
from tests.queue.conftest import RealClock
from tests.servers.redis import RedisServer, free_port

A = Stream(StreamKind.SUBSCRIPTION, 1)
B = Stream(StreamKind.SUBSCRIPTION, 2)
PUSH = [Push(A, b"x" * 1000, 1)]


async def refused(call, match):
    with pytest.raises(QueueUnavailable, match=match) as caught:
        await call
    text = str(caught.value)
    assert "\n" not in text
    assert "secret" not in text


def opened(run, connect, url):
    async def scenario():
        async with connect(url):
            pass

    run(scenario())


def test_a_server_that_is_not_there(run, connect):
    with pytest.raises(QueueUnavailable, match="cannot be reached"):
        opened(run, connect, f"redis://:secret@127.0.0.1:{free_port()}/0")


def test_a_queue_is_usable_once_its_server_is_there(run, connect):
    server = RedisServer()

    async def scenario():
        queue = RedisQueue(server.url, RealClock())
        await refused(queue.open(), "cannot be reached")
        await refused(queue.push(PUSH), "cannot be reached")
        server.start()
        assert await queue.begin_epoch("1")
        await queue.push(PUSH)
        await queue.close()

    try:
        run(scenario())
    finally:
        server.remove()


def test_a_stopped_server_times_out_and_is_used_again(run, serve, connect):
    server = serve()

    async def scenario():
        async with connect(server.url + "?socket_timeout=0.3") as queue:
            await queue.begin_epoch("1")
            server.signal(signal.SIGSTOP)
            began = time.monotonic()
            await refused(queue.push(PUSH), "does not answer in time")
            await refused(queue.claim([A], "w1", 1), "does not answer|cannot be reached")
            assert time.monotonic() - began < 5
            server.signal(signal.SIGCONT)
            async with asyncio.timeout(5):
                await queue.push([Push(A, b"again", 1)])
                claims = await queue.claim([A], "w1", 10)
            assert claims[-1].chunk == b"again"  # behind the first, which did arrive

    run(scenario())


def test_wrong_password(run, serve, connect):
    serve_port = free_port()
    serve("--requirepass", "right", port=serve_port)
    opened(run, connect, f"redis://:right@127.0.0.1:{serve_port}")
    for credentials in (":secret@", "", "nobody:secret@"):
        with pytest.raises(QueueUnavailable, match="user or the password") as caught:
            opened(run, connect, f"redis://{credentials}127.0.0.1:{serve_port}")
        assert "secret" not in str(caught.value)


def test_an_acl_user_with_no_more_than_the_documented_rights(run, serve, connect):
    port = free_port()
    server = serve(port=port)
    rules = "on >p%w ~nt:* -@all +@read +@write +@connection +@scripting +info"
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "notify", *rules.split())
        client.execute_command("ACL", "SETUSER", "poor", "on", ">p", "~nt:*", "+@read", "+info")

    async def scenario():
        async with connect(f"redis://notify:p%25w@127.0.0.1:{port}/0") as queue:
            assert await queue.begin_epoch("1")
            await queue.push([Push(A, b"a", 1), Push(A, b"b", 1, 1)])
            await queue.promote([A], 1)
            await queue.ack(await queue.claim([A], "w1", 10))
            await queue.takeover([A], "w1", 0, 1)
            await queue.lease("x", "a", 1000)
            await queue.share("x", "a", 1000, [1])
            await queue.share("x", "a", 1000, [2], [1])
            await queue.leave("x", "a")
            await queue.wait([A], "w1", 0.01)
            assert (await queue.gauges([A]))[0].depth == 0
        with pytest.raises(QueueUnavailable, match="permission"):
            async with connect(f"redis://poor:p@127.0.0.1:{port}/0"):
                pass

    run(scenario())


def test_out_of_memory_stops_what_fills_the_queue_not_what_drains_it(run, serve, connect):
    server = serve("--maxmemory", "100mb", "--maxmemory-policy", "noeviction")

    async def scenario():
        async with connect(server.url) as queue:
            await queue.begin_epoch("1")
            await queue.push([*PUSH, Push(A, b"later", 1, 5)])
            await queue.wait([A], "w1", 0)
            with server.client() as client:
                client.config_set("maxmemory", "1mb")
            await refused(queue.push(PUSH), "out of memory; raise its maxmemory")
            assert await queue.promote([A], 5) == 0
            claims = await queue.claim([A], "w1", 1)
            await refused(queue.ack(claims, [Push(B, b"outcome", 1)]), "out of memory")
            assert (await queue.gauges([A]))[0].depth == 2, "let go of without its outcome"
            await queue.renew(claims, "w1")
            claims += await queue.claim([A], "w1", 1)
            assert len(await queue.takeover([A], "w1", 60_000, 5)) == 0
            assert await queue.lease("rescuer", "a", 1000)
            assert (await queue.share("senders", "a", 1000, [1])).held == {1}
            await queue.spill([A], on=True)
            await queue.ack(claims)
            assert (await queue.gauges([A]))[0].depth == 0
            with server.client() as client:
                client.config_set("maxmemory", "100mb")
            await queue.push(PUSH)

    run(scenario())


def test_a_read_only_replica(run, serve, connect):
    port = free_port()
    serve(port=port)
    replica = serve("--replicaof", "127.0.0.1", str(port))
    with pytest.raises(QueueUnavailable, match="a read-only replica; queue"):
        opened(run, connect, replica.url)


def test_a_primary_that_becomes_a_replica(run, serve, connect):
    port = free_port()
    serve(port=port)
    server = serve()

    async def scenario():
        async with connect(server.url) as queue:
            await queue.begin_epoch("1")
            with server.client() as client:
                client.replicaof("127.0.0.1", port)
            with pytest.raises((QueueUnavailable, QueueLost)):
                await queue.push(PUSH)

    run(scenario())


def test_a_node_of_a_cluster(run, serve, connect):
    port = free_port()
    serve("--cluster-enabled", "yes", "--cluster-port", str(free_port()), port=port)

    async def scenario():
        async with connect(f"redis://127.0.0.1:{port}") as queue:
            await refused(queue.begin_epoch("1"), "a node of a Redis Cluster; it must name one")

    run(scenario())


def test_a_server_that_is_loading(run, serve, connect):
    server = serve("--appendonly", "yes")
    with server.client() as client:
        pipe = client.pipeline(transaction=False)
        for n in range(20_000):
            pipe.set(f"k{n}", n)
        pipe.execute()
    server.kill()
    server.start("--key-load-delay", "50", "--loading-process-events-interval-bytes", "1024",
                 wait=False)  # fmt: skip

    async def scenario():
        async with asyncio.timeout(15):
            while not server.socket.exists():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.01)
            seen = set()
            clock = RealClock()
            while True:
                try:
                    async with connect(server.url) as queue:
                        assert await queue.begin_epoch("1")
                        await queue.push(PUSH)
                        return seen
                except QueueUnavailable as error:
                    seen.add(str(error).partition(";")[0])
                    if "loading" in str(error) and len(seen) < 3:  # what says the doctor?
                        found = await asyncio.to_thread(lambda: list(examine(server.url, clock)))
                        seen |= {f"{one.level} {one.text}" for one in found}
                    await asyncio.sleep(0.05)

    seen = run(scenario())
    assert "Redis is still loading its data" in seen
    assert "warning Redis is still loading its data" in seen


def test_what_is_not_redis(run, connect):
    async def answer(reader, writer):
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def scenario():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(QueueUnavailable, match="does not speak as Redis does: correct"):
            async with connect(f"redis://127.0.0.1:{port}"):
                pass
        server.close()
        await server.wait_closed()

    run(scenario())


def test_a_server_that_evicts_is_not_worked_with_until_it_does_not(run, serve, connect):
    server = serve("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")

    async def scenario():
        queue = RedisQueue(server.url, RealClock())
        for _ in range(2):
            await refused(queue.open(), r"evicts \(maxmemory-policy allkeys-lru\).*CONFIG SET")
        with server.client() as client:
            assert client.dbsize() == 0
            client.config_set("maxmemory-policy", "noeviction")
        await queue.open()
        assert await queue.begin_epoch("1")
        await queue.push(PUSH)
        await queue.close()

    run(scenario())


def test_a_policy_that_evicts_nothing_yet_is_warned_of_once(run, serve, connect, caplog):
    server = serve("--maxmemory-policy", "volatile-ttl")

    async def scenario():
        async with connect(server.url) as queue:
            await queue.begin_epoch("1")
            await asyncio.gather(*(queue.push(PUSH) for _ in range(5)))

    run(scenario())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "maxmemory-policy volatile-ttl" in caplog.text


def test_a_policy_that_changes_under_live_connections_is_noticed(run, serve, connect, monkeypatch):
    server = serve("--maxmemory", "50mb")

    async def scenario():
        async with connect(server.url) as queue:
            await queue.begin_epoch("1")
            await asyncio.gather(*(queue.push(PUSH) for _ in range(5)))
            with server.client() as client:
                client.config_set("maxmemory-policy", "allkeys-random")
            await queue.push(PUSH)  # looked a moment ago
            with monkeypatch.context() as patched:
                patched.setattr(redis_client, "LOOK_S", 0)  # a minute has passed
                await refused(queue.push(PUSH), "evicts")
            # From then on each of the connections looks, not only the one that noticed.
            for _ in range(6):
                await refused(queue.push(PUSH), "evicts")
            with server.client() as client:
                client.config_set("maxmemory-policy", "noeviction")
            await queue.push(PUSH)
            assert (await queue.gauges([A]))[0].depth == 7

    run(scenario())
