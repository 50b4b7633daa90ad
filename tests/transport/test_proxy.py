"""Through a CONNECT proxy: who resolves, who is checked, and what a bad proxy can do: nothing."""

import asyncio
from collections.abc import Sequence
from contextlib import asynccontextmanager, suppress

import pytest
import uvloop

from notify.domain.errors import TransportError
from notify.domain.ports import Identity
from tests.support.authority import Authority

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Proxy:
    """Connects every CONNECT to one port of this host, or answers what it was given instead.

    established: the pieces in which it says that it did. requests: the heads that it read.
    """

    def __init__(
        self,
        port: int,
        answer: bytes = b"",
        hold: bool = False,
        established: Sequence[bytes] = (ESTABLISHED,),
    ) -> None:
        self._to = port
        self._answer = answer
        self._hold = hold
        self._established = established
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[bytes] = []
        self.port = 0

    @property
    def goals(self) -> list[bytes]:
        return [head.split(b" ")[1] for head in self.requests]

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                if self._answer or self._hold:
                    writer.write(self._answer)
                    await writer.drain()
                    if self._hold:
                        await reader.read()
                    return
                back, forth = await asyncio.open_connection("127.0.0.1", self._to)
                ends.append(forth)
                for piece in self._established:
                    writer.write(piece)
                    await asyncio.sleep(0)
                await asyncio.gather(_copy(reader, forth), _copy(back, writer))
        finally:
            for end in ends:
                end.transport.abort()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()


@asynccontextmanager
async def proxied(w, *options, **more_options):
    """A proxy before the endpoint of a world."""
    proxy = Proxy(w.peer.endpoint.port, *options, **more_options)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        await proxy.stop()
        server.close()
        await server.wait_closed()


def through(w, proxy, credentials="", **changes):
    identity = Identity(proxy=f"http://{credentials}127.0.0.1:{proxy.port}")
    identity = identity._replace(ca=changes.pop("ca", ""))
    return w.peer.endpoint._replace(**{"host": "hook.example", "identity": identity, **changes})


async def never_asked(host, port):
    raise AssertionError(f"{host} was looked up here and not by the proxy")


def test_http_goes_through_the_proxy_by_name_and_keeps_its_connection(run, world) -> None:
    async def scenario():
        async with world(OK, client={"lookup": never_asked}) as w, proxied(w) as proxy:
            endpoint = through(w, proxy)
            for _ in range(3):
                assert (await w.post(endpoint=endpoint)).body == b"ok"
            (head,) = proxy.requests
            goal = b"hook.example:%d" % endpoint.port
            assert head.startswith(b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n" % (goal, goal))
            assert b"proxy-authorization" not in head

    run(scenario())


@pytest.mark.parametrize(
    "established",
    [
        [b"HTTP/1.0 200 Connection established\r\nproxy-agent: x/1\r\n\r\n"],
        [b"HTTP/1.1 200\r\ncontent-length: 9\r\n\r\n"],  # counts for nothing after CONNECT
        [bytes([byte]) for byte in ESTABLISHED],
    ],
)
def test_proxies_say_in_many_ways_that_they_are_connected(run, world, established) -> None:
    async def scenario():
        async with world(OK) as w, proxied(w, established=established) as proxy:
            assert (await w.post(endpoint=through(w, proxy))).body == b"ok"

    run(scenario())


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_https_is_with_the_endpoint_and_checked_against_its_name(world, tls, loop) -> None:
    seen = []
    context = tls("endpoint")
    context.sni_callback = lambda connection, name, context: seen.append(name)

    async def scenario():
        async with world(OK, context) as w, proxied(w) as proxy:
            assert (await w.post(body=bytes(300_000), endpoint=through(w, proxy))).code == 200
            assert seen == ["hook.example"]
            with pytest.raises(TransportError, match="mismatch") as caught:
                await w.post(endpoint=through(w, proxy, host="other.example"))
            assert caught.value.stage == "tls"
            # The tests' authority is not the one that this identity trusts.
            with pytest.raises(TransportError, match=r"certificate of hook\.example is refused"):
                await w.post(endpoint=through(w, proxy, ca=Authority().pem))

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scenario())


def test_the_credentials_of_its_url_are_shown_to_the_proxy_alone(run, world) -> None:
    heads = []

    async def handler(session):
        heads.append(await session.reader.readuntil(b"\r\n\r\n"))
        await session.send(OK)

    async def scenario():
        async with world(handler) as w, proxied(w) as proxy:
            await w.post(endpoint=through(w, proxy, "Aladdin:open%20sesame@"))
            basic = b"\r\nproxy-authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"
            assert basic in proxy.requests[0]
            assert b"authorization" not in heads[0]

    run(scenario())


