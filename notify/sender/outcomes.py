"""Outcomes on their way to the Marker, and the chunks that they finish."""

import asyncio
from typing import Final

from notify.config import SenderConfig
from notify.domain.model import DeliveryStatus
from notify.domain.ports import Claim, Push, Queue, Stream, StreamKind
from notify_core import chunk
from notify_core.records import DeliveryRecord, OutcomeRecord

MARK: Final = Stream(StreamKind.MARK, 0)


class Held:
    """A claimed chunk and how many of its deliveries are still open."""

    __slots__ = ("claim", "open")

    def __init__(self, claim: Claim, deliveries: int) -> None:
        self.claim = claim
        self.open = deliveries


class Outcomes:
    """Collects outcomes and hands them on in batches.

    A chunk is acknowledged only together with, and after, the push of everything that
    follows from it: the outcomes, the retries, what is handed back.
    """

    def __init__(self, queue: Queue, config: SenderConfig) -> None:
        self._queue = queue
        self._rows_max = config.outcome_rows_max
        self._wait_s = config.outcome_wait_ms / 1000
        self._outcomes: list[OutcomeRecord] = []
        self._follow_ups: list[Push] = []
        self._finished: list[Claim] = []
        self._some = asyncio.Event()
        self._full = asyncio.Event()

    def __len__(self) -> int:
        return len(self._outcomes)

    def decide(self, held: Held, delivery: DeliveryRecord, outcome: OutcomeRecord) -> None:
        """Record what became of one delivery of a chunk."""
        self._outcomes.append(outcome)
        if outcome.status == DeliveryStatus.QUEUED:
            again = DeliveryRecord(outcome.attempts, delivery.message)
            retry = chunk.pack_deliveries(outcome.sub_id, [again])
            self._follow_ups.append(Push(held.claim.stream, retry, 1, outcome.due_ms))
        self._close(held, 1)
        if len(self._outcomes) >= self._rows_max:
            self._full.set()

    def hand_back(self, held: Held, sub_id: int, deliveries: list[DeliveryRecord]) -> None:
        """Return untried deliveries of a chunk to their queue."""
        if deliveries:
            packed = chunk.pack_deliveries(sub_id, deliveries)
            self._follow_ups.append(Push(held.claim.stream, packed, len(deliveries)))
        self._close(held, len(deliveries))

    def skip(self, held: Held, deliveries: int) -> None:
        """Count deliveries of a chunk as done that the database shows finished."""
        if deliveries or not held.open:
            self._close(held, deliveries)

    async def flush(self) -> list[Claim]:
        """Hand on what is there; the claims that this let go. On failure it is kept."""
        outcomes, follow_ups, finished = self._outcomes, self._follow_ups, self._finished
        self._outcomes, self._follow_ups, self._finished = [], [], []
        self._some.clear()
        self._full.clear()
        pushes = list(follow_ups)
        for start in range(0, len(outcomes), self._rows_max):
            part = outcomes[start : start + self._rows_max]
            pushes.append(Push(MARK, chunk.pack_outcomes(part), len(part)))
        try:
            if pushes or finished:
                await self._queue.ack(finished, pushes)
        except BaseException:
            # Pushed twice is marked twice, which changes nothing; never pushed is lost.
            self._outcomes = outcomes + self._outcomes
            self._follow_ups = follow_ups + self._follow_ups
            self._finished = finished + self._finished
            self._some.set()
            raise
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

    def _close(self, held: Held, deliveries: int) -> None:
        held.open -= deliveries
        assert held.open >= 0
        if not held.open:
            self._finished.append(held.claim)
        self._some.set()
