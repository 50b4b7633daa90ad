"""Keep-alive, its one retry, and the bounds on connections."""

import asyncio

import pytest

from notify.domain.errors import TransportError

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def test_a_connection_is_used_again(run, world) -> None:
    async def scenario():
        async with world(OK) as w:
            for _ in range(5):
                assert (await w.post()).body == b"ok"
            assert w.peer.accepted == 1
            assert w.transport.connections_open == 1

    run(scenario())


def test_endpoints_that_differ_in_their_target_share_connections(run, world) -> None:
    async def scenario():
        async with world(OK) as w:
            await w.post()
            await w.post(endpoint=w.peer.endpoint._replace(target="/other"))
            assert w.peer.accepted == 1

    run(scenario())


def test_parallel_requests_take_a_connection_each(run, world) -> None:
    async def scenario():
        async with world(OK) as w:
            await asyncio.gather(*(w.post() for _ in range(10)))
            await asyncio.gather(*(w.post() for _ in range(10)))
            assert w.peer.accepted <= 10

    run(scenario())


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        OK + OK,
        OK + b"H",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok",
    ],
)
def test_a_connection_that_may_be_out_of_step_is_not_used_again(run, world, data) -> None:
    async def scenario():
        async with world(data) as w:
            assert (await w.post()).code in (200, 204)
            assert (await w.post()).code in (200, 204)
            assert w.peer.accepted == 2

    run(scenario())


def test_bytes_on_an_idle_connection_close_it(run, world) -> None:
    speak = asyncio.Event()

    async def handler(session):
        await session.request()
        await session.send(OK)
        if session.number == 1:
            await speak.wait()
            await session.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
        else:
            await session.request()
            await session.send(OK)

    async def scenario():
        async with world(handler) as w:
            await w.post()
            speak.set()
            await w.until(lambda: w.transport.connections_open == 0)
            assert (await w.post()).body == b"ok"
            assert w.peer.accepted == 2

    run(scenario())


def test_a_kept_connection_found_closed_is_replaced_once(run, world) -> None:
    bodies = []

    async def handler(session):
        bodies.append(await session.request())
        await session.send(OK)
        if session.number == 1:
            # Reads the second request and closes without a word.
            bodies.append(await session.request())
            return
        await session.request()

    async def scenario():
        async with world(handler) as w:
            await w.post(body=b"first")
            assert (await w.post(body=b"second")).code == 200
            assert w.peer.accepted == 2
            assert bodies == [b"first", b"second", b"second"]

    run(scenario())


def test_a_fresh_connection_that_closes_is_not_tried_again(run, world) -> None:
    async def handler(session):
        await session.request()

    async def scenario():
        async with world(handler) as w:
            with pytest.raises(TransportError, match="before any answer"):
                await w.post()
            assert w.peer.accepted == 1

    run(scenario())


def test_the_replacement_is_the_last_try(run, world) -> None:
    async def handler(session):
        await session.request()
        if session.number == 1:
            await session.send(OK)
            await session.request()

    async def scenario():
        async with world(handler) as w:
            await w.post()
            with pytest.raises(TransportError) as caught:
                await w.post()
            assert caught.value.stage == "closed"
            assert w.peer.accepted == 2

    run(scenario())