def test_connections_are_shared_by_identity_only(run, world) -> None:
    async def scenario():
        async with world(OK) as w, proxied(w) as proxy:
            direct = w.peer.endpoint
            for endpoint in (through(w, proxy, host="127.0.0.1"), direct) * 2:
                await w.post(endpoint=endpoint)
            assert (w.peer.accepted, len(proxy.requests)) == (2, 1)

    run(scenario())


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("169.254.169.254", "never called"),
        ("::ffff:127.0.0.1", "never called"),
        ("fd00:ec2::254", "never called"),
        ("metadata.google.internal", "metadata services"),
        ("instance-data", "metadata services"),
        ("10.0.0.1", "sender.allow_cidrs"),
        ("::1", "sender.allow_cidrs"),
    ],
)
def test_a_proxy_is_not_asked_for_what_is_refused_by_its_name(run, world, host, text) -> None:
    async def scenario():
        async with world(OK) as w, proxied(w) as proxy:
            with pytest.raises(TransportError, match=text) as caught:
                await w.post(endpoint=through(w, proxy, host=host))
            assert caught.value.stage == "address"
            assert proxy.requests == []

    run(scenario())


@pytest.mark.parametrize("host", ["localhost", "hook.localhost"])
def test_names_of_loopback_need_loopback_allowed(run, world, host) -> None:
    async def scenario():
        async with world(OK) as w, proxied(w) as proxy:
            assert (await w.post(endpoint=through(w, proxy, host=host))).code == 200
            assert proxy.goals == [b"%b:%d" % (host.encode(), w.peer.endpoint.port)]
        async with world(OK, allow_cidrs=["10.0.0.0/8"]) as w, proxied(w) as proxy:
            with pytest.raises(TransportError, match=r"127\.0\.0\.1 is a loopback address"):
                await w.post(endpoint=through(w, proxy, host=host))
            assert proxy.requests == []

    run(scenario())


def test_the_proxy_itself_has_to_be_allowed(run, world) -> None:
    async def scenario():
        async with world(OK, allow_cidrs=[]) as w, proxied(w) as proxy:
            with pytest.raises(TransportError, match=r"the proxy at 127\.0\.0\.1 is a") as caught:
                await w.post(endpoint=through(w, proxy))
            assert caught.value.stage == "address"
            assert proxy.requests == []

    run(scenario())


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 407 Who are you\r\n\r\n", "demands credentials (407); correct user and"),
        (b"HTTP/1.1 403 Not for you\r\n\r\nsorry", "it answered 403 Not for you"),
        (b"HTTP/1.0 502 \x1b[31m\xff\r\nx: y\r\n\r\n", "it answered 502 [31m"),
        (b"HTTP/1.1 504\r\n\r\n", "it answered 504"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\n\r\n", "it answered 302 Found"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + ESTABLISHED, "it answered 100"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "is this the address of an HTTP proxy?"),
        (b"HTTP/2 200\r\n\r\n", "is this the address of an HTTP proxy?"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "is this the address of an HTTP proxy?"),
        (ESTABLISHED + OK, "sent more than its answer"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 20_000, "more than 16384 bytes of headers"),
        (b"HTTP/1.1 200 OK\r\n", "closed the connection without an answer"),
    ],
)
def test_a_proxy_that_does_not_connect_is_told(run, world, answer, text) -> None:
    async def scenario():
        async with world(OK) as w, proxied(w, answer) as proxy:
            with pytest.raises(TransportError) as caught:
                await w.post(endpoint=through(w, proxy, "user:secret@"))
            assert caught.value.stage == "connect"
            assert text in str(caught.value)
            assert str(caught.value).startswith(f"the proxy 127.0.0.1:{proxy.port} ")
            assert "secret" not in str(caught.value)
            assert w.peer.accepted == 0

    run(scenario())


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_a_proxy_that_does_not_answer_is_a_time_out_that_says_so(run, world, answer) -> None:
    async def scenario():
        async with world(OK, connect_timeout_ms=60) as w, proxied(w, answer, hold=True) as proxy:
            with pytest.raises(TransportError, match=r"the proxy 127\.0\.0\.1") as caught:
                await w.post(endpoint=through(w, proxy))
            assert caught.value.stage == "timeout"

    run(scenario())


def test_a_proxy_that_is_not_there_is_told(run, world) -> None:
    async def scenario():
        async with world(OK) as w:
            async with proxied(w) as proxy:
                pass
            with pytest.raises(TransportError, match="no connection to the proxy at") as caught:
                await w.post(endpoint=through(w, proxy))
            assert caught.value.stage == "connect"

    run(scenario())


def test_a_proxy_whose_url_is_unusable_is_told(run, world) -> None:
    async def scenario():
        async with world(OK) as w:
            identity = Identity(proxy="socks5://127.0.0.1:1")
            with pytest.raises(TransportError, match="must be given as http") as caught:
                await w.post(endpoint=w.peer.endpoint._replace(identity=identity))
            assert caught.value.stage == "connect"

    run(scenario())
