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
    waits for any other subscription. An endpoint that asked to be left alone (`quiet_until`)
    is then called by one try at a time, and by one more after each success.
    """

    def __init__(
        self,
        sub_id: int,
        deliver: Callable[["Lane", Job], Awaitable[None]],
        refill: Callable[["Lane"], Awaitable[None]],
    ) -> None:
        self.sub_id = sub_id
        self.jobs: deque[Job] = deque()
        self.quiet_until_ms = 0
        self._deliver = deliver
        self._refill = refill
        self._refilling = False
        self._concurrency_max = 1
        self._slow_start: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Nothing to do, nothing under way, and nothing to remember."""
        return not self.jobs and not self._tasks and self._slow_start is None

    @property
    def tasks(self) -> frozenset[asyncio.Task[None]]:
        """What is under way."""
        return frozenset(self._tasks)

    @property
    def working(self) -> int:
        """How many workers there are; one has ended even where its call-back has yet to run."""
        return sum(not task.done() for task in self._tasks)

    @property
    def limit(self) -> int:
        """How many tries may be under way now."""
        if self._slow_start is None:
            return self._concurrency_max
        return min(self._slow_start, self._concurrency_max)

    def add(self, jobs: list[Job], concurrency_max: int) -> None:
        """Take jobs, and as many workers as they need."""
        self.jobs.extend(jobs)
        self._concurrency_max = concurrency_max
        self._staff()

    def succeeded(self) -> None:
        """A try was acknowledged."""
        if self._slow_start is not None:
            self._slow_start += 1
            if self._slow_start >= self._concurrency_max:
                self._slow_start = None
            self._staff()

    def keep_quiet(self, until_ms: int) -> None:
        """The endpoint asked to be left alone until then."""
        self.quiet_until_ms = max(self.quiet_until_ms, until_ms)
        self._slow_start = 1

    def take_all(self) -> list[Job]:
        """Remove and return the jobs that were not begun."""
        jobs = list(self.jobs)
        self.jobs.clear()
        return jobs

    def cancel(self) -> None:
        """Cut off what is under way."""
        for task in self._tasks:
            task.cancel()

    def _staff(self) -> None:
        for _ in range(min(len(self.jobs), self.limit - self.working)):
            task = asyncio.create_task(self._work(), name=f"lane {self.sub_id}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a worker of lane %d failed", self.sub_id, exc_info=error)
            self._staff()  # it may have been the last one

    async def _work(self) -> None:
        while True:
            while self.jobs:
                # Counted only where it may matter; of those that end in one moment the last stays.
                if len(self._tasks) > self.limit and self.working > self.limit:
                    return
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
            # A backlog of what needs no request would otherwise let nobody else run.
            await asyncio.sleep(0)
