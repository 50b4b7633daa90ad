"""TLS as endpoints have it: out of date, too old, of an own authority, asking who we are."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import uvloop

from notify.domain.errors import TransportError
from notify.domain.ports import Endpoint, Identity
from notify.transport import HttpTransport, post
from tests.support.authority import DAY, Authority, Issued
from tests.transport.conftest import BODY, head, settings

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
AUTHORITY = Authority()
TRUSTING = Identity(ca=AUTHORITY.pem)
OURS = AUTHORITY.issue("notify.example")


@pytest.fixture
def serving(tmp_path: Path):
    """An endpoint's side of TLS with a certificate made for it."""

    def context(issued: Issued, clients: Authority | None = None) -> ssl.SSLContext:
        file = tmp_path / "endpoint.pem"
        file.write_text(issued.certificate + issued.key)
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(file)
        if clients is not None:
            made.verify_mode = ssl.CERT_REQUIRED
            made.load_verify_locations(cadata=clients.pem)
        return made

    return context


@contextmanager
def strict(context: ssl.SSLContext) -> Iterator[tuple[int, list[str]]]:
    """A port whose server says in an alert why it refuses; who it met.

    asyncio's own server hangs up instead, before its alert is sent.
    """
    met: list[str] = []

    def serve(connection: socket.socket) -> None:
        secure = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with secure, suppress(OSError):
            secure.settimeout(20)
            try:
                secure.do_handshake()
                met.append(str(secure.getpeercert()))
                while secure.recv(65536):
                    secure.sendall(OK)
            except ssl.SSLError:
                # What is unread when a socket closes takes the alert with it.
                secure.shutdown(socket.SHUT_WR)
                while secure.recv(65536):
                    pass

    def accept() -> None:
        with suppress(OSError):
            while True:
                thread = threading.Thread(target=serve, args=(listener.accept()[0],))
                thread.start()
                threads.append(thread)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=accept)]
        threads[0].start()
        try:
            yield listener.getsockname()[1], met
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


async def answer_of(world, context: ssl.SSLContext, identity: Identity, **flags):
    async with world(OK, context, **flags) as w:
        return await w.post(endpoint=w.peer.endpoint._replace(identity=identity))


def refusal_of(run, scenario) -> str:
    with pytest.raises(TransportError) as caught:
        run(scenario)
    assert caught.value.stage == "tls"
    return str(caught.value)


def test_an_own_authority_is_trusted_by_its_identity_alone(run, world, serving) -> None:
    async def scenario():
        async with world(OK, serving(AUTHORITY.issue("127.0.0.1"))) as w:
            endpoint = w.peer.endpoint
            assert (await w.post(endpoint=endpoint._replace(identity=TRUSTING))).code == 200
            for other in (None, Identity(ca=Authority().pem)):
                with pytest.raises(TransportError, match="is refused: ") as caught:
                    await w.post(endpoint=endpoint._replace(identity=other))
                assert caught.value.stage == "tls"

    run(scenario())


def test_an_own_authority_replaces_those_that_others_trust(run, world, tls) -> None:
    text = refusal_of(run, answer_of(world, tls("endpoint"), TRUSTING))
    assert "the certificate of 127.0.0.1 is refused: unable to get local issuer" in text


def test_a_certificate_that_signed_itself_is_refused_unless_it_is_the_authority(
    run, world, serving
) -> None:
    alone = Authority("127.0.0.1")
    context = serving(alone.self_issued("127.0.0.1"))
    assert "self-signed" in refusal_of(run, answer_of(world, context, TRUSTING))


@pytest.mark.parametrize(
    ("issued", "text"),
    [
        (AUTHORITY.issue("127.0.0.1", since=-2 * DAY, until=-DAY), "certificate has expired"),
        (AUTHORITY.issue("127.0.0.1", since=DAY), "certificate is not yet valid"),
        (AUTHORITY.issue("127.0.0.2"), "IP address mismatch"),
        (AUTHORITY.issue("localhost"), "IP address mismatch"),
    ],
)
def test_a_certificate_that_does_not_hold_here_and_now_is_refused(
    run, world, serving, issued, text
) -> None:
    assert text in refusal_of(run, answer_of(world, serving(issued), TRUSTING))


def call(port: int, *identities: Identity | None, loop=uvloop.new_event_loop):
    """The code, or what went wrong, of two requests for each identity."""

    async def scenario():
        transport = HttpTransport(settings())
        told = []
        for identity in identities:
            endpoint = Endpoint(True, "127.0.0.1", port, identity, "/")
            for _ in range(2):
                try:
                    answer = await post(transport, endpoint, head(endpoint), BODY, 5000, 1024)
                    told.append(answer.code)
                except TransportError as error:
                    told.append(f"{error.stage}: {error}")
        await transport.close()
        return told

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(scenario())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_an_endpoint_that_speaks_old_tls_alone_is_refused(serving, version) -> None:
    context = serving(AUTHORITY.issue("127.0.0.1"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with strict(context) as (port, met):
        told, _ = call(port, TRUSTING)
    assert told == "tls: no TLS with 127.0.0.1: it speaks no TLS newer than 1.1 (protocol version)"
    assert met == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_an_endpoint_that_demands_a_client_certificate(serving, version, loop) -> None:
    context = serving(AUTHORITY.issue("127.0.0.1"), clients=AUTHORITY)
    context.minimum_version = context.maximum_version = version
    ours = TRUSTING._replace(certificate=OURS.certificate, key=OURS.key)
    stranger = Authority("a stranger").issue("notify.example")
    theirs = TRUSTING._replace(certificate=stranger.certificate, key=stranger.key)
    with strict(context) as (port, met):
        told = call(port, ours, TRUSTING, theirs, loop=loop)
    assert told[:2] == [200, 200]
    assert len(met) == 1
    assert "notify.example" in met[0]
    for text in told[2:]:
        assert text.startswith("tls: ")
        assert "client certificate" in text


def test_an_identity_that_cannot_be_used_is_told(run, world, serving) -> None:
    broken = TRUSTING._replace(certificate=OURS.certificate, key=AUTHORITY.issue("x").key)
    text = refusal_of(run, answer_of(world, serving(AUTHORITY.issue("127.0.0.1")), broken))
    assert text.startswith("the client certificate cannot be used")
