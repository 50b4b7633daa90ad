"""The short way of plain requests: it says what the long way says, in the same order."""

import asyncio
import re
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from notify.api import http, intake
from notify.api.service import serving
from notify.runtime import serving as runtime_serving
from notify.runtime.serving import Serving, bind, served
from tests.api.conftest import long_way

MESSAGE = b'{"type":"a","payload":1}'
LAST = b"GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"


def post(key, body=MESSAGE, more=b"", *, path=b"/v1/messages", version=b"1.1", length=None):
    """A request as bytes."""
    size = len(body) if length is None else length
    return (
        b"POST %s HTTP/%s\r\nhost: h\r\nauthorization: Bearer %s\r\ncontent-type: application/json"
        b"\r\ncontent-length: %d\r\n%s\r\n%s" % (path, version, key.encode(), size, more, body)
    )


@asynccontextmanager
async def listening(serving_: Serving):
    """Another server of the same application; its port, and what stops it."""
    sockets = await bind("127.0.0.1", 0)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(served(serving_, sockets))
        yield sockets[0].getsockname()[1], stack.aclose


class Collector(asyncio.Protocol):
    """Keeps what it is sent, also where the connection is reset behind it."""

    def __init__(self):
        self.data = b""
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.data += data

    def connection_lost(self, exc):
        self.ended.set_result(None)


async def said(port, pieces):
    """All that a server answers to these pieces, until it closes."""
    loop = asyncio.get_running_loop()
    transport, collector = await loop.create_connection(Collector, "127.0.0.1", port)
    for piece in pieces:
        if not transport.is_closing():
            transport.write(piece)
        await asyncio.sleep(0)
    await asyncio.wait_for(collector.ended, 10)
    return collector.data


def comparable(answer):
    """Without what differs from one request to the next."""
    return re.sub(rb"date: [^\r]*|\d{15,}", b"-", answer)


def streams(key):
    """What clients may send on one connection, by what it shows."""
    plain, batch = post(key), post(key, b"[%s,%s]" % (MESSAGE, MESSAGE))
    other = b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n"
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(MESSAGE), MESSAGE)
    coded = post(key, b"").replace(b"content-length: 0", b"transfer-encoding: chunked") + chunked
    return {
        "one": plain,
        "one after the other": plain + plain + batch,
        "mixed with other paths": other + plain + other + other + plain + plain + other,
        "mixed with unusual heads": coded + plain + coded + batch,
        "a query": post(key, path=b"/v1/messages?x=1") + plain,
        "an absolute target": post(key, path=b"http://h/v1/messages") + plain,
        "an escaped path": post(key, path=b"/v1/%6dessages") + plain,
        "a path below": post(key, path=b"/v1/messages/1") + plain,
        "other methods": b"".join(
            plain.replace(b"POST", method) for method in (b"GET", b"PUT", b"HEAD", b"OPTIONS")
        ),
        "HTTP/1.0": post(key, version=b"1.0"),
        "an end": post(key, more=b"connection: close\r\n") + plain,
        "keep-alive": post(key, more=b"Connection: Keep-Alive\r\n") + plain,
        "line ends between": plain + b"\r\n\r\n" + plain,
        "bad bodies": b"".join(
            post(key, body)
            for body in (
                b"",
                b"{",
                b"[]",
                b"7",
                b'{"type":1,"payload":1}',
                b"\xff",
                MESSAGE,
                b'{"type":"a","payload":1,"deliver_at":"2090-01-01T00:00:00Z"}',
                b'[{"type":"a","payload":1},{}]',
            )
        ),
        "many bad ones": post(key, b"{") * 200,
        "a wrong key": post("nk_wrong") + plain,
        "no key": plain.replace(b"authorization", b"x") + plain,
        "a wrong type": plain.replace(b"application/json", b"text/plain") + plain,
        "no type": plain.replace(b"content-type", b"x") + plain,
        "a charset": plain.replace(b"/json", b'/json; charset="UTF-8"') + plain,
        "a coding": post(key, more=b"content-encoding: gzip\r\n") + plain,
        "chunks": coded,
        "chunks and a length": post(key, more=b"transfer-encoding: chunked\r\n") + plain,
        "two lengths": post(key, more=b"content-length: 24\r\n") + plain,
        "two other lengths": post(key, more=b"content-length: 5\r\n") + plain,
        "a bad length": plain.replace(b"content-length: 24", b"content-length: 2x"),
        "a bad header": post(key, more=b"x y: 1\r\n") + plain,
        "a bare line feed": post(key, more=b"x: 1\n") + plain,
        "a long head": post(key, more=b"x: %s\r\n" % (b"y" * 40_000)),
        "too large a body": post(key, b"x" * 3000) + plain,
        "no body at all": plain.replace(b"content-length", b"x-length"),
    }


