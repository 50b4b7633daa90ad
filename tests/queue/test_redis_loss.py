"""However Redis loses its contents, each call says so until an epoch begins; then all works."""

import asyncio
import time
from contextlib import suppress

import pytest

from notify.domain.errors import QueueError, QueueLost, QueueUnavailable
from notify.domain.ports import Push, Stream, StreamKind

A = Stream(StreamKind.SUBSCRIPTION, 1)
B = Stream(StreamKind.SUBSCRIPTION, 2)


async def until_answers(queue):
    """The first answer of a server that was restarted; its own errors on the way are fine."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await queue.epoch()
            except QueueUnavailable:
                await asyncio.sleep(0.02)


async def works(queue):
    await queue.push([Push(A, b"after", 2), Push(B, b"later", 1, 5)])
    claims = await queue.claim([A, B], "new worker", 10)
    assert [claim.chunk for claim in claims] == [b"after"]
    assert await queue.promote([A, B], 5) == 0
    claims += await queue.claim([A, B], "new worker", 10)
    await queue.ack(claims)
    assert [tuple(gauge) for gauge in await queue.gauges([A, B])] == [(0, 0, False)] * 2


def test_flushall_under_load(run, serve, connect):
    """No call hangs, none works on without an epoch; the next epoch serves everybody."""
    server = serve()

    async def worker(queue, name, done, lost):
        while not done.is_set():
            try:
                claims = await queue.claim([A, B], name, 2)
                await queue.ack(claims, [Push(B, b"follows", 1) for _ in claims[:1]])
                await queue.wait([A, B], name, 0.01)
            except QueueLost:
                lost.append(time.monotonic())
                await asyncio.sleep(0.01)

    async def producer(queue, done, lost):
        while not done.is_set():
            try:
                await queue.push([Push(A, b"x" * 200, 1), Push(B, b"y", 1, 1)])
                await queue.promote([A, B], 2)
            except QueueLost:
                lost.append(time.monotonic())
                await asyncio.sleep(0.01)

    async def scenario():
        done, lost = asyncio.Event(), []
        async with connect(server.url) as one, connect(server.url) as two:
            await one.begin_epoch("1")
            tasks = [
                asyncio.create_task(worker(one, "w1", done, lost)),
                asyncio.create_task(worker(two, "w2", done, lost)),
                asyncio.create_task(producer(one, done, lost)),
                asyncio.create_task(producer(two, done, lost)),
            ]
            for epoch in range(2, 6):
                await asyncio.sleep(0.1)
                for task in tasks:
                    assert not task.done() or task.result()
                lost.clear()
                with server.client() as client:
                    client.flushall()
                at = time.monotonic()
                await asyncio.sleep(0.1)
                assert lost, "nobody noticed"
                assert min(lost) - at < 1
                assert await one.begin_epoch(str(epoch))
            lost.clear()
            await asyncio.sleep(0.2)
            done.set()
            await asyncio.gather(*tasks)
            server.client().flushall()
            assert await one.epoch() is None
            await two.begin_epoch("last")
            await works(one)
            await works(two)

    run(scenario())


def test_a_restart_without_persistence(run, serve, connect):
    server = serve()

    async def scenario():
        async with connect(server.url) as queue:
            await queue.begin_epoch("1")
            await queue.push([Push(A, b"gone", 1)])
            server.kill()
            with pytest.raises(QueueUnavailable, match="reached"):
                await queue.push([Push(A, b"nowhere", 1)])
            server.start()
            assert await until_answers(queue) is None
            with pytest.raises(QueueLost):
                await queue.push([Push(A, b"too early", 1)])
            assert await queue.begin_epoch("2")
            await works(queue)

    run(scenario())


@pytest.mark.parametrize("idle", [False, True], ids=["connected", "connected anew"])
def test_a_restart_with_an_old_append_only_file(run, serve, connect, idle):
    """What was saved is from an earlier moment: nothing of it may be taken for the present."""
    server = serve("--appendonly", "yes", "--appendfsync", "always")

    async def scenario():
        async with connect(server.url) as queue:
            await queue.begin_epoch("1")
            await queue.push([Push(A, b"acknowledged after", 1), Push(B, b"old", 5, 9)])
            await queue.spill([A], on=True)
            await queue.lease("rescuer", "a", 60_000)
            if idle:
                await queue.close()
            server.kill()
            server.start("--appendonly", "yes")
            with server.client() as client:
                assert client.exists("nt:epoch"), "the file was not read"
                assert client.xlen("nt:{s1}:q") == 1
            await queue.open()
            assert await until_answers(queue) is None
            for call in (
                queue.gauges([A]),
                queue.claim([A], "w1", 1),
                queue.takeover([A], "w1", 0, 1),
                queue.promote([B], 10),
                queue.push([Push(A, b"x", 1)]),
            ):
                with pytest.raises(QueueLost):
                    await call
            assert await queue.begin_epoch("2")
            assert await queue.epoch() == "2"
            assert [tuple(g) for g in await queue.gauges([A, B])] == [(0, 0, False)] * 2
            assert await queue.takeover([A, B], "w1", 0, 10) == []
            assert await queue.promote([B], 10) == 0
            await works(queue)

    run(scenario())


def test_lost_functions_come_back_in_the_call_that_missed_them(run, serve, connect):
    server = serve()

    async def scenario():
        async with connect(server.url) as queue:
            await queue.begin_epoch("1")
            await queue.wait([A, B], "w1", 0)
            calls = {
                "push": lambda: queue.push([Push(A, b"1", 1), Push(B, b"2", 1), Push(A, b"3", 1)]),
                "claim": lambda: queue.claim([A, B], "w1", 1),
                "takeover": lambda: queue.takeover([A, B], "w1", 0, 9),
                "promote": lambda: queue.promote([A], 1),
                "spill": lambda: queue.spill([A], on=True),
                "lease": lambda: queue.lease("x", "a", 1000),
                "release": lambda: queue.release("x", "a"),
                "share": lambda: queue.share("senders", "a", 1000, [1]),
                "leave": lambda: queue.leave("senders", "a"),
                "begin_epoch": lambda: queue.begin_epoch("2"),
            }
            for call in calls.values():
                with server.client() as client:
                    client.function_flush()
                await call()
            with server.client() as client:
                client.function_flush()
            assert set(await queue.wait([A, B], "w1", 0)) == {A, B}
            held = await queue.takeover([A, B], "w1", 0, 9)
            held += await queue.claim([A, B], "w1", 9)
            assert sorted(claim.chunk for claim in held) == [b"1", b"2", b"3"]
            with server.client() as client:
                client.function_flush()
            await queue.renew(held, "w1")
            with server.client() as client:
                client.function_flush()
            await queue.ack(held, [Push(B, b"4", 1)])
            assert [gauge.depth for gauge in await queue.gauges([A, B])] == [0, 1]

    run(scenario())


def test_what_somebody_deleted_is_neither_counted_nor_stuck(run, serve, connect):
    server = serve()

    async def scenario():
        async with connect(server.url) as queue:
            await queue.begin_epoch("1")
            await queue.push([Push(A, b"1", 1), Push(B, b"2", 1), Push(B, b"3", 1)])
            (claim,) = await queue.claim([B], "w1", 1)
            with server.client() as client:
                client.delete("nt:{s1}:q")
                client.xgroup_destroy("nt:{s2}:q", "w")
            assert [c.chunk for c in await queue.claim([A, B], "w1", 10)] == [b"2", b"3"]
            assert [gauge.depth for gauge in await queue.gauges([A, B])] == [0, 2]
            await queue.ack([claim])  # the same entry and count: it was offered anew to us
            with server.client() as client:
                client.delete("nt:{s2}:m")
            assert (await queue.gauges([B]))[0].depth == 0
            await queue.push([Push(A, b"4", 1), Push(B, b"5", 1)])
            assert [c.chunk for c in await queue.claim([A, B], "w1", 10)] == [b"4", b"5"]

    run(scenario())


def test_a_call_in_flight_when_the_server_dies_ends(run, serve, connect):
    server = serve()

    async def scenario():
        async with connect(server.url) as queue:
            await queue.begin_epoch("1")
            waiting = asyncio.create_task(queue.wait([A], "w1", 0.5))
            pushing = [
                asyncio.create_task(queue.push([Push(A, b"x" * 100_000, 1)])) for _ in range(50)
            ]
            await asyncio.sleep(0.005)
            server.kill()
            async with asyncio.timeout(5):
                for push in pushing:
                    with suppress(QueueError):
                        await push
                assert not await waiting

    run(scenario())
