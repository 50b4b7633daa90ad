"""The Rescuer: finds in the database what the queue forgot, and only that."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from notify.domain.errors import QueueUnavailable
from notify.domain.ports import Push
from notify.queue.memory import MemoryQueue
from notify.rescuer import Rescuer
from notify.rescuer.unsplit import SPAN_FIRST_MS, SPAN_MAX_MS
from notify_core import chunk, ids
from notify_core.records import DELIVERED, OutcomeRecord
from tests.services.rig import INGEST, MARK, Rig, counts, sub

GRACE_S = 2.0  # unsplit_grace_ms of small_config
FORGOTTEN_S = 8.0


async def rounds(rescuer: Rescuer, r: Rig, seconds: float) -> None:
    """Step every half second for so long."""
    for _ in range(round(seconds * 2)):
        await r.clock.sleep(0.5)
        await rescuer.step()


async def ids_in(r: Rig, sub_id: int = 1) -> list[int]:
    claims = await r.queue.claim([sub(sub_id)], "reader", 1000)
    return [d.message.id for c in claims for d in chunk.unpack_deliveries(c.chunk)[1]]


async def ingest_ids(r: Rig) -> list[int]:
    claims = await r.queue.claim([INGEST], "reader", 1000)
    return [m.id for c in claims for m in chunk.unpack_messages(c.chunk)[1]]


def test_the_first_step_gives_a_new_queue_its_epoch(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open(epoch=False)
        await r.rescuer().step()
        epoch = await r.queue.epoch()
        assert epoch is not None
        assert int(epoch.partition("-")[0]) == r.clock.now_ms()
        assert await r.storage.note("rebuilt_epoch_ms") == r.clock.now_ms()

    simulate(work())


def test_a_flushed_queue_is_rebuilt_at_the_next_step(
    simulate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        r = Rig()
        await r.open(2)
        made = await r.queued(6)
        unsplit = await r.accept(3)
        done = OutcomeRecord(made[0], 1, DELIVERED, 1, r.clock.now_ms(), 0, 5, 200, 0, "", b"")
        await r.storage.mark([chunk.pack_outcomes([done])])
        await r.clock.sleep(0.1)
        r.queue.flush()
        rescuer = r.rescuer()
        await rescuer.step()
        assert (rescuer.deliveries_rescued, rescuer.messages_rescued) == (11, 3)
        await rescuer.step()
        assert await ids_in(r, 1) == made[1:]
        assert await ids_in(r, 2) == made
        await r.split()
        assert await ids_in(r, 1) == unsplit
        assert counts(await r.account(1)) == (1, 0, 8, 0)
        await rounds(rescuer, r, 3)
        assert (rescuer.deliveries_rescued, rescuer.messages_rescued) == (11, 3)

    simulate(work())
    assert "the queue was lost and is rebuilt: 11 deliveries and 3 unsplit" in caplog.text


def test_a_rebuild_leaves_alone_what_was_queued_after_the_loss(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        old = await r.queued(3)
        await r.clock.sleep(1)
        r.queue.flush()
        # Another Rescuer began the epoch and died; meanwhile the others work on.
        await r.queue.begin_epoch(f"{r.clock.now_ms()}-dead")
        new = await r.queued(3)
        rescuer = r.rescuer()
        await rescuer.step()
        await rescuer.step()
        assert rescuer.deliveries_rescued == 3
        assert await ids_in(r) == [*new, *old]

    simulate(work())


@pytest.mark.parametrize("step", ["forget_queued", "unsplit", "set_note"])
def test_a_rebuild_that_failed_in_the_middle_is_done_again(simulate: Any, step: str) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        made = await r.queued(6)
        unsplit = await r.accept(2)
        await r.clock.sleep(0.1)
        r.queue.flush()
        works = getattr(r.storage, step)

        async def dies(*given: Any) -> Any:
            await works(*given)
            raise RuntimeError("killed")

        setattr(r.storage, step, dies)
        with pytest.raises(RuntimeError):
            await r.rescuer("dead").step()
        setattr(r.storage, step, works)
        await r.clock.sleep(10)  # its lease
        rescuer = r.rescuer()
        await rescuer.step()
        await rescuer.step()
        await r.split()
        assert sorted(set(await ids_in(r))) == made + unsplit
        assert counts(await r.account()) == (0, 0, 8, 0)

    simulate(work())


def test_an_unsplit_message_is_rescued_after_its_grace_and_only_once(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(**{"queue.lease_ms": 30_000})
        await r.open()
        await r.clock.sleep(1)
        stored = list((await r.store(3)).ids)  # its chunk never reached the stream
        rescuer = r.rescuer()
        await rounds(rescuer, r, GRACE_S)
        assert rescuer.messages_rescued == 0
        await rounds(rescuer, r, 30)
        assert rescuer.messages_rescued == 3
        assert await ingest_ids(r) == stored

    simulate(work())


def test_a_rescued_message_that_is_lost_again_is_rescued_again(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        stored = list((await r.store(1)).ids)
        rescuer = r.rescuer()
        for _ in range(2):
            await rounds(rescuer, r, 70)  # a deep sweep in between
            claims = await r.queue.claim([INGEST], "loses it", 10)
            await r.queue.ack(claims)
            assert [m.id for m in chunk.unpack_messages(claims[0].chunk)[1]] == stored

    simulate(work())


def test_what_waits_in_the_ingest_stream_is_not_rescued(simulate: Any) -> None:
    """A Maker that is behind by minutes is not helped by copies."""

    async def work() -> None:
        r = Rig()
        await r.open()
        for _ in range(5):
            await r.accept(4)
            await r.clock.sleep(1)
        rescuer = r.rescuer()
        await rounds(rescuer, r, 60)
        assert rescuer.messages_rescued == 0
        await r.queue.claim([INGEST], "slow", 100)  # held, not done
        await rounds(rescuer, r, 60)
        assert rescuer.messages_rescued == 0

    simulate(work())


def test_a_commit_that_came_late_is_found_at_a_later_look(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        rescuer = r.rescuer()
        batch = await r.store(1)  # its id says: 100 s ago
        moved = batch.take([0])
        moved.stamp(r.producer_id, [batch.ids[0] - (100_000 << 22)])
        await rounds(rescuer, r, 20)
        await r.split()
        await rounds(rescuer, r, 60)
        await r.storage.insert_messages(moved, r.clock.now_ms())
        await rounds(rescuer, r, 450)
        assert rescuer.messages_rescued == 2

    simulate(work())


def test_a_rescued_message_is_not_rescued_again_while_its_copy_may_wait(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        await r.store(3)
        rescuer = r.rescuer()
        await rounds(rescuer, r, 200)  # nobody splits
        assert rescuer.messages_rescued == 3
        assert (await r.gauge(INGEST)).depth == 3

    simulate(work())


def test_a_clock_that_is_set_back_stops_no_work(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        rescuer = r.rescuer()
        r.clock.ahead_ms = 3_600_000
        await rounds(rescuer, r, 20)
        r.clock.ahead_ms = 0
        await rounds(rescuer, r, 1)
        await r.store(3)  # its chunk never reached the stream
        await rounds(rescuer, r, 10)
        assert rescuer.messages_rescued == 3
        await r.split()
        await forget(r)
        await rounds(rescuer, r, 3 * FORGOTTEN_S)
        assert rescuer.deliveries_rescued == 3
        assert rescuer.deliveries_fed == 3

    simulate(work())


async def forget(r: Rig) -> None:
    """The queue loses a subscription's chunks without losing its epoch."""
    await r.queue.ack(await r.queue.claim([sub(1)], "loses it", 1000))


