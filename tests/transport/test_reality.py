"""How real servers end an answer, cut it up and hang up, over real sockets."""

import asyncio
import socket
import struct

import pytest

from notify.domain.errors import TransportError
from tests.transport.conftest import BODY

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def read() -> None:
    """Let the client, which runs in the same loop, read what was sent so far."""
    for _ in range(5):
        await asyncio.sleep(0)


def reset(session) -> None:
    """Close with RST instead of FIN."""
    sock = session.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    session.writer.transport.abort()


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", 1),
        (b"HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 2\r\n\r\nok", 1),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 5),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\ncontent-length: 2\r\n\r\nok", 5),
        (b"HTTP/1.1 200 OK\r\nconnection: x, close\r\ncontent-length: 2\r\n\r\nok", 5),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 1),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\n" + OK, 1),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1),
    ],
)
def test_connections_are_kept_as_the_server_says(run, world, answer, connections) -> None:
    async def scenario():
        async with world(answer) as w:
            for _ in range(5):
                assert (await w.post()).code in (200, 204, 304)
            assert w.peer.accepted == connections

    run(scenario())


@pytest.mark.parametrize("end", [lambda session: session.writer.close(), reset])
def test_a_server_that_hangs_up_after_each_answer_without_a_word(run, world, end) -> None:
    requests = []

    async def handler(session):
        requests.append(await session.request())
        await session.send(OK)
        await read()
        if session.number % 2:
            # Now and then the client finds out by its next request only.
            await session.reader.read(1)
        end(session)

    async def scenario():
        async with world(handler) as w:
            for number in range(8):
                assert (await w.post(body=b"%d" % number)).body == b"ok"

    run(scenario())
    assert requests == [b"%d" % number for number in range(8)]


ANSWERS = [
    b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 3\r\n\r\nno!",
    (
        b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 503 Busy\r\nretry-after: 7\r\n"
        b"transfer-encoding: chunked\r\n\r\n1\r\nn\r\n2;x=y\r\no!\r\n0\r\nx-trailer: 1\r\n\r\n"
    ),
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_may_be_cut_at_every_byte(run, world, answer) -> None:
    async def handler(session):
        for cut in range(1, len(answer)):
            await session.request()
            await session.send(answer[:cut])
            await read()
            await session.send(answer[cut:])
        await session.request()
        for position in range(len(answer)):
            await session.send(answer[position : position + 1])
            await read()
        await session.closed()

    async def scenario():
        async with world(handler) as w:
            for _ in range(len(answer)):
                assert (await w.post())[:3] == (503, b"no!", "7")
            assert w.peer.accepted == 1

    run(scenario())


def test_a_server_that_closes_its_half_after_an_answer_is_not_asked_again(run, world) -> None:
    async def handler(session):
        await session.request()
        await session.send(OK)
        session.writer.write_eof()
        assert await session.closed() == b""

    async def scenario():
        async with world(handler) as w:
            for _ in range(3):
                assert (await w.post()).body == b"ok"
                await w.until(lambda: w.transport.connections_open == 0)
            assert w.peer.accepted == 3

    run(scenario())


def test_a_server_that_closes_its_half_ends_a_body_without_length(run, world) -> None:
    async def handler(session):
        await session.request()
        await session.send(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        session.writer.write_eof()
        await session.closed()

    async def scenario():
        async with world(handler) as w:
            assert (await w.post()).body == b"to the end"

    run(scenario())


def test_a_server_that_closes_its_half_instead_of_answering(run, world) -> None:
    async def handler(session):
        session.writer.write_eof()
        await session.closed()

    async def scenario():
        async with world(handler) as w:
            with pytest.raises(TransportError, match="before any answer") as caught:
                await w.post()
            assert caught.value.stage in ("closed", "send")
            assert w.peer.accepted == 1

    run(scenario())


@pytest.mark.parametrize(
    ("start", "text"),
    [
        (b"", "before any answer"),
        (b"HTTP/1.1 200", "before the answer was complete"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", "before the answer was complete"),
        # Unlike a FIN, a RST is no end of a body without length.
        (b"HTTP/1.1 200 OK\r\n\r\nhalf", "before the answer was complete"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "was complete"),
    ],
)
def test_a_reset_in_the_middle_of_an_answer_is_told_and_not_tried_again(
    run, world, start, text
) -> None:
    requests = []

    async def handler(session):
        requests.append(await session.request())
        await session.send(start)
        await read()
        reset(session)

    async def scenario():
        async with world(handler) as w:
            with pytest.raises(TransportError, match=text) as caught:
                await w.post()
            assert caught.value.stage == "closed"
            assert "Connection reset by peer" in str(caught.value)

    run(scenario())
    assert requests == [BODY]


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
        return True


@pytest.mark.skipif(not has_ipv6(), reason="this host has no ::1")
def test_an_endpoint_on_ipv6(run, world) -> None:
    heads = []

    async def handler(session):
        heads.append(await session.reader.readuntil(b"\r\n\r\n"))
        await session.send(OK)

    async def scenario():
        async with world(handler, host="::1", allow_cidrs=["::1/128"]) as w:
            assert (await w.post()).code == 200
            assert b"host: [::1]:%d\r\n" % w.peer.endpoint.port in heads[0]
            with pytest.raises(TransportError, match="loopback"):
                await w.post(endpoint=w.peer.endpoint._replace(host="127.0.0.1"))

    run(scenario())


def test_a_name_with_addresses_of_both_kinds_is_tried_in_its_order(run, world) -> None:
    async def lookup(host, port):
        return ["::1", "127.0.0.1"]

    async def scenario():
        allowed = ["::1/128", "127.0.0.0/8"]
        async with world(OK, client={"lookup": lookup}, allow_cidrs=allowed) as w:
            endpoint = w.peer.endpoint._replace(host="both.example")
            assert (await w.post(endpoint=endpoint)).code == 200

    run(scenario())


def test_an_early_refusal_to_a_large_request_is_the_answer_and_ends_the_connection(
    run, world
) -> None:
    async def handler(session):
        await session.reader.readuntil(b"\r\n\r\n")
        await session.send(b"HTTP/1.1 413 Too Large\r\nconnection: close\r\n\r\nat most 1 MB")
        session.writer.write_eof()
        await session.closed()

    async def scenario():
        async with world(handler) as w:
            for _ in range(2):
                answer = await w.post(body=bytes(5_000_000))
                assert (answer.code, answer.body) == (413, b"at most 1 MB")
            assert w.peer.accepted == 2

    run(scenario())
