"""Every kind of damage is found, named, and repaired; what only moves is no damage."""

from collections.abc import Callable
from typing import Any

import pytest

from notify.domain.ports import Audit, Difference, Push, Storage
from notify.fsck import Check
from notify.runtime.rescue import LEASE
from notify.runtime.streams import INGEST
from notify_core import chunk
from notify_core.records import DELIVERED, DROPPED, PENDING, QUEUED
from tests.conformance.storage.samples import checked_ledger, outcome
from tests.fsck.ground import HOUR_MS, Ground, by_key, sub


def test_nothing_is_wrong(ground: Ground, run) -> None:
    async def scenario() -> None:
        assert await ground.check() == {}
        await ground.queued(10)
        await ground.deliveries(3, PENDING)
        done = await ground.deliveries(3, DROPPED)
        await ground.push_ingest(await ground.store(2))
        report = await ground.fsck().run(repair=True)
        assert (report.clean, report.findings, report.remaining) == (True, [], None)
        assert "32 deliveries are accounted for" in report.verdict
        assert await ground.in_queue(1) != done

    run(scenario())


def test_a_wrong_account(ground: Ground, run) -> None:
    async def scenario() -> None:
        await ground.queued(5)
        await ground.storage.correct_ledger(0, {1: Difference(4, 2, 0, 2, 0)})
        found = await ground.check()
        assert set(found) == {("ledger", 1)}
        one = found["ledger", 1]
        assert one.count == 4
        assert "matched -4, delivered -2, queued -2" in one.text
        report = await ground.repair()
        assert report.verdict == "Repaired: 4 ledger; a second look finds nothing."
        await checked_ledger(ground.storage)

    run(scenario())


