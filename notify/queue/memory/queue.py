"""The Queue port over plain Python objects of one event loop."""

from collections.abc import Collection, Iterable, Sequence
from itertools import count

from notify.domain.errors import QueueLost, QueueUnavailable
from notify.domain.ports import Claim, Clock, Content, Gauge, Push, Share, Stream
from notify.queue.memory.backlog import Backlog, Entry
from notify.queue.memory.leases import Leases
from notify.queue.memory.shares import Shares
from notify.queue.memory.wakeups import Wakeups


class MemoryQueue:
    """A Queue within one event loop; its contents live as long as the object.

    It is usable without `open`. Every call but `wait` is atomic. Nothing is kept of streams
    that are empty, except the spill flag.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._closed = False
        self._epoch: str | None = None
        # Never starts again, so that no claim from before a loss fits a later entry.
        self._numbers = count(1)
        self._backlogs: dict[Stream, Backlog] = {}
        self._spilling: set[Stream] = set()
        self._leases = Leases()
        self._shares = Shares()
        self._wakeups = Wakeups(clock)
        self._epochs_seen: dict[str, str] = {}  # by worker

    async def open(self) -> None:
        """Make a closed queue usable again, with what it holds."""
        self._closed = False

    async def close(self) -> None:
        """Wake who waits; until `open`, calls raise QueueUnavailable."""
        self._closed = True
        self._wakeups.wake_all()

    def flush(self) -> None:
        """Lose everything, the epoch included, as FLUSHALL would: for tests and simulations."""
        self._epoch = None
        for stream in self._backlogs:
            self._wakeups.forget(stream)
        self._backlogs.clear()
        self._spilling.clear()
        self._leases = Leases()
        self._shares = Shares()

    async def epoch(self) -> str | None:
        """Answer the present epoch, None after `flush` and at first."""
        self._check_open()
        return self._epoch

    async def begin_epoch(self, epoch: str) -> bool:
        """Start an epoch where there is none; True for the one caller who did."""
        self._check_open()
        if self._epoch is not None:
            return False
        self._epoch = epoch
        return True

    async def push(self, pushes: Sequence[Push]) -> None:
        """Append chunks and wake who waits for their streams."""
        self._check()
        self._push(pushes)

    async def claim(self, streams: Sequence[Stream], worker: str, chunks_max: int) -> list[Claim]:
        """Take up to chunks_max waiting chunks of each stream, oldest first."""
        epoch = self._epoch
        if epoch is None:
            self._epochs_seen.pop(worker, None)  # told now, and so not again
        self._check()
        assert epoch is not None
        if self._epochs_seen.setdefault(worker, epoch) != epoch:
            self._epochs_seen[worker] = epoch
            raise QueueLost("the queue was lost and began anew: what was held is gone")
        now_ms = self._clock.now_ms()
        return [
            claim
            for stream in streams
            if stream in self._backlogs
            for claim in _claims(stream, self._backlogs[stream].claim(chunks_max, now_ms))
        ]

    async def ack(self, claims: Sequence[Claim], pushes: Sequence[Push] = ()) -> None:
        """Push what follows from claims, then let the claims go that are not dead."""
        self._check()
        self._push(pushes)
        for claim in claims:
            backlog = self._backlogs.get(claim.stream)
            if backlog is None:
                continue
            backlog.ack(*_holding(claim))
            self._drop_empty(claim.stream)

    async def renew(self, claims: Sequence[Claim], worker: str) -> None:  # noqa: ARG002 - the claim names its holding
        """Prolong the leases of claims that are not dead."""
        self._check()
        now_ms = self._clock.now_ms()
        for claim in claims:
            backlog = self._backlogs.get(claim.stream)
            if backlog is not None:
                backlog.renew(*_holding(claim), now_ms)

    async def takeover(
        self,
        streams: Sequence[Stream],
        worker: str,  # noqa: ARG002 - who holds a chunk matters to no answer
        idle_ms: int,
        chunks_max: int,
    ) -> list[Claim]:
        """Claim up to chunks_max chunks of each stream, not renewed for idle_ms."""
        self._check()
        now_ms = self._clock.now_ms()
        return [
            claim
            for stream in streams
            if stream in self._backlogs
            for claim in _claims(
                stream, self._backlogs[stream].takeover(idle_ms, chunks_max, now_ms)
            )
        ]

    async def promote(self, streams: Sequence[Stream], now_ms: int) -> int:
        """Move delayed chunks that are due into their streams; when the next is due, 0: none."""
        self._check()
        next_ms = 0
        for stream in streams:
            backlog = self._backlogs.get(stream)
            if backlog is None:
                continue
            if backlog.promote(now_ms):
                self._wakeups.pushed(stream)
            due_ms = backlog.next_due_ms
            if due_ms and (not next_ms or due_ms < next_ms):
                next_ms = due_ms
        return next_ms

    async def gauges(self, streams: Sequence[Stream]) -> list[Gauge]:
        """Answer the state of streams, in their order."""
        self._check()
        return [self._gauge(stream) for stream in streams]

    async def spill(self, streams: Sequence[Stream], on: bool) -> None:
        """Set or clear the flag that `gauges` shows."""
        self._check()
        if on:
            self._spilling.update(streams)
        else:
            self._spilling.difference_update(streams)

    async def contents(self, stream: Stream, after: str, limit: int) -> tuple[list[Content], str]:
        """A page of chunks by number, which promoting does not change."""
        self._check()
        backlog = self._backlogs.get(stream)
        page = backlog.contents(int(after or 0), limit) if backlog is not None else []
        return page, page[-1].entry if len(page) == limit else ""

    async def replace(self, stream: Stream, content: Content, chunk: bytes, items: int) -> bool:
        """Put a chunk in the place of one that is not claimed; b"": remove it."""
        self._check()
        backlog = self._backlogs.get(stream)
        if backlog is None or not backlog.replace(int(content.entry), chunk, items):
            return False
        self._drop_empty(stream)
        return True

    async def lease(self, name: str, owner: str, ttl_ms: int) -> bool:
        """Take or prolong a named lease; False while somebody else holds it."""
        self._check_open()
        return self._leases.take(name, owner, self._clock.now_ms(), ttl_ms)

    async def release(self, name: str, owner: str) -> None:
        """Give a named lease back, where owner holds it."""
        self._check_open()
        self._leases.release(name, owner)

    async def share(
        self,
        group: str,
        member: str,
        ttl_ms: int,
        wanted: Collection[int],
        released: Collection[int] = (),
    ) -> Share:
        """Stay a member of a group for ttl_ms more, give back `released`, take what is free."""
        self._check_open()
        return self._shares.share(group, member, self._clock.now_ms(), ttl_ms, wanted, released)

    async def leave(self, group: str, member: str) -> None:
        """Be no member any more; everything that was held is free at once."""
        self._check_open()
        self._shares.leave(group, member)

    async def wait(self, streams: Sequence[Stream], worker: str, timeout_s: float) -> list[Stream]:
        """Return the streams pushed to since the worker's last wait, or none at time-out."""
        self._check_open()
        return await self._wakeups.wait(streams, worker, timeout_s)

    def _check_open(self) -> None:
        if self._closed:
            raise QueueUnavailable("the queue is closed: open it before using it")

    def _check(self) -> None:
        self._check_open()
        if self._epoch is None:
            raise QueueLost("the queue has no epoch: rebuild its contents from the database")

    def _push(self, pushes: Sequence[Push]) -> None:
        now_ms = self._clock.now_ms()
        for push in pushes:
            backlog = self._backlogs.get(push.stream)
            if backlog is None:
                backlog = self._backlogs[push.stream] = Backlog()
            backlog.push(next(self._numbers), push, now_ms)
            self._wakeups.pushed(push.stream)

    def _drop_empty(self, stream: Stream) -> None:
        if not self._backlogs[stream]:
            del self._backlogs[stream]
            self._wakeups.forget(stream)

    def _gauge(self, stream: Stream) -> Gauge:
        backlog = self._backlogs.get(stream)
        spilling = stream in self._spilling
        if backlog is None:
            return Gauge(0, 0, spilling)
        return Gauge(backlog.depth, backlog.oldest_ms, spilling)


def _claims(stream: Stream, entries: Iterable[Entry]) -> Iterable[Claim]:
    for entry in entries:
        name = f"{entry.number}-{entry.holding}"
        yield Claim(stream, name, entry.chunk, entry.items, entry.holding > 1, entry.since_ms)


def _holding(claim: Claim) -> tuple[int, int]:
    number, _, holding = claim.entry.partition("-")
    return int(number), int(holding)
