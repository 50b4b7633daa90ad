"""One stream's chunks: waiting, delayed and claimed.

No operation of the daily work looks at all of them; `contents` and `replace` do.
"""

from collections import OrderedDict, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import islice

from notify.domain.ports import Content, Push


@dataclass(slots=True, eq=False)
class Entry:
    """A chunk in a stream. holding: how often it was claimed, which tells holders apart."""

    number: int
    chunk: bytes
    items: int
    since_ms: int
    holding: int = 0
    renewed_ms: int = 0


class Backlog:
    """The chunks that one stream holds. `depth` counts their items."""

    def __init__(self) -> None:
        self.depth = 0
        self._entries: dict[int, Entry] = {}  # all
        self._ages: list[tuple[int, int]] = []  # heap: since_ms, number; also of entries gone
        # OrderedDict, not dict: finding the first key of a dict after many deletions at its
        # front walks over all that was deleted.
        self._claimed: OrderedDict[int, Entry] = OrderedDict()  # longest without renewal first
        self._waiting: deque[Entry] = deque()
        self._delayed: list[tuple[int, int, Entry]] = []  # heap: due_ms, number

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def oldest_ms(self) -> int:
        """The least since_ms, 0 where there is no entry."""
        return self._ages[0][0] if self._ages else 0

    @property
    def next_due_ms(self) -> int:
        """When the next delayed chunk is due, 0 where there is none."""
        return self._delayed[0][0] if self._delayed else 0

    def push(self, number: int, push: Push, now_ms: int) -> None:
        """Append a chunk; `number` rises with every push."""
        entry = Entry(number, push.chunk, push.items, push.since_ms or now_ms)
        self._entries[number] = entry
        heappush(self._ages, (entry.since_ms, number))
        self.depth += push.items
        if push.due_ms:
            heappush(self._delayed, (push.due_ms, number, entry))
        else:
            self._waiting.append(entry)

    def promote(self, now_ms: int) -> bool:
        """Let delayed chunks wait that are due; whether there were any."""
        moved = False
        while self._delayed and self._delayed[0][0] <= now_ms:
            self._waiting.append(heappop(self._delayed)[2])
            moved = True
        return moved

    def claim(self, chunks_max: int, now_ms: int) -> Iterator[Entry]:
        """Take the chunks that wait longest."""
        for _ in range(min(chunks_max, len(self._waiting))):
            entry = self._waiting.popleft()
            self._hold([entry], now_ms)
            yield entry

    def contents(self, after: int, limit: int) -> list[Content]:
        """The chunks with numbers above `after`, rising."""
        due = {entry.number: due_ms for due_ms, _, entry in self._delayed}
        later = (entry for number, entry in self._entries.items() if number > after)
        return [
            Content(
                str(entry.number),
                entry.chunk,
                entry.items,
                due.get(entry.number, 0),
                entry.since_ms,
                entry.number in self._claimed,
            )
            for entry in islice(later, limit)
        ]

    def replace(self, number: int, chunk: bytes, items: int) -> bool:
        """Change a chunk that nobody has claimed, or remove it (b""); whether there is one."""
        entry = self._entries.get(number)
        if entry is None or number in self._claimed:
            return False
        self.depth += items - entry.items
        entry.chunk, entry.items = chunk, items
        if not chunk:
            self._waiting = deque(one for one in self._waiting if one is not entry)
            self._delayed = [one for one in self._delayed if one[2] is not entry]
            heapify(self._delayed)
            self._remove(number)
        return True

    def takeover(self, idle_ms: int, chunks_max: int, now_ms: int) -> list[Entry]:
        """Take claimed chunks not renewed for idle_ms; their claims so far are dead."""
        idle: list[Entry] = []
        for entry in self._claimed.values():
            if len(idle) >= chunks_max or entry.renewed_ms + idle_ms > now_ms:
                break
            idle.append(entry)
        self._hold(idle, now_ms)
        return sorted(idle, key=lambda entry: entry.number)

    def renew(self, number: int, holding: int, now_ms: int) -> None:
        """Prolong a claim, unless it is dead."""
        entry = self._held(number, holding)
        if entry is not None:
            entry.renewed_ms = now_ms
            self._claimed.move_to_end(number)

    def ack(self, number: int, holding: int) -> None:
        """Remove a claimed chunk, unless the claim is dead."""
        entry = self._held(number, holding)
        if entry is not None:
            del self._claimed[number]
            self.depth -= entry.items
            self._remove(number)

    def _remove(self, number: int) -> None:
        del self._entries[number]
        while self._ages and self._ages[0][1] not in self._entries:
            heappop(self._ages)

    def _held(self, number: int, holding: int) -> Entry | None:
        entry = self._claimed.get(number)
        return entry if entry is not None and entry.holding == holding else None

    def _hold(self, entries: Collection[Entry], now_ms: int) -> None:
        for entry in entries:
            entry.holding += 1
            entry.renewed_ms = now_ms
            self._claimed[entry.number] = entry
            self._claimed.move_to_end(entry.number)
