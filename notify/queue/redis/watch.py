"""What this process knows of the streams, so that it asks Redis about none that is empty.

Every push is written down in its kind's wake log, behind the push. Who has read the log up to
here and found a stream empty after that, knows that it is empty until the log names it again.
So an idle system of any number of subscriptions costs a look into the log now and then.

Knowledge is thrown away where it may be wrong: after a lost queue, where the log was trimmed
beyond what was read, and every AUDIT_S, because a process that dies between a push and its
line in the log leaves a chunk that nobody was told of.
"""

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from notify.domain.ports import Stream, StreamKind
from notify.queue.redis import keys
from notify.queue.redis.client import Command

AUDIT_S: Final = 300.0
# Above what the log keeps (functions.lua): one look reads all of it.
ENTRIES: Final = 2000
# A push to more streams than this is written down as one to all of them.
NAMES_MAX: Final = 512
ALL: Final = b"*"


@dataclass(slots=True, eq=False)
class Known:
    """What is known of a stream. mark: the count of log lines when the last one named it.

    waiting: it may hold chunks to claim. held: it may hold anything. due_ms: when its next
    delayed chunk is due, 0 for none, None where that must be asked.
    """

    mark: int
    waiting: bool = True
    held: bool = True
    due_ms: int | None = None


class Watch:
    """The wake logs as far as they are read, and what follows from them.

    count: lines read so far, of all logs. Who asks Redis about a stream notes it before and
    hands it back with what was found out: a line read meanwhile may be the newer truth.
    generation: rises whenever all knowledge is thrown away.
    """

    def __init__(self) -> None:
        self.count = 0
        self.generation = 0
        self._streams: dict[Stream, Known] = {}
        self._read_to: dict[StreamKind, int] = {}
        self._audited_s = time.monotonic()

    def reset(self) -> None:
        """Forget everything, the logs' positions too."""
        self.generation += 1
        self._streams.clear()
        self._read_to.clear()

    def known(self, stream: Stream) -> Known:
        """What is known of a stream: at first that nothing is."""
        known = self._streams.get(stream)
        if known is None:
            known = self._streams[stream] = Known(self.count)
        return known

    def audit(self) -> None:
        """Forget from time to time what is believed of the streams."""
        now_s = time.monotonic()
        if now_s - self._audited_s >= AUDIT_S:
            self._audited_s = now_s
            for known in self._streams.values():
                known.waiting = known.held = True
                known.due_ms = None

    def position(self, kind: StreamKind) -> int | None:
        """How far a log is read, None where it was never looked at."""
        return self._read_to.get(kind)

    def look(self, kind: StreamKind) -> Command:
        """The command that reads on in a log; at first, that finds its end."""
        read_to = self._read_to.get(kind)
        if read_to is None:
            return (b"XREVRANGE", keys.wake_log(kind), b"+", b"-", b"COUNT", 1)
        return (b"XREAD", b"COUNT", ENTRIES, b"STREAMS", keys.wake_log(kind), b"0-%d" % read_to)

    def await_line(self, kind: StreamKind, block_ms: int) -> Command:
        """The command that waits for the next line of a log whose end is known."""
        read_to = b"0-%d" % self._read_to[kind]
        log = keys.wake_log(kind)
        return (b"XREAD", b"COUNT", ENTRIES, b"BLOCK", block_ms, b"STREAMS", log, read_to)

    def seen(self, kind: StreamKind, command: Command, reply: Sequence[Any] | None) -> set[Stream]:
        """Take the reply to `look` or `await_line` in; the known streams that it names."""
        if command[0] == b"XREVRANGE":
            if kind not in self._read_to:
                self._read_to[kind] = _line(reply[0][0]) if reply else 0
            return set()
        marked: set[Stream] = set()
        for entry, fields in reply[0][1] if reply else ():
            read_to = self._read_to.get(kind)
            line = _line(entry)
            if read_to is None or line <= read_to:
                continue  # reset, or read by somebody else, meanwhile
            self._read_to[kind] = line
            self.count += 1
            if line > read_to + 1 or ALL in (fields[1], fields[3]):
                every = [stream for stream in self._streams if stream.kind is kind]
                marked |= self._mark(every, delayed=True)
            else:
                marked |= self._mark(_named(kind, fields[1]), delayed=False)
                marked |= self._mark(_named(kind, fields[3]), delayed=True)
        return marked

    def _mark(self, streams: Iterable[Stream], delayed: bool) -> set[Stream]:
        marked = set()
        for stream in streams:
            known = self._streams.get(stream)
            if known is not None:
                known.mark = self.count
                known.waiting = known.held = True
                if delayed:
                    known.due_ms = None
                marked.add(stream)
        return marked


def lines(pushed: Collection[Stream], delayed: Collection[Stream]) -> list[Command]:
    """The commands that write pushes down, one for each kind; delayed: those with a due time."""
    commands: list[Command] = []
    for kind in StreamKind:
        now = [stream.number for stream in pushed if stream.kind is kind]
        later = [stream.number for stream in delayed if stream.kind is kind]
        if now or later:
            log = keys.wake_log(kind)
            commands.append((b"FCALL", b"notify1_wake", 1, log, _names(now), _names(later)))
    return commands


def _names(numbers: Sequence[int]) -> bytes:
    if len(numbers) > NAMES_MAX:
        return ALL
    return b" ".join(b"%d" % number for number in numbers)


def _named(kind: StreamKind, names: bytes) -> list[Stream]:
    return [Stream(kind, int(number)) for number in names.split()]


def _line(entry: bytes) -> int:
    return int(entry.rpartition(b"-")[2])
