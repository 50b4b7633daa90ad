"""The commands of streams, and what their replies mean (functions.lua says what they do)."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from notify.domain.ports import Claim, Content, Gauge, Push, Stream
from notify.queue.redis import keys
from notify.queue.redis.client import Command

PUSH: Final = b"notify1_push"
GROUP: Final = b"w"
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


def claim(stream: Stream, chunks_max: int) -> tuple[Command, Command]:
    """Take chunks that wait: bare commands, which spare the chunks two copies in Lua."""
    return (
        depth(stream),
        (b"XREADGROUP", b"GROUP", GROUP, GROUP, b"COUNT", chunks_max, b"STREAMS",
         keys.of_stream(stream)[keys.CHUNKS], b">"),
    )  # fmt: skip


def is_odd(run: bytes, meta: Sequence[bytes | None], answer: Any) -> bool:
    """Whether the replies to `claim` do not fit: left by an earlier run, or partly deleted."""
    if isinstance(answer, Exception):  # there is no group
        return meta[0] is not None and (meta[0] != run or holds(run, meta))
    return meta[0] != run


def mend(stream: Stream, run: bytes, chunks_max: int) -> Command:
    """Drop what is left of an earlier run, offer anew what lost its group, and take chunks."""
    return call(b"notify1_mend", stream, run, chunks_max)


def claimed(stream: Stream, answer: Any) -> list[Claim]:
    """The claims in the answer to `claim` or `mend`."""
    if not answer or isinstance(answer, Exception):
        return []
    return [
        Claim(stream, f"{entry.decode()}-1", fields[5], int(fields[1]), False, int(fields[3]))
        for entry, fields in answer[0][1]
    ]


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


def gauge(stream: Stream, run: bytes) -> Command:
    """Read a stream's state."""
    return call(b"notify1_gauge", stream, run)


def gauged(reply: Sequence[int]) -> Gauge:
    """What the reply to `gauge` says."""
    items, oldest_ms, spilling = reply
    return Gauge(items, oldest_ms, bool(spilling))


def contents(stream: Stream, after: str, limit: int) -> tuple[Command, ...]:
    """Read a page of chunks: of the delay set by ZSCAN, of the stream by id; d…, s… says where."""
    chunks, delayed, *_ = keys.of_stream(stream)
    if not after.startswith("s"):
        cursor = after[1:].encode() or b"0"
        return depth(stream), (b"ZSCAN", delayed, cursor, b"COUNT", limit)
    first = after[1:].encode() or b"-"
    return (
        depth(stream),
        (b"XRANGE", chunks, first, b"+", b"COUNT", limit),
        # The first so many that are held from there on: all of the page that are.
        (b"XPENDING", chunks, GROUP, first, b"+", limit),
    )


def content_page(after: str, replies: Sequence[Any], limit: int) -> tuple[list[Content], str]:
    """The chunks in the replies to `contents` behind the depth, and where the next page begins."""
    if not after.startswith("s"):
        cursor, found = replies[0]
        page = [_delayed(found[i], int(found[i + 1])) for i in range(0, len(found), 2)]
        return page, "s" if cursor == b"0" else f"d{cursor.decode()}"
    entries, held = replies
    if isinstance(entries, Exception):
        return [], ""
    claimed = set() if isinstance(held, Exception) else {one[0] for one in held}
    page = [
        Content(entry.decode(), fields[5], int(fields[1]), 0, int(fields[3]), entry in claimed)
        for entry, fields in entries
    ]
    return page, f"s({page[-1].entry}" if len(page) == limit else ""


def _delayed(member: bytes, due_ms: int) -> Content:
    """A member of the delay set; functions.lua says what it is made of."""
    entry = f"d{member[:16].decode()}"
    return Content(entry, member[42:], int(member[16:26]), due_ms, int(member[26:42]), False)


def replace(stream: Stream, run: bytes, content: Content, chunk: bytes, items: int) -> Command:
    """Put a chunk in the place of one that nobody holds."""
    entry, old = content.entry, content
    delayed: list[bytes] = []
    if entry.startswith("d"):
        delayed = [b"%s%010d%016d%s" % (entry[1:].encode(), old.items, old.since_ms, old.chunk)]
    return call(b"notify1_replace", stream, run, entry.encode(), items, chunk, *delayed)


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
