"""Outcomes on their way to the Marker, and the chunks that they finish."""

import asyncio
import logging

from notify.config import SenderConfig
from notify.domain.ports import Claim, Push, Queue
from notify.runtime.streams import MARK
from notify_core import chunk
from notify_core.errors import ChunkError
from notify_core.records import PENDING, QUEUED, DeliveryRecord, OutcomeRecord

log = logging.getLogger(__name__)


class Held:
    """A claimed chunk and how many of its deliveries are still open.

    lost: the queue was lost meanwhile, or the lease of the consumer. Others see to its
    deliveries, so nothing more may follow from it but outcomes.
    """

    __slots__ = ("claim", "lost", "open")

    def __init__(self, claim: Claim, deliveries: int) -> None:
        self.claim = claim
        self.open = deliveries
        self.lost = False


class Outcomes:
    """Collects outcomes and hands them on in batches.

    A chunk is acknowledged only together with, and after, the push of everything that
    follows from it: the outcomes, the retries, what is handed back. What follows keeps the
    age of the chunk it follows from, so that the Rescuer does not miss it meanwhile.
    """

    def __init__(self, queue: Queue, config: SenderConfig) -> None:
        self._queue = queue
        self._rows_max = config.outcome_rows_max
        self._wait_s = config.outcome_wait_ms / 1000
        self._outcomes: list[OutcomeRecord] = []
        self._since_ms = 0
        self._follow_ups: list[Push] = []
        self._finished: list[Claim] = []
        self._losses = 0
        # How many outcomes there were, and how many of these the Marker's stream has got.
        self.added = 0
        self.handed_on = 0
        self._flushing = asyncio.Lock()
        self._some = asyncio.Event()
        self._full = asyncio.Event()

    def __len__(self) -> int:
        return len(self._outcomes)

    def decide(self, held: Held, delivery: DeliveryRecord, outcome: OutcomeRecord) -> None:
        """Record what became of one delivery of a chunk."""
        if outcome.status == QUEUED:
            if held.lost:
                outcome = _parked(outcome)
            else:
                again = DeliveryRecord(outcome.attempts, delivery.message)
                self._follow(held, outcome.sub_id, [again], outcome.due_ms)
        self.add(outcome, held.claim.since_ms)
        self._close(held, 1)

    def add(self, outcome: OutcomeRecord, since_ms: int) -> None:
        """Record an outcome that no chunk waits for; since_ms: since when it is under way."""
        self._outcomes.append(outcome)
        self.added += 1
        if since_ms < self._since_ms or not self._since_ms:
            self._since_ms = since_ms
        if len(self._outcomes) == 1:
            self._some.set()
        if len(self._outcomes) >= self._rows_max:
            self._full.set()

    def hand_back(
        self, held: Held, sub_id: int, deliveries: list[DeliveryRecord], due_ms: int
    ) -> None:
        """Return untried deliveries of a chunk to their queue; due_ms: not before, 0: at once."""
        if deliveries and not held.lost:
            self._follow(held, sub_id, deliveries, due_ms)
        self._close(held, len(deliveries))

    def skip(self, held: Held, deliveries: int) -> None:
        """Count deliveries of a chunk as done that need nothing any more."""
        if deliveries or not held.open:
            self._close(held, deliveries)

    def queue_lost(self) -> None:
        """Forget what would have gone into the lost queue; outcomes are still true."""
        self._losses += 1
        self._follow_ups.clear()
        self._finished.clear()
        self._outcomes = [_parked(outcome) for outcome in self._outcomes]

    async def flush(self) -> list[Claim]:
        """Hand on what is there; the claims that this let go. On failure it is kept.

        One at a time: what was added first is handed on first, so `handed_on` says which.
        """
        async with self._flushing:
            return await self._flush()

    async def _flush(self) -> list[Claim]:
        outcomes, follow_ups, finished = self._outcomes, self._follow_ups, self._finished
        since_ms, self._since_ms = self._since_ms, 0
        losses = self._losses
        self._outcomes, self._follow_ups, self._finished = [], [], []
        self._some.clear()
        self._full.clear()
        try:
            pushes = follow_ups + self._packed(outcomes, since_ms)
            if pushes or finished:
                await self._queue.ack(finished, pushes)
        except BaseException:
            if losses != self._losses:
                outcomes, follow_ups, finished = [_parked(one) for one in outcomes], [], []
            # Pushed twice is marked twice, which changes nothing; never pushed is lost.
            self._outcomes = outcomes + self._outcomes
            self._follow_ups = follow_ups + self._follow_ups
            self._finished = finished + self._finished
            self._since_ms = min(since_ms, self._since_ms) or since_ms or self._since_ms
            self._some.set()
            raise
        self.handed_on += len(outcomes)
        return finished

    async def wait(self, timeout_s: float) -> None:
        """Return when a batch is worth handing on, or at time-out."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._some.wait()
        except TimeoutError:
            return
        try:
            async with asyncio.timeout(self._wait_s):
                await self._full.wait()
        except TimeoutError:
            return

    def _packed(self, outcomes: list[OutcomeRecord], since_ms: int) -> list[Push]:
        pushes = []
        for start in range(0, len(outcomes), self._rows_max):
            part = outcomes[start : start + self._rows_max]
            try:
                packed = chunk.pack_outcomes(part)
            except ChunkError:
                # One that cannot be written must not hold up the others for ever.
                part = [outcome for outcome in part if _is_writable(outcome)]
                packed = chunk.pack_outcomes(part)
            pushes.append(Push(MARK, packed, len(part), 0, since_ms))
        return pushes

    def _follow(
        self, held: Held, sub_id: int, deliveries: list[DeliveryRecord], due_ms: int
    ) -> None:
        claim = held.claim
        packed = chunk.pack_deliveries(sub_id, deliveries)
        push = Push(claim.stream, packed, len(deliveries), due_ms, claim.since_ms)
        self._follow_ups.append(push)
        self._some.set()

    def _close(self, held: Held, deliveries: int) -> None:
        held.open -= deliveries
        assert held.open >= 0
        if not held.open and not held.lost:
            self._finished.append(held.claim)
            self._some.set()


def _parked(outcome: OutcomeRecord) -> OutcomeRecord:
    """An outcome whose retry no queue holds: the database does. Others are as they are."""
    if outcome.status != QUEUED:
        return outcome
    return outcome._replace(status=PENDING)


def _is_writable(outcome: OutcomeRecord) -> bool:
    try:
        chunk.pack_outcomes([outcome])
    except ChunkError:
        # Its delivery stays queued in the database: the Rescuer has it tried again.
        log.exception("an outcome cannot be written: %r", outcome)
        return False
    return True
