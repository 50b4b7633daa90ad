"""nginx as a consumer: its access log says what arrived, and over how many connections."""

import asyncio
from collections import Counter

import pytest
from standardwebhooks import Webhook

from notify.domain.errors import TransportError
from tests.receivers.conftest import AUTHORITY, SECRET, TRUSTING
from tests.servers.nginx import Nginx
from tests.support.waiting import until


@pytest.fixture(scope="module")
def nginx():
    with Nginx(AUTHORITY) as server:
        yield server


async def arrived(server: Nginx, path: str, count: int):
    """The requests of a path, once so many are in the log."""

    def lines():
        return [line for line in server.requests() if line.path == path]

    await until(lambda: len(lines()) >= count, f"{count} lines of {path} in nginx's log")
    return lines()


def by_connection(lines) -> list[int]:
    return sorted(Counter(line.connection for line in lines).values())


@pytest.mark.parametrize("tls", [False, True])
def test_it_gets_signed_requests_over_one_connection(run, client, tls) -> None:
    body = '{"name": "Zoë", "price": 1.50,  "tags": []}'

    async def scenario():
        with Nginx(AUTHORITY) as server:
            url = f"https://hook.example:{server.tls_port}/hook"
            if not tls:
                url = f"http://hook.example:{server.port}/hook"
            async with client() as c:
                for _ in range(30):
                    answer = await c.send(url, body.encode(), identity=TRUSTING if tls else None)
                    assert (answer.code, answer.body) == (200, b"taken")
                return await arrived(server, "/hook", 30)

    lines = run(scenario())
    assert by_connection(lines) == [30]
    assert [line.id for line in lines] == [str(number) for number in range(1, 31)]
    assert {(line.event, line.body) for line in lines} == {("order.paid", body)}
    assert {(line.name, line.tls) for line in lines} == (
        {("hook.example", "TLSv1.3")} if tls else {("", "")}
    )
    for line in lines:
        given = {
            "webhook-id": line.id,
            "webhook-timestamp": line.timestamp,
            "webhook-signature": line.signature,
        }
        Webhook(SECRET).verify(line.body, given)


def test_connections_that_it_ends_after_some_requests_are_replaced(run, client) -> None:
    async def scenario():
        with Nginx(AUTHORITY, keepalive_requests=4) as server:
            async with client() as c:
                for _ in range(12):
                    assert (await c.send(f"http://127.0.0.1:{server.port}/hook")).code == 200
                return await arrived(server, "/hook", 12)

    lines = run(scenario())
    assert by_connection(lines) == [4, 4, 4]
    assert len({line.id for line in lines}) == len(lines) == 12


def test_connections_that_it_lets_idle_out_cost_no_delivery_and_double_none(run, client) -> None:
    async def scenario():
        with Nginx(AUTHORITY, keepalive_timeout="20ms") as server:
            async with client() as c:
                url = f"http://127.0.0.1:{server.port}/hook"
                for _ in range(5):
                    assert (await c.send(url)).code == 200
                    await until(lambda: c.connections_open == 0, "nginx closed the connection")
                return await arrived(server, "/hook", 5)

    lines = run(scenario())
    assert by_connection(lines) == [1] * 5
    assert len({line.id for line in lines}) == len(lines) == 5


def test_many_at_a_time(run, client, nginx) -> None:
    async def scenario():
        async with client(connections_max=20) as c:
            url = f"https://hook.example:{nginx.tls_port}/empty"
            answers = await asyncio.gather(*(c.send(url, identity=TRUSTING) for _ in range(200)))
            assert {answer.code for answer in answers} == {204}
            return await arrived(nginx, "/empty", 200)

    lines = run(scenario())
    assert len({line.id for line in lines}) == len(lines) == 200
    assert len(by_connection(lines)) <= 20


@pytest.mark.parametrize(
    ("path", "code", "retry_after"),
    [
        ("/moved", 307, ""),
        ("/gone", 410, ""),
        ("/busy", 503, "7"),
        ("/down", 502, ""),
        ("/nothing", 404, ""),
    ],
)
def test_its_other_answers(run, client, nginx, path, code, retry_after) -> None:
    async def scenario():
        async with client() as c:
            answer = await c.send(f"http://127.0.0.1:{nginx.port}{path}")
            assert (answer.code, answer.retry_after) == (code, retry_after)
            assert len(await arrived(nginx, path, 1)) == 1

    run(scenario())


def test_it_refuses_a_large_body_before_it_has_read_it(run, client, nginx) -> None:
    async def scenario():
        async with client() as c:
            answer = await c.send(f"http://127.0.0.1:{nginx.port}/hook", bytes(5_000_000))
            assert answer.code == 413

    run(scenario())


def test_it_hangs_up_without_an_answer_and_is_asked_once(run, client, nginx) -> None:
    async def scenario():
        async with client() as c:
            with pytest.raises(TransportError, match="before any answer") as caught:
                await c.send(f"http://127.0.0.1:{nginx.port}/hang-up")
            assert caught.value.stage == "closed"
            assert len(await arrived(nginx, "/hang-up", 1)) == 1

    run(scenario())


def test_it_is_trusted_only_where_its_authority_is_and_by_its_names_alone(
    run, client, nginx
) -> None:
    async def scenario():
        async with client() as c:
            for host, identity in (("hook.example", None), ("other.example", TRUSTING)):
                with pytest.raises(TransportError) as caught:
                    await c.send(f"https://{host}:{nginx.tls_port}/hook", identity=identity)
                assert caught.value.stage == "tls"

    run(scenario())


def test_it_asks_for_a_client_certificate(run, client) -> None:
    ours = AUTHORITY.issue("notify.example")
    shown = TRUSTING._replace(certificate=ours.certificate, key=ours.key)

    async def scenario():
        with Nginx(AUTHORITY, verify_client=True) as server:
            url = f"https://hook.example:{server.tls_port}/hook"
            async with client() as c:
                assert (await c.send(url, identity=shown)).code == 200
                # nginx ends the handshake well and says it over HTTP.
                answer = await c.send(url, identity=TRUSTING)
                assert answer.code == 400
                assert b"No required SSL certificate" in answer.body
                return await arrived(server, "/hook", 2)

    assert [line.client for line in run(scenario())] == ["CN=notify.example", ""]
