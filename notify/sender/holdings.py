"""Which consumers this Sender delivers to, while any number of Senders run.

Each works out its share by itself (rendezvous hashing over who is alive) and takes it as leases in
the queue's server: one at most holds a consumer. So limits, rates, breakers and the order of
deliveries are kept in one place, with nobody who assigns anything. Killed: its leases run out with
its membership, after share_ms. Another one comes: each gives up what is that one's share, once
nothing of it is under way any more. The queue is lost, and this table with it: each takes again
what it held, and leaves the others their parts for as long as they may think that they hold them.
"""

from collections.abc import Collection, Iterable
from typing import Final

from notify.domain.ports import Clock, Queue, Share
from notify.runtime.directory import DirectoryCache
from notify.runtime.shares import share_of

GROUP: Final = "sender"
# Heartbeats in the life of a lease; and while something is to be taken or given up.
BEATS: Final = 6
HURRIED_S: Final = 0.1


class Holdings:
    """The consumers held. until_ms: until when that is certain (unix ms)."""

    def __init__(
        self, queue: Queue, directory: DirectoryCache, clock: Clock, worker: str, share_ms: int
    ) -> None:
        self._queue = queue
        self._directory = directory
        self._clock = clock
        self._worker = worker
        self._share_ms = share_ms
        # Who shares: the members, and for share_ms those that a lost table may have forgotten.
        self._members: tuple[str, ...] = ()
        self._missing: frozenset[str] = frozenset()
        self._missing_until_ms = 0
        self._wanted: frozenset[int] = frozenset()
        self._wanted_of: tuple[int, tuple[str, ...]] = (-2, ())
        self.held: frozenset[int] = frozenset()
        self.until_ms = 0

    def valid(self, now_ms: int) -> bool:
        """Whether what is held is surely held at that time, by a clock that may be set back."""
        return now_ms < self.until_ms <= now_ms + self._share_ms

    @property
    def surplus(self) -> frozenset[int]:
        """What is held and another one's share."""
        return self.held - self._wanted

    @property
    def settled(self) -> bool:
        """What is held is the share, no more and no less."""
        return self.held == self._wanted

    @property
    def pause_s(self) -> float:
        """When the next heartbeat is due."""
        return self._share_ms / BEATS / 1000 if self.settled else HURRIED_S

    async def beat(self, released: Collection[int] = ()) -> None:
        """Prolong everything, give back `released`, take what is wanted and free."""
        now_ms = self._clock.now_ms()
        if not self._members:
            share = await self._queue.share(GROUP, self._worker, self._share_ms, (), released)
            self._members = share.members
        self._want()
        share = await self._queue.share(
            GROUP,
            self._worker,
            self._share_ms,
            self._wanted | (self.held - set(released)),
            released,
        )
        self._note_members(share, now_ms)
        self.held = share.held
        self.until_ms = now_ms + self._share_ms
        self._want()

    async def leave(self) -> None:
        """Give everything back."""
        self.until_ms = 0
        await self._queue.leave(GROUP, self._worker)

    def _note_members(self, share: Share, now_ms: int) -> None:
        if share.begun:
            self._missing = frozenset(self._members)
            self._missing_until_ms = now_ms + self._share_ms
        self._missing -= frozenset(share.members)
        if not now_ms < self._missing_until_ms <= now_ms + self._share_ms:
            self._missing = frozenset()
        self._members = tuple(sorted(self._missing.union(share.members)))

    def _want(self) -> None:
        known = (self._directory.version, self._members)
        if known != self._wanted_of:
            keys = _consumers(self._directory)
            self._wanted = share_of(keys, self._worker, self._members)
            self._wanted_of = known


def _consumers(directory: DirectoryCache) -> Iterable[int]:
    """Who is subscribed, or was: what still waits for them is dropped."""
    return {one.consumer_id for one in directory.current.subscriptions.values()}
