"""Messages that were accepted and never split: found by their age, given a new ingest chunk."""

import time
from typing import Final

from notify.config import QueueConfig, RescuerConfig
from notify.domain.errors import StorageError
from notify.domain.ports import Clock, Queue, Storage
from notify.runtime.directory import DirectoryCache
from notify.runtime.rescue import UNSPLIT_FROM, UNSPLIT_ROWS_MAX, ingest_pushes
from notify.runtime.streams import INGEST
from notify_core import ids
from notify_core.records import MessageRecord

# A commit may come later than its message's id by as long as the database stalls: the messages of
# each moment are looked at again at these ages, after a first look at unsplit_grace_ms.
AGAIN_MS: Final = (35_000, 120_000, 600_000)
# A statement reads the messages of so long a time; more while that is quick, fewer where it is not.
SPAN_FIRST_MS: Final = 3_600_000
SPAN_MIN_MS: Final = 1_000
SPAN_MAX_MS: Final = 30 * 86_400_000
QUICK_S: Final = 0.1
SLOW_S: Final = 1.0


class Unsplit:
    """Sweeps over the messages in the order of their ids, one behind the other.

    Each has come so far as its age allows; before that, nothing is unsplit. What was found and
    pushed is not split yet: until it is, the sweep stays before it. None goes beyond the last
    message: where this clock is ahead for a while, what comes afterwards is looked at all the same.
    """

    def __init__(
        self,
        storage: Storage,
        queue: Queue,
        directory: DirectoryCache,
        clock: Clock,
        config: RescuerConfig,
        queue_config: QueueConfig,
    ) -> None:
        self._storage = storage
        self._queue = queue
        self._directory = directory
        self._clock = clock
        self._limits = queue_config
        self._grace_ms = config.unsplit_grace_ms
        # The oldest first: what it has seen, the next one has to see only from there on.
        self._ages_ms = (*reversed(AGAIN_MS), self._grace_ms)
        self._from_ms: list[int] = []
        self._noted_ms = 0
        self._clean_id = -1
        self._span_ms = SPAN_FIRST_MS
        self._pushed: dict[int, int] = {}
        self.messages = 0

    def begin(self) -> None:
        """Know nothing of what others did meanwhile: the next sweep begins at the note."""
        self._from_ms = []
        self._clean_id = -1
        self._pushed.clear()

    async def rebuild(self, until_ms: int, now_ms: int) -> int:
        """The ingest stream was lost: push what it held; how many messages."""
        self.begin()
        from_ms = min(now_ms - AGAIN_MS[-1], await self._storage.note(UNSPLIT_FROM))
        until_ms = min(until_ms, ids.id_ms(await self._storage.last_message_id()) + 1)
        before = self.messages
        await self._push(from_ms, until_ms, self._limits.ingest_depth_max, aged=True)
        return self.messages - before

    async def sweep(self, now_ms: int) -> None:
        """Look once, from where each sweep stands to the age that is its own."""
        (gauge,) = await self._queue.gauges([INGEST])
        last_id = await self._storage.last_message_id()
        room = self._limits.ingest_depth_max - gauge.depth
        if room <= 0 or last_id == self._clean_id:
            return  # nothing new can be unsplit: an idle system reads and writes next to nothing
        latest_ms = now_ms - self._grace_ms
        if gauge.oldest_ms:  # a Maker that is behind is not helped by copies
            latest_ms = min(latest_ms, gauge.oldest_ms - self._grace_ms)
        self._forget_pushed(now_ms, gauge.oldest_ms)
        if not self._from_ms:
            self._noted_ms = await self._storage.note(UNSPLIT_FROM)
            self._from_ms = [self._noted_ms] * len(self._ages_ms)
        seen_ms = 0
        for at, age_ms in enumerate(self._ages_ms):
            from_ms = max(seen_ms, self._from_ms[at])
            until_ms = min(latest_ms, now_ms - age_ms, ids.id_ms(last_id) + 1)
            if from_ms < until_ms and room > 0:
                before = self.messages
                from_ms = await self._push(from_ms, until_ms, room)
                room -= self.messages - before
            self._from_ms[at] = seen_ms = from_ms
        if self._from_ms[0] != self._noted_ms:
            self._noted_ms = self._from_ms[0]
            await self._storage.set_note(UNSPLIT_FROM, self._noted_ms)
        if ids.id_ms(last_id) < self._from_ms[0]:
            self._clean_id = last_id

    async def _push(self, from_ms: int, until_ms: int, room: int, aged: bool = False) -> int:
        """Push what is unsplit in a span of time, as much as fits; before what time nothing is."""
        after, end = ids.id_floor(max(from_ms, ids.EPOCH_MS)) - 1, ids.id_floor(until_ms)
        first_ms = 0
        while after + 1 < end and room > 0:
            below = min(end, ids.id_floor(ids.id_ms(after + 1) + self._span_ms))
            messages = await self._look(after, below)
            if messages:
                first_ms = first_ms or ids.id_ms(messages[0].id)
            new = [message for message in messages if message.id not in self._pushed]
            if new:
                version = self._directory.version
                await self._queue.push(ingest_pushes(version, new, self._limits, aged))
                now_ms = self._clock.now_ms()
                self._pushed.update((message.id, now_ms) for message in new)
                room -= len(new)
                self.messages += len(new)
            after = messages[-1].id if len(messages) == UNSPLIT_ROWS_MAX else below - 1
        return first_ms or min(until_ms, ids.id_ms(after + 1))

    async def _look(self, after: int, below: int) -> list[MessageRecord]:
        began_s = time.perf_counter()
        try:
            messages = await self._storage.unsplit(
                after, below, UNSPLIT_ROWS_MAX, self._limits.inline_bytes_max
            )
        except StorageError:
            self._pace(SLOW_S)  # it may have been too much for the time that an answer may take
            raise
        self._pace(time.perf_counter() - began_s)
        return messages

    def _pace(self, seconds: float) -> None:
        if seconds < QUICK_S:
            self._span_ms = min(self._span_ms * 2, SPAN_MAX_MS)
        elif seconds >= SLOW_S:
            self._span_ms = max(self._span_ms // 2, SPAN_MIN_MS)

    def _forget_pushed(self, now_ms: int, oldest_ms: int) -> None:
        """Push again what was pushed long ago: but not while it may wait in the stream still."""
        expired_ms = now_ms - self._limits.lease_ms * 2
        if oldest_ms:
            expired_ms = min(expired_ms, oldest_ms - 1)
        self._pushed = {
            id_: at_ms for id_, at_ms in self._pushed.items() if expired_ms < at_ms <= now_ms
        }
