"""One try of one delivery, or of a batch: begun, landed, judged.

No database connection is held while a request is under way. What is usual, a payload that
travelled in its chunk to an endpoint that needs no preparation, costs no task.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from notify.config import SenderConfig
from notify.domain.errors import InvalidInput, NotifyError, TransportError
from notify.domain.model import DeliveryStatus, Reason, SubscriptionStatus
from notify.domain.policy import GONE, burst_of
from notify.domain.ports import Answer, Clock, Exchange, Random, Storage, Transport
from notify.runtime.directory import DirectoryCache
from notify.sender import batch as batches
from notify.sender.admission import Admission
from notify.sender.lane import Job, Lane
from notify.sender.pace import Answered
from notify.sender.protocols.target import Target
from notify.sender.rate import Rate
from notify.sender.verdict import asked_quiet_ms, judge
from notify_core import ids
from notify_core.records import DELIVERED, REASON_NONE, DeliveryRecord, OutcomeRecord

ERROR_CHARS_MAX: Final = 500
TROUBLE_PAUSE_MS: Final = 500
UNAUTHORIZED: Final = 401

# A record of its fields in their order, without the way over its named ones.
_outcome: Final[Callable[[tuple[object, ...]], OutcomeRecord]] = partial(
    tuple.__new__, OutcomeRecord
)

log = logging.getLogger(__name__)


class Flight:
    """A try under way."""

    __slots__ = ("_flights", "exchange", "jobs", "lane", "probe", "started_ms", "task")

    def __init__(self, flights: "Flights", lane: Lane, jobs: list[Job], started_ms: int) -> None:
        self._flights = flights
        self.lane = lane
        self.jobs = jobs
        self.started_ms = started_ms
        self.probe = lane.destination.pace.is_open
        self.exchange: Exchange | None = None
        self.task: asyncio.Task[None] | None = None

    def done(self, answer: Answer | None, error: TransportError | None) -> None:
        """The transport's word: exactly one of the two."""
        self._flights.landed(self, answer, error)

    def cancel(self) -> None:
        """Cut it off: somebody tries these deliveries again."""
        if self.task is not None:
            self.task.cancel()
        if self.exchange is not None:
            self.exchange.cancel()
        self._flights.turned_back(self)


