"""One try: what is sent, what is not tried at all, what is recorded."""

import logging
from typing import Any

import pytest
from msgspec.structs import replace

from notify.domain.errors import TransportError
from notify.domain.model import DeliveryStatus, Reason, Subscription, SubscriptionStatus
from notify.domain.ports import Answer
from notify.domain.retry import Retry
from notify.sender.attempt import Attempts
from notify_core import ids
from notify_core.records import DeliveryRecord, OutcomeRecord
from tests.services.rig import OK, Rig
from tests.simulation.loop import START_MS


class AttemptRig(Rig):
    """One stored message for subscription 1."""

    def __init__(self, **flags: Any) -> None:
        super().__init__(**flags)
        self.attempts = Attempts(
            self.storage,
            self.consumers,
            self.directory,
            self.clock,
            self.random,
            self.config.sender,
            self.config.queue,
        )

    async def ready(self, **fields: Any) -> DeliveryRecord:
        await self.open()
        return DeliveryRecord(0, self.records(await self.store(1, **fields))[0])

    @property
    def subscription(self) -> Subscription:
        return self.directory.live_subscriptions[1]

    async def attempt(self, delivery: DeliveryRecord) -> OutcomeRecord:
        return (await self.attempts.attempt(self.subscription, delivery)).outcome


def test_a_delivered_try_is_recorded_with_code_latency_and_answer(simulate: Any) -> None:
    async def work() -> None:
        r = AttemptRig()
        delivery = await r.ready()
        r.consumers.behaviour = lambda _: (0.25, Answer(202, b"thanks", ""))
        made = await r.attempt(delivery._replace(attempts=4))
        assert made == OutcomeRecord(
            delivery.message.id, 1, 2, 5, START_MS + 250, 0, 250, 202, 0, "", b"thanks"
        )
        [request] = r.consumers.requests
        assert (request.attempt, request.body, request.timeout_ms) == (5, b'{"n": 0}', 5000)

    simulate(work())


def test_a_failed_try_says_what_was_answered_and_when_the_next_one_is(simulate: Any) -> None:
    async def work() -> None:
        r = AttemptRig(**{"sender.retry_jitter": 0.0})
        delivery = await r.ready()
        r.consumers.behaviour = lambda _: (0.0, Answer(500, b"oops", ""))
        made = await r.attempt(delivery)
        assert (made.status, made.code, made.error, made.response) == (
            1,
            500,
            "answered 500",
            b"oops",
        )
        assert (made.attempts, made.due_ms) == (1, START_MS + 5000)

    simulate(work())


def test_a_try_without_an_answer_is_recorded_with_its_stage(simulate: Any) -> None:
    async def work() -> None:
        r = AttemptRig()
        delivery = await r.ready()
        r.consumers.behaviour = lambda _: (0.0, TransportError("tls", "bad certificate " * 100))
        made = await r.attempt(delivery)
        assert (made.status, made.code, made.attempts) == (1, 0, 1)
        assert made.error.startswith("tls: bad certificate")
        assert len(made.error) == 500

    simulate(work())


def test_a_payload_that_did_not_travel_is_read(simulate: Any) -> None:
    async def work() -> None:
        r = AttemptRig()
        large = "x" * 200
        delivery = await r.ready(payload=large)
        assert delivery.message.payload is None
        made = await r.attempt(delivery)
        assert made.status == DeliveryStatus.DELIVERED
        assert r.consumers.requests[0].body == f'"{large}"'.encode()

    simulate(work())


def test_a_payload_that_is_gone_drops_the_delivery_without_a_try(simulate: Any) -> None:
    async def work() -> None:
        r = AttemptRig()
        delivery = await r.ready()
        gone = delivery.message._replace(id=ids.id_floor(START_MS), payload=None)
        made = await r.attempt(DeliveryRecord(2, gone))
        assert (made.status, made.reason, made.attempts) == (3, Reason.DELETED, 2)
        assert (made.code, made.error) == (0, "")
        assert not r.consumers.requests

    simulate(work())


