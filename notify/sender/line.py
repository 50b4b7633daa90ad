"""The unfinished deliveries of one ordered subscription, key by key, in message order. Pure.

A key's next delivery is free only when the one before it is finished; a key whose delivery has
to be tried again is parked, and parks nobody else.
"""

import heapq
from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final

from notify.domain.ports import OrderHead
from notify.sender.batch import Place
from notify.sender.lane import Job

# Deliveries of one key that are kept here; what follows stays in the database until these are done.
KEY_JOBS_MAX: Final = 200
# The same while its first has to be tried again: thousands of failing keys leave room for others.
PARKED_JOBS_MAX: Final = 2
HEADS_MAX: Final = 20_000


class _Key:
    """One key: its jobs in message order; one that had a try is the first."""

    __slots__ = ("busy", "cut_id", "jobs", "name", "parked")

    def __init__(self, name: str) -> None:
        self.name = name
        self.jobs: list[Job] = []
        self.busy = False  # the first is free, under way or parked
        self.parked = False
        self.cut_id = 0  # from this message on they were left in the database; 0: none was


class Line:
    """What is unfinished and known here, and of which keys something may go."""

    def __init__(self) -> None:
        self._keys: dict[str, _Key] = {}
        self._known: set[int] = set()
        self._free: deque[_Key] = deque()
        self._parked: list[tuple[int, int, _Key]] = []
        self._heads: OrderedDict[str, OrderHead] = OrderedDict()
        self._counter = 0
        # Keys that ran out of jobs here and have more in the database.
        self._cut_off: list[_Key] = []

    def __len__(self) -> int:
        """How many deliveries are here, those under way included."""
        return len(self._known)

    def __contains__(self, message_id: int) -> bool:
        return message_id in self._known

    @property
    def free(self) -> int:
        """How many keys have a delivery that may go."""
        return len(self._free)

    @property
    def must_read(self) -> bool:
        """A key has more in the database than here."""
        return bool(self._cut_off)

    def read_from(self, message_id: int) -> int:
        """Where reading has to begin, if it went on from message_id otherwise."""
        for key in self._cut_off:
            message_id = min(message_id, key.cut_id)
            key.cut_id = 0
        self._cut_off.clear()
        return message_id

    def is_cut(self, key: str) -> bool:
        """Whether some of this key were left in the database."""
        return key in self._keys and self._keys[key].cut_id > 0

    def lacks(self, keys: Iterable[str]) -> set[str]:
        """The keys whose head is not known here."""
        return {key for key in keys if key not in self._heads}

    def learn(self, heads: Iterable[OrderHead]) -> None:
        """Take heads as the database has them; what is known here is newer."""
        for head in heads:
            self._heads.setdefault(head.key, head)

    def add(self, key: str, job: Job) -> None:
        """Take a delivery in, in its place; a key of which there are too many keeps the first."""
        message_id = job.delivery.message.id
        found = self._keys.get(key)
        if found is None:
            found = self._keys[key] = _Key(key)
        if 0 < found.cut_id <= message_id:
            return
        if len(found.jobs) >= (PARKED_JOBS_MAX if found.parked else KEY_JOBS_MAX):
            found.cut_id = message_id
            return
        self._known.add(message_id)
        head = self._heads.get(key)
        begun_id = head.message_id if head else 0
        # One that had a try stays the first: what comes late, comes behind it.
        insort(found.jobs, job, key=lambda one: _rank(one, begun_id))
        if not found.busy:
            self._release(found)

    def first(self, now_ms: int) -> Job | None:
        """The next delivery that may go; it gets its place when it is taken."""
        while self._parked and self._parked[0][0] <= now_ms:
            key = heapq.heappop(self._parked)[2]
            key.parked = False
            self._free.append(key)
        return self._free[0].jobs[0] if self._free else None

    def next_ms(self) -> int:
        """When the first parked key is due; 0: none is."""
        return self._parked[0][0] if self._parked else 0

    def take(self) -> Job:
        """Remove what `first` showed, and give it its place in its key's line."""
        key = self._free.popleft()
        job = key.jobs[0]
        message_id = job.delivery.message.id
        head = self._heads.get(key.name)
        if head is None or head.message_id != message_id:
            before = head or OrderHead(key.name, 0, 0, 0)
            head = OrderHead(key.name, before.sequence + 1, message_id, before.message_id)
        self._heads[key.name] = head
        self._heads.move_to_end(key.name)
        job.place = Place(head.sequence, head.previous_id)
        return job

    def put_first(self, key: str) -> None:
        """What was taken last was not begun after all."""
        self._free.appendleft(self._keys[key])

    def park(self, key: str, job: Job, until_ms: int) -> None:
        """The delivery under way has to be tried again, not before until_ms."""
        found = self._keys[key]
        found.jobs[0] = job
        found.parked = True
        left_out = [one.delivery.message.id for one in found.jobs[PARKED_JOBS_MAX:]]
        if left_out:
            del found.jobs[PARKED_JOBS_MAX:]
            self._known.difference_update(left_out)
            found.cut_id = min(left_out[0], found.cut_id or left_out[0])
        self._counter += 1
        heapq.heappush(self._parked, (until_ms, self._counter, found))

    def finish(self, key: str) -> None:
        """The delivery under way is finished: the next of its key is free."""
        found = self._keys[key]
        done = found.jobs.pop(0)
        self._known.discard(done.delivery.message.id)
        found.busy = False
        if found.jobs:
            self._release(found)
            return
        if found.cut_id:
            # Kept, so that nothing is taken in for it that comes behind what is left out.
            self._cut_off.append(found)
        else:
            del self._keys[key]

    def trim(self) -> None:
        """Forget the heads of keys that have been quiet for longest."""
        while len(self._heads) > HEADS_MAX:
            key = next(iter(self._heads))
            if key in self._keys:
                self._heads.move_to_end(key)
                if len(self._keys) >= HEADS_MAX:
                    return
                continue
            del self._heads[key]

    def _release(self, key: _Key) -> None:
        key.busy = True
        self._free.append(key)


def _rank(job: Job, begun_id: int) -> tuple[bool, int]:
    message_id = job.delivery.message.id
    return message_id != begun_id, message_id
