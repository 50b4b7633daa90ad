"""Stored messages to the Maker: chunks for the ingest stream, in the order of the commits."""

import asyncio
import logging
from typing import Final

from notify.api.metrics import ApiMetrics
from notify.config import QueueConfig
from notify.domain.errors import NotifyError, QueueError
from notify.domain.ports import Clock, Push, Queue
from notify.runtime.directory import DirectoryCache
from notify.runtime.streams import INGEST
from notify_core import receive

# What a record costs in a chunk beside its payload, roughly.
RECORD_BYTES: Final = 256
# A measured depth of the ingest stream is believed for so long; one that refuses, less.
DEPTH_AGE_MS: Final = 100
FULL_AGE_MS: Final = 10
# While it is measured anew, what was measured last is gone by for so long.
DEPTH_OLD_MS: Final = 1000
# Accepting does not wait longer than this for a queue that does not answer: it is disposable.
DEPTH_WAIT_S: Final = 0.25

_log = logging.getLogger(__name__)


class Handover:
    """Pushes what is new, and knows whether the ingest stream has room for more."""

    def __init__(
        self,
        queue: Queue,
        directory: DirectoryCache,
        clock: Clock,
        limits: QueueConfig,
        metrics: ApiMetrics,
    ) -> None:
        self._queue = queue
        self._directory = directory
        self._clock = clock
        self._limits = limits
        self._metrics = metrics
        self._depth = 0
        self._depth_ms = -DEPTH_OLD_MS
        self._measuring: asyncio.Task[None] | None = None
        self._pushing: asyncio.Task[None] | None = None
        self._push_failing = False

    @property
    def is_full(self) -> bool:
        """Whether the stream holds as many messages as it may, by what is known."""
        return self._depth >= self._limits.ingest_depth_max

    def knows_room(self) -> bool:
        """Whether `is_full` can be gone by; looks anew in the background before it is too old."""
        age_ms = self._clock.now_ms() - self._depth_ms
        if 0 <= age_ms < (FULL_AGE_MS if self.is_full else DEPTH_AGE_MS):
            return True
        if self._measuring is None:
            self._measuring = asyncio.create_task(self._measure())
        return not self.is_full and 0 <= age_ms < DEPTH_OLD_MS

    async def look(self) -> None:
        """Wait until `is_full` can be gone by, but not for a queue that does not answer."""
        if not self.knows_room() and self._measuring is not None:
            await asyncio.wait({self._measuring}, timeout=DEPTH_WAIT_S)

    async def _measure(self) -> None:
        """Look how deep the ingest stream is; an unknown depth refuses nothing."""
        try:
            self._depth = (await self._queue.gauges([INGEST]))[0].depth
        except QueueError:
            self._depth = 0
        finally:
            self._depth_ms = self._clock.now_ms()
            self._measuring = None

    async def hand_on(self, batch: receive.Batch, fresh: list[int], body_bytes: int) -> None:
        """Push what is new. At most one push is in flight beside a commit: the order is kept."""
        await self.finish()
        self._pushing = asyncio.create_task(self._push(batch, fresh, body_bytes))

    async def finish(self) -> None:
        """Wait for what is being pushed."""
        if self._pushing is not None:
            await asyncio.wait({self._pushing})

    async def _push(self, batch: receive.Batch, fresh: list[int], body_bytes: int) -> None:
        """Hand stored messages to the Maker. A failure loses nothing: the Rescuer finds them."""
        try:
            new = batch if len(fresh) == len(batch) else batch.take(fresh)
            await self._queue.push(self._pushes(new, body_bytes))
            self._depth += len(new)
        except Exception as error:
            self._metrics.push_failures.inc()
            if not self._push_failing:  # once, not for every commit while the queue is away
                bug = None if isinstance(error, NotifyError) else error
                _log.warning(
                    "the queue takes no messages, the Rescuer will: %s", error, exc_info=bug
                )
            self._push_failing = True
        else:
            if self._push_failing:
                _log.warning("the queue takes messages again")
            self._push_failing = False

    def _pushes(self, batch: receive.Batch, body_bytes: int) -> list[Push]:
        """One chunk; several where large payloads would make it larger than a chunk may be."""
        inline_max, bytes_max = self._limits.inline_bytes_max, self._limits.chunk_bytes_max
        version = self._directory.version
        if body_bytes and body_bytes + RECORD_BYTES * len(batch) <= bytes_max:  # the common case
            return [Push(INGEST, batch.chunk(version, inline_max), len(batch))]
        sizes = [
            RECORD_BYTES + (len(payload) if len(payload) <= inline_max else 0)
            for payload in batch.payloads
        ]
        pushes = []
        part: list[int] = []
        size = 0
        for position, one in enumerate(sizes):
            if part and size + one > bytes_max:
                pushes.append(Push(INGEST, batch.take(part).chunk(version, inline_max), len(part)))
                part, size = [], 0
            part.append(position)
            size += one
        pushes.append(Push(INGEST, batch.take(part).chunk(version, inline_max), len(part)))
        return pushes
