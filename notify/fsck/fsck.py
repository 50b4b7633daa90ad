"""The order of the checks, and when a look may be believed."""

from typing import Final

from notify.config import QueueConfig
from notify.domain.errors import QueueLost
from notify.domain.ports import Clock, Queue, Random, Storage
from notify.fsck.books import Books
from notify.fsck.findings import Check, Finding, Report, Round, Watcher, finding, report
from notify.fsck.queues import Queues
from notify.fsck.unsplit import Unsplit
from notify.runtime.rescue import LEASE, REBUILT_EPOCH, epoch_begun_ms

_PROBE_MS: Final = 1000


class Fsck:
    """Compares database and queue, stopped or under load, and repairs what it is told to.

    queue: None where it lived in the memory of a process that does not run. grace_ms: what is
    younger may be on its way from a commit to the queue and is passed over. settle_s: the pause
    between two looks at what moves.
    """

    def __init__(
        self,
        storage: Storage,
        queue: Queue | None,
        clock: Clock,
        random: Random,
        limits: QueueConfig,
        watcher: Watcher,
        grace_ms: int,
        settle_s: float,
    ) -> None:
        self._storage = storage
        self._queue = queue
        self._clock = clock
        self._random = random
        self._grace_ms = grace_ms
        self._watcher = watcher
        self._settle_s = settle_s
        self._unsplit = Unsplit(storage, clock, watcher, limits, settle_s)

    async def run(self, repair: bool) -> Report:
        """Look at everything; with repair, mend what differs and look again."""
        first = await self._round(repair)
        second = await self._round(False) if repair and first.findings else None
        return report(first, second)

    async def _round(self, repair: bool) -> Round:
        books = Books(self._storage, self._watcher)
        findings = await books.check(repair)
        notes: list[str] = []
        if self._queue is None:
            findings += await self._check_stopped(books, notes, repair)
        else:
            findings += await self._check_queue(self._queue, books, repair)
        deliveries = sum(row.matched for row in books.audit.counted)
        return Round(deliveries, findings, notes)

    async def _check_queue(self, queue: Queue, books: Books, repair: bool) -> list[Finding]:
        """What needs the queue. A lost one is rebuilt by the Rescuer, and nobody races it."""
        before_ms = self._clock.now_ms() - self._grace_ms
        epoch = await self._whole_epoch(queue)
        if epoch is None:
            return [await self._lost(queue)]
        queues = Queues(self._storage, queue, self._clock, self._watcher, self._settle_s)
        subscriptions = (await self._storage.directory()).subscriptions
        audit = books.audit
        try:
            findings = await self._unsplit.check(queue, audit.page_ends, before_ms, repair)
            findings += await queues.check(subscriptions, audit.spans, before_ms, repair)
        except QueueLost:
            return [await self._lost(queue)]
        # Lost and begun anew meanwhile: what was missed is what the Rescuer puts back now.
        if await self._whole_epoch(queue) != epoch:
            return [await self._lost(queue)]
        return findings

    async def _check_stopped(self, books: Books, notes: list[str], repair: bool) -> list[Finding]:
        now_ms = self._clock.now_ms()
        audit = books.audit
        findings, coming = await self._unsplit.check_stopped(audit.page_ends, now_ms, repair)
        queued = sum(row.queued for row in audit.counted)
        notes.append(
            "The queue was in the memory of a process that has ended, so queues are not compared:"
            f" the next start queues {queued} deliveries again and splits {coming} messages."
        )
        return findings

    async def _whole_epoch(self, queue: Queue) -> str | None:
        """The queue's epoch, if its contents were rebuilt in it."""
        epoch = await queue.epoch()
        rebuilt_ms = await self._storage.note(REBUILT_EPOCH)
        return epoch if epoch is not None and epoch_begun_ms(epoch) == rebuilt_ms else None

    async def _lost(self, queue: Queue) -> Finding:
        owner = f"fsck-{self._random.token_bytes(8).hex()}"
        nobody = await queue.lease(LEASE, owner, _PROBE_MS)
        if nobody:
            await queue.release(LEASE, owner)
        text = "the queue lost its contents and is not rebuilt yet, so queues are not compared: "
        text += (
            "no Rescuer runs, start one and run fsck again when it is done"
            if nobody
            else "the Rescuer rebuilds it, run fsck again in some seconds"
        )
        return finding(Check.QUEUE_LOST, 0, (), text, 1)