@pytest.mark.parametrize(
    ("change", "expires_ms", "reason"),
    [
        ("none", 0, None),
        ("none", START_MS + 1, None),
        ("none", START_MS, Reason.EXPIRED),
        ("paused", 0, None),
        ("discarded", 0, Reason.DISCARDED),
        ("discarded", START_MS, Reason.DISCARDED),
        ("deleted", 0, Reason.DELETED),
    ],
)
def test_what_is_not_to_be_tried_is_dropped_with_its_reason(
    simulate: Any, change: str, expires_ms: int, reason: Reason | None
) -> None:
    async def work() -> None:
        r = AttemptRig()
        delivery = await r.ready()
        delivery = DeliveryRecord(3, delivery.message._replace(expires_ms=expires_ms))
        if change == "deleted":
            await r.delete(1)
        elif change != "none":
            await r.set_status(1, SubscriptionStatus(change))
        made = r.attempts.without_try(1, delivery)
        if reason is None:
            assert made is None
        else:
            assert made is not None
            assert (made.status, made.reason) == (DeliveryStatus.DROPPED, reason)
            assert (made.attempts, made.code, made.error) == (3, 0, "")

    simulate(work())


def test_gone_drops_the_delivery_and_pauses_the_subscription_with_a_reason(simulate: Any) -> None:
    async def work() -> None:
        r = AttemptRig()
        delivery = await r.ready()
        r.consumers.behaviour = lambda _: (0.0, Answer(410, b"", ""))
        before = r.subscription
        made = await r.attempt(delivery)
        assert (made.status, made.reason, made.code) == (3, Reason.REFUSED, 410)
        assert r.subscription.status is SubscriptionStatus.PAUSED
        assert "410 Gone" in r.subscription.status_reason
        # Said by a second try that was under way: nothing changes any more.
        version = r.directory.version
        await r.set_status(1, SubscriptionStatus.DISCARDED)
        await r.attempts.attempt(r.subscription, delivery)
        assert r.subscription.status is SubscriptionStatus.DISCARDED
        assert r.directory.version > version
        assert before.status is SubscriptionStatus.NORMAL

    simulate(work())


@pytest.mark.parametrize(
    ("codes", "code", "reason"),
    [
        ((404,), 404, Reason.REFUSED),
        ((404,), 410, Reason.NONE),
        (("4xx",), 451, Reason.REFUSED),
        (("4xx",), 429, Reason.NONE),
    ],
)
def test_what_is_permanent_is_up_to_the_subscription_and_pauses_nothing(
    simulate: Any, codes: tuple[int | str, ...], code: int, reason: Reason
) -> None:
    async def work() -> None:
        r = AttemptRig()
        delivery = await r.ready()
        chosen = replace(r.subscription, permanent_codes=codes)
        r.consumers.behaviour = lambda _: (0.0, Answer(code, b"", ""))
        made = (await r.attempts.attempt(chosen, delivery)).outcome
        assert (made.status, made.reason) == (3 if reason else 1, reason)
        assert r.subscription.status is SubscriptionStatus.NORMAL

    simulate(work())


def test_the_total_time_begins_with_the_acceptance_or_deliver_at(simulate: Any) -> None:
    async def work() -> None:
        r = AttemptRig()
        delivery = await r.ready()
        hasty = Retry(schedule_ms=(60_000,), jitter=0, total_ms=59_999)
        chosen = replace(r.subscription, retry=hasty)
        r.consumers.behaviour = lambda _: (0.0, Answer(500, b"", ""))
        made = (await r.attempts.attempt(chosen, delivery)).outcome
        assert (made.status, made.reason) == (3, Reason.EXHAUSTED)
        later = delivery.message._replace(deliver_ms=START_MS + 1)
        made = (await r.attempts.attempt(chosen, DeliveryRecord(0, later))).outcome
        assert (made.status, made.due_ms) == (DeliveryStatus.PENDING, START_MS + 60_000)

    simulate(work())


def test_a_bug_in_a_try_is_a_recorded_failed_attempt(
    simulate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        r = AttemptRig()
        delivery = await r.ready()
        r.consumers.behaviour = lambda _: (0.0, ZeroDivisionError("a bug"))
        made = await r.attempt(delivery)
        assert (made.status, made.code, made.attempts) == (1, 0, 1)
        assert made.error.startswith("internal: ")
        r.consumers.behaviour = lambda _: (0.0, OK)
        assert (await r.attempt(delivery)).status == DeliveryStatus.DELIVERED

    simulate(work())
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info


def test_a_url_that_cannot_be_used_is_a_failed_attempt(simulate: Any) -> None:
    async def work() -> None:
        r = AttemptRig()
        delivery = await r.ready()
        known = r.directory.current.consumers[1]
        fields = {name: getattr(known, name) for name in known.__struct_fields__}
        await r.storage.update_consumer(type(known)(**fields | {"url": "http://0x7f.1/"}))
        await r.directory.refresh()
        made = await r.attempt(delivery)
        assert (made.status, made.code) == (1, 0)
        assert made.error.startswith("address: ")

    simulate(work())
