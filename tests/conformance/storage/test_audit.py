"""Counting everything in pages finds what is kept wrongly; corrections are made once."""

import pytest

from notify.domain.ports import Difference, QueuedRow, QueuedSpan, Storage
from notify.storage.mysql import audit as mysql_audit
from notify.storage.sqlite import audit as sqlite_audit
from tests.conformance.storage.backends import Run
from tests.conformance.storage.samples import (
    DELIVERED,
    DROPPED,
    INLINE,
    NOW,
    PENDING,
    QUEUED,
    account,
    batch,
    checked_ledger,
    chunks,
    grid,
    message_ids,
    outcome,
    split,
    status_of,
)

IDS = message_ids(10)
ALL = QueuedSpan(1, -1, IDS[-1])


def ignore(done: int, total: int) -> None:
    """No progress is shown."""


@pytest.fixture(params=[2, 3, 20_000])
def page_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    for module in (mysql_audit, sqlite_audit):
        monkeypatch.setattr(module, "PAGE_ROWS", request.param)
    return request.param


async def fill(storage: Storage) -> None:
    """Two subscriptions: queued, pending, delivered and dropped ones; one message for nobody."""
    await storage.insert_messages(batch(IDS), NOW)
    await storage.insert_deliveries(grid(IDS[:4], [1, 2]))
    await storage.insert_deliveries(split(*((id_, 2, PENDING) for id_ in IDS[4:7])))
    await storage.insert_deliveries(split((IDS[7], 1, DROPPED), (IDS[8], 0, DROPPED)))
    await storage.mark(chunks(outcome(IDS[0], 1, DELIVERED), outcome(IDS[1], 2, DROPPED)))


def test_what_is_right_has_no_difference(storage: Storage, run: Run, page_rows: int) -> None:
    async def scenario() -> None:
        empty = await storage.audit(ignore)
        assert empty == ([], {}, [], [], [], 0, frozenset())
        await fill(storage)
        steps: list[tuple[int, int]] = []
        audit = await storage.audit(lambda done, total: steps.append((done, total)))
        assert audit.counted == [
            account(1, delivered=1, dropped=1, queued=3),
            account(2, dropped=1, queued=3, pending=3),
        ]
        assert (audit.differences, audit.unlisted, audit.corrections) == ({}, [], 0)
        assert steps[-1] == (12, 12)
        assert len(steps) == len(audit.page_ends) == -(-13 // page_rows)
        assert audit.page_ends == sorted(audit.page_ends)
        assert audit.page_ends[-1] == IDS[8]
        for sub_id in (1, 2):
            [span] = [span for span in audit.spans if span.subscription_id == sub_id]
            assert span.after_id < IDS[0] <= IDS[9] <= span.last_id

    run(scenario())


def test_a_difference_is_added_once(storage: Storage, run: Run) -> None:
    async def scenario() -> None:
        await fill(storage)
        # A correction of what is right makes it wrong.
        wrong = {
            1: Difference(3, 1, 0, 2, 0),
            2: Difference(0, 0, 0, -1, 1),
            9: Difference(1, 1, 0, 0, 0),
        }
        assert await storage.correct_ledger(0, wrong)
        assert not await storage.correct_ledger(0, wrong), "somebody was faster"
        audit = await storage.audit(ignore)
        shown = {sub_id: one[:5] for sub_id, one in audit.differences.items()}
        assert shown == {1: (-3, -1, 0, -2, 0), 2: (0, 0, 0, 1, -1), 9: (-1, -1, 0, 0, 0)}
        # What is written meanwhile changes rows and accounts alike.
        await storage.mark(chunks(outcome(IDS[2], 1, DELIVERED), outcome(IDS[4], 2, DELIVERED)))
        assert (await storage.audit(ignore)).differences == audit.differences
        assert await storage.correct_ledger(audit.corrections, audit.differences)
        assert not await storage.correct_ledger(audit.corrections, audit.differences)
        after = await storage.audit(ignore)
        assert after.differences == {}
        assert (await storage.ledger())[:2] == after.counted

    run(scenario())


def test_an_audit_that_was_ended_leaves_the_storage_usable(storage: Storage, run: Run) -> None:
    class Ended(Exception):
        pass

    def end(done: int, total: int) -> None:
        raise Ended

    async def scenario() -> None:
        await fill(storage)
        with pytest.raises(Ended):
            await storage.audit(end)
        await storage.insert_deliveries(grid(IDS[9:], [1]))
        await checked_ledger(storage)

    run(scenario())


def test_queued_rows_are_read_in_pages(storage: Storage, run: Run) -> None:
    async def scenario() -> None:
        await fill(storage)
        await storage.mark(chunks(outcome(IDS[2], 1, QUEUED, 1, NOW + 5)))
        rows = await storage.queued(ALL, NOW + 6, 9)
        assert rows == [(IDS[1], 0, NOW), (IDS[2], 1, NOW + 5), (IDS[3], 0, NOW)]
        assert await storage.queued(ALL, NOW + 5, 9) == [rows[0], rows[2]]
        assert await storage.queued(ALL, NOW, 9) == []
        assert await storage.queued(ALL, NOW + 6, 2) == rows[:2]
        assert await storage.queued(QueuedSpan(1, IDS[1], IDS[2]), NOW + 6, 9) == rows[1:2]

    run(scenario())


def test_only_rows_as_they_were_read_are_forgotten(storage: Storage, run: Run) -> None:
    async def scenario() -> None:
        await fill(storage)
        rows = await storage.queued(ALL, NOW + 1, 9)
        await storage.mark(chunks(outcome(IDS[2], 1, QUEUED, 1, NOW + 5, due_ms=NOW + 900)))
        await storage.mark(chunks(outcome(IDS[3], 1, DELIVERED)))
        unknown = QueuedRow(IDS[9], 0, NOW)
        assert await storage.forget_rows(1, [*rows, unknown], NOW + 20) == 1
        assert await storage.forget_rows(1, rows, NOW + 30) == 0
        assert await storage.forget_rows(1, [], NOW + 30) == 0
        assert await status_of(storage, IDS[1], 1) == PENDING
        assert await status_of(storage, IDS[2], 1) == QUEUED
        await checked_ledger(storage)
        [due] = await storage.pending(1, NOW + 40, 9, INLINE)
        assert due.message.id == IDS[1]
        # A retry time to come stays.
        assert await storage.forget_rows(1, [QueuedRow(IDS[2], 1, NOW + 5)], NOW + 50) == 1
        assert len(await storage.pending(1, NOW + 899, 9, INLINE)) == 1
        assert len(await storage.pending(1, NOW + 900, 9, INLINE)) == 2

    run(scenario())


def test_relisting_what_is_listed_changes_nothing(storage: Storage, run: Run) -> None:
    async def scenario() -> None:
        await fill(storage)
        before = await storage.pending(2, NOW, 9, INLINE)
        await storage.relist({(id_, sub_id) for id_ in IDS for sub_id in (1, 2)})
        assert await storage.pending(2, NOW, 9, INLINE) == before
        assert (await storage.audit(ignore)).unlisted == []

    run(scenario())
