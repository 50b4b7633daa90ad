"""Pending deliveries into their queues: in order, within the room there is."""

from typing import Any

from notify.domain.model import DeliveryStatus, Reason, SubscriptionStatus
from notify.rescuer.feeder import Feeder
from notify.runtime.directory import DirectoryCache
from notify_core import chunk
from notify_core.records import DROPPED, PENDING, OutcomeRecord
from tests.services.rig import Rig, counts, sub


class FeedRig(Rig):
    """depth_max 20, 7 rows a round, chunks of 4: as tests.simulation.world.small_config."""

    async def held(self, n: int, sub_id: int = 1, **fields: Any) -> list[int]:
        """N messages that wait in the database because of a pause that is over."""
        await self.set_status(sub_id, SubscriptionStatus.PAUSED)
        made = await self.queued(n, **fields)
        await self.set_status(sub_id, SubscriptionStatus.NORMAL)
        return made

    leads = True

    async def keep_lease(self) -> bool:
        return self.leads

    async def feed(self) -> int:
        feeder = Feeder(
            self.storage,
            self.queue,
            self.directory,
            self.clock,
            self.config.rescuer,
            self.config.queue,
            self.keep_lease,
        )
        return await feeder.feed(await self.storage.ledger())

    async def take(self, sub_id: int = 1) -> list[int]:
        """Empty the queue; the ids that were in it, in order."""
        claims = await self.queue.claim([sub(sub_id)], "reader", 100)
        await self.queue.ack(claims)
        return [d.message.id for c in claims for d in chunk.unpack_deliveries(c.chunk)[1]]


def test_who_lost_the_lease_pushes_nothing_more(simulate: Any) -> None:
    """Stopped between status and push: whoever leads now may have put them back meanwhile."""

    async def work() -> None:
        r = FeedRig()
        await r.open()
        await r.held(3)
        r.leads = False
        await r.feed()
        assert await r.take() == []
        assert counts(await r.account(1)) == (0, 0, 3, 0)  # queued: the sweep finds them

    simulate(work())


def test_the_oldest_come_first_as_many_as_there_is_room_for(simulate: Any) -> None:
    async def work() -> None:
        r = FeedRig()
        await r.open()
        made = await r.held(30)
        assert [await r.feed() for _ in range(4)] == [7, 7, 0, 0]  # 14 are more than half of 20
        assert await r.take() == made[:14]
        assert counts(await r.account()) == (0, 0, 14, 16)
        assert [await r.feed(), await r.feed()] == [7, 7]
        assert await r.take() == made[14:28]
        assert await r.feed() == 2
        assert await r.take() == made[28:]

    simulate(work())


def test_room_bounds_a_round_too(simulate: Any) -> None:
    async def work() -> None:
        r = FeedRig(**{"rescuer.feed_rows_max": 1000})
        await r.open()
        await r.queued(9)
        await r.held(30)
        assert await r.feed() == 11
        assert await r.depth() == 20

    simulate(work())


def test_chunks_are_bounded_in_rows_and_bytes(simulate: Any) -> None:
    async def work() -> None:
        r = FeedRig(**{"queue.chunk_bytes_max": 100, "queue.inline_bytes_max": 60})
        await r.open()
        await r.held(5, payload="x" * 40)
        await r.held(2, payload="x" * 80)
        await r.feed()
        claims = await r.queue.claim([sub(1)], "reader", 100)
        assert [claim.items for claim in claims] == [2, 2, 3]
        payloads = [d.message.payload for d in chunk.unpack_deliveries(claims[2].chunk)[1]]
        assert [len(p or b"") for p in payloads] == [42, 0, 0]  # the large ones stay behind

    simulate(work())


def test_new_messages_line_up_behind_the_waiting_ones(simulate: Any) -> None:
    async def work() -> None:
        r = FeedRig()
        await r.open()
        await r.set_status(1, SubscriptionStatus.PAUSED)
        made = await r.queued(9)
        assert await r.feed() == 0
        assert (await r.gauge(sub(1))).spilling  # so that it holds from the resume on
        await r.set_status(1, SubscriptionStatus.NORMAL)
        made += await r.queued(2)
        assert await r.depth() == 0
        assert await r.feed() == 7
        assert (await r.gauge(sub(1))).spilling
        made += await r.queued(2)
        assert await r.take() == made[:7]
        assert await r.feed() == 6
        assert not (await r.gauge(sub(1))).spilling
        made += await r.queued(1)
        assert await r.take() == made[7:]

    simulate(work())


def test_what_is_not_due_stays_and_what_is_due_keeps_its_attempts(simulate: Any) -> None:
    async def work() -> None:
        r = FeedRig()
        await r.open()
        first, second = await r.queued(2)
        await r.take()
        now = r.clock.now_ms()
        far = [
            OutcomeRecord(id_, 1, PENDING, 3, now, now + wait, 5, 500, 0, "answered 500", b"")
            for id_, wait in ((first, 60_000), (second, 10_000))
        ]
        await r.storage.mark([chunk.pack_outcomes(far)])
        assert await r.feed() == 0
        await r.clock.sleep(10)
        assert await r.feed() == 1
        [claim] = await r.queue.claim([sub(1)], "reader", 9)
        [delivery] = chunk.unpack_deliveries(claim.chunk)[1]
        assert (delivery.message.id, delivery.attempts) == (second, 3)
        assert (await r.delivery(first)).status is DeliveryStatus.PENDING

    simulate(work())


def test_discarded_and_deleted_subscriptions_drop_what_waits(simulate: Any) -> None:
    async def work() -> None:
        r = FeedRig()
        await r.open(2)
        for sub_id in (1, 2):
            await r.set_status(sub_id, SubscriptionStatus.PAUSED)
        [id_, *_] = await r.queued(10)
        await r.set_status(1, SubscriptionStatus.DISCARDED)
        await r.delete(2)
        assert await r.feed() == 20
        assert await r.feed() == 0
        for sub_id, reason in ((1, Reason.DISCARDED), (2, Reason.DELETED)):
            assert counts(await r.account(sub_id)) == (0, 10, 0, 0)
            delivery = await r.delivery(id_, sub_id)
            assert (delivery.status, delivery.reason) == (DROPPED, reason)
            assert await r.depth(sub_id) == 0

    simulate(work())


def test_one_full_queue_does_not_keep_another_from_being_fed(simulate: Any) -> None:
    async def work() -> None:
        r = FeedRig()
        await r.open(2)
        await r.queued(20)
        await r.take(2)
        await r.held(5, 2)
        assert await r.feed() == 5
        assert await r.depth(2) == 5

    simulate(work())


def test_what_waits_for_a_subscription_that_is_not_known_yet_is_not_dropped(simulate: Any) -> None:
    async def work() -> None:
        r = FeedRig()
        await r.open(1)
        stale = DirectoryCache(r.storage)
        await stale.refresh()
        await r.subscribe()
        [message] = await r.held(1, 2)
        r.directory, fresh = stale, r.directory
        assert await r.feed() == 0
        assert (await r.delivery(message, 2)).status is DeliveryStatus.PENDING
        r.directory = fresh
        assert await r.feed() == 1

    simulate(work())
