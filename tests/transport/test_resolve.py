"""Names: what is remembered, what stands in, and that dead names hold up no other."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections import Counter

import pytest

from notify.domain.errors import TransportError
from notify.transport import resolve
from notify.transport.lookup import system_lookup
from notify.transport.resolve import Resolver

GONE = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
AWAY = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class Dns:
    """A lookup under the test's control. answers: of a name, an exception, or hang till freed."""

    def __init__(self) -> None:
        self.answers = {}
        self.asked = Counter()
        self.running = 0
        self.freed = asyncio.Event()
        self.now = 1000.0
        self.resolver = Resolver(self, lambda: self.now)

    async def __call__(self, host, port):
        self.asked[host] += 1
        self.running += 1
        try:
            if host.startswith("dead"):
                await self.freed.wait()
            await asyncio.sleep(0)
            answer = self.answers.get(host, ["192.0.2.1"])
        finally:
            self.running -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def addresses(self, host="hook.example"):
        return await self.resolver.addresses(host, 443)

    async def error(self, host="hook.example"):
        with pytest.raises(TransportError) as caught:
            await self.addresses(host)
        assert caught.value.stage == "dns"
        return str(caught.value)

    async def settled(self):
        for _ in range(10):
            await asyncio.sleep(0)


def quick(awaitable):
    """What is held up by nothing takes no time to speak of."""
    return asyncio.wait_for(awaitable, 1)


def test_an_answer_is_remembered_for_its_time_and_asked_for_once(run):
    async def scenario():
        dns = Dns()
        await asyncio.gather(*(dns.addresses() for _ in range(5)))
        dns.now += resolve.TTL_S - 0.1
        await dns.addresses()
        assert dns.asked["hook.example"] == 1
        dns.now += 0.1
        dns.answers["hook.example"] = ["192.0.2.2"]
        assert await dns.addresses() == ["192.0.2.2"]

    run(scenario())


def test_a_failure_is_told_at_once_for_a_while(run):
    async def scenario():
        dns = Dns()
        dns.answers["hook.example"] = AWAY
        first = await dns.error()
        assert "Temporary failure" in first
        dns.now += resolve.FAILED_S - 0.1
        assert await dns.error() == first
        assert dns.asked["hook.example"] == 1
        dns.now += 0.1
        del dns.answers["hook.example"]
        assert await dns.addresses() == ["192.0.2.1"]

    run(scenario())


def test_the_last_addresses_stand_in_while_a_refresh_hangs(run, monkeypatch):
    monkeypatch.setattr(resolve, "REFRESH_WAIT_S", 0.01)

    async def scenario():
        dns = Dns()
        dns.freed.set()
        assert await dns.addresses("dead.example") == ["192.0.2.1"]
        dns.freed.clear()
        dns.answers["dead.example"] = ["192.0.2.2"]
        dns.now += resolve.TTL_S
        for _ in range(3):
            assert await quick(dns.addresses("dead.example")) == ["192.0.2.1"]
        assert dns.asked["dead.example"] == 2
        dns.freed.set()
        await dns.settled()
        assert await dns.addresses("dead.example") == ["192.0.2.2"]
        assert dns.asked["dead.example"] == 2

    run(scenario())


def test_the_last_addresses_stand_in_for_a_bounded_time(run):
    async def scenario():
        dns = Dns()
        await dns.addresses()
        dns.answers["hook.example"] = AWAY
        dns.now += resolve.TTL_S
        assert await dns.addresses() == ["192.0.2.1"]
        assert await dns.addresses() == ["192.0.2.1"]
        assert dns.asked["hook.example"] == 2
        dns.now += resolve.STALE_S - 0.1
        assert await dns.addresses() == ["192.0.2.1"]
        dns.now += 0.1
        assert "Temporary failure" in await dns.error()

    run(scenario())


def test_a_name_that_is_gone_has_no_stand_in(run):
    async def scenario():
        dns = Dns()
        await dns.addresses()
        dns.answers["hook.example"] = GONE
        dns.now += resolve.TTL_S
        assert "not known" in await dns.error()

    run(scenario())


