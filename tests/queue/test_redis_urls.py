"""queue.url in all its forms: sockets, TLS, Sentinels, options, mistakes."""

import asyncio
import subprocess
import time

import pytest

from notify.config import load
from notify.domain.errors import ConfigError, QueueError, QueueUnavailable
from notify.domain.ports import Push, Stream, StreamKind
from notify.queue import open_queue
from notify.queue.redis import RedisQueue
from tests.queue.conftest import RealClock
from tests.servers.redis import RedisServer, free_port

A = Stream(StreamKind.SUBSCRIPTION, 1)


async def works(queue, epoch="1"):
    assert await queue.begin_epoch(epoch)
    await queue.push([Push(A, b"a", 1)])
    await queue.ack(await queue.claim([A], "w1", 1))
    assert (await queue.gauges([A]))[0].depth == 0


@pytest.mark.parametrize("database", [0, 3])
def test_unix_socket_and_database_number(run, serve, connect, database):
    server = serve()

    async def scenario():
        async with connect(f"{server.url}?db={database}") as queue:
            await works(queue)
        with server.client(db=database) as client:
            assert client.exists("nt:epoch")

    run(scenario())


def test_open_queue_knows_the_scheme_and_leaves_connecting_to_open(run, serve):
    port = free_port()
    config = load(environ={}, flags={"queue.url": f"redis://127.0.0.1:{port}/0"}).queue
    queue = open_queue(config, RealClock())
    assert isinstance(queue, RedisQueue)

    async def scenario():
        for _ in range(2):
            with pytest.raises(QueueUnavailable, match="cannot be reached"):
                await queue.open()
        serve(port=port)
        await queue.open()
        await queue.open()
        await works(queue)
        await queue.close()

    run(scenario())


def certificate(directory, name, authority=None):
    """A key and a certificate of 127.0.0.1; the authority's own where none signs it."""
    key, request, made = (directory / f"{name}.{end}" for end in ("key", "csr", "crt"))
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
           "-keyout", str(key), "-subj", f"/CN={name}"]  # fmt: skip
    if authority is None:
        commands = [[*new, "-x509", "-days", "2", "-out", str(made)]]
    else:
        names = directory / f"{name}.ext"
        names.write_text("subjectAltName=IP:127.0.0.1")
        commands = [
            [*new, "-out", str(request)],
            ["openssl", "x509", "-req", "-in", str(request), "-days", "2", "-out", str(made),
             "-CA", str(authority[1]), "-CAkey", str(authority[0]), "-CAcreateserial",
             "-extfile", str(names)],
        ]  # fmt: skip
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)
    return key, made


def test_tls_checks_the_server_and_can_show_a_certificate(run, serve, connect, tmp_path):
    authority = certificate(tmp_path, "authority")
    stranger = certificate(tmp_path, "stranger")
    key, crt = certificate(tmp_path, "server", authority)
    port = free_port()
    serve("--tls-port", str(port), "--tls-key-file", str(key), "--tls-cert-file", str(crt),
          "--tls-ca-cert-file", str(authority[1]), "--tls-auth-clients", "yes")  # fmt: skip
    base = f"rediss://127.0.0.1:{port}/0?ssl_certfile={crt}&ssl_keyfile={key}"

    async def scenario():
        async with connect(f"{base}&ssl_ca_certs={authority[1]}") as queue:
            await works(queue)
            await queue.push([Push(A, bytes(range(256)) * 4000, 1)])
            (claim,) = await queue.claim([A], "w1", 1)
            assert claim.chunk == bytes(range(256)) * 4000
        for url in (
            f"{base}&ssl_ca_certs={stranger[1]}",
            f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority[1]}",
            f"redis://127.0.0.1:{port}/0",
        ):
            with pytest.raises(QueueUnavailable):
                async with connect(url) as queue:
                    await queue.epoch()

    run(scenario())


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:port/0",
        "redis://:secret@h/0?no_such_option=1",
        "redis://h/0?socket_timeout=soon",
        "redis+sentinel://:secret@h1:26379",
        "redis+sentinel:///service",
    ],
)
def test_mistakes_in_the_url_refuse_to_start(url):
    config = load(environ={}, flags={"queue.url": url}).queue
    with pytest.raises(ConfigError, match=r"queue\.url") as caught:
        open_queue(config, RealClock())
    assert "secret" not in str(caught.value)


def test_passwords_are_not_shown(run):
    url = "redis+sentinel://u:secret@h1,h2/s?sentinel_password=hidden&password=hidden2"
    shown = repr(load(environ={}, flags={"queue.url": url}))
    assert "h1,h2" in shown
    assert "secret" not in shown
    assert "hidden" not in shown


def test_sentinels_name_the_primary_and_its_successor(run, serve, connect):
    """A failover may lose what was not replicated yet: it ends the epoch."""
    primary_port, replica_port, sentinel_port = free_port(), free_port(), free_port()
    primary = serve("--requirepass", "pw", port=primary_port)
    replica = serve("--replicaof", "127.0.0.1", str(primary_port), "--masterauth", "pw",
                    "--requirepass", "pw", port=replica_port)  # fmt: skip
    sentinel = RedisServer(port=sentinel_port)
    config = sentinel.directory / "sentinel.conf"
    config.write_text(
        f"port {sentinel_port}\ndir {sentinel.directory}\nunixsocket {sentinel.socket}\n"
        f"sentinel monitor it 127.0.0.1 {primary_port} 1\nsentinel auth-pass it pw\n"
        "sentinel down-after-milliseconds it 300\nsentinel failover-timeout it 2000\n"
    )
    sentinel.run(str(config), "--sentinel")

    async def scenario():
        deadline = time.monotonic() + 20
        with replica.client(password="pw") as client:
            while client.info("replication")["master_link_status"] != "up":
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
        await asyncio.sleep(1.2)  # the Sentinel learns of replicas every second at first
        url = f"redis+sentinel://:pw@127.0.0.1:1,127.0.0.1:{sentinel_port}/it/0"
        async with connect(url) as queue:
            await works(queue)
            await queue.push([Push(A, b"replicated", 1)])
            primary.kill()
            async with asyncio.timeout(40):
                while True:
                    try:
                        if await queue.epoch() is None and await queue.begin_epoch("2"):
                            break
                    except QueueError:
                        await asyncio.sleep(0.1)
            assert (await queue.gauges([A]))[0].depth == 0
            await queue.push([Push(A, b"anew", 1)])
            assert [c.chunk for c in await queue.claim([A], "w2", 9)] == [b"anew"]

    try:
        run(scenario())
    finally:
        sentinel.remove()