@pytest.mark.parametrize("start", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Go\r\n\r\n"])
def test_a_request_whose_answer_began_is_never_sent_twice(run, world, start) -> None:
    requests = []

    async def handler(session):
        requests.append(await session.request())
        await session.send(OK)
        requests.append(await session.request())
        await session.send(start)
        session.writer.close()
        await session.writer.wait_closed()

    async def scenario():
        async with world(handler) as w:
            await w.post()
            with pytest.raises(TransportError) as caught:
                await w.post()
            assert caught.value.stage == "closed"
            assert len(requests) == 2

    run(scenario())


def test_a_time_out_on_a_kept_connection_is_not_tried_again(run, world) -> None:
    async def handler(session):
        await session.request()
        await session.send(OK)
        await session.request()
        await session.closed()

    async def scenario():
        async with world(handler) as w:
            await w.post()
            with pytest.raises(TransportError, match="0 bytes back"):
                await w.post(timeout_ms=50)
            assert w.peer.accepted == 1

    run(scenario())


def test_idle_connections_end_after_their_time(run, world) -> None:
    async def scenario():
        async with world(OK, idle_ms=30) as w:
            await w.post(timeout_ms=60_000)
            assert w.transport.connections_open == 1
            await w.until(lambda: w.transport.connections_open == 0)
            await w.until(lambda: w.peer.ended == 1)

    run(scenario())


def test_idle_connections_above_the_bound_end_soon(run, world, monkeypatch) -> None:
    monkeypatch.setattr("notify.transport.pool.SURPLUS_IDLE_S", 0.03)

    async def scenario():
        async with world(OK, idle_connections_max=2) as w:
            await asyncio.gather(*(w.post() for _ in range(6)))
            await w.until(lambda: w.transport.connections_open == 2)
            await w.post()
            assert w.transport.connections_open == 2

    run(scenario())


def test_connections_in_all_are_bounded_and_requests_wait_for_one(run, world) -> None:
    async def scenario():
        async with world(OK, connections_max=3) as w:
            answers = await asyncio.gather(*(w.post() for _ in range(20)))
            assert {answer.code for answer in answers} == {200}
            assert w.peer.accepted <= 3
            assert w.transport.connections_open <= 3

    run(scenario())


def test_at_the_bound_an_idle_connection_gives_way_to_another_endpoint(run, world) -> None:
    async def scenario():
        async with world(OK, connections_max=1) as a, world(OK) as b:
            await a.post()
            assert (await a.post(endpoint=b.peer.endpoint)).code == 200
            assert a.transport.connections_open == 1
            await b.until(lambda: a.peer.ended == 1)

    run(scenario())


def test_waiting_for_a_free_connection_ends_with_the_time_out(run, world) -> None:
    async def handler(session):
        await session.closed()

    async def scenario():
        async with world(handler, connections_max=1) as w:
            busy = asyncio.create_task(w.post())
            await w.until(lambda: w.peer.accepted == 1)
            with pytest.raises(TransportError, match=r"sender\.connections_max") as caught:
                await w.post(timeout_ms=40)
            assert caught.value.stage == "timeout"
            busy.cancel()
            with pytest.raises(asyncio.CancelledError):
                await busy

    run(scenario())


def test_a_waiter_that_is_cancelled_leaves_its_place_to_the_next(run, world) -> None:
    async def handler(session):
        await session.request()
        if session.number == 1:
            await session.closed()
        await session.send(OK)

    async def scenario():
        async with world(handler, connections_max=1) as w:
            busy = asyncio.create_task(w.post())
            await w.until(lambda: w.peer.accepted == 1)
            first, second = (asyncio.create_task(w.post()) for _ in range(2))
            await w.until(lambda: w.transport.requests_in_flight == 3)
            busy.cancel()
            first.cancel()
            assert (await second).code == 200
            await asyncio.gather(busy, first, return_exceptions=True)

    run(scenario())


def test_cancelling_closes_the_connection(run, world) -> None:
    async def handler(session):
        await session.request()
        await session.closed()

    async def scenario():
        async with world(handler) as w:
            task = asyncio.create_task(w.post())
            await w.until(lambda: w.peer.accepted == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await w.until(lambda: w.transport.connections_open == 0)
            await w.until(lambda: w.peer.ended == 1)

    run(scenario())


def test_closing_ends_what_is_under_way_and_refuses_the_rest(run, world) -> None:
    async def handler(session):
        await session.closed()

    async def scenario():
        async with world(handler) as w:
            task = asyncio.create_task(w.post())
            await w.until(lambda: w.peer.accepted == 1)
            await w.transport.close()
            for late in (task, w.post()):
                with pytest.raises(TransportError, match="stopping") as caught:
                    await late
                assert caught.value.stage == "closed"
            assert w.transport.connections_open == 0

    run(scenario())


def test_it_works_on_plain_asyncio(world) -> None:
    async def scenario():
        async with world(OK) as w:
            await asyncio.gather(*(w.post() for _ in range(20)))
            with pytest.raises(TransportError):
                await w.post(endpoint=w.peer.endpoint._replace(host="10.0.0.1"))

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(scenario())


def test_a_connection_that_closed_this_very_moment_is_not_written_to(run, world) -> None:
    async def scenario():
        async with world(OK) as w:
            await w.post()
            (connection,) = w.transport._pools._pool_of
            # Closed, but the loop has not told yet: a write would raise on uvloop.
            connection._transport.close()
            assert (await w.post()).code == 200
            assert w.peer.accepted == 2

    run(scenario())
