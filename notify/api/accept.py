"""Group commit: requests that wait together become one durable insert, then are answered.

While a commit is in flight, what arrives piles up and shares the next one: the busier, the
larger the groups and the cheaper each message. After the answers one chunk goes to the Maker.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from typing import Final

from prometheus_client import CollectorRegistry

from notify.api.handover import Handover
from notify.api.metrics import ApiMetrics
from notify.api.waiting import Asker, Caller, Waiting, refuse
from notify.config import Config
from notify.domain.errors import (
    Busy,
    NotifyError,
    StorageError,
    StorageRefused,
    StorageUnavailable,
)
from notify.domain.ports import Clock, Inserted, Queue, Storage
from notify.runtime.directory import DirectoryCache
from notify.runtime.message_ids import MessageIds
from notify_core import receive
from notify_core.body import Limits
from notify_core.errors import BodyError

# Groups that may wait behind the one in flight; more would only be answered too late.
GROUPS_WAITING_MAX: Final = 8
# Request bytes of one commit: keeps a group of large payloads from becoming a huge transaction.
COMMIT_BYTES_MAX: Final = 16 << 20

_log = logging.getLogger(__name__)


class Acceptor:
    """Stores messages in groups. `run` must be running while `accept` and `offer` are called."""

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
        self._message_ids = message_ids
        self._clock = clock
        self._api = config.api
        self._metrics = metrics or ApiMetrics(CollectorRegistry())
        self._handover = Handover(queue, directory, clock, config.queue, self._metrics)
        self._waiting: deque[Waiting] = deque()
        self._waiting_rows = 0
        self._waiting_askers = 0
        self._wake = asyncio.Event()
        self._enough = asyncio.Event()
        self._expected = 0  # askers of the last group: as many are likely to come again
        self._closing = False
        self._commit_failing = ""
        self._metrics.waiting_rows.set_function(lambda: self._waiting_rows)

    async def accept(
        self, batch: receive.Batch, producer_id: int, body_bytes: int = 0
    ) -> list[int]:
        """Store a batch durably, all or nothing; its ids in order once it is committed.

        body_bytes: the size of the request, for bounding a group. Raises BodyError where
        deliver_at is too far ahead, Busy or StorageError where nothing was promised.
        """
        self._check_times(batch.deliver_ms)
        await self._handover.look()
        # Asked after the last await: from here on `run` sees what is added, or it is refused.
        self._check_open(len(batch))
        batch.set_producer(producer_id)
        caller = Caller()
        self._waiting.append(Waiting(batch, body_bytes, [caller]))
        self._added(len(batch))
        return await caller.ids

    def offer(
        self, asker: Asker, producer_id: int, body: bytes, content_type: str, limits: Limits
    ) -> bool:
        """Parse a body and do what `accept` does, for an asker that is told later.

        False, and nothing was done, where one has to wait before it can be accepted. Raises as
        `receive.parse` and `accept` do; then the asker is not told.
        """
        if not self._handover.knows_room():
            return False
        self._check_open(1)
        last = self._waiting[-1] if self._waiting else None
        if last is None or not last.has_room(len(body), self._api.commit_rows_max):
            last = Waiting(receive.Batch(), of_one=True)
        if content_type == "application/json" and receive.append(
            last.batch, producer_id, body, limits
        ):
            try:
                self._check_times(last.batch.deliver_ms[-1:])
            except BodyError:
                last.batch.drop_last()
                raise
            if not last.askers:
                self._waiting.append(last)
            last.askers.append(asker)
            last.body_bytes += len(body)
            self._added(1)
        else:
            batch = receive.parse(body, content_type, limits)
            self._check_times(batch.deliver_ms)
            self._check_open(len(batch))
            batch.set_producer(producer_id)
            self._waiting.append(Waiting(batch, len(body), [asker]))
            self._added(len(batch))
        return True

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
            refuse(self._waiting, Busy("this process is shutting down; try again", 1))
            self._waiting.clear()
            await self._handover.finish()

    def drain(self) -> None:
        """Accept no more; `run` commits and answers what waits, then returns."""
        self._closing = True
        self._wake.set()
        self._enough.set()

    def _check_times(self, deliver_ms: list[int]) -> None:
        latest_ms = self._clock.now_ms() + self._api.deliver_ahead_ms_max
        for index, moment_ms in enumerate(deliver_ms):
            if moment_ms > latest_ms:
                days = self._api.deliver_ahead_ms_max / 86_400_000
                raise BodyError("item", f"deliver_at is more than {days:g} days ahead", index)

    def _check_open(self, rows: int) -> None:
        """Raises Busy where so many messages more cannot wait."""
        if self._handover.is_full:
            raise Busy("too many accepted messages wait to be split; try again", 1)
        if self._closing:
            raise Busy("this process is shutting down; send to another or try again", 1)
        rows_max = GROUPS_WAITING_MAX * self._api.commit_rows_max
        if self._waiting_rows and self._waiting_rows + rows > rows_max:
            raise Busy("too many messages wait to be stored; try again", 1)

    def _added(self, rows: int) -> None:
        self._waiting_rows += rows
        self._waiting_askers += 1
        self._wake.set()
        if self._waiting_askers >= self._expected:
            self._enough.set()

    async def _linger(self) -> None:
        """Wait a little where the last group was larger: its clients are about to come back."""
        wait_ms = self._api.commit_wait_ms
        if wait_ms and not self._closing and self._waiting_askers < self._expected:
            self._enough.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_ms / 1000):
                    await self._enough.wait()

    def _take(self) -> list[Waiting]:
        """The next group within the bounds of a commit; at least one request, where any waits."""
        group: list[Waiting] = []
        rows = size = self._expected = 0
        while self._waiting:
            first = self._waiting[0]
            rows += len(first.batch)
            size += first.body_bytes
            if group and (rows > self._api.commit_rows_max or size > COMMIT_BYTES_MAX):
                break
            self._waiting.popleft()
            self._waiting_rows -= len(first.batch)
            self._waiting_askers -= len(first.askers)
            if first.gone:
                rows -= len(first.batch)
                size -= first.body_bytes
            else:
                group.append(first)
                self._expected += len(first.askers)
        return group

    async def _commit(self, group: list[Waiting]) -> None:
        """Store a group and answer it; whatever happens, nobody is left waiting."""
        try:
            batch, (ids, fresh) = await self._store(group)
        except Exception as error:
            refused = isinstance(error, StorageRefused)
            foreseen = isinstance(error, NotifyError)
            if sum(len(one.askers) for one in group) == 1 or (foreseen and not refused):
                self._note_failure(error)
                refuse(group, error)
                return
            # One request may be what the database chokes on: it must not fail the others.
            group = [one for waiting in group for one in waiting.apart()]
            if not foreseen:
                _log.exception("a commit of %d requests failed; trying them one by one", len(group))
            for one in group:
                await self._commit([one])
        else:
            if self._commit_failing:
                _log.warning("the database stores messages again")
                self._commit_failing = ""
            # From here on the group is stored: no error may send it to the database again.
            _answer(group, ids)
            if fresh:
                size = sum(waiting.body_bytes for waiting in group)
                await self._handover.hand_on(batch, fresh, size)
        finally:  # cancelled in the middle: the outcome is unknown
            refuse(group, StorageUnavailable("the commit was interrupted"))

    def _note_failure(self, error: Exception) -> None:
        """Say why the database stores nothing, once for each reason, not for every commit."""
        if isinstance(error, StorageError) and self._commit_failing != str(error):
            self._commit_failing = str(error)
            _log.warning("messages cannot be stored: %s", error)

    async def _store(self, group: list[Waiting]) -> tuple[receive.Batch, Inserted]:
        batch = self._merged(group)
        started = time.perf_counter()
        inserted = await self._storage.insert_messages(batch, self._clock.now_ms())
        self._metrics.commit_seconds.observe(time.perf_counter() - started)
        self._metrics.commit_rows.observe(len(batch))
        self._metrics.accepted.inc(len(batch))
        return batch, inserted

    def _merged(self, group: list[Waiting]) -> receive.Batch:
        """The group as one stamped batch. Raises Busy where there are no ids."""
        ids = self._message_ids.make(sum(len(waiting.batch) for waiting in group))
        batch = group[0].batch
        if len(group) > 1:
            batch = receive.Batch()
            for waiting in group:
                batch.extend(waiting.batch)
        batch.set_ids(ids)
        return batch


def _answer(group: list[Waiting], ids: list[int]) -> None:
    start = 0
    for waiting in group:
        end = start + len(waiting.batch)
        waiting.stored(ids[start:end])
        start = end
