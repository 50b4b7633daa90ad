"""The commands of streams, and what their replies mean (functions.lua says what they do)."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from notify.domain.ports import Claim, Gauge, Push, Stream
from notify.queue.redis import keys
from notify.queue.redis.client import Command

PUSH: Final = b"notify1_push"
# One function call blocks the server: it takes so many chunks or bytes, or one chunk.
CALL_CHUNKS_MAX: Final = 256
CALL_BYTES_MAX: Final = 4 << 20
# What is packed into one buffer and sent before the answer is read.
PIPELINE_BYTES_MAX: Final = 16 << 20
PROMOTE_CHUNKS: Final = 100

Group = tuple[keys.StreamKeys, list[Push]]


def call(function: bytes, stream: Stream, *arguments: bytes | int) -> Command:
    """A function call upon one stream."""
    return (b"FCALL", function, 4, *keys.of_stream(stream), *arguments)


def pipelines(pushes: Iterable[Push]) -> Iterator[list[Group]]:
    """Pushes by stream, in function calls and pipelines of bounded size, each stream's in order."""
    groups: list[Group] = []
    open_groups: dict[Stream, list[Push]] = {}
    call_bytes: dict[Stream, int] = {}
    total = 0
    for push in pushes:
        stream, size = push.stream, len(push.chunk)
        if groups and total + size > PIPELINE_BYTES_MAX:
            yield groups
            groups, open_groups, call_bytes, total = [], {}, {}, 0
        group = open_groups.get(stream)
        if (
            group is None
            or len(group) >= CALL_CHUNKS_MAX
            or call_bytes[stream] + size > CALL_BYTES_MAX
        ):
            group = open_groups[stream] = []
            groups.append((keys.of_stream(stream), group))
            call_bytes[stream] = 0
        group.append(push)
        call_bytes[stream] += size
        total += size
    if groups:
        yield groups


def streams_of(groups: Iterable[Group]) -> tuple[set[Stream], set[Stream]]:
    """The streams that get chunks at once, and those that get some with a delay."""
    now: set[Stream] = set()
    later: set[Stream] = set()
    for _, pushes in groups:
        stream = pushes[0].stream
        if any(push.due_ms for push in pushes):
            later.add(stream)
        if not all(push.due_ms for push in pushes):
            now.add(stream)
    return now, later


def claim(stream: Stream, run: bytes, chunks_max: int) -> Command:
    """Take chunks that wait."""
    return call(b"notify1_claim", stream, run, chunks_max)


def claimed(stream: Stream, reply: Sequence[Any]) -> list[Claim]:
    """The claims in the reply to `claim`, behind the depth."""
    return [
        Claim(stream, f"{reply[i].decode()}-1", reply[i + 3], int(reply[i + 1]), False,
              int(reply[i + 2]))
        for i in range(1, len(reply), 4)
    ]  # fmt: skip


def takeover(stream: Stream, run: bytes, idle_ms: int, chunks_max: int) -> Command:
    """Take chunks whose holder was idle."""
    return call(b"notify1_takeover", stream, run, idle_ms, chunks_max)


def taken_over(stream: Stream, reply: Sequence[Any]) -> list[Claim]:
    """The claims in the reply to `takeover`, behind the depth."""
    return [
        Claim(stream, f"{reply[i].decode()}-{reply[i + 1]}", reply[i + 4], int(reply[i + 2]),
              True, int(reply[i + 3]))
        for i in range(1, len(reply), 5)
    ]  # fmt: skip


def promote(stream: Stream, run: bytes, now_ms: int) -> Command:
    """Move delayed chunks that are due."""
    return call(b"notify1_promote", stream, run, now_ms, PROMOTE_CHUNKS)


def acks(run: bytes, claims: Iterable[Claim]) -> Iterator[tuple[Stream, Command]]:
    """Let claims go that are not dead."""
    for stream, part in _by_stream(claims):
        holdings = [x for claim in part for x in (*_holding(claim), claim.items)]
        yield stream, call(b"notify1_ack", stream, run, *holdings)


def renewals(run: bytes, claims: Iterable[Claim]) -> Iterator[Command]:
    """Prolong claims that are not dead."""
    for stream, part in _by_stream(claims):
        holdings = [x for claim in part for x in _holding(claim)]
        yield call(b"notify1_renew", stream, run, *holdings)


def spill(stream: Stream, run: bytes, on: bool) -> Command:
    """Set or clear the spill flag."""
    return call(b"notify1_spill", stream, run, int(on))


def gauge(stream: Stream) -> tuple[Command, Command]:
    """Read a stream's state: no function, nothing is written."""
    names = keys.of_stream(stream)
    return (
        (b"HMGET", names[keys.META], b"run", b"depth", b"spill"),
        (b"ZRANGE", names[keys.AGES], 0, 0, b"WITHSCORES"),
    )


def gauged(run: bytes, meta: Sequence[bytes | None], oldest: Sequence[bytes]) -> Gauge:
    """What the replies to `gauge` say; nothing of an earlier run counts."""
    if meta[0] != run:
        return Gauge(0, 0, False)
    depth = int(meta[1] or 0)
    return Gauge(depth, int(float(oldest[1])) if depth and oldest else 0, meta[2] is not None)


def depth(stream: Stream) -> Command:
    """Read a stream's depth."""
    return (b"HMGET", keys.of_stream(stream)[keys.META], b"run", b"depth")


def holds(run: bytes, meta: Sequence[bytes | None]) -> bool:
    """Whether the reply to `depth` says that a stream holds anything."""
    return meta[0] == run and int(meta[1] or 0) > 0


def _by_stream(claims: Iterable[Claim]) -> Iterator[tuple[Stream, list[Claim]]]:
    ordered = sorted(claims, key=lambda claim: claim.stream)
    for stream, group in groupby(ordered, key=lambda claim: claim.stream):
        part = list(group)
        for first in range(0, len(part), CALL_CHUNKS_MAX):
            yield stream, part[first : first + CALL_CHUNKS_MAX]


def _holding(claim: Claim) -> tuple[bytes, int]:
    entry, _, count = claim.entry.rpartition("-")
    return entry.encode(), int(count)