def test_a_forgotten_address_does_not_stand_in(run):
    async def scenario():
        dns = Dns()
        await dns.addresses()
        dns.resolver.forget("hook.example")
        dns.answers["hook.example"] = AWAY
        assert "Temporary failure" in await dns.error()

    run(scenario())


def test_hundreds_of_hanging_names_do_not_delay_a_healthy_one(run):
    async def scenario():
        dns = Dns()
        waiters = [asyncio.create_task(dns.addresses(f"dead{n}.example")) for n in range(200)]
        await dns.settled()
        assert dns.running == 200
        assert await quick(dns.addresses("healthy.example"))
        dns.answers = {f"dead{n}.example": AWAY for n in range(200)}
        dns.freed.set()
        failed = await asyncio.gather(*waiters, return_exceptions=True)
        assert {error.stage for error in failed} == {"dns"}
        # Now they are known to be trouble, and share what is left to such names.
        dns.freed.clear()
        dns.now += resolve.FAILED_S
        waiters = [asyncio.create_task(dns.addresses(f"dead{n}.example")) for n in range(200)]
        await dns.settled()
        assert dns.running == resolve.SUSPECTS_AT_ONCE
        assert await quick(dns.addresses("another.example"))
        await quick(dns.resolver.close())
        closed = await asyncio.gather(*waiters, return_exceptions=True)
        assert {error.stage for error in closed} == {"closed"}

    run(scenario())


def test_a_name_that_answers_slowly_is_suspect_until_it_is_quick(run):
    async def scenario():
        dns = Dns()
        for slow, suspect in ((True, True), (False, False)):
            task = asyncio.create_task(dns.addresses("dead.example"))
            await dns.settled()
            dns.now += resolve.SLOW_S + 1 if slow else 0
            dns.freed.set()
            await task
            dns.freed.clear()
            assert dns.resolver._names["dead.example"].suspect is suspect
            dns.now += resolve.TTL_S + resolve.STALE_S

    run(scenario())


def test_names_are_bounded_and_those_under_way_are_kept(run, monkeypatch):
    monkeypatch.setattr(resolve, "NAMES_MAX", 3)

    async def scenario():
        dns = Dns()
        dead = [asyncio.create_task(dns.addresses(f"dead{n}.example")) for n in range(2)]
        await dns.settled()
        for n in range(5):
            await dns.addresses(f"healthy{n}.example")
        assert list(dns.resolver._names) == ["dead0.example", "dead1.example", "healthy4.example"]
        dead.append(asyncio.create_task(dns.addresses("dead2.example")))
        await dns.settled()
        assert "3 other names" in await dns.error("healthy.example")
        dns.freed.set()
        assert await asyncio.gather(*dead) == [["192.0.2.1"]] * 3

    run(scenario())


def test_hanging_threads_hold_up_neither_a_healthy_name_nor_closing(run, monkeypatch):
    freed = threading.Event()
    real = socket.getaddrinfo
    before = threading.active_count()

    def some_hang(host, *rest, **more):
        if host.startswith("dead"):
            freed.wait(60)
            raise AWAY
        return real("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", some_hang)

    async def scenario():
        resolver = Resolver(system_lookup)
        waiters = [
            asyncio.create_task(resolver.addresses(f"dead{n}.example", 443)) for n in range(200)
        ]
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await resolver.addresses("healthy.example", 443) == ["127.0.0.1"]
            assert threading.active_count() >= before + 200
            await resolver.close()
            closed = await asyncio.gather(*waiters, return_exceptions=True)
        assert {error.stage for error in closed} == {"closed"}

    try:
        run(scenario())
    finally:
        freed.set()


def test_a_process_ends_while_a_lookup_hangs():
    program = """
import asyncio, socket, threading
from notify.transport.lookup import system_lookup

begun = threading.Event()

def hang(*_, **__):
    begun.set()
    threading.Event().wait()

async def main():
    asyncio.create_task(system_lookup("dead.example", 443))
    await asyncio.to_thread(begun.wait)

socket.getaddrinfo = hang
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program], timeout=30, check=True)


def test_a_system_without_threads_is_a_failed_lookup(run, monkeypatch):
    def no_thread(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)

    async def scenario():
        with pytest.raises(TransportError, match="can't start new thread"):
            await Resolver(system_lookup).addresses("hook.example", 443)

    run(scenario())
