"""What `notify doctor` says of a Redis. Nothing is changed there."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from redis.exceptions import RedisError

from notify.domain.errors import ConfigError, QueueUnavailable
from notify.domain.finding import Finding, clock_skew, error, ok, warning
from notify.domain.ports import Clock
from notify.queue.redis import keys
from notify.queue.redis.client import READ_BYTES, Command, Link, PipelineParser
from notify.queue.redis.errors import unavailable
from notify.queue.redis.facts import VERSION_LEAST, Facts, eviction, facts
from notify.queue.redis.urls import Source

SERVER: Final = "queue"
VERSION: Final = "queue version"
ROLE: Final = "queue role"
MEMORY: Final = "queue memory"
RIGHTS: Final = "queue rights"
CLOCK: Final = "queue clock"
EPOCH: Final = "queue epoch"

TIMEOUT_S: Final = 3.0
SLOW_MS: Final = 20.0
FULL: Final = 0.8
_MIB: Final = 1 << 20
# Each needs one of the rights that the adapter needs, and does nothing: there is no such key.
_PROBES: Final[dict[str, Command]] = {
    "+@read": (b"GET", keys.EPOCH),
    "+@write": (b"XACK", b"nt:doctor", b"w", b"0-1"),
    "+@scripting": (b"FUNCTION", b"LIST", b"LIBRARYNAME", b"notify1"),
}


def examine(url: str, clock: Clock) -> Iterator[Finding]:
    """Look at the server, its memory and role, our rights and the clocks; blocks.

    Bounded by TIMEOUT_S a pipeline; after one that failed nothing else is asked.
    """
    yield from asyncio.run(_examined(url, clock))


async def _examined(url: str, clock: Clock) -> list[Finding]:
    try:
        source = Source(url, parser_class=PipelineParser, socket_read_size=READ_BYTES)
    except ConfigError as failure:
        return [error(SERVER, problem) for problem in failure.problems]
    link = Link(source.connection(), min(source.answer_timeout_s, TIMEOUT_S))
    found: list[Finding] = []
    try:
        await link.connect(min(source.connect_timeout_s, TIMEOUT_S))
        await _look(link, clock, found)
    except QueueUnavailable as failure:
        found.append(error(SERVER, str(failure)))
    except (RedisError, OSError) as failure:
        found.append(error(SERVER, str(unavailable(failure))))
    finally:
        with suppress(RedisError, OSError):
            await link.drop()
            await source.close()
    return found


async def _look(link: Link, clock: Clock, found: list[Finding]) -> None:
    looks = []
    for _ in range(3):
        before_ms = clock.now_ms()
        (info,) = await link.ask([(b"INFO",)])
        after_ms = clock.now_ms()
        looks.append((after_ms - before_ms, (before_ms + after_ms) / 2, facts(info)))
    round_trip_ms, at_ms, seen = min(looks)
    text = f"Redis answers in {round_trip_ms} ms"
    if round_trip_ms >= SLOW_MS:
        found.append(warning(SERVER, text, "run Notify nearer to its Redis"))
    else:
        found.append(ok(SERVER, text))
    found += [_version(seen), *_role(seen), *_memory(seen)]
    if seen.now_ms:
        found.append(clock_skew(CLOCK, seen.now_ms - at_ms, round_trip_ms))
    if seen.is_loading:
        found.append(warning(SERVER, "Redis is still loading its data", "wait; services wait too"))
        return
    replies = await link.replies(list(_PROBES.values()))
    found.append(_rights(replies))
    found.append(_epoch(replies[0], seen.run))


def _version(seen: Facts) -> Finding:
    numbers = tuple(int(part) for part in seen.version.split(".")[:2] if part.isdecimal())
    if not seen.run or not numbers:
        return error(
            VERSION, "it does not tell its version and run", "name Redis itself in queue.url"
        )
    if numbers < VERSION_LEAST:
        least = ".".join(map(str, VERSION_LEAST))
        return error(VERSION, f"it is {seen.version}, Notify needs {least}", "upgrade the server")
    return ok(VERSION, f"it is {seen.version}")


def _role(seen: Facts) -> Iterator[Finding]:
    if seen.is_cluster:
        yield error(
            ROLE,
            "it is a node of a Redis Cluster, which Notify does not support yet",
            "name a single server, or Sentinels, in queue.url",
        )
    if seen.role == "master":
        yield ok(ROLE, "it is a primary")
    else:
        yield error(
            ROLE,
            f"it is a read-only {seen.role or 'server'}",
            "name the primary in queue.url, or the Sentinels",
        )


def _memory(seen: Facts) -> Iterator[Finding]:
    used = f"{seen.memory_bytes / _MIB:.0f} MiB used"
    if seen.evicts and seen.memory_max:
        yield error(MEMORY, eviction(seen))
    elif seen.evicts:
        yield warning(MEMORY, f"{eviction(seen)}; it has no maxmemory yet, so it waits with that")
    if seen.memory_max and seen.memory_bytes >= FULL * seen.memory_max:
        yield warning(
            MEMORY,
            f"{used} of {seen.memory_max / _MIB:.0f}: a full Redis takes nothing",
            "raise its maxmemory, lower queue.depth_max, or remove what else fills it",
        )
    elif not seen.evicts:
        most = f"of {seen.memory_max / _MIB:.0f}" if seen.memory_max else "and no bound"
        yield ok(MEMORY, f"{used} {most}, nothing is evicted")


def _rights(replies: list[object]) -> Finding:
    failed = {
        right: str(unavailable(reply))
        for right, reply in zip(_PROBES, replies, strict=True)
        if isinstance(reply, RedisError) and "READONLY" not in str(unavailable(reply))
    }
    lacking = [right for right, text in failed.items() if "NOPERM" in text]
    if lacking:
        return error(
            RIGHTS,
            f"the user of queue.url lacks {' '.join(lacking)}",
            "run ACL SETUSER with ~nt:* +@read +@write +@connection +@scripting +info",
        )
    for text in failed.values():
        return error(RIGHTS, text)
    return ok(RIGHTS, "the user may read, write and call functions")


def _epoch(reply: object, run: bytes) -> Finding:
    if isinstance(reply, bytes) and reply.startswith(run + b" "):
        return ok(EPOCH, "it was begun in this run of the server")
    return warning(
        EPOCH,
        "there is none in this run of the server: nothing is queued yet, or all was lost",
        "start a Rescuer, which begins one and fills the queue from the database",
    )
