"""The lane of an ordered subscription: the database is its queue.

Its deliveries never travel through the queue: the Maker stores them as pending and pushes a hint,
an empty chunk. The Sender that holds the consumer reads them in message order and works them off
key by key. A retry stays here; for the database it is pending, so that whoever comes next begins
with it.

What makes the order hold:

accepted earlier    read only what is older than anything in the ingest stream and than any message
                    that is not split, and was seen before that was asked: what a producer was told
                    is accepted, before it sent the next, is split by then
lost queue          read nothing until the Rescuer has put everything back that was in it
another holder      read nothing until what the one before it delivered is marked
place in the line   a delivery's number and the message before it are durable before its outcome
                    is, so that every try of it, by whoever makes it, carries the same
"""

import asyncio
import logging
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from notify.config import QueueConfig
from notify.domain.errors import NotifyError
from notify.domain.model import DeliveryStatus, Reason, Subscription, SubscriptionStatus
from notify.domain.policy import Ordering
from notify.domain.ports import OrderHead, Queue, Storage
from notify.runtime.rescue import REBUILT_EPOCH, epoch_begun_ms
from notify.runtime.streams import INGEST, MARK
from notify.sender.frontier import Frontier
from notify.sender.lane import Job, Lane
from notify.sender.line import KEY_JOBS_MAX, Line
from notify.sender.verdict import Policy
from notify_core import ids
from notify_core.records import DeliveryRecord, OutcomeRecord

# Deliveries kept here with their payloads, up to so many bytes of each.
LINE_MAX: Final = 5000
INLINE_BYTES_MAX: Final = 2048
PAGE_ROWS: Final = 1000
PAGES_MAX: Final = 8
# A message may become visible so long after others with a higher id did.
LATE_MS: Final = 60_000
# Finished, but not seen to be marked: more than this, and it waits for the Marker.
UNMARKED_MAX: Final = 10_000
# How long it waits for outcomes that the holder before it handed on.
TAKEOVER_WAIT_MS: Final = 5000
SOON_S: Final = 0.02
ID_MAX: Final = (1 << 63) - 1
TROUBLE_S: Final = 0.5

log = logging.getLogger(__name__)


