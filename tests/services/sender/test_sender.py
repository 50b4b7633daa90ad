"""The Sender at work: takes, delivers, hands back, takes over; nothing is lost or shut out."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Self

import pytest

from notify.domain.errors import StorageUnavailable
from notify.domain.model import DeliveryStatus, Reason, SubscriptionStatus
from notify.domain.ports import Answer, Push
from notify.domain.retry import Retry
from notify.runtime.steps import Stopping
from notify.sender import Sender
from notify_core import chunk
from notify_core.records import DELIVERED, OutcomeRecord
from tests.services.rig import OK, Request, Rig, counts, sub


async def until(holds: Callable[[], Awaitable[bool]], timeout_s: float = 60) -> None:
    """Let simulated time pass until something holds."""
    async with asyncio.timeout(timeout_s):
        while not await holds():  # noqa: ASYNC110 - simulated time, it costs nothing
            await asyncio.sleep(0.01)


class Running:
    """A Sender that runs while the block does, and then drains."""

    def __init__(self, r: Rig, sender: Sender | None = None) -> None:
        self.sender = sender or r.sender()
        self.stopping = Stopping(r.clock)

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.sender.run(self.stopping))
        return self

    async def __aexit__(self, *error: object) -> None:
        self.stopping.set()
        await self.task

    async def kill(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def test_everything_queued_is_delivered_once_and_then_gone_from_the_queue(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open(3)
        made = await r.queued(20)
        async with Running(r) as running:
            await until(lambda: _empty(r, 1, 2, 3))
            assert running.sender.attempts_made == 60
        for sub_id in (1, 2, 3):
            assert sorted(r.consumers.got(sub_id)) == made
        await r.mark()
        assert counts(await r.account()) == (20, 0, 0, 0)

    simulate(work())


async def _empty(r: Rig, *sub_ids: int) -> bool:
    return not any([await r.depth(sub_id) for sub_id in sub_ids])


def test_a_subscriptions_own_concurrency_holds(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open(0)
        await r.subscribe(concurrency_max=1)
        await r.subscribe()
        most: Counter[int] = Counter()
        under_way: Counter[int] = Counter()

        def behaviour(request: Request) -> tuple[float, Answer]:
            under_way[request.sub_id] += 1
            most[request.sub_id] = max(most[request.sub_id], under_way[request.sub_id])
            loop = asyncio.get_running_loop()
            loop.call_later(0.5, lambda: under_way.subtract([request.sub_id]))
            return 0.6, OK

        r.consumers.behaviour = behaviour
        made = await r.queued(12)
        async with Running(r):
            await until(lambda: _empty(r, 1, 2))
        assert most == {1: 1, 2: r.config.sender.concurrency_max}
        assert r.consumers.got(1) == made  # one at a time: in their order

    simulate(work())


def test_hanging_consumers_do_not_slow_down_another(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(
            **{
                "sender.in_flight_max": 16,
                "sender.concurrency_max": 16,
                "queue.depth_max": 200,
            }
        )
        await r.open(5)
        r.consumers.behaviour = lambda request: (0.01 if request.sub_id == 5 else 999.0, OK)
        async with Running(r, r.sender(drain_ms=10)) as running:
            await r.queued(40)
            begun = asyncio.get_running_loop().time()
            await until(lambda: _empty(r, 5))
            assert asyncio.get_running_loop().time() - begun < 2
            assert len(r.consumers.got(5)) == 40
            assert running.sender.in_flight <= 16
            assert min(len(r.consumers.got(n)) for n in (1, 2, 3, 4)) > 0

    simulate(work())


def test_a_pause_hands_back_what_was_not_begun(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        made = await r.queued(20)
        r.consumers.behaviour = lambda _: (1.0, OK)
        async with Running(r):
            await until(lambda: _true(r.consumers.hanging == 3))
            await r.set_status(1, SubscriptionStatus.PAUSED)
            await asyncio.sleep(5)
            assert len(r.consumers.got()) == 3  # what was under way came to its end
            assert await r.depth() == 17
            await r.set_status(1, SubscriptionStatus.NORMAL)
            await until(lambda: _empty(r, 1))
        assert sorted(r.consumers.got()) == made

    simulate(work())


async def _true(holds: bool) -> bool:
    return holds


@pytest.mark.parametrize(
    ("status", "reason"),
    [(SubscriptionStatus.DISCARDED, Reason.DISCARDED), (None, Reason.DELETED)],
)
def test_discarded_and_deleted_subscriptions_are_emptied_without_a_try(
    simulate: Any, status: SubscriptionStatus | None, reason: Reason
) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        made = await r.queued(10)
        if status:
            await r.set_status(1, status)
        else:
            await r.delete(1)
        async with Running(r):
            await until(lambda: _empty(r, 1))
        await r.mark()
        assert not r.consumers.requests
        assert counts(await r.account()) == (0, 10, 0, 0)
        assert (await r.delivery(made[0])).reason is reason

    simulate(work())


def test_retries_come_when_they_are_due_until_the_policy_gives_up(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open(0)
        await r.subscribe(retry=Retry(schedule_ms=(1000, 3000), jitter=0))
        [id_] = await r.queued(1)
        r.consumers.behaviour = lambda _: (0.0, Answer(500, b"", ""))
        async with Running(r):
            await asyncio.sleep(10)
        times = [request.at_s for request in r.consumers.requests]
        assert times == pytest.approx([0, 1, 4], abs=0.05)
        assert [request.attempt for request in r.consumers.requests] == [1, 2, 3]
        await r.mark()
        delivery = await r.delivery(id_)
        assert (delivery.status, delivery.reason) == (DeliveryStatus.DROPPED, Reason.EXHAUSTED)
        assert len(await r.storage.attempts(id_)) == 3

    simulate(work())


def test_a_clock_that_is_set_back_stops_no_look_at_all_queues(simulate: Any) -> None:
    """For what nobody was woken for: its pusher died in between."""

    async def work() -> None:
        r = Rig()
        await r.open(1)

        async def wait_deaf(_: object, __: str, timeout_s: float) -> tuple[()]:
            await r.clock.sleep(timeout_s)
            return ()

        r.queue.wait = wait_deaf  # type: ignore[method-assign]
        r.clock.ahead_ms = 3_600_000
        async with Running(r):
            await asyncio.sleep(5)
            r.clock.ahead_ms = 0
            await asyncio.sleep(5)
            made = await r.queued(1)
            await asyncio.sleep(5)
            assert r.consumers.got() == made

    simulate(work())


def test_stopping_finishes_what_is_under_way_and_hands_back_the_rest(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        made = await r.queued(8)
        r.consumers.behaviour = lambda _: (2.0, OK)
        async with Running(r):
            await until(lambda: _true(r.consumers.hanging == 3))
        assert r.consumers.got() == made[:3]
        await r.mark()
        assert counts(await r.account()) == (3, 0, 5, 0)
        # Handed back, not merely let go: another one gets it without waiting for a lease.
        claims = await r.queue.claim([sub(1)], "other", 99)
        left = [d.message.id for claim in claims for d in chunk.unpack_deliveries(claim.chunk)[1]]
        assert sorted(left) == made[3:]

    simulate(work())


def test_stopping_while_a_retry_is_handed_on_does_not_double_it(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open(1)
        ack, acks = r.queue.ack, []

        async def ack_slowly(*args: Any) -> None:
            await ack(*args)  # it is done, and the answer is on its way
            acks.append(args)
            await asyncio.sleep(0.2)

        r.queue.ack = ack_slowly  # type: ignore[method-assign]
        [message] = await r.queued(1)
        acks.clear()
        r.consumers.behaviour = lambda _: (0.0, Answer(500, b"", ""))
        async with Running(r):
            await until(lambda: _true(bool(acks)))
        await r.queue.promote([sub(1)], r.clock.now_ms() + 60_000)
        claims = await r.queue.claim([sub(1)], "other", 99)
        left = [d.message.id for claim in claims for d in chunk.unpack_deliveries(claim.chunk)[1]]
        assert left == [message]

    simulate(work())


def test_what_does_not_end_in_time_is_cut_off_and_handed_back(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(**{"sender.in_flight_max": 4})
        await r.open()
        made = await r.queued(8)
        r.consumers.behaviour = lambda _: (4.0, OK)
        loop = asyncio.get_running_loop()
        async with Running(r, r.sender(drain_ms=1000)) as running:
            await until(lambda: _true(r.consumers.hanging == 2))  # a third waits for its place
            stopped = loop.time()
        assert loop.time() - stopped < 1.1
        assert running.sender.in_flight == r.consumers.hanging == 0
        claims = await r.queue.claim([sub(1)], "other", 99)
        left = [d.message.id for claim in claims for d in chunk.unpack_deliveries(claim.chunk)[1]]
        assert sorted(left) == made

    simulate(work())


def test_a_killed_senders_chunks_are_taken_over_without_what_is_finished(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        first, *rest = made = await r.queued(4)  # one chunk
        await r.queue.claim([sub(1)], "killed", 1)
        # Of its chunk the killed Sender had one delivered and marked.
        marked = OutcomeRecord(first, 1, DELIVERED, 1, r.clock.now_ms(), 0, 5, 200, 0, "", b"")
        await r.storage.mark([chunk.pack_outcomes([marked])])
        await r.queue.share("sender", "killed", r.config.sender.share_ms, {1})
        async with Running(r):
            await asyncio.sleep(r.config.sender.share_ms / 2000)
            assert not r.consumers.requests  # its lease still runs
            await until(lambda: _empty(r, 1))
        assert sorted(r.consumers.got()) == rest
        await r.mark()
        assert counts(await r.account()) == (len(made), 0, 0, 0)

    simulate(work())


def test_chunks_of_a_slow_consumer_are_kept_as_long_as_they_take(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(**{"sender.concurrency_max": 1})
        await r.open(0)
        await r.subscribe(timeout_ms=20_000)
        made = await r.queued(3)
        r.consumers.behaviour = lambda _: (4.0, OK)  # longer than the lease
        async with Running(r, r.sender("one")), Running(r, r.sender("two")):
            await until(lambda: _empty(r, 1))
        assert r.consumers.got() == made

    simulate(work())


def test_leases_are_kept_while_draining_takes_longer_than_one(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open(0)
        await r.subscribe(timeout_ms=20_000)
        made = await r.queued(3)
        r.consumers.behaviour = lambda _: (3 * r.config.queue.lease_ms / 1000, OK)
        async with Running(r, r.sender("draining", drain_ms=20_000)) as draining:
            await until(lambda: _true(r.consumers.hanging == 3))
            async with Running(r, r.sender("other")):
                draining.stopping.set()
                await until(lambda: _empty(r, 1))
        assert sorted(r.consumers.got()) == made, "taken over from a Sender that lived"

    simulate(work())


def test_two_senders_on_one_queue_deliver_everything_once(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(**{"queue.depth_max": 200})
        await r.open(8)
        everyone = range(1, 9)
        r.consumers.behaviour = lambda request: (0.05 * (request.message_id % 3), OK)
        made = await r.queued(60)
        async with Running(r, r.sender("one")) as one, Running(r, r.sender("two")) as two:
            await until(lambda: _empty(r, *everyone))
        for sub_id in everyone:
            assert sorted(r.consumers.got(sub_id)) == made
        assert one.sender.attempts_made > 10
        assert two.sender.attempts_made > 10

    simulate(work())


def test_a_killed_sender_among_two_loses_nothing(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(**{"queue.depth_max": 200})
        await r.open()
        r.consumers.behaviour = lambda _: (0.5, OK)
        made = await r.queued(60)
        async with Running(r, r.sender("one")):
            killed = Running(r, r.sender("two"))
            await killed.__aenter__()
            await asyncio.sleep(1.2)
            await killed.kill()
            await until(lambda: _empty(r, 1))
        twice = [id_ for id_, n in Counter(r.consumers.got()).items() if n > 1]
        assert sorted(set(r.consumers.got())) == made
        assert len(twice) <= r.config.sender.concurrency_max + r.config.queue.chunk_rows_max

    simulate(work())


def test_a_damaged_chunk_is_left_to_the_rescuer(
    simulate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        await r.queue.push([Push(sub(1), b"\xc1 not a chunk", 5)])
        made = await r.queued(2)
        async with Running(r):
            await until(lambda: _empty(r, 1))
        assert r.consumers.got() == made

    simulate(work())
    assert "left to the Rescuer" in caplog.text


class Broken:
    """Storage whose payloads cannot be read for a while."""

    def __init__(self, r: Rig, error: Exception) -> None:
        self.error: Exception | None = error
        self._payloads = r.storage.payloads
        r.storage.payloads = self.payloads  # type: ignore[method-assign]

    async def payloads(self, message_ids: Any) -> dict[int, bytes]:
        if self.error:
            raise self.error
        return await self._payloads(message_ids)


@pytest.mark.parametrize("error", [StorageUnavailable("away"), ZeroDivisionError("a bug")])
def test_trouble_before_the_try_hands_the_delivery_back_and_stops_no_other(
    simulate: Any, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    async def work() -> None:
        r = Rig(**{"sender.concurrency_max": 1})
        await r.open()
        broken = Broken(r, error)
        [large] = await r.queued(1, payload="x" * 100)
        small = await r.queued(3)
        async with Running(r) as running:
            await until(lambda: _true(r.consumers.got() == small))
            assert running.sender.attempts_made < 100  # it pauses between
            broken.error = None
            await until(lambda: _empty(r, 1))
        assert r.consumers.got() == [*small, large]
        assert r.consumers.requests[-1].attempt == 1

    simulate(work())
    levels = {record.levelno for record in caplog.records}
    expected = logging.WARNING if isinstance(error, StorageUnavailable) else logging.ERROR
    assert levels == {expected}


def test_a_lost_queue_ends_what_was_not_begun_and_work_goes_on(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        await r.queued(12)
        r.consumers.behaviour = lambda _: (1.0, OK)
        async with Running(r):
            await until(lambda: _true(r.consumers.hanging == 3))
            r.queue.flush()
            await asyncio.sleep(3)
            assert len(r.consumers.got()) <= 12
            await r.queue.begin_epoch("2-2")
            before = len(r.consumers.got())
            made = await r.queued(4)
            await until(lambda: _empty(r, 1))
        assert sorted(r.consumers.got()[before:])[-4:] == made
        await r.mark()
        account = await r.account()
        assert account.delivered == len(set(r.consumers.got()))

    simulate(work())


def test_a_loss_that_a_lane_is_told_of_holds_for_all_lanes(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(**{"queue.chunk_rows_max": 10, "rescuer.feed_rows_max": 10})
        await r.open(2)
        made = await r.queued(8)
        r.consumers.behaviour = lambda one: (4.0 if one.sub_id == 1 else 0.3, OK)
        async with Running(r):
            await until(lambda: _true(r.consumers.hanging == 6))
            await asyncio.sleep(0.65)
            r.queue.flush()
            await r.queue.begin_epoch(f"{r.clock.now_ms()}-2")
            # The second lane asks for more before the Sender's next look at all queues.
            await until(lambda: _true(len(r.consumers.got(2)) == 8 and r.consumers.hanging == 3))
            await asyncio.sleep(0.01)
            await r.rescuer().step()
            await until(lambda: _empty(r, 1, 2))
        counted = Counter(r.consumers.got(1))
        assert sorted(counted) == made
        assert sum(counted.values()) <= len(made) + 3, "what was not under way came twice"

    simulate(work())


def test_a_pause_is_seen_by_who_waited_for_a_place(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(**{"sender.in_flight_max": 2, "sender.concurrency_max": 3})
        await r.open()
        await r.queued(6)
        r.consumers.behaviour = lambda _: (1.0, OK)
        async with Running(r):
            await until(lambda: _true(r.consumers.hanging == 1))
            await r.set_status(1, SubscriptionStatus.PAUSED)
            await asyncio.sleep(5)
            assert len(r.consumers.got()) == 1
            assert await r.depth() == 5

    simulate(work())
