"""What `notify doctor` says of a Redis: all of it at once, and nothing is changed there."""

import signal
import time

import pytest

import notify.queue.redis.examine as examining
from notify.config import load
from notify.domain.finding import Level
from notify.queue import examine_queue
from notify.queue.redis.facts import Facts
from tests.servers.redis import RedisServer, free_port


class ShiftedClock:
    """The machine's time, and so much more."""

    def __init__(self, shift_ms: int = 0) -> None:
        self.shift_ms = shift_ms

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.shift_ms

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


def examined(url: str, shift_ms: int = 0):
    config = load(environ={}, flags={"queue.url": url})
    found = list(examine_queue(config, ShiftedClock(shift_ms)))
    assert not any("secret" in f"{one.text} {one.advice}" for one in found)
    return found


def trouble(found) -> dict[str, str]:
    return {
        f"{one.level} {one.subject}": f"{one.text}; {one.advice}"
        for one in found
        if one.level is not Level.OK
    }


def test_a_server_as_it_should_be(run, serve, connect) -> None:
    server = serve("--maxmemory", "100mb")

    async def begun() -> None:
        async with connect(server.url) as queue:
            await queue.begin_epoch("1")

    assert list(trouble(examined(server.url))) == ["warning queue epoch"]
    with server.client() as client:
        assert client.dbsize() == 0
        assert client.function_list() == [], "nothing is left behind"
    run(begun())
    found = examined(server.url)
    assert trouble(found) == {}
    told = {one.subject: one.text for one in found}
    assert "answers in" in told["queue"]
    assert "of 100, nothing is evicted" in told["queue memory"]
    assert told["queue clock"] == "its clock and this host's agree"


def test_what_is_wrong_is_told_all_at_once(serve) -> None:
    primary = free_port()
    serve(port=primary)
    server = serve("--maxmemory", "900kb", "--maxmemory-policy", "allkeys-lfu",
                   "--replicaof", "127.0.0.1", str(primary))  # fmt: skip
    told = trouble(examined(server.url, -10_000))
    assert "CONFIG SET maxmemory-policy noeviction" in told["error queue memory"]
    assert "raise its maxmemory" in told["warning queue memory"]
    assert "read-only slave; name the primary" in told["error queue role"]
    assert "10.0 s ahead" in told["error queue clock"]
    assert "warning queue epoch" in told


def test_a_policy_that_evicts_nothing_yet_is_a_warning(serve) -> None:
    server = serve("--maxmemory-policy", "volatile-lru")
    assert "maxmemory-policy volatile-lru" in trouble(examined(server.url))["warning queue memory"]


def test_a_node_of_a_cluster(serve) -> None:
    port = free_port()
    serve("--cluster-enabled", "yes", "--cluster-port", str(free_port()), port=port)
    told = trouble(examined(f"redis://127.0.0.1:{port}"))
    assert "does not support yet" in told["error queue role"]


@pytest.mark.parametrize("lacking", ["@read", "@write", "@scripting"])
def test_rights_of_a_limited_user(serve, lacking: str) -> None:
    port = free_port()
    server = serve(port=port)
    rules = [r for r in ("@read", "@write", "@connection", "@scripting", "info") if r != lacking]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "n", "on", ">secret", "~nt:*", "-@all",
                               *(f"+{rule}" for rule in rules))  # fmt: skip
    told = trouble(examined(f"redis://n:secret@127.0.0.1:{port}/0"))
    assert f"lacks +{lacking}" in told["error queue rights"]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "n", f"+{lacking}")
    assert list(trouble(examined(f"redis://n:secret@127.0.0.1:{port}/0"))) == [
        "warning queue epoch"
    ]


def test_who_cannot_connect_is_told_why(serve) -> None:
    port = free_port()
    assert (
        "start the server" in trouble(examined(f"redis://:secret@127.0.0.1:{port}"))["error queue"]
    )
    serve("--requirepass", "right", port=port)
    told = trouble(examined(f"redis://:secret@127.0.0.1:{port}"))
    assert "correct them" in told["error queue"]
    assert "queue.url" in trouble(examined("redis://h:port/0"))["error queue"]
    assert "queue.url" in trouble(examined("rabbit://:secret@h"))["error queue"]


def test_a_server_that_stands_still_is_given_up(serve, monkeypatch) -> None:
    monkeypatch.setattr(examining, "TIMEOUT_S", 0.3)
    server: RedisServer = serve()
    server.signal(signal.SIGSTOP)
    began = time.monotonic()
    told = trouble(examined(server.url))
    assert time.monotonic() - began < 3
    assert "does not answer in time" in told["error queue"]


def test_what_a_test_cannot_start() -> None:
    seen = Facts(b"r", "6.2.14", "master", "noeviction", 1, 0, False, True, 0)
    old = examining._version(seen)
    assert (old.level, old.advice) == (Level.ERROR, "upgrade the server")
    assert examining._version(seen._replace(run=b"")).level is Level.ERROR