CUTS = {
    "whole": lambda stream: [stream],
    "head and body": lambda stream: re.split(rb"(?<=\r\n\r\n)", stream),
    "by seven": lambda stream: [stream[at : at + 7] for at in range(0, len(stream), 7)],
    "by one": lambda stream: [bytes([byte]) for byte in stream],
}
PIECES_MAX = 2000


@pytest.mark.parametrize("what", streams("k"))
def test_both_ways_say_the_same(api, run, what):
    async def scenario():
        async with api(api_body_bytes_max=2048) as it:
            key = (await it.producer())["api_key"]
            stream = streams(key)[what] + LAST
            config = it.app.context.config
            async with listening(long_way(it.app, config)) as (port, _):
                for cut, cut_up in CUTS.items():
                    pieces = cut_up(stream)
                    if len(pieces) > PIECES_MAX:
                        continue
                    before = await it.stored()
                    long = await said(port, pieces)
                    between = await it.stored()
                    short = await said(it.port, pieces)
                    assert comparable(short) == comparable(long), cut
                    assert long.startswith(b"HTTP/1.1 "), cut
                    assert await it.stored() - between == between - before, cut

    run(scenario())


class Client:
    """A connection that sends what it is told, as it is told."""

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer
        self.send = writer.write
        self.close = writer.close

    @classmethod
    async def to(cls, port):
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def answer(self):
        """The head of the next answer and its body."""
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 10)
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        return head, await self._reader.readexactly(length)

    async def is_closed(self):
        try:
            return await asyncio.wait_for(self._reader.read(), 10) == b""
        except ConnectionError:
            return True
        finally:
            self.close()


def in_flight(it):
    return it.app.context.metrics.registry.get_sample_value("notify_api_requests_in_flight")