def test_forgotten_deliveries_are_put_back_after_a_lasting_difference(
    simulate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        made = await r.queued(5)
        await forget(r)
        rescuer = r.rescuer()
        await rounds(rescuer, r, FORGOTTEN_S - 0.5)
        assert rescuer.deliveries_rescued == 0
        await rounds(rescuer, r, 3)
        assert rescuer.deliveries_rescued == 5
        assert await ids_in(r) == made

    simulate(work())
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_difference_that_goes_away_puts_nothing_back(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        rescuer = r.rescuer()
        for _ in range(6):
            await r.queued(1)
            [claim] = await r.queue.claim([sub(1)], "x", 1)
            await r.queue.ack([claim])
            await rounds(rescuer, r, FORGOTTEN_S / 2)
            await r.queue.push([Push(sub(1), claim.chunk, claim.items)])
            await rounds(rescuer, r, 1)
            await r.queue.ack(await r.queue.claim([sub(1)], "x", 9), [Push(MARK, b"", 1)])
        assert rescuer.deliveries_rescued == 0

    simulate(work())


def test_outcomes_under_way_count_as_known(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        await r.queued(4)
        claims = await r.queue.claim([sub(1)], "x", 9)
        await r.queue.ack(claims, [Push(MARK, b"not marked for long", 4)])
        rescuer = r.rescuer()
        await rounds(rescuer, r, 10 * FORGOTTEN_S)
        assert rescuer.deliveries_rescued == 0

    simulate(work())


def test_only_what_is_older_than_anything_in_the_queue_is_put_back(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        lost = await r.queued(3)
        await forget(r)
        await r.clock.sleep(FORGOTTEN_S + 1)
        kept = await r.queued(3)
        rescuer = r.rescuer()
        await rounds(rescuer, r, 3 * FORGOTTEN_S)
        assert rescuer.deliveries_rescued == 3
        assert await ids_in(r) == kept + lost

    simulate(work())


def test_of_two_rescuers_one_works_until_it_is_gone(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        await r.store(2)
        one, two = r.rescuer("one"), r.rescuer("two")
        for _ in range(10):
            await r.clock.sleep(0.5)
            await one.step()
            await two.step()
        assert (one.messages_rescued, two.messages_rescued) == (2, 0)
        await two.close()  # it holds no lease: nothing is given back
        await two.step()
        await r.store(1)
        await one.close()
        await rounds(two, r, 4)
        assert two.messages_rescued >= 1
        assert one.messages_rescued == 2

    simulate(work())


def test_a_rescuer_whose_round_takes_longer_than_its_lease_keeps_it(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open(epoch=False)
        forget_queued, calls = r.storage.forget_queued, []

        async def forget_slowly(*args: Any) -> int:
            calls.append(args)
            await r.clock.sleep(60)
            return await forget_queued(*args)

        r.storage.forget_queued = forget_slowly  # type: ignore[method-assign]
        rescuers = r.rescuer("one"), r.rescuer("other")
        running = [asyncio.create_task(one.run(r.stopping)) for one in rescuers]
        await r.clock.sleep(50)
        assert sorted(one.leads for one in rescuers) == [False, True]
        assert len(calls) == 1, "both rebuild"
        r.stopping.set()
        await asyncio.gather(*running)

    simulate(work())


def test_a_killed_rescuer_is_replaced_when_its_lease_ends(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        await r.rescuer("killed").step()
        await r.store(1)
        other = r.rescuer("other")
        await rounds(other, r, 9.5)
        assert other.messages_rescued == 0
        await rounds(other, r, 2)
        assert other.messages_rescued == 1

    simulate(work())


class PushLess(MemoryQueue):
    """A queue whose pushes fail."""

    fail = False

    async def push(self, pushes: Sequence[Push]) -> None:
        if self.fail:
            raise QueueUnavailable("away")
        await super().push(pushes)


def test_what_could_not_be_pushed_is_found_by_a_later_sweep(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        r.queue = queue = PushLess(r.clock)
        await r.open()
        await r.store(2)
        rescuer = r.rescuer()
        queue.fail = True
        await r.clock.sleep(GRACE_S + 1)
        with pytest.raises(QueueUnavailable):
            await rescuer.step()
        assert rescuer.messages_rescued == 0
        queue.fail = False
        await rounds(rescuer, r, 2)
        assert rescuer.messages_rescued == 2

    simulate(work())


def test_two_kills_in_a_row_leave_no_message_behind(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open(epoch=False)
        await r.store(3)
        await r.clock.sleep(50)
        first = r.rescuer()
        await first.start_alone()
        await rounds(first, r, 3)  # its copies are pushed, then everything dies again
        assert first.messages_rescued == 3
        r.queue.flush()
        await r.clock.sleep(3600)
        second = r.rescuer()
        await second.start_alone()
        await rounds(second, r, 3)
        await r.split()
        assert (await r.account()).matched == 3

    simulate(work())


def test_however_long_it_takes_one_statement_reads_a_bounded_span(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        await r.clock.sleep(1000)
        stored = list((await r.store(3)).ids)
        spans_ms = []
        unsplit = r.storage.unsplit

        async def look(after: int, below: int, *args: Any) -> Any:
            spans_ms.append(ids.id_ms(below) - ids.id_ms(after + 1))
            return await unsplit(after, below, *args)

        r.storage.unsplit = look  # type: ignore[method-assign]
        await rounds(r.rescuer(), r, GRACE_S + 1)
        assert await ingest_ids(r) == stored, "from the first day of all to this one"
        assert SPAN_FIRST_MS < max(spans_ms) <= SPAN_MAX_MS
        assert len(spans_ms) < 200

    simulate(work())


def test_a_rescue_stops_where_the_ingest_stream_is_full_and_goes_on_later(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(**{"queue.ingest_depth_max": 10, "queue.depth_max": 1000})
        await r.open()
        for _ in range(5):
            await r.store(6)
        rescuer = r.rescuer()
        await rounds(rescuer, r, 10)
        deepest = 0
        for _ in range(10):
            deepest = max(deepest, (await r.gauge(INGEST)).depth)
            await r.split()
            await rounds(rescuer, r, 10)
        assert deepest <= 10 + 30  # one look into the database beyond the bound at most
        assert (await r.account()).matched == 30

    simulate(work())
