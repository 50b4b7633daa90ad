"""One subscription's jobs: never more at a time than allowed, none left lying."""

import asyncio
import logging
from typing import Any

import pytest

from notify.sender.lane import Job, Lane
from notify.sender.outcomes import Held
from notify_core.records import DeliveryRecord, MessageRecord

NO_CLAIM: Any = None  # a lane does not look at it


def job(number: int) -> Job:
    message = MessageRecord(number, 1, "a", "", b"", "", 0, 0, b"{}")
    return Held(NO_CLAIM, 1, 0), DeliveryRecord(0, message)


class Rig:
    """A lane whose deliveries take a second and whose refills come from a list."""

    def __init__(self) -> None:
        self.lane = Lane(1, self.deliver, self.refill)
        self.running = self.most = 0
        self.done: list[int] = []
        self.refills: list[list[Job]] = []
        self.late: list[Job] = []
        self.refilled_while: list[int] = []
        self.concurrency_max = 3
        self.broken: set[int] = set()

    async def deliver(self, lane: Lane, job: Job) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(1)
            number = job[1].message.id
            if number in self.broken:
                raise ZeroDivisionError
            self.done.append(number)
        finally:
            self.running -= 1

    async def refill(self, lane: Lane) -> None:
        self.refilled_while.append(self.running)
        await asyncio.sleep(0.1)
        if self.refills:
            lane.add(self.refills.pop(0), self.concurrency_max)
        if self.late:
            # Called after the worker returned, before the call-back of its task.
            loop = asyncio.get_running_loop()
            loop.call_soon(lane.add, self.late, self.concurrency_max)
            self.late = []

    async def end(self) -> None:
        while not self.lane.idle:
            await asyncio.wait(self.lane.tasks)
            await asyncio.sleep(0)


@pytest.mark.parametrize("concurrency_max", [1, 2, 7])
def test_concurrency_is_used_and_never_exceeded(simulate: Any, concurrency_max: int) -> None:
    async def work() -> None:
        r = Rig()
        r.concurrency_max = concurrency_max
        r.refills = [[job(n) for n in range(10, 15)], [job(15)]]
        for start in (0, 5):
            r.lane.add([job(n) for n in range(start, start + 5)], concurrency_max)
        await r.end()
        assert r.most == concurrency_max
        assert sorted(r.done) == list(range(16))

    simulate(work())


def test_jobs_are_begun_in_their_order(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        r.lane.add([job(n) for n in range(9)], 1)
        await r.end()
        assert r.done == list(range(9))

    simulate(work())


def test_a_lane_is_refilled_by_one_worker_while_the_others_are_busy(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        r.lane.add([job(1), job(2)], 2)
        await asyncio.sleep(0.5)
        r.lane.add([job(3)], 2)
        await r.end()
        assert sorted(r.done) == [1, 2, 3]
        assert r.refilled_while[0] == 1  # the third job was still under way

    simulate(work())


def test_jobs_that_come_as_the_last_worker_ends_are_worked_on(simulate: Any) -> None:
    """A worker that found nothing has returned, its call-back did not run yet."""

    async def work() -> None:
        r = Rig()
        r.late, r.concurrency_max = [job(2)], 1
        r.lane.add([job(1)], 1)
        await r.end()
        assert r.done == [1, 2]

    simulate(work())


def test_a_quiet_endpoint_keeps_one_of_the_workers_that_end_at_once(simulate: Any) -> None:
    """Each of them would leave the rest to the other, and nobody claims for a lane with jobs."""

    async def work() -> None:
        r = Rig()
        r.lane.add([job(n) for n in range(5)], 2)
        await asyncio.sleep(0.5)
        r.lane.keep_quiet(0)
        await asyncio.sleep(10)
        assert r.done == list(range(5))

    simulate(work())


def test_what_was_not_begun_can_be_taken_back(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        r.lane.add([job(n) for n in range(5)], 2)
        await asyncio.sleep(0.5)
        assert [taken[1].message.id for taken in r.lane.take_all()] == [2, 3, 4]
        await r.end()
        assert sorted(r.done) == [0, 1]

    simulate(work())


def test_cancelling_cuts_off_what_is_under_way(
    simulate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        r = Rig()
        r.lane.add([job(1), job(2)], 2)
        await asyncio.sleep(0.5)
        tasks = r.lane.tasks
        r.lane.cancel()
        await asyncio.wait(tasks)
        await asyncio.sleep(0)
        assert r.lane.idle
        assert not r.done

    simulate(work())
    assert not caplog.records


def test_a_worker_that_fails_is_told_with_its_traceback(
    simulate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        r = Rig()
        r.broken = {1}
        r.lane.add([job(1), job(2)], 2)
        await r.end()
        assert r.done == [2]

    simulate(work())
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "a worker of lane 1 failed")
    assert record.exc_info


def test_workers_too_many_that_end_in_one_moment_leave_one(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        r.lane.add([job(n) for n in range(3)], 3)
        await asyncio.sleep(0.5)
        r.lane.keep_quiet(0)  # from now on one at a time
        r.lane.add([job(n) for n in range(3, 6)], 3)
        await asyncio.sleep(60)
        assert sorted(r.done) == list(range(6))

    simulate(work())


def test_the_failure_of_the_last_worker_leaves_no_job_lying(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        r.broken = {0, 1, 2}
        r.lane.add([job(n) for n in range(4)], 1)
        await asyncio.sleep(60)
        assert r.done == [3]

    simulate(work())
