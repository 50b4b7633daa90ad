"""Message ids under a leased worker number."""

from notify.domain.errors import Busy
from notify.domain.ports import Clock, Random, Storage, WorkerLease
from notify.runtime.steps import Stopping, run_every
from notify_core import ids


class MessageIds:
    """Makes message ids as long as the lease of its worker number lasts.

    Ids stop before the lease ends by this process's own clock, borrowed milliseconds
    included, so a successor under the same number can never repeat one.
    """

    def __init__(
        self, storage: Storage, clock: Clock, random: Random, owner: str, lease_ms: int
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._random = random
        self._owner = owner
        self._lease_ms = lease_ms
        self._lease: WorkerLease | None = None
        self._maker: ids.IdMaker | None = None

    async def open(self) -> None:
        """Take a worker number. Raises Busy where all are taken."""
        now_ms = self._clock.now_ms()
        lease = await self._storage.lease_worker(self._owner, now_ms, self._lease_ms)
        seed = int.from_bytes(self._random.token_bytes(8), "big")
        self._lease, self._maker = lease, ids.IdMaker(lease.worker, seed, lease.floor_ms)

    async def renew(self) -> None:
        """Prolong the lease, or take another number where it was lost."""
        if self._lease is None:
            await self.open()
            return
        now_ms = self._clock.now_ms()
        if await self._storage.renew_worker(self._lease, self._owner, now_ms, self._lease_ms):
            self._lease = self._lease._replace(expires_ms=now_ms + self._lease_ms)
        else:
            self._lease = self._maker = None
            await self.open()

    async def keep(self, stopping: Stopping) -> None:
        """Renew in time until stopping."""
        await run_every("worker number", self.renew, self._lease_ms // 3, stopping, self._random)

    async def close(self) -> None:
        """Give the number back."""
        if self._lease is not None and self._maker is not None:
            lease, self._lease = self._lease, None
            await self._storage.release_worker(lease, self._owner, self._maker.last_ms)

    def make(self, n: int) -> list[int]:
        """N rising ids. Raises Busy where the lease is lost or used up."""
        now_ms = self._clock.now_ms()
        if self._lease is None or self._maker is None or now_ms >= self._lease.expires_ms:
            raise Busy("this process has no worker number for message ids at the moment", 1)
        made = self._maker.make_many(now_ms, n)
        if self._maker.last_ms >= self._lease.expires_ms:
            raise Busy("ids for the coming seconds are used up; the clock may have stepped back", 1)
        return made
