"""An endpoint that asks to be left alone is, all of it; and nothing is repeated that was tried."""

import asyncio
from typing import Any

import pytest

from notify.domain.errors import QueueUnavailable
from notify.domain.model import DeliveryStatus, SubscriptionStatus
from notify.domain.ports import Answer, Share
from notify.domain.retry import Retry
from tests.services.rig import OK, Request, Rig, counts
from tests.services.sender.test_sender import Running, until


async def delivered(r: Rig, n: int) -> bool:
    await r.mark()
    return (await r.account()).delivered == n


def test_after_a_retry_after_a_subscription_is_quiet_and_begins_slowly(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(**{"sender.concurrency_max": 8, "queue.depth_max": 1000})
        await r.open(0)
        for _ in range(2):
            await r.subscribe(retry=Retry(schedule_ms=(1000,) * 9, jitter=0))
        started_s = asyncio.get_running_loop().time()
        under_way = {"now": 0, "first": 0}

        def behaviour(request: Request) -> tuple[float, Answer]:
            if request.sub_id == 2:
                return 0.0, OK
            if request.at_s - started_s < 3:
                return 0.01, Answer(429, b"", "3")
            under_way["first"] = under_way["first"] or r.consumers.hanging + 1
            return 0.01, OK

        r.consumers.behaviour = behaviour
        await r.queued(60)
        async with Running(r):
            await until(lambda: delivered_by(r, 2, 60))
            assert asyncio.get_running_loop().time() - started_s < 1, "others are not slowed"
            await until(lambda: delivered_by(r, 1, 60))
        early = [q for q in r.consumers.requests if q.sub_id == 1 and q.at_s - started_s < 2.9]
        assert len(early) <= 8, "only what was under way at the first answer"
        assert under_way["first"] == 1, "one at a time at first"
        assert counts(await r.account(1)) == (60, 0, 0, 0)

    simulate(work())


async def delivered_by(r: Rig, sub_id: int, n: int) -> bool:
    await r.mark()
    return (await r.account(sub_id)).delivered == n


def test_a_takeover_leaves_out_what_was_tried_since(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(**{"queue.chunk_rows_max": 2})
        await r.open(0)
        await r.subscribe(retry=Retry(schedule_ms=(4000, 4000, 4000), jitter=0))
        first, second = await r.queued(2)

        def behaviour(request: Request) -> tuple[float, Answer]:
            if request.message_id == first:
                return 0.0, Answer(503, b"", "") if request.attempt == 1 else OK
            return (3600.0, OK) if r.clock.now_ms() < died_ms else (0.0, OK)

        died_ms = r.clock.now_ms() + 500
        r.consumers.behaviour = behaviour
        running = Running(r, r.sender("dies"))
        await running.__aenter__()
        await asyncio.sleep(0.4)
        await running.kill()
        await r.mark()
        async with Running(r, r.sender("takes over")):
            await until(lambda: delivered(r, 2))
        attempts = [q.attempt for q in r.consumers.requests if q.message_id == first]
        assert attempts == [1, 2], "its one retry, no second chain"
        assert r.consumers.got().count(second) == 2

    simulate(work())


def test_a_queue_that_was_lost_and_rebuilt_unseen_repeats_only_what_was_under_way(
    simulate: Any,
) -> None:
    async def work() -> None:
        r = Rig(**{"sender.concurrency_max": 1, "queue.chunk_rows_max": 100})
        await r.open()
        r.consumers.behaviour = lambda _: (0.2, OK)
        made = await r.queued(15)
        rescuer = r.rescuer()
        async with Running(r):
            await asyncio.sleep(0.5)  # the third is under way, twelve wait here
            r.queue.flush()
            await r.clock.sleep(0.01)
            await rescuer.step()  # at once, before anybody asked the queue for anything
            await until(lambda: _delivered_with(r, rescuer, 15))
        repeated = [id_ for id_ in made if r.consumers.got().count(id_) > 1]
        assert len(repeated) <= 3
        assert set(r.consumers.got()) == set(made)

    simulate(work())


def test_a_lost_queue_is_noticed_whichever_subscription_asks_first(simulate: Any) -> None:
    """A worker is told once: what any of its lanes hears concerns them all."""

    async def work() -> None:
        r = Rig(**{"sender.concurrency_max": 1, "queue.chunk_rows_max": 100})
        await r.open(2)
        r.consumers.behaviour = lambda q: (0.1 if q.sub_id == 1 else 0.4, OK)
        await r.queued(5)
        async with Running(r):
            await asyncio.sleep(0.35)  # the fourth of the first, the first of the other
            r.queue.flush()
            await r.queue.begin_epoch("2-2")
            await asyncio.sleep(5)
        assert len(r.consumers.got(1)) == 5
        assert len(r.consumers.got(2)) == 2, "the rest is rebuilt from the database"

    simulate(work())


def test_a_sender_that_stood_still_begins_nothing_of_what_it_held(
    simulate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        r = Rig(**{"sender.concurrency_max": 1, "queue.chunk_rows_max": 100})
        await r.open()
        first, *others = await r.queued(5)
        lease_s = r.config.sender.share_ms / 1000
        share = r.queue.share
        begun_ms = r.clock.now_ms()

        async def stand_still(group: str, member: str, *wanted: Any) -> Share:
            if member == "still" and r.clock.now_ms() > begun_ms:
                raise QueueUnavailable("as far away as if it were stopped")
            return await share(group, member, *wanted)

        monkeypatch.setattr(r.queue, "share", stand_still)
        tries = iter((1.5 * lease_s,))
        r.consumers.behaviour = lambda _: (next(tries, 0.1), OK)
        async with Running(r, r.sender("still")):
            await asyncio.sleep(0.1)
            async with Running(r, r.sender("takes over")):
                await asyncio.sleep(3 * lease_s)
        assert r.consumers.got().count(first) == 2
        assert [id_ for id_ in r.consumers.got() if id_ != first] == others

    simulate(work())


async def _delivered_with(r: Rig, rescuer: Any, n: int) -> bool:
    await rescuer.step()
    return await delivered(r, n)


def test_a_late_410_does_not_undo_what_an_operator_did(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        r.consumers.behaviour = lambda _: (1.0, Answer(410, b"", ""))
        await r.queued(1)
        async with Running(r):
            await asyncio.sleep(0.5)
            await r.set_status(1, SubscriptionStatus.DISCARDED)
            await asyncio.sleep(1)
        subscription = (await r.storage.directory()).subscriptions[1]
        assert subscription.status is SubscriptionStatus.DISCARDED
        await r.mark()
        assert (await r.account()).dropped == 1

    simulate(work())


def test_a_clock_set_back_during_a_try_holds_up_nothing(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        [message_id] = await r.queued(1)
        real = r.clock.now_ms

        def set_back(request: Request) -> tuple[float, Answer]:
            r.clock.now_ms = lambda: real() - 60_000  # type: ignore[method-assign]
            return 0.0, Answer(500, b"", "")

        r.consumers.behaviour = set_back
        async with Running(r):
            await asyncio.sleep(1)
        await r.mark()
        [attempt] = await r.storage.attempts(message_id)
        assert attempt.latency_ms == 0
        assert (await r.delivery(message_id)).status is DeliveryStatus.QUEUED

    simulate(work())


def test_a_probe_that_is_told_to_come_later_is_heeded(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(**{"queue.depth_max": 1000})
        await r.open()
        r.consumers.behaviour = lambda _: (0.0, Answer(503, b"", ""))
        await r.queued(50)
        async with Running(r, r.sender(drain_ms=10)):
            await until(lambda: begun(r, 11))  # ten opened the breaker, the next one is a probe
            r.consumers.behaviour = lambda _: (0.0, Answer(503, b"", "300"))
            await until(lambda: begun(r, 12))
            await asyncio.sleep(299)
            assert len(r.consumers.requests) == 12
            await until(lambda: begun(r, 13))

    simulate(work())


async def begun(r: Rig, n: int) -> bool:
    return len(r.consumers.requests) >= n
