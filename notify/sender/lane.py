"""The deliveries of one subscription inside one Sender."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from notify.sender.outcomes import Held
from notify_core.records import DeliveryRecord

log = logging.getLogger(__name__)

Job = tuple[Held, DeliveryRecord]


class Lane:
    """Works off one subscription's jobs with at most `concurrency_max` tries at a time.

    refill() is called when nothing is left; it adds what it finds with `add`. Nothing here
    waits for any other subscription.
    """

    def __init__(
        self,
        sub_id: int,
        deliver: Callable[["Lane", Job], Awaitable[None]],
        refill: Callable[["Lane"], Awaitable[None]],
    ) -> None:
        self.sub_id = sub_id
        self.jobs: deque[Job] = deque()
        self._deliver = deliver
        self._refill = refill
        self._refilling = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Nothing to do and nothing under way."""
        return not self.jobs and not self._tasks

    @property
    def tasks(self) -> frozenset[asyncio.Task[None]]:
        """What is under way."""
        return frozenset(self._tasks)

    def add(self, jobs: list[Job], concurrency_max: int) -> None:
        """Take jobs, and as many workers as they need."""
        self.jobs.extend(jobs)
        # A worker that just found nothing has ended, though its call-back has yet to run.
        working = sum(not task.done() for task in self._tasks)
        for _ in range(min(len(self.jobs), concurrency_max - working)):
            task = asyncio.create_task(self._work(), name=f"lane {self.sub_id}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def take_all(self) -> list[Job]:
        """Remove and return the jobs that were not begun."""
        jobs = list(self.jobs)
        self.jobs.clear()
        return jobs

    def cancel(self) -> None:
        """Cut off what is under way."""
        for task in self._tasks:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a worker of lane %d failed", self.sub_id, exc_info=error)

    async def _work(self) -> None:
        while True:
            while self.jobs:
                await self._deliver(self, self.jobs.popleft())
            if self._refilling:
                return
            self._refilling = True
            try:
                await self._refill(self)
            finally:
                self._refilling = False
            if not self.jobs:
                return
