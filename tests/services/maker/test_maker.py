"""The Maker: rows first, then the queues; never twice what is still on its way."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from notify.domain.errors import QueueLost, QueueUnavailable
from notify.domain.model import DeliveryStatus, Reason, SubscriptionStatus
from notify.domain.ports import Claim, Push, Stream
from notify.queue.memory import MemoryQueue
from notify.runtime.directory import DirectoryCache
from notify_core import chunk, fanout
from notify_core.records import DELIVERED, OutcomeRecord
from tests.services.rig import INGEST, Rig, counts, sub
from tests.simulation.loop import SimulatedClock


async def queued_ids(r: Rig, sub_id: int = 1) -> list[int]:
    """What a Sender would find in the queue now."""
    claims = await r.queue.claim([sub(sub_id)], "reader", 1000)
    return [d.message.id for c in claims for d in chunk.unpack_deliveries(c.chunk)[1]]


def test_messages_become_rows_and_chunks_of_every_subscription_that_matches(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open(0)
        await r.subscribe(types=("order.*",))
        await r.subscribe(types=("stock.*",))
        await r.subscribe()
        made = await r.accept(10)
        maker = r.maker()
        await maker.chunks.step(r.stopping)
        assert (maker.messages, maker.deliveries) == (10, 20)
        assert await queued_ids(r, 1) == await queued_ids(r, 3) == made
        assert await r.depth(2) == 0
        assert counts(await r.account(1)) == (0, 0, 10, 0)
        assert (await r.gauge(INGEST)).depth == 0

    simulate(work())


def test_a_message_that_nobody_wants_is_recorded_as_split(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open(0)
        [id_] = await r.queued(1)
        [row] = await r.storage.deliveries(id_)
        assert (row.subscription_id, row.reason) == (0, Reason.UNMATCHED)
        assert not await r.storage.unsplit(0, 1 << 62, 10, 0)

    simulate(work())


@pytest.mark.parametrize(
    ("status", "account"),
    [
        (SubscriptionStatus.NORMAL, (0, 0, 4, 0)),
        (SubscriptionStatus.PAUSED, (0, 0, 0, 4)),
        (SubscriptionStatus.DISCARDED, (0, 4, 0, 0)),
    ],
)
def test_the_status_of_the_subscription_decides_what_becomes_of_a_match(
    simulate: Any, status: SubscriptionStatus, account: tuple[int, ...]
) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        await r.set_status(1, status)
        made = await r.queued(4)
        assert tuple(counts(await r.account())) == account
        assert await r.depth() == account[2]
        expected = Reason.DISCARDED if account[1] else Reason.NONE
        assert (await r.delivery(made[0])).reason is expected

    simulate(work())


def test_a_chunk_made_for_a_newer_configuration_has_it_read_first(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        stale = DirectoryCache(r.storage)
        await stale.refresh()
        await r.subscribe()
        made = await r.accept(2)
        await r.maker(directory=stale).chunks.step(r.stopping)
        assert stale.version == r.directory.version
        assert await queued_ids(r, 2) == made

    simulate(work())


def test_what_would_exceed_the_depth_stays_in_the_database_and_says_so(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open(2)
        await r.queued(20)
        await queued_ids(r, 2)
        assert not (await r.gauge(sub(1))).spilling
        await r.queued(1)
        assert (await r.gauge(sub(1))).spilling
        assert counts(await r.account()) == (0, 0, 20, 1)
        # The flag alone decides, as long as it is there: new ones line up behind the old ones.
        claims = await r.queue.claim([sub(1)], "x", 100)
        await r.queue.ack(claims)
        await r.queued(1)
        assert counts(await r.account()) == (0, 0, 20, 2)
        await r.queue.spill([sub(1)], False)
        await r.queued(1)
        assert counts(await r.account()) == (0, 0, 21, 2)

    simulate(work())


class RecordingQueue(MemoryQueue):
    """Tells the order of spills and acknowledgements; may fail at the latter."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__(clock)
        self.log: list[str] = []
        self.fail = False

    async def spill(self, streams: Sequence[Stream], on: bool) -> None:
        self.log.append(f"spill {on}")
        await super().spill(streams, on)

    async def ack(self, claims: Sequence[Claim], pushes: Sequence[Push] = ()) -> None:
        if self.fail:
            raise QueueUnavailable("away")
        self.log.append(f"ack with {len(pushes)}")
        await super().ack(claims, pushes)


class RecordingRig(Rig):
    """Records in the same log when rows are stored."""

    def __init__(self, **flags: Any) -> None:
        super().__init__(**flags)
        self.queue: RecordingQueue = RecordingQueue(self.clock)
        insert = self.storage.insert_deliveries

        async def recorded(split: fanout.Split) -> set[int]:
            self.queue.log.append("rows")
            return await insert(split)

        self.storage.insert_deliveries = recorded  # type: ignore[method-assign]


def test_spilling_is_said_before_the_rows_and_the_push_comes_last(simulate: Any) -> None:
    async def work() -> None:
        r = RecordingRig()
        await r.open()
        await r.queued(4)
        await r.queued(20)
        assert r.queue.log == ["rows", "ack with 1", "spill True", "rows", "ack with 0"]

    simulate(work())


def test_after_a_failed_push_the_same_chunk_is_pushed_once(simulate: Any) -> None:
    async def work() -> None:
        r = RecordingRig()
        await r.open()
        made = await r.accept(4)
        maker = r.maker()
        r.queue.fail = True
        for _ in range(2):
            with pytest.raises(QueueUnavailable):
                await maker.chunks.step(r.stopping)
        r.queue.fail = False
        await maker.chunks.step(r.stopping)
        assert await queued_ids(r) == made
        assert counts(await r.account()) == (0, 0, 4, 0)

    simulate(work())


