"""Names, addresses, sockets and TLS: which try reaches whom, and what is told where none does."""

import asyncio
import socket

import pytest
import uvloop

from notify.domain.errors import TransportError
from notify.transport.identity import default_context

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Names:
    """A resolver that gives each lookup the next of its answers, the last one for ever."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host, port):
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def named(world_, host="hook.example"):
    return world_.peer.endpoint._replace(host=host)


def error_of(run, scenario):
    with pytest.raises(TransportError) as caught:
        run(scenario)
    return caught.value.stage, str(caught.value)


async def call(world, names, count=1, **flags):
    async with world(OK, client={"lookup": names}, **flags) as w:
        for _ in range(count):
            answer = await w.post(endpoint=named(w))
        return answer


def test_a_refused_address_is_never_connected(run, world) -> None:
    async def scenario():
        async with world(OK, allow_cidrs=[]) as w:
            with pytest.raises(TransportError, match=r"sender\.allow_cidrs") as caught:
                await w.post()
            assert caught.value.stage == "address"
            assert w.peer.accepted == 0

    run(scenario())


@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:127.0.0.1", "10.0.0.1", "0.0.0.0"])
def test_a_name_that_leads_to_a_refused_address_is_refused(run, world, address) -> None:
    stage, text = error_of(run, call(world, Names([address])))
    assert stage == "address"
    assert address in text


def test_refused_addresses_are_passed_over_for_allowed_ones(run, world) -> None:
    assert run(call(world, Names(["169.254.169.254", "127.0.0.1"]))).code == 200


def test_a_name_that_changes_its_mind_is_asked_once_and_checked_each_time(run, world) -> None:
    names = Names(["127.0.0.1"], ["169.254.169.254"])

    async def scenario():
        close = OK.replace(b"OK\r\n", b"OK\r\nconnection: close\r\n")
        async with world(close, client={"lookup": names}) as w:
            # The connection goes to what was checked: there is no second lookup to poison.
            await w.post(endpoint=named(w))
            await w.post(endpoint=named(w))
            assert names.asked == 1
            w.transport._resolver.forget("hook.example")
            with pytest.raises(TransportError, match=r"169\.254\.169\.254"):
                await w.post(endpoint=named(w))
            assert w.peer.accepted == 2

    run(scenario())


def test_the_socket_goes_to_the_checked_address(run, world) -> None:
    # 127.0.0.2 is this host as well; the endpoint listens on 127.0.0.1 alone.
    stage, text = error_of(run, call(world, Names(["127.0.0.2"])))
    assert stage == "connect"
    assert "127.0.0.2" in text


def test_the_next_address_is_tried(run, world) -> None:
    assert run(call(world, Names(["127.0.0.2", "127.0.0.1"]))).code == 200


def test_after_a_failed_connection_the_name_is_asked_again(run, world) -> None:
    names = Names(["127.0.0.2"], ["127.0.0.1"])

    async def scenario():
        async with world(OK, client={"lookup": names}) as w:
            with pytest.raises(TransportError):
                await w.post(endpoint=named(w))
            assert (await w.post(endpoint=named(w))).code == 200

    run(scenario())


@pytest.mark.parametrize(
    "answer", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label"), []]
)
def test_a_name_without_an_address_is_told(run, world, answer) -> None:
    stage, text = error_of(run, call(world, Names(answer)))
    assert stage == "dns"
    assert "hook.example" in text


def test_a_name_that_the_system_does_not_know(run, world) -> None:
    async def scenario():
        async with world(OK) as w:
            await w.post(endpoint=named(w, "no-such-host.invalid"))

    assert error_of(run, scenario())[0] == "dns"


def test_the_system_resolves_localhost(run, world) -> None:
    async def scenario():
        async with world(OK, allow_cidrs=["127.0.0.0/8", "::1/128"]) as w:
            assert (await w.post(endpoint=named(w, "localhost"))).code == 200

    run(scenario())


def test_a_slow_lookup_is_shared_and_bounded_by_the_time_out(run, world) -> None:
    asked = []

    async def never(host, port):
        asked.append(host)
        await asyncio.Event().wait()

    async def scenario():
        async with world(OK, client={"lookup": never}) as w:
            errors = await asyncio.gather(
                *(w.post(timeout_ms=50, endpoint=named(w)) for _ in range(5)),
                return_exceptions=True,
            )
            assert {error.stage for error in errors} == {"timeout"}
            assert "looking up hook.example" in str(errors[0])
            assert asked == ["hook.example"]

    run(scenario())


def test_closing_gives_lookups_up(run, world) -> None:
    started = asyncio.Event()

    async def never(host, port):
        started.set()
        await asyncio.Event().wait()

    async def scenario():
        async with world(OK, client={"lookup": never}) as w:
            task = asyncio.create_task(w.post(endpoint=named(w)))
            await started.wait()
            await w.transport.close()
            with pytest.raises(TransportError) as caught:
                await task
            assert caught.value.stage == "closed"

    run(scenario())


def test_a_port_where_nobody_listens_is_told(run, world) -> None:
    async def scenario():
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            async with world(OK) as w:
                port = unused.getsockname()[1]
                await w.post(endpoint=w.peer.endpoint._replace(port=port))

    stage, text = error_of(run, scenario())
    assert stage == "connect"
    assert "Connection refused" in text


def test_a_full_backlog_is_a_time_out_of_the_connect(run, world) -> None:
    async def scenario():
        with socket.socket() as full, socket.socket() as first, socket.socket() as second:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for filler in (first, second):
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            async with world(OK, connect_timeout_ms=60) as w:
                endpoint = w.peer.endpoint._replace(port=full.getsockname()[1])
                await w.post(endpoint=endpoint)

    stage, text = error_of(run, scenario())
    assert stage == "timeout"
    assert "not connected within 60 ms (connecting to 127.0.0.1" in text


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_tls_with_a_trusted_certificate_keeps_its_connection(world, tls, trusting, loop) -> None:
    async def scenario():
        async with world(OK, tls("endpoint"), {"ssl_context": trusting}) as w:
            for length in (10, 500_000, 10, 10):
                assert (await w.post(body=bytes(length))).code == 200
            assert w.peer.accepted == 1

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scenario())


def test_tls_checks_the_certificate_against_the_name(run, world, tls, trusting) -> None:
    client = {"ssl_context": trusting, "lookup": Names(["127.0.0.1"])}

    async def scenario():
        async with world(OK, tls("endpoint"), client) as w:
            assert (await w.post(endpoint=named(w, "hook.example"))).code == 200
            await w.post(endpoint=named(w, "other.example"))

    stage, text = error_of(run, scenario())
    assert stage == "tls"
    assert "other.example" in text
    assert "mismatch" in text


def test_tls_refuses_a_certificate_of_somebody_else(run, world, tls) -> None:
    async def scenario():
        async with world(OK, tls("stranger")) as w:
            await w.post()

    stage, text = error_of(run, scenario())
    assert (stage, "mismatch" in text) == ("tls", True)


def test_tls_refuses_an_authority_that_the_system_does_not_know(run, world, tls) -> None:
    async def scenario():
        async with world(OK, tls("endpoint"), {"ssl_context": None}) as w:
            await w.post()

    stage, text = error_of(run, scenario())
    assert stage == "tls"
    assert "unable to get" in text


def test_tls_to_an_endpoint_that_speaks_plain_http_is_told(run, world) -> None:
    async def handler(session):
        await session.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await session.closed()

    async def scenario():
        async with world(handler) as w:
            await w.post(endpoint=w.peer.endpoint._replace(tls=True))

    assert error_of(run, scenario())[0] == "tls"


def test_tls_that_is_hung_up_on_is_told(run, world) -> None:
    async def handler(session):
        await session.reader.read(1)

    async def scenario():
        async with world(handler) as w:
            await w.post(endpoint=w.peer.endpoint._replace(tls=True))

    stage, text = error_of(run, scenario())
    assert (stage, "ended the TLS handshake" in text) == ("tls", True)


def test_tls_that_never_answers_is_a_time_out_that_says_so(run, world) -> None:
    async def handler(session):
        await session.closed()

    async def scenario():
        async with world(handler, connect_timeout_ms=60) as w:
            await w.post(endpoint=w.peer.endpoint._replace(tls=True))

    stage, text = error_of(run, scenario())
    assert stage == "timeout"
    assert "in the TLS handshake" in text


def test_old_tls_is_refused_by_the_default() -> None:
    assert default_context().minimum_version.name == "TLSv1_2"