class OrderedLane(Lane):
    """Next of a key only when the one before it is delivered or dropped."""

    def __init__(
        self,
        ordering: Ordering,
        storage: Storage,
        queue: Queue,
        frontier: Frontier,
        limits: QueueConfig,
        *args: Any,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.ordering = ordering
        self._is_strict = ordering is Ordering.STRICT
        self._storage = storage
        self._queue = queue
        self._frontier = frontier
        self._inline_bytes = min(limits.inline_bytes_max, INLINE_BYTES_MAX)
        self._line = Line()
        self._begun_ms = self._clock.now_ms()
        self._cursor_id = 0
        self._seen_id = 0
        self._whole = False
        self._full = False  # more was waiting than there was room for
        self._safe_epoch: str | None = None
        self._taken_over = False
        # The line was given up while tries were under way: they have to end first.
        self._emptied = False
        # The queue was lost: which outcomes were lost with it, shows when all that were handed on
        # by the end of those tries, so many of this Sender, are marked.
        self._in_doubt = False
        self._handed_on = 0
        # Finished here, in the database perhaps not yet.
        self._unmarked: dict[int, None] = {}
        self._unsaved: dict[str, OrderHead] = {}
        self._decided: list[OutcomeRecord] = []
        self._reading: asyncio.Task[None] | None = None
        self._read_again = False
        self._saving: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many keys have a delivery that may go."""
        return self._line.free

    @property
    def known(self) -> int:
        """How many unfinished deliveries are here."""
        return len(self._line)

    def wants_more(self) -> bool:
        """Hints are always taken."""
        return not self._closing

    def configure(self, subscription: Subscription | None, policy: Policy | None) -> None:
        """Go by what is configured now; read what a pause, or another holder, left."""
        was = self._status
        super().configure(subscription, policy)
        if self._status is SubscriptionStatus.NORMAL and was is not self._status:
            self.read()

    def add(self, jobs: Sequence[Job]) -> None:
        """Read what is new. Jobs that came through the queue, from before it was ordered: park."""
        now_ms = self._clock.now_ms()
        for job in jobs:
            super().settle(job, _parked(self.sub_id, job.delivery, now_ms))
        self.read()

    @property
    def unmarked(self) -> int:
        """How many were finished here, and not yet seen to be in the database."""
        return len(self._unmarked)

    def read(self, whole: bool = False) -> None:
        """There may be something new in the database; whole: something old, as by a replay."""
        if self._closing:
            return
        self._whole = self._whole or whole
        self._read_again = True
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_all(), name=f"line {self.sub_id}")

    def pump(self, now_ms: int = 0) -> None:
        """Begin what may begin now."""
        super().pump(now_ms)
        if not self._closing and (due_ms := self._line.next_ms()):
            now_ms = self._clock.now_ms()
            self._wake_at(max(due_ms, now_ms + 1), now_ms)

    def settle(self, job: Job, outcome: OutcomeRecord) -> None:
        """Finish or park; the outcome is handed on when the delivery's place is durable."""
        message = job.message
        key = self._key(job)
        final = outcome.status in (DeliveryStatus.DELIVERED, DeliveryStatus.DROPPED)
        if not final:
            again = Job(None, DeliveryRecord(outcome.attempts, message))
            if message.id in self._line:
                self._line.park(key, again, outcome.due_ms)
            # Pending, and due at once for whoever reads it: it has to come before its followers.
            outcome = outcome._replace(status=int(DeliveryStatus.PENDING), due_ms=0)
        else:
            self._unmarked[message.id] = None
            if message.id in self._line:
                self._line.finish(key)
        assert job.place is not None
        head = OrderHead(key, job.place.sequence, message.id, job.place.previous_id)
        if key not in self._unsaved or self._unsaved[key].sequence <= head.sequence:
            self._unsaved[key] = head
        self._decided.append(outcome)
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save_all(), name=f"places {self.sub_id}")
        if self._line.must_read or (self._full and self.known <= LINE_MAX // 2):
            self.read()

    def put_back(self, jobs: Sequence[Job]) -> None:
        """A try that does not count: other keys come first."""
        now_ms = self._clock.now_ms()
        for job in jobs:
            if job.message.id in self._line:
                self._line.park(self._key(job), Job(None, job.delivery), now_ms)

    def put_first(self, jobs: Sequence[Job]) -> None:
        """These were taken, and not begun after all."""
        for job in reversed(jobs):
            if job.message.id in self._line:
                self._line.put_first(self._key(job))

    def hand_back(self, jobs: Sequence[Job]) -> None:
        """They are pending in the database; here, they are free again."""
        self.put_back(jobs)

    def queue_lost(self) -> None:
        """Read anew what the database shows, as soon as everything that is not lost is marked.

        It may be told so late that it has gone on already, in the queue that was begun since.
        """
        self._empty()
        self._in_doubt = True
        self.read()

    def forget(self) -> None:
        """Others go on with it: what is under way is cut off, so that nothing overtakes it."""
        self.cancel()
        self._empty()
        self._unmarked.clear()  # another's to wait for

    async def saved(self, timeout_s: float) -> None:
        """Return when every outcome was handed on, or at time-out."""
        if self._saving is not None:
            await asyncio.wait({self._saving}, timeout=timeout_s)

    def close(self) -> None:
        """Begin nothing any more."""
        super().close()
        if self._reading is not None:
            self._reading.cancel()

    def _key(self, job: Job) -> str:
        return "" if self._is_strict else job.message.ordering_key

    def _first(self, now_ms: int) -> Job | None:
        while (job := self._line.first(now_ms)) is not None:
            if not 0 < job.message.expires_ms <= now_ms:
                return job
            self._line.take()  # it has its place too: a receiver sees that it is missing
            self._drop(job, now_ms, Reason.EXPIRED)
        return None

    def _take(self, now_ms: int) -> list[Job]:
        batch = self.batch
        jobs: list[Job] = []
        size = 0
        while len(jobs) < (batch.size_max if batch else 1) and (job := self._first(now_ms)):
            size += len(job.message.payload or b"")
            if jobs and batch and size > batch.bytes_max:  # one is taken however large it is
                break
            jobs.append(self._line.take())
        for job in jobs:
            assert job.place is not None
            sequence, previous_id = job.place
            before = f"notify-previous-id: {previous_id}\r\n" if previous_id else ""
            job.extra = f"notify-sequence: {sequence}\r\n{before}".encode()
        return jobs

    def _may_begin(self, now_ms: int) -> bool:
        if len(self._unmarked) >= UNMARKED_MAX:
            self._wake_at(now_ms + round(TROUBLE_S * 1000), now_ms)
            self.read()
            return False
        return super()._may_begin(now_ms)

    def _let_go(self) -> None:
        """Paused or closing: it is pending. Discarded or deleted: the Feeder drops it."""
        self._empty()

    def _empty(self) -> None:
        self._line = Line()
        self._cursor_id = self._seen_id = 0
        self._emptied = True

    # Reading.

    async def _read_all(self) -> None:
        pause_s = SOON_S
        hurried = False
        while self._read_again and not self._closing:
            self._read_again = False
            before = (self._cursor_id, self._seen_id)
            try:
                soon = not await self._may_read() or await self._read()
            except NotifyError as error:
                log.debug("subscription %d: %s; reading again", self.sub_id, error)
                # From the beginning: what would have been read comes before what follows it.
                self._read_again = self._whole = True
                await self._clock.sleep(TROUBLE_S)
                continue
            self.pump()
            if not soon:
                continue
            self._read_again = True
            if before == (self._cursor_id, self._seen_id):
                pause_s = min(2 * pause_s, TROUBLE_S)
            else:
                pause_s = SOON_S
                hurried = not hurried
                if hurried:
                    continue
            await self._clock.sleep(pause_s)

    async def _may_read(self) -> bool:
        """Whether everything that is lost or under way elsewhere is back in the database."""
        saving = self._saving is not None and not self._saving.done()
        if self._emptied and (self.flights or saving):
            return False
        self._emptied = False
        if self._in_doubt:
            self._in_doubt = self._taken_over = False
            self._begun_ms = self._clock.now_ms()
            self._handed_on = self._outcomes.added
        if self._outcomes.handed_on < self._handed_on:
            return False
        epoch = await self._queue.epoch()
        if epoch is None:
            return False
        if epoch != self._safe_epoch:
            if await self._storage.note(REBUILT_EPOCH) != epoch_begun_ms(epoch):
                return False
            self._safe_epoch = epoch
        if not self._taken_over:
            (mark,) = await self._queue.gauges([MARK])
            since_ms = self._begun_ms
            waited = not 0 <= self._clock.now_ms() - since_ms < TAKEOVER_WAIT_MS
            self._taken_over = waited or not 0 < mark.oldest_ms <= since_ms
            if self._taken_over:
                # Not marked by now: lost, or the Marker is behind by more than is waited for.
                self._unmarked.clear()
        return self._taken_over

    async def _read(self) -> bool:
        """Take in what is unfinished, in message order; whether there is more to read soon."""
        line = self._line
        self._full = False
        if self._whole:
            self._whole = False
            self._cursor_id = 0
        seen_id = self._seen_id
        await self._forget_marked()
        (ingest,) = await self._queue.gauges([INGEST])
        split_id = ids.id_floor(ingest.oldest_ms) if ingest.oldest_ms else ID_MAX
        end_id = min(split_id, seen_id + 1)
        if end_id > self._cursor_id + 1:
            end_id = split_id = await self._frontier.below(end_id)
        late_id = ids.id_floor(max(ids.EPOCH_MS, ids.id_ms(self._cursor_id) - LATE_MS))
        start_id = min(line.read_from(self._cursor_id), late_id, self._cursor_id)
        now_ms = self._clock.now_ms()
        after = (0, start_id - 1) if start_id else (-1, 0)
        for _ in range(PAGES_MAX):
            page = await self._storage.waiting(self.sub_id, after, PAGE_ROWS)
            row = [id_ for due_ms, id_ in page if not due_ms]
            due = [id_ for due_ms, id_ in page if 0 < due_ms <= now_ms and id_ < split_id]
            below = [id_ for id_ in row if id_ < end_id]
            await self._take_in(line, below + due)
            if line is not self._line:
                return True  # it was given up meanwhile
            self._seen_id = max(self._seen_id, *row[-1:], 0)
            self._cursor_id = max(self._cursor_id, *below[-1:], 0)
            if len(below) < len(row):
                return True
            if len(page) < PAGE_ROWS or page[-1][0] > now_ms:
                line.trim()
                return False
            after = page[-1]
            if not after[0]:
                self._cursor_id = after[1]
            self._full = self.known >= LINE_MAX
            if self._full or (self._is_strict and line.is_cut("")):
                return False  # `settle` reads on when there is room
        return True

    async def _take_in(self, line: Line, message_ids: list[int]) -> None:
        new = [id_ for id_ in message_ids if id_ not in line and id_ not in self._unmarked]
        if self._is_strict:
            new = new[: KEY_JOBS_MAX + 1]  # one key: the others would be left out
        if not new:
            return
        records = await self._storage.pending_records(self.sub_id, new, self._inline_bytes)
        jobs = [Job(None, record) for record in records]
        lacking = line.lacks({self._key(job) for job in jobs})
        if lacking:
            line.learn((await self._storage.order_heads(self.sub_id, lacking)).values())
            line.learn(OrderHead(key, 0, 0, 0) for key in lacking)
        for job in jobs:
            id_ = job.message.id
            if id_ not in line and id_ not in self._unmarked:
                line.add(self._key(job), job)

    async def _forget_marked(self) -> None:
        finished = list(islice(self._unmarked, PAGE_ROWS))
        if not finished:
            return
        found = await self._storage.standings([(id_, self.sub_id) for id_ in finished])
        for id_ in finished:
            one = found.get((id_, self.sub_id))
            if one is None or one.status is not DeliveryStatus.PENDING:
                self._unmarked.pop(id_, None)

    # Saving.

    async def _save_all(self) -> None:
        while self._decided:
            decided, self._decided = self._decided, []
            heads, self._unsaved = self._unsaved, {}
            now_ms = self._clock.now_ms()
            while True:
                try:
                    await self._storage.set_order_heads(self.sub_id, heads.values(), now_ms)
                    break
                except NotifyError as error:
                    log.debug("subscription %d: %s; saving again", self.sub_id, error)
                    await self._clock.sleep(TROUBLE_S)
            for outcome in decided:
                self._outcomes.add(outcome, outcome.at_ms)


def _parked(sub_id: int, delivery: DeliveryRecord, now_ms: int) -> OutcomeRecord:
    """What the queue held of a subscription that is ordered now waits in the database."""
    return OutcomeRecord(
        delivery.message.id,
        sub_id,
        int(DeliveryStatus.PENDING),
        delivery.attempts,
        now_ms,
        0,
        0,
        0,
        int(Reason.NONE),
        "",
        b"",
    )
