"""The faults: each strikes a running system and, where that is its nature, ends again.

A fault tells its Strike two moments. `hit`: it has had its effect; what consumers take later was
not in flight at the fault. `over`: it has ended, the system is whole again; recovery is counted
from there.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

import pymysql
import redis

from notify.domain.ports import Stream, StreamKind
from notify.queue.redis import keys
from tests.chaos.receivers import SLOWEST_MS
from tests.chaos.services import Service
from tests.chaos.system import LEASE_MS, System
from tests.support.receiver import Key
from tests.support.waiting import until

GROUP: Final = "w"
INGEST: Final = Stream(StreamKind.INGEST, 0)
RESCUERS_LEASE: Final = "nt:{lease:rescuer}"
REBUILT_S: Final = 60.0
TAKEN_OVER_S: Final = 60.0
PAUSE_MS: Final = 20_000
# At the word, before the server sees it or before the client hears the answer. A transaction's
# end as the protocol has it: a query of this one word.
CUTS: Final = tuple(
    (word, after) for word in (b"\x03COMMIT", b"INSERT INTO biz_msg") for after in (False, True)
)


@dataclass
class Strike:
    """One or two faults at a moment. claimed: what the process that was hit had claimed."""

    system: System
    random: random.Random
    hit_at: float = 0.0
    over_at: float = 0.0
    claimed: set[Key] = field(default_factory=set)

    async def hit(self) -> None:
        """Now, less what is on the wire still: the consumers have it and answer it first."""
        await self.system.arrived()
        await asyncio.sleep(2 * SLOWEST_MS / 1000)
        await self.system.arrived()
        self.hit_at = time.monotonic()

    def over(self) -> None:
        self.over_at = time.monotonic()


class Fault(NamedTuple):
    """target: what it hits; two faults at once have different ones."""

    name: str
    target: str
    inflict: Callable[[Strike], Awaitable[None]]


async def _kill(kind: str, strike: Strike) -> None:
    """kill -9, and a new process in its place after a moment."""
    service = strike.random.choice(strike.system.services[kind])
    await service.kill()
    await strike.hit()
    await asyncio.sleep(strike.random.random())
    await strike.system.restart(service)
    strike.over()


async def _flush_all(strike: Strike) -> None:
    with strike.system.redis.client() as client:
        _stand_still(strike, client)
        lost_ms = _now_ms()
        client.pipeline(transaction=False).client_unpause().flushall().execute()
    strike.over()
    await _rebuilt(strike, lost_ms)


async def _restart_redis(prepare: Callable[[System], None], strike: Strike) -> None:
    """redis-server is killed and comes back after a moment with what `prepare` leaves of it."""
    server = strike.system.redis
    server.keep_aside()
    await asyncio.sleep(strike.random.random())
    with server.client() as client:
        _stand_still(strike, client)
    lost_ms = _now_ms()
    server.kill()
    prepare(strike.system)
    await asyncio.sleep(strike.random.random())
    await asyncio.to_thread(server.start)
    strike.over()
    await _rebuilt(strike, lost_ms)


def _stand_still(strike: Strike, client: redis.Redis) -> None:
    """The queue holds still until it is lost, so that it is known exactly who had claimed what.

    A Maker does not know yet that the queue of its chunk is gone when it pushes, nor a Sender
    when it begins the deliveries of its own: they come again from the database.
    """
    client.client_pause(PAUSE_MS, all=False)
    claimed = _pending(strike.system, [INGEST, *strike.system.queues])
    strike.claimed |= strike.system.contents(claimed)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _rebuilt(strike: Strike, lost_ms: int) -> None:
    """Until a Rescuer has rebuilt a queue that began since then."""

    def is_new() -> bool:
        try:
            return strike.system.mariadb.answers() and strike.system.rebuilt_ms() >= lost_ms
        except pymysql.OperationalError:
            return False  # it is killed at this very moment

    await until(is_new, "the queue rebuilt", REBUILT_S)
    await strike.hit()


async def _restart_mariadb(strike: Strike) -> None:
    server = strike.system.mariadb
    server.kill()
    await strike.hit()
    await asyncio.sleep(strike.random.random())
    await asyncio.to_thread(server.start)
    strike.over()


async def _cut_commits(strike: Strike) -> None:
    proxy = strike.system.proxy
    for word, after in strike.random.sample(CUTS, len(CUTS)):
        cuts = proxy.cuts
        proxy.cut(word, after=after)
        await until(lambda n=cuts: proxy.cuts > n, f"a connection cut at {word!r}", 60.0)
    await strike.hit()
    strike.over()


async def _freeze_sender(strike: Strike) -> None:
    """SIGSTOP until others have taken over what it held, then SIGCONT."""
    system = strike.system
    service = strike.random.choice(system.services["sender"])
    service.freeze()
    await strike.hit()
    await _taken_over(strike, system.queues)
    service.thaw()
    strike.over()


async def _two_makers(strike: Strike) -> None:
    """A Maker is stopped when it has claimed, another takes over, then the first goes on."""
    one, other = strike.random.sample(strike.system.services["maker"], 2)
    other.freeze()  # for a moment, so that what is claimed is claimed by the one
    one.freeze()

    def claimed() -> bool:
        if _pending(strike.system, [INGEST]):
            return True
        one.thaw()
        time.sleep(strike.random.random() / 100)
        one.freeze()
        return False

    try:
        await until(claimed, "a Maker with a claim", 60.0)
    finally:
        other.thaw()
    await _taken_over(strike, [INGEST])
    one.thaw()
    await strike.hit()
    strike.over()


async def _freeze_rescuer(strike: Strike) -> None:
    """The Rescuer at work is stopped until another has its lease, then goes on."""

    def leading() -> Service | None:
        try:
            with strike.system.redis.client() as client:
                owner = client.get(RESCUERS_LEASE) or b""
        except redis.RedisError:
            return None  # Redis is away too
        rescuers = strike.system.services["rescuer"]
        return next((one for one in rescuers if f"-{one.pid}-".encode() in owner), None)

    first = await until(leading, "a Rescuer at work", TAKEN_OVER_S)
    first.freeze()
    await strike.hit()
    await until(lambda: leading() not in (first, None), "another Rescuer at work", TAKEN_OVER_S)
    first.thaw()
    strike.over()


async def _consumers_down(strike: Strike) -> None:
    await strike.system.consumers.down()
    await strike.hit()
    await asyncio.sleep(1 + strike.random.random())
    await strike.system.consumers.up()
    strike.over()


Pending = dict[tuple[Stream, bytes], int]


def _pending(system: System, streams: list[Stream]) -> Pending:
    """How often each claimed entry of the streams was handed out; {} while Redis is away."""
    found: Pending = {}
    try:
        with system.redis.client() as client:
            for stream in streams:
                key = keys.of_stream(stream)[keys.CHUNKS]
                if client.exists(key):
                    for entry in client.xpending_range(key, GROUP, "-", "+", 1000):
                        found[stream, entry["message_id"]] = entry["times_delivered"]
    except redis.RedisError:
        return {}
    return found


async def _taken_over(strike: Strike, streams: list[Stream]) -> None:
    """Until everything that is claimed now was finished or claimed by somebody else."""
    held = _pending(strike.system, streams)
    strike.claimed |= strike.system.contents(held)
    lease_ends = time.monotonic() + LEASE_MS / 1000

    def is_left() -> bool:
        now = _pending(strike.system, streams)
        return time.monotonic() > lease_ends and all(
            now.get(entry, 2) > times for entry, times in held.items()
        )

    await until(is_left, "taken over by somebody else", TAKEN_OVER_S)


FAULTS: Final = (
    *(Fault(f"kill -9 {kind}", kind, partial(_kill, kind)) for kind in Service.KINDS),
    Fault("FLUSHALL", "redis", _flush_all),
    Fault("redis: nothing saved", "redis", partial(_restart_redis, lambda it: it.redis.forget())),
    Fault("redis: old AOF", "redis", partial(_restart_redis, lambda it: it.redis.put_back())),
    Fault("mariadbd: kill -9", "mariadb", _restart_mariadb),
    Fault("commits cut", "proxy", _cut_commits),
    Fault("SIGSTOP sender", "sender", _freeze_sender),
    Fault("two makers, one chunk", "maker", _two_makers),
    Fault("SIGSTOP rescuer", "rescuer", _freeze_rescuer),
    Fault("consumers down", "consumers", _consumers_down),
)