def test_of_a_redelivered_chunk_only_what_is_still_queued_is_pushed(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open(2)
        await r.set_status(2, SubscriptionStatus.PAUSED)
        made = await r.accept(4)
        claims = await r.queue.claim([INGEST], "dead", 10)
        await r.queue.push([Push(INGEST, claims[0].chunk, 4)])
        await r.split()  # as the dead one did, before it let go of its claim
        await queued_ids(r)
        now = r.clock.now_ms()
        done = OutcomeRecord(made[0], 1, DELIVERED, 1, now, 0, 5, 200, 0, "", b"")
        await r.storage.mark([chunk.pack_outcomes([done])])
        await r.clock.sleep(r.config.queue.lease_ms / 1000)
        maker = r.maker()
        await maker.chunks.tend()
        await maker.chunks.step(r.stopping)
        again = await queued_ids(r)
        assert again == made[1:]
        assert await r.depth(2) == 0
        assert (await r.gauge(INGEST)).depth == 0

    simulate(work())


def test_a_maker_that_stood_still_leaves_the_push_to_who_took_over(
    simulate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        made = await r.accept(3)
        lease_s = r.config.queue.lease_ms / 1000
        store = r.storage.insert_deliveries

        async def stand_still(split: fanout.Split) -> set[int]:
            monkeypatch.undo()
            known = await store(split)
            await r.clock.sleep(1.5 * lease_s)
            await first.chunks.tend()  # too late: that was due long ago
            return known

        monkeypatch.setattr(r.storage, "insert_deliveries", stand_still)
        first = r.maker("first")
        standing = asyncio.create_task(first.chunks.step(r.stopping))
        await r.clock.sleep(1.2 * lease_s)
        second = r.maker("second")
        await second.chunks.tend()
        await second.chunks.step(r.stopping)
        with pytest.raises(QueueLost, match="others have it"):
            await standing
        assert await queued_ids(r) == made
        assert (await r.gauge(INGEST)).depth == 0

    simulate(work())


def test_a_rescued_copy_of_a_chunk_pushes_nothing_twice(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(**{"maker.batch_chunks_max": 1})
        await r.open()
        made = await r.accept(4)
        [claim] = await r.queue.claim([INGEST], "x", 1)
        await r.queue.ack([claim], [Push(INGEST, claim.chunk, 4)] * 3)
        await r.split()
        assert await queued_ids(r) == made
        assert counts(await r.account()) == (0, 0, 4, 0)

    simulate(work())


def test_a_copy_leaves_the_new_messages_of_its_batch_as_their_rows_say(simulate: Any) -> None:
    """The queue empties between the rows and the push: what was stored pending is not pushed."""

    async def work() -> None:
        r = Rig()
        await r.open()
        [known] = await r.queued(1)
        assert await queued_ids(r) == [known]
        await r.queue.spill([sub(1)], True)
        new = await r.accept(2)
        [claim] = await r.queue.claim([INGEST], "x", 1)
        fresh = chunk.unpack_messages(claim.chunk)[1]
        old = fresh[0]._replace(id=known)
        both = chunk.pack_messages(r.directory.version, [old, *fresh])
        await r.queue.ack([claim], [Push(INGEST, both, 3)])
        insert = r.storage.insert_deliveries

        async def then_the_flag_falls(split: fanout.Split) -> set[int]:
            known_ids = await insert(split)
            await r.queue.spill([sub(1)], False)
            return known_ids

        r.storage.insert_deliveries = then_the_flag_falls  # type: ignore[method-assign]
        await r.split()
        assert [(await r.delivery(id_)).status for id_ in new] == [DeliveryStatus.PENDING] * 2
        assert await queued_ids(r) == []

    simulate(work())


def test_what_is_due_later_waits_in_the_queue_or_farther_away_in_the_database(
    simulate: Any,
) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        # The simulated time begins at 2026-09-21T14:13:20Z; the horizon is 5 s.
        soon = await r.queued(1, deliver_at="2026-09-21T14:13:23Z")
        late = await r.queued(1, deliver_at="2026-09-21T14:13:53Z")
        assert await r.depth() == 1
        assert await queued_ids(r) == []
        assert (await r.delivery(soon[0])).status is DeliveryStatus.QUEUED
        waiting = await r.delivery(late[0])
        assert waiting.status is DeliveryStatus.PENDING
        assert waiting.due_ms == r.clock.now_ms() + 33_000
        await r.queue.promote([sub(1)], r.clock.now_ms() + 3000)
        assert await queued_ids(r) == soon

    simulate(work())


def test_workers_of_a_process_share_the_stream_and_are_counted_together(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(**{"maker.batch_chunks_max": 1})
        await r.open()
        made = [id_ for _ in range(4) for id_ in await r.accept(5)]
        makers = [r.maker(f"maker.{number}") for number in range(2)]
        registry = CollectorRegistry()
        makers[0].export(registry, makers[1:])
        while (await r.gauge(INGEST)).depth:
            await asyncio.gather(*(maker.chunks.step(r.stopping) for maker in makers))
        assert sorted(await queued_ids(r)) == made
        assert min(maker.messages for maker in makers) > 0
        assert registry.get_sample_value("notify_maker_messages_total") == len(made)
        assert registry.get_sample_value("notify_maker_deliveries_total") == len(made)

    simulate(work())