def test_no_asgi_scope_is_made_for_a_plain_request(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            client = await Client.to(it.port)
            client.send(post(key))  # the first has to wait until the queue is asked for its depth
            await client.answer()
            it.app._messages = it.app._rest = None  # whoever goes there fails
            for pieces in ([post(key)], [post(key, b""), MESSAGE], [post(key), post(key)]):
                length = b"content-length: %d" % len(MESSAGE)
                for piece in pieces:
                    client.send(piece.replace(b"content-length: 0", length))
                    await asyncio.sleep(0.01)
                for _ in range(len(pieces) if pieces[-1] != MESSAGE else 1):
                    assert (await client.answer())[0].startswith(b"HTTP/1.1 202 ")
            client.close()

    run(scenario())


@pytest.mark.parametrize("way", [serving, long_way])
def test_an_upgrade_is_not_made_and_the_connection_lives_on(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            client = await Client.to(it.port)
            client.send(post(key, more=b"connection: upgrade\r\nupgrade: h2c\r\n"))
            # What follows its head is not HTTP for the parser, and so there is no body.
            assert (await client.answer())[0].startswith(b"HTTP/1.1 400 ")
            client.send(post(key))
            assert (await client.answer())[0].startswith(b"HTTP/1.1 202 ")
            client.close()

    run(scenario())


def test_what_waits_behind_a_commit_is_answered_in_order(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            client = await Client.to(it.port)
            it.storage.gate.clear()
            client.send(post(key))
            await it.held(1)
            unusual = post(key, b"{", more=b"connection: keep-alive, x\r\n")
            client.send(unusual + LAST.replace(b"close", b"x") + post(key, b"{"))
            client.send(post(key) + post(key, b"[%s]" % MESSAGE) + LAST)
            other = await it.post("nk_wrong", {})  # the loop turns, others are answered
            assert other.status_code == 401
            it.storage.gate.set()
            codes = []
            for _ in range(7):
                head, _ = await client.answer()
                codes.append(int(head[9:12]))
            assert codes == [202, 400, 200, 400, 202, 202, 200]
            assert await client.is_closed()
            assert await it.stored() == 3

    run(scenario())


def test_what_a_client_that_left_had_asked_is_stored(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            it.storage.gate.clear()
            clients = [await Client.to(it.port) for _ in range(3)]
            for client in clients:
                client.send(post(key) + post(key))
            await it.held(3)
            assert in_flight(it) == 3
            for client in clients[:2]:
                client.close()
            for _ in range(3):
                await it.client.get("/healthz")  # by then their ends were seen
            it.storage.gate.set()
            for _ in range(2):
                assert (await clients[2].answer())[0].startswith(b"HTTP/1.1 202 ")
            assert await it.stored() == 4
            assert in_flight(it) == 0
            clients[2].close()

    run(scenario())


def test_bodies_that_are_coming_are_bounded_together(api, run, monkeypatch):
    monkeypatch.setattr(intake, "BODIES_BYTES_MAX", 100_000)

    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            slow, large = await Client.to(it.port), await Client.to(it.port)
            body = b'{"type":"a","payload":"%s"}' % (b"x" * 60_000)
            slow.send(post(key, body)[:50_000])
            await it.client.get("/healthz")
            large.send(post(key, body))
            head, _ = await large.answer()
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 1\r\n" in head
            slow.send(post(key, body)[50_000:])  # what was there first is not refused for it
            assert (await slow.answer())[0].startswith(b"HTTP/1.1 202 ")
            gone = await Client.to(it.port)
            gone.send(post(key, body)[:50_000])
            await it.client.get("/healthz")
            gone.close()
            await it.client.get("/healthz")
            large.send(post(key, body))
            assert (await large.answer())[0].startswith(b"HTTP/1.1 202 ")
            large.close()
            slow.close()

    run(scenario())


def test_a_body_may_be_refused_before_it_came(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            for code, head in (
                (413, post(key, b"", length=20_000_000)),
                (401, post("nk_wrong", b"", length=100_000)),
            ):
                client = await Client.to(it.port)
                client.send(head)
                answer, _ = await client.answer()
                assert answer.startswith(b"HTTP/1.1 %d " % code)
                assert b"connection: close" in answer
                client.close()

    run(scenario())


def test_slow_bodies_and_idle_connections_are_closed_waiting_ones_are_not(api, run, monkeypatch):
    monkeypatch.setattr(http, "REQUEST_WAIT_S", 0.05)
    monkeypatch.setattr(runtime_serving, "KEEP_ALIVE_S", 0.05)

    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            slow = await Client.to(it.port)
            slow.send(post(key)[:-1])
            assert await slow.is_closed()
            idle = await Client.to(it.port)
            idle.send(post(key))
            await idle.answer()
            it.storage.gate.clear()
            waiting = await Client.to(it.port)
            waiting.send(post(key))
            assert await idle.is_closed()
            await asyncio.sleep(0.2)
            it.storage.gate.set()
            assert (await waiting.answer())[0].startswith(b"HTTP/1.1 202 ")
            assert await waiting.is_closed()

    run(scenario())


def test_too_many_connections_are_refused(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            few = serving(it.app, it.app.context.config)._replace(connections_max=2)
            async with listening(few) as (port, _):
                first = await Client.to(port)
                first.send(post(key))
                assert (await first.answer())[0].startswith(b"HTTP/1.1 202 ")
                second = await Client.to(port)
                second.send(post(key))
                assert (await second.answer())[0].startswith(b"HTTP/1.1 503 ")
                assert await second.is_closed()
                first.send(post(key))
                assert (await first.answer())[0].startswith(b"HTTP/1.1 202 ")
                first.close()

    run(scenario())


def test_shutting_down_answers_what_waits_and_what_is_coming(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            config = it.app.context.config
            async with listening(serving(it.app, config)) as (port, stop):
                idle, waiting, coming = [await Client.to(port) for _ in range(3)]
                idle.send(post(key))
                await idle.answer()
                it.storage.gate.clear()
                waiting.send(post(key) + post(key))
                await it.held(1)
                coming.send(post(key)[:-1])
                await it.client.get("/healthz")
                stopping = asyncio.create_task(stop())
                assert await idle.is_closed()
                coming.send(post(key)[-1:])
                await it.held(2)
                assert not stopping.done()
                it.storage.gate.set()
                for client in (waiting, coming):
                    head, _ = await client.answer()
                    assert head.startswith(b"HTTP/1.1 202 ")
                    assert b"connection: close\r\n" in head
                    assert await client.is_closed()
                await stopping
            assert await it.stored() == 3

    run(scenario())