class Flights:
    """Makes tries."""

    def __init__(
        self,
        storage: Storage,
        transport: Transport,
        directory: DirectoryCache,
        clock: Clock,
        random: Random,
        config: SenderConfig,
        admission: Admission,
    ) -> None:
        self._storage = storage
        self._transport = transport
        self._directory = directory
        self._clock = clock
        self._random = random
        self._kept_bytes = config.response_kept_bytes
        self._batch_bytes = config.response_bytes_max
        self._admission = admission
        self._disabling: set[asyncio.Task[None]] = set()
        self.made = 0

    def begin(self, lane: Lane, jobs: list[Job], now_ms: int) -> None:
        """Begin one try of these jobs; `lane.flights` has it until it ends."""
        flight = Flight(self, lane, jobs, now_ms)
        lane.flights.add(flight)
        self.made += 1
        job = jobs[0]
        record = job.message
        target = lane.destination.target
        plain = lane.destination.plain or (target is not None and not target.needs_care)
        if target is None or not plain or record.payload is None or lane.batch is not None:
            flight.task = asyncio.create_task(self._begin_with_care(flight))
            return
        try:
            head, body = target.request(
                record, record.payload, lane.sub_id, job.delivery.attempts + 1, now_ms, job.extra
            )
            kept_bytes = max(self._kept_bytes, target.kept_bytes)
            flight.exchange = self._transport.send(
                target.endpoint, head, body, target.timeout_ms, kept_bytes, flight.done
            )
        except Exception:
            # A bug on one delivery's way must not stop the others; it is retried and visible.
            log.exception("delivery %d to subscription %d", record.id, lane.sub_id)
            error = TransportError("internal", "the try failed inside Notify, see the log")
            asyncio.get_running_loop().call_soon(flight.done, None, error)

    def without_try(
        self, lane: Lane, delivery: DeliveryRecord, now_ms: int, reason: Reason
    ) -> OutcomeRecord:
        """The outcome of a delivery that is dropped without one."""
        return OutcomeRecord(
            delivery.message.id,
            lane.sub_id,
            int(DeliveryStatus.DROPPED),
            delivery.attempts,
            now_ms,
            0,
            0,
            0,
            int(reason),
            "",
            b"",
        )

    async def close(self) -> None:
        """Finish what follows from answers."""
        if self._disabling:
            await asyncio.wait(self._disabling)

    def turned_back(self, flight: Flight, hold_ms: int = 0) -> None:
        """No verdict, so nothing may be lost: somebody tries it again."""
        lane = flight.lane
        if flight not in lane.flights:
            return
        lane.flights.discard(flight)
        lane.hand_back(flight.jobs)
        lane.destination.pace.given_up()
        if hold_ms:
            lane.hold(self._clock.now_ms() + hold_ms)
        self._admission.leave(lane)
        lane.destination.pump()

    def landed(self, flight: Flight, answer: Answer | None, error: TransportError | None) -> None:
        """A try came to an end: judge it, and let the next one begin."""
        lane = flight.lane
        if flight not in lane.flights:
            return  # it was cut off
        lane.flights.discard(flight)
        now_ms = self._clock.now_ms()
        destination = lane.destination
        pace = destination.pace
        plain = destination.plain and lane.batch is None and not pace.open_since_ms
        try:
            if plain and answer is not None and 200 <= answer.code < 300:
                pace.well(flight.started_ms, now_ms)
                latency_ms = max(0, now_ms - flight.started_ms)  # a clock may have been set back
                self._delivered(lane, flight.jobs[0], answer, latency_ms, now_ms)
            else:
                self._landed_otherwise(flight, answer, error, now_ms)
        except Exception:
            log.exception("subscription %d: a bug; the delivery goes back", lane.sub_id)
            lane.hand_back(flight.jobs)
        self._admission.leave(lane)
        destination.pump(now_ms)

    def _landed_otherwise(
        self, flight: Flight, answer: Answer | None, error: TransportError | None, now_ms: int
    ) -> None:
        lane = flight.lane
        pace = lane.destination.pace
        how = _answered(answer, error)
        if how is None:
            pace.given_up()
        else:
            first_id = flight.jobs[0].delivery.message.id
            if pace.ended(how, first_id, flight.started_ms, now_ms):
                _say_breaker(lane.destination.name, pace.is_open, answer, error)
        if not flight.probe or not pace.is_open:
            self._judge(flight, answer, error, now_ms)
            return
        # The outage is known: it costs no delivery a part of its budget.
        if answer is not None and lane.policy is not None:
            quiet_ms = asked_quiet_ms(answer, now_ms, lane.policy)
            if quiet_ms:
                pace.keep_quiet(now_ms + quiet_ms)
        lane.put_back(flight.jobs)

    def _judge(
        self, flight: Flight, answer: Answer | None, error: TransportError | None, now_ms: int
    ) -> None:
        lane = flight.lane
        latency_ms = max(0, now_ms - flight.started_ms)  # the clock may have been set back
        text = ""
        failed: frozenset[int] | None = None
        if answer is None:
            text = f"{error.stage}: {error}"[:ERROR_CHARS_MAX] if error else ""
        elif 200 <= answer.code < 300:
            target = lane.destination.target
            refusal = target.refusal(answer) if target else None
            if refusal is None and lane.batch is not None:
                refusal, failed = batches.failed(
                    answer.body, [job.message.id for job in flight.jobs]
                )
            if refusal is not None:
                text = refusal[:ERROR_CHARS_MAX]
        else:
            text = f"answered {answer.code}"
            if answer.code == UNAUTHORIZED and lane.destination.target is not None:
                lane.destination.target.met(answer)
        for job in flight.jobs:
            refused = text
            if failed and job.message.id in failed:
                refused = "the endpoint listed it as failed"
            self._settle(lane, job, answer, refused, latency_ms, now_ms)

    def _settle(
        self,
        lane: Lane,
        job: Job,
        answer: Answer | None,
        text: str,
        latency_ms: int,
        now_ms: int,
    ) -> None:
        if answer is not None and not text:
            self._delivered(lane, job, answer, latency_ms, now_ms)
            return
        record = job.message
        attempts = job.delivery.attempts + 1
        code = answer.code if answer else 0
        body = answer.body[: self._kept_bytes] if answer else b""
        assert lane.policy is not None
        verdict = judge(
            None if 200 <= code < 300 else answer,
            attempts,
            max(ids.id_ms(record.id), record.deliver_ms),
            record.expires_ms,
            now_ms,
            lane.policy,
            self._random.random(),
        )
        if verdict.quiet_ms:
            lane.destination.pace.keep_quiet(now_ms + verdict.quiet_ms)
        if code == GONE and verdict.refused:
            self._disable(lane)
        outcome = OutcomeRecord(
            record.id, lane.sub_id, int(verdict.status), attempts, now_ms, verdict.due_ms,
            latency_ms, code, int(verdict.reason), text, body,
        )  # fmt: skip
        lane.settle(job, outcome)

    def _delivered(
        self, lane: Lane, job: Job, answer: Answer, latency_ms: int, now_ms: int
    ) -> None:
        outcome = _outcome((
            job.message.id, lane.sub_id, DELIVERED, job.delivery.attempts + 1, now_ms, 0,
            latency_ms, answer.code, REASON_NONE, "", answer.body[: self._kept_bytes],
        ))  # fmt: skip
        lane.settle(job, outcome)

    async def _begin_with_care(self, flight: Flight) -> None:
        """What the usual way leaves out: a payload in the database, a token, a batch."""
        lane = flight.lane
        try:
            bodies = await self._bodies(flight)
            if not flight.jobs:
                self.turned_back(flight)
                return
            if lane.batch is not None:
                _keep_to_bytes(flight, bodies, lane.batch.bytes_max)
            target = lane.destination.checked_target()
            if target.needs_care:
                await target.make_ready(self._transport, self._clock)
                self._take_allowed_rate(lane, target)
            flight.started_ms = now_ms = self._clock.now_ms()
            head, body = self._request(flight, target, bodies, now_ms)
            kept_bytes = max(self._kept_bytes, target.kept_bytes)
            if lane.batch is not None:
                kept_bytes = self._batch_bytes
            flight.exchange = self._transport.send(
                target.endpoint, head, body, target.timeout_ms, kept_bytes, flight.done
            )
        except TransportError as error:
            self.landed(flight, None, error)
        except InvalidInput as error:  # what is configured does not go together
            self.landed(flight, None, TransportError("address", str(error)))
        except NotifyError as error:
            log.warning("subscription %d: %s; the delivery goes back", lane.sub_id, error)
            self.turned_back(flight, TROUBLE_PAUSE_MS)
        except Exception:
            log.exception("subscription %d: a bug; the delivery goes back", lane.sub_id)
            self.turned_back(flight, TROUBLE_PAUSE_MS)

    async def _bodies(self, flight: Flight) -> dict[int, bytes]:
        """The payloads; jobs of which there is none any more are settled."""
        lane = flight.lane
        records = [job.message for job in flight.jobs]
        bodies = {one.id: one.payload for one in records if one.payload is not None}
        missing = [one.id for one in records if one.payload is None]
        if missing:
            bodies |= await self._storage.payloads(missing)
            now_ms = self._clock.now_ms()
            for job in [job for job in flight.jobs if job.message.id not in bodies]:
                flight.jobs.remove(job)
                outcome = self.without_try(lane, job.delivery, now_ms, Reason.DELETED)
                lane.settle(job, outcome)
        return bodies

    def _request(
        self, flight: Flight, target: Target, bodies: dict[int, bytes], now_ms: int
    ) -> tuple[bytes, bytes]:
        lane, job = flight.lane, flight.jobs[0]
        record, attempt = job.message, job.delivery.attempts + 1
        if lane.batch is None:
            return target.request(
                record, bodies[record.id], lane.sub_id, attempt, now_ms, job.extra
            )
        composed = batches.compose(
            lane.batch.format,
            [(one.delivery, bodies[one.delivery.message.id], one.place) for one in flight.jobs],
        )
        return target.batch_request(
            composed.id, composed.content_type, composed.body, lane.sub_id, attempt, now_ms, b""
        )

    def _take_allowed_rate(self, lane: Lane, target: Target) -> None:
        allowed = target.allowed_rate_per_s
        if allowed and lane.destination.rate is None:
            lane.destination.rate = Rate(
                allowed, burst_of(allowed, None), self._clock.now_ms(), fresh=True
            )

    def _disable(self, lane: Lane) -> None:
        task = asyncio.create_task(self._pause(lane))
        self._disabling.add(task)
        task.add_done_callback(self._disabling.discard)

    async def _pause(self, lane: Lane) -> None:
        subscription = lane.subscription
        if subscription is None or subscription.status is not SubscriptionStatus.NORMAL:
            return
        try:
            await self._storage.set_subscription_status(
                subscription.id,
                SubscriptionStatus.PAUSED,
                "the endpoint answered 410 Gone; resume when it is back",
                self._clock.now_ms(),
                seen=subscription,
            )
            await self._directory.refresh()
        except NotifyError as error:
            # The next delivery's 410 says it again.
            log.warning("subscription %d is gone and not paused: %s", subscription.id, error)


def _keep_to_bytes(flight: Flight, bodies: dict[int, bytes], bytes_max: int) -> None:
    """What is too much for a batch is put back; one goes however large it is."""
    size = 0
    for count, job in enumerate(flight.jobs):
        size += len(bodies[job.message.id])
        if count and size > bytes_max:
            flight.lane.put_first(flight.jobs[count:])
            del flight.jobs[count:]
            return


def _answered(answer: Answer | None, error: TransportError | None) -> Answered | None:
    """What a try says of its endpoint; None: it did not come to it."""
    if answer is None:
        assert error is not None
        if error.stage == "internal":
            return None
        return Answered.STRAINED if error.stage == "timeout" else Answered.FAILED
    if answer.code < 500:
        return Answered.OVERLOADED if answer.code == 429 else Answered.WELL
    return Answered.STRAINED if answer.code == 503 else Answered.FAILED


def _say_breaker(
    name: str, opened: bool, answer: Answer | None, error: TransportError | None
) -> None:
    if not opened:
        log.info("%s is back", name)
        return
    why = f"answered {answer.code}" if answer else f"{error.stage}: {error}" if error else ""
    log.warning("%s fails (%s): one try at a time until it is back", name, why)