class Shifting:
    """A storage that does not read as of one moment: each audit differs by something else."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._audits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def audit(self, progress: Callable[[int, int], None]) -> Audit:
        self._audits += 1
        audit = await self._storage.audit(progress)
        shift = Difference(self._audits, 0, 0, self._audits, 0)
        return audit._replace(differences=audit.differences | {2: shift})


def test_an_account_that_differs_each_time_is_left_alone(ground: Ground, run) -> None:
    async def scenario() -> None:
        await ground.queued(5)
        await ground.storage.correct_ledger(0, {1: Difference(4, 2, 0, 2, 0)})
        report = await ground.fsck(storage=Shifting(ground.storage)).run(repair=True)
        found, left = by_key(report.findings), by_key(report.remaining or ())
        assert set(found) == {("ledger", 1), ("ledger", 2)}
        assert "stop the services" in found["ledger", 2].text
        assert set(left) == {("ledger", 2)}
        await checked_ledger(ground.storage)

    run(scenario())


def test_unsplit_messages(ground: Ground, run) -> None:
    async def scenario() -> None:
        await ground.queued(3)
        lost = await ground.store(7)
        waiting = await ground.store(4)
        await ground.push_ingest(waiting[:2])
        await ground.queue.claim([INGEST], "maker", 1)
        await ground.push_ingest(waiting[2:])
        await ground.queued(3)
        found = await ground.check()
        assert set(found) == {("unsplit", 0)}
        assert found["unsplit", 0].count == 7
        assert found["unsplit", 0].message_ids == tuple(map(str, lost[:5]))
        await ground.repair()
        claims = await ground.queue.claim([INGEST], "maker", 9)
        ids = [one.id for claim in claims for one in chunk.unpack_messages(claim.chunk)[1]]
        assert ids == [*waiting[2:], *lost]

    run(scenario())


def test_no_more_unsplit_messages_are_pushed_than_fit(ground: Ground, run) -> None:
    async def scenario() -> None:
        await ground.store(7)
        limits = ground.config.queue
        object.__setattr__(limits, "ingest_depth_max", 5)
        report = await ground.fsck(limits=limits).run(repair=True)
        assert [one.count for one in report.remaining or ()] == [2]
        assert not report.clean
        assert (await ground.queue.gauges([INGEST]))[0].depth == 5

    run(scenario())


def test_forgotten_deliveries(ground: Ground, run) -> None:
    async def scenario() -> None:
        await ground.queued(4)
        lost = await ground.deliveries(8, subs=[1])
        # All these are somewhere: waiting, claimed, delayed, on the way to the Marker or from
        # a Maker that has not let go of its chunk.
        here = await ground.deliveries(5, subs=[1])
        await ground.push(1, here[:1])
        await ground.queue.claim([sub(1)], "sender", 99)
        await ground.push(1, here[1:2])
        await ground.push(1, here[2:3], ground.clock.now_ms() + HOUR_MS)
        await ground.push_outcomes(outcome(here[3], 1, DELIVERED))
        await ground.push_ingest(here[4:])
        # The same message, but another subscription's.
        await ground.push_outcomes(outcome(lost[0], 2, DELIVERED))
        found = await ground.check()
        assert set(found) == {("forgotten", 1)}
        assert found["forgotten", 1].count == 8
        assert found["forgotten", 1].message_ids == tuple(map(str, lost[:5]))
        await ground.repair()
        due = await ground.storage.pending(1, ground.clock.now_ms(), 99, 0)
        assert [one.message.id for one in due] == lost
        await checked_ledger(ground.storage)

    run(scenario())


def test_the_young_are_passed_over(ground: Ground, run) -> None:
    async def scenario() -> None:
        made = await ground.deliveries(3, subs=[1])
        await ground.finish([outcome(made[0], 1, QUEUED, 1, ground.clock.now_ms() - 1000)])
        assert (await ground.check())["forgotten", 1].count == 2
        report = await ground.fsck(grace_ms=500).run(repair=False)
        assert [one.count for one in report.findings] == [3]
        report = await ground.fsck(grace_ms=20 * HOUR_MS).run(repair=False)
        assert report.clean

    run(scenario())


def test_deliveries_that_are_queued_twice(ground: Ground, run) -> None:
    async def scenario() -> None:
        made = await ground.queued(9, size=9)
        later_ms = ground.clock.now_ms() + HOUR_MS
        await ground.push(1, [made[0], made[1]])
        await ground.push(1, [made[2]], later_ms, attempts=1)
        await ground.push(1, [made[3], made[3]])
        await ground.push(2, [made[4]])
        found = await ground.check()
        assert {key: one.count for key, one in found.items()} == {("twice", 1): 4, ("twice", 2): 1}
        assert found["twice", 1].message_ids == tuple(map(str, made[:4]))
        await ground.repair()
        assert await ground.in_queue(1) == made
        assert await ground.in_queue(2) == made
        # What was tried already keeps its time.
        claims = await ground.queue.claim([sub(1)], "sender", 99)
        now = [d.message.id for c in claims for d in chunk.unpack_deliveries(c.chunk)[1]]
        assert made[2] not in now
        await ground.queue.promote([sub(1)], later_ms)
        [claim] = await ground.queue.claim([sub(1)], "sender", 99)
        [(attempts, message)] = chunk.unpack_deliveries(claim.chunk)[1]
        assert (attempts, message.id) == (1, made[2])

    run(scenario())


def test_what_follows_from_a_claimed_chunk_is_not_twice(ground: Ground, run) -> None:
    async def scenario() -> None:
        made = await ground.queued(3)
        await ground.queue.claim([sub(1)], "sender", 1)
        # A retry and what was handed back, while the chunk's last try is under way.
        await ground.push(1, made[:1], ground.clock.now_ms() + HOUR_MS, attempts=1)
        await ground.push(1, made[1:2])
        assert await ground.check() == {}

    run(scenario())


@pytest.mark.parametrize("due", [False, True])
def test_finished_deliveries_in_a_queue(ground: Ground, run, due: bool) -> None:
    async def scenario() -> None:
        made = await ground.deliveries(6, subs=[1])
        await ground.push(1, made[:4], ground.clock.now_ms() + HOUR_MS if due else 0)
        await ground.push(1, made[4:])
        done = [outcome(made[0], 1, DELIVERED), outcome(made[3], 1, DROPPED)]
        await ground.finish([*done, outcome(made[4], 1, DELIVERED), outcome(made[5], 1, DELIVERED)])
        found = await ground.check()
        assert {key: one.count for key, one in found.items()} == {("finished", 1): 4}
        await ground.repair()
        assert await ground.in_queue(1) == made[1:3]

    run(scenario())


def test_finished_deliveries_in_a_claimed_chunk_are_its_holders(ground: Ground, run) -> None:
    async def scenario() -> None:
        made = await ground.queued(3)
        await ground.queue.claim([sub(1)], "sender", 1)
        await ground.finish([outcome(made[0], 1, DELIVERED)])
        assert await ground.check() == {}

    run(scenario())


def test_a_chunk_that_nobody_can_read(ground: Ground, run) -> None:
    async def scenario() -> None:
        made = await ground.deliveries(2, subs=[1])
        await ground.queue.push([Push(sub(1), b"damaged", 2), Push(INGEST, b"damaged", 2)])
        found = await ground.check()
        assert found["forgotten", 1].message_ids == tuple(map(str, made))
        await ground.repair()

    run(scenario())


@pytest.mark.parametrize("rebuilding", [False, True])
def test_a_lost_queue_is_the_rescuers(ground: Ground, run, rebuilding: bool) -> None:
    async def scenario() -> None:
        await ground.deliveries(5)
        await ground.store(2)
        if rebuilding:
            await ground.queue.lease(LEASE, "rescuer-1", 60_000)
        await ground.storage.set_note("rebuilt_epoch_ms", 2)
        for repair in (False, True):
            report = await ground.fsck().run(repair)
            [one] = report.findings
            assert one.check is Check.QUEUE_LOST
            assert ("the Rescuer rebuilds it" if rebuilding else "start one") in one.text
            assert not report.clean
        # Whoever starts as the Rescuer now finds its place free.
        assert await ground.queue.lease(LEASE, "rescuer-1", 60_000)

    run(scenario())


def test_all_at_once(ground: Ground, run) -> None:
    async def scenario() -> None:
        made = await ground.queued(4)
        await ground.push(2, made[:1])
        await ground.finish([outcome(made[3], 1, DELIVERED)])
        await ground.deliveries(2)
        await ground.store(3)
        await ground.storage.correct_ledger(0, {2: Difference(1, 1, 0, 0, 0)})
        found = await ground.check()
        assert {key: one.count for key, one in found.items()} == {
            ("ledger", 2): 1,
            ("unsplit", 0): 3,
            ("finished", 1): 1,
            ("forgotten", 1): 2,
            ("twice", 2): 1,
            ("forgotten", 2): 2,
        }
        report = await ground.repair()
        assert report.verdict == (
            "Repaired: 1 ledger, 3 unsplit, 1 finished, 4 forgotten, 1 twice; a second look finds"
            " nothing."
        )

    run(scenario())
