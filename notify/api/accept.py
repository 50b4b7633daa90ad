"""Group commit: requests that wait together become one durable insert, then are answered.

While a commit is in flight, what arrives piles up and shares the next one: the busier, the
larger the groups and the cheaper each message. After the answers one chunk goes to the Maker.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry

from notify.api.metrics import ApiMetrics
from notify.config import Config
from notify.domain.errors import (
    Busy,
    NotifyError,
    QueueError,
    StorageError,
    StorageRefused,
    StorageUnavailable,
)
from notify.domain.ports import Clock, Inserted, Push, Queue, Storage
from notify.runtime.directory import DirectoryCache
from notify.runtime.message_ids import MessageIds
from notify.runtime.streams import INGEST
from notify_core import receive
from notify_core.errors import BodyError

# Groups that may wait behind the one in flight; more would only be answered too late.
GROUPS_WAITING_MAX: Final = 8
# Request bytes of one commit: keeps a group of large payloads from becoming a huge transaction.
COMMIT_BYTES_MAX: Final = 16 << 20
# A measured depth of the ingest stream is believed for so long; one that refuses, less.
DEPTH_AGE_MS: Final = 100
FULL_AGE_MS: Final = 10
# Accepting does not wait longer than this for a queue that does not answer: it is disposable.
DEPTH_WAIT_S: Final = 0.25
# What a record costs in a chunk beside its payload, roughly.
RECORD_BYTES: Final = 256

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Waiting:
    """One request: what it wants stored, and where its ids go."""

    batch: receive.Batch
    producer_id: int
    body_bytes: int
    answer: asyncio.Future[list[int]]


class Acceptor:
    """Stores messages in groups. `run` must be running while `accept` is called."""

    def __init__(
        self,
        storage: Storage,
        queue: Queue,
        directory: DirectoryCache,
        message_ids: MessageIds,
        clock: Clock,
        config: Config,
        metrics: ApiMetrics | None = None,
    ) -> None:
        self._storage = storage
        self._queue = queue
        self._directory = directory
        self._message_ids = message_ids
        self._clock = clock
        self._api = config.api
        self._limits = config.queue
        self._metrics = metrics or ApiMetrics(CollectorRegistry())
        self._waiting: deque[_Waiting] = deque()
        self._waiting_rows = 0
        self._wake = asyncio.Event()
        self._enough = asyncio.Event()
        self._expected = 0  # requests of the last group: as many are likely to come again
        self._closing = False
        self._depth = 0
        self._depth_ms = -DEPTH_AGE_MS
        self._measuring: asyncio.Task[None] | None = None
        self._pushing: asyncio.Task[None] | None = None
        self._push_failing = False
        self._commit_failing = ""
        self._metrics.waiting_rows.set_function(lambda: self._waiting_rows)

    async def accept(
        self, batch: receive.Batch, producer_id: int, body_bytes: int = 0
    ) -> list[int]:
        """Store a batch durably, all or nothing; its ids in order once it is committed.

        body_bytes: the size of the request, for bounding a group. Raises BodyError where
        deliver_at is too far ahead, Busy or StorageError where nothing was promised.
        """
        self._check_times(batch)
        await self._check_room()
        # Asked after the last await: from here on `run` sees what is added, or it is refused.
        if self._closing:
            raise Busy("this process is shutting down; send to another or try again", 1)
        rows_max = GROUPS_WAITING_MAX * self._api.commit_rows_max
        if self._waiting_rows and self._waiting_rows + len(batch) > rows_max:
            raise Busy("too many messages wait to be stored; try again", 1)
        answer: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(batch, producer_id, body_bytes, answer))
        self._waiting_rows += len(batch)
        self._wake.set()
        if len(self._waiting) >= self._expected:
            self._enough.set()
        return await answer

    async def run(self) -> None:
        """Commit what waits, group after group, until `drain`; cancelling refuses the rest."""
        try:
            while True:
                while not self._waiting:
                    if self._closing:
                        return
                    self._wake.clear()
                    await self._wake.wait()
                await self._linger()
                group = self._take()
                if group:
                    await self._commit(group)
        finally:
            self._closing = True
            _refuse(self._waiting, Busy("this process is shutting down; try again", 1))
            self._waiting.clear()
            if self._pushing is not None:
                await asyncio.wait({self._pushing})

    def drain(self) -> None:
        """Accept no more; `run` commits and answers what waits, then returns."""
        self._closing = True
        self._wake.set()
        self._enough.set()

    def _check_times(self, batch: receive.Batch) -> None:
        latest_ms = self._clock.now_ms() + self._api.deliver_ahead_ms_max
        for index, deliver_ms in enumerate(batch.deliver_ms):
            if deliver_ms > latest_ms:
                days = self._api.deliver_ahead_ms_max / 86_400_000
                raise BodyError("item", f"deliver_at is more than {days:g} days ahead", index)

    async def _check_room(self) -> None:
        full = self._depth >= self._limits.ingest_depth_max
        age_ms = self._clock.now_ms() - self._depth_ms
        if not 0 <= age_ms < (FULL_AGE_MS if full else DEPTH_AGE_MS):
            if self._measuring is None:
                self._measuring = asyncio.create_task(self._measure())
            await asyncio.wait({self._measuring}, timeout=DEPTH_WAIT_S)
        if self._depth >= self._limits.ingest_depth_max:
            raise Busy("too many accepted messages wait to be split; try again", 1)

    async def _measure(self) -> None:
        """Look how deep the ingest stream is; an unknown depth refuses nothing."""
        try:
            self._depth = (await self._queue.gauges([INGEST]))[0].depth
        except QueueError:
            self._depth = 0
        finally:
            self._depth_ms = self._clock.now_ms()
            self._measuring = None

    async def _linger(self) -> None:
        """Wait a little where the last group was larger: its clients are about to come back."""
        if self._api.commit_wait_ms and not self._closing and len(self._waiting) < self._expected:
            self._enough.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._api.commit_wait_ms / 1000):
                    await self._enough.wait()

    def _take(self) -> list[_Waiting]:
        """The next group within the bounds of a commit; at least one request, where any waits."""
        group: list[_Waiting] = []
        rows = size = 0
        while self._waiting:
            rows += len(self._waiting[0].batch)
            size += self._waiting[0].body_bytes
            if group and (rows > self._api.commit_rows_max or size > COMMIT_BYTES_MAX):
                break
            waiting = self._waiting.popleft()
            self._waiting_rows -= len(waiting.batch)
            if waiting.answer.done():  # the client has gone
                rows -= len(waiting.batch)
                size -= waiting.body_bytes
            else:
                group.append(waiting)
        self._expected = len(group)
        return group

    async def _commit(self, group: list[_Waiting]) -> None:
        """Store a group and answer it; whatever happens, nobody is left waiting."""
        try:
            batch, (ids, fresh) = await self._store(group)
        except Exception as error:
            refused = isinstance(error, StorageRefused)
            foreseen = isinstance(error, NotifyError)
            if len(group) == 1 or (foreseen and not refused):
                self._note_failure(error)
                _refuse(group, error)
                return
            # One request may be what the database chokes on: it must not fail the others.
            if not foreseen:
                _log.exception("a commit of %d requests failed; trying them one by one", len(group))
            for waiting in group:
                await self._commit([waiting])
        else:
            if self._commit_failing:
                _log.warning("the database stores messages again")
                self._commit_failing = ""
            # From here on the group is stored: no error may send it to the database again.
            _answer(group, ids)
            if fresh:
                await self._hand_on(batch, fresh, sum(waiting.body_bytes for waiting in group))
        finally:  # cancelled in the middle: the outcome is unknown
            _refuse(group, StorageUnavailable("the commit was interrupted"))

    def _note_failure(self, error: Exception) -> None:
        """Say why the database stores nothing, once for each reason, not for every commit."""
        if isinstance(error, StorageError) and self._commit_failing != str(error):
            self._commit_failing = str(error)
            _log.warning("messages cannot be stored: %s", error)

    async def _store(self, group: list[_Waiting]) -> tuple[receive.Batch, Inserted]:
        batch = self._merged(group)
        started = time.perf_counter()
        inserted = await self._storage.insert_messages(batch, self._clock.now_ms())
        self._metrics.commit_seconds.observe(time.perf_counter() - started)
        self._metrics.commit_rows.observe(len(batch))
        self._metrics.accepted.inc(len(batch))
        return batch, inserted

    def _merged(self, group: list[_Waiting]) -> receive.Batch:
        """The group as one stamped batch. Raises Busy where there are no ids."""
        ids = self._message_ids.make(sum(len(waiting.batch) for waiting in group))
        if len(group) == 1:
            group[0].batch.stamp(group[0].producer_id, ids)
            return group[0].batch
        merged = receive.Batch()
        start = 0
        for waiting in group:
            end = start + len(waiting.batch)
            waiting.batch.stamp(waiting.producer_id, ids[start:end])
            merged.extend(waiting.batch)
            start = end
        return merged

    async def _hand_on(self, batch: receive.Batch, fresh: list[int], body_bytes: int) -> None:
        """Push what is new. At most one push is in flight beside a commit: the order is kept."""
        if self._pushing is not None:
            await asyncio.wait({self._pushing})
        self._pushing = asyncio.create_task(self._push(batch, fresh, body_bytes))

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


def _answer(group: list[_Waiting], ids: list[int]) -> None:
    start = 0
    for waiting in group:
        end = start + len(waiting.batch)
        if not waiting.answer.done():
            waiting.answer.set_result(ids[start:end])
        start = end


def _refuse(group: "deque[_Waiting] | list[_Waiting]", error: Exception) -> None:
    for waiting in group:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
