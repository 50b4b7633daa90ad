"""What MariaDB keeps beside the deliveries, read as of one moment, a page at a time."""

import asyncio
import re

import pytest

from notify.domain.ports import Difference
from notify.fsck import Check
from notify.storage import tally
from notify.storage.mysql import MysqlStorage, audit, queries
from notify_core.records import DELIVERED, DROPPED, PENDING, QUEUED
from tests.conformance.storage.samples import checked_ledger, chunks, outcome
from tests.fsck.conftest import DATABASE
from tests.fsck.ground import Ground, Nobody
from tests.servers.mariadb import Mariadb
from tests.storage.mysql_dialect import skeleton


@pytest.fixture
def ground(shared_ground: Ground) -> Ground:
    return shared_ground


@pytest.fixture
def sql(server: Mariadb):
    return lambda *statements: server.sql(*statements, database=DATABASE)


def test_deliveries_that_no_list_shows(ground: Ground, run, sql) -> None:
    async def scenario() -> None:
        waiting = await ground.deliveries(4, PENDING)
        retried = await ground.deliveries(2, PENDING, [1], due_ms=77)
        dropped = await ground.deliveries(3, DROPPED)
        sql(
            f"DELETE FROM receive_timer WHERE sub_id = 1 AND msg_id = {waiting[0]}",
            f"DELETE FROM receive_timer WHERE sub_id = 1 AND msg_id = {retried[0]}",
            f"DELETE FROM receive_drop WHERE sub_id = 2 AND msg_id = {dropped[1]}",
            # A timer that nothing waits for is passed over by who reads it.
            "INSERT INTO receive_timer (sub_id, due_ms, msg_id) VALUES (2, 5, 5)",
        )
        # At a wrong time it is not found when it is due.
        sql(f"UPDATE receive_timer SET due_ms = 99 WHERE sub_id = 1 AND msg_id = {retried[1]}")
        found = await ground.check()
        assert {key: one.count for key, one in found.items()} == {
            ("unlisted", 1): 3,
            ("unlisted", 2): 1,
        }
        assert found["unlisted", 2].message_ids == (str(dropped[1]),)
        await ground.repair()
        now_ms = ground.clock.now_ms()
        due = await ground.storage.pending(1, now_ms, 99, 0)
        assert [one.message.id for one in due] == [*waiting, *retried]

    run(scenario())


def test_rows_changed_behind_the_accounts_back(ground: Ground, run, sql) -> None:
    """Found by counting: the accounts do not know of them, so the Rescuer cannot."""

    async def scenario() -> None:
        done = await ground.deliveries(5, DELIVERED, [1])
        sql(f"UPDATE receive_msg SET status = 1 WHERE msg_id IN ({done[1]}, {done[3]})")
        storage, now_ms = ground.storage, ground.clock.now_ms()
        assert await storage.forget_queued([1], now_ms, now_ms) == 0
        found = await ground.check()
        assert {key: one.count for key, one in found.items()} == {
            ("ledger", 1): 2,
            ("forgotten", 1): 2,
        }
        await ground.repair()
        await checked_ledger(storage)

    run(scenario())


def test_a_right_account_in_wrong_slots(ground: Ground, run, sql) -> None:
    async def scenario() -> None:
        made = await ground.queued(4)
        sql("UPDATE ledger SET slot = slot + 8000 WHERE sub_id = 2")
        assert await checked_ledger(ground.storage)
        found = await ground.check()
        assert set(found) == {("ledger", 2)}
        assert "wrong slots" in found["ledger", 2].text
        await ground.repair()
        # Now the Rescuer finds them again.
        now_ms = ground.clock.now_ms()
        assert await ground.storage.forget_queued([2], now_ms, now_ms) == len(made)

    run(scenario())


def test_what_is_written_during_an_audit_is_no_difference(
    ground: Ground, run, server: Mariadb, monkeypatch
) -> None:
    monkeypatch.setattr(audit, "PAGE_ROWS", 2)

    async def scenario() -> None:
        made = await ground.queued(12)
        await ground.storage.correct_ledger(0, {1: Difference(0, 0, 0, 7, 0)})
        left = [outcome(id_, sub, DELIVERED) for id_ in made for sub in (2, 1)]

        class Meddler(Nobody):
            """Marks a delivery, before and behind what is counted, after each page."""

            def step(self, what: str, done: int, total: int) -> None:
                super().step(what, done, total)
                if what.startswith("Counting") and left:
                    with asyncio.Runner() as runner:
                        runner.run(mark(left.pop(len(left) // 2)))

        async def mark(one) -> None:
            storage = MysqlStorage(server.options(DATABASE))
            await storage.open()
            await storage.mark(chunks(one))
            await storage.close()

        watcher = Meddler()
        report = await ground.fsck(watcher=watcher).run(repair=True)
        # The real difference, as it was made, and nothing else of the accounts.
        accounts = [(one.count, one.text) for one in report.findings if one.check is Check.LEDGER]
        assert accounts == [(7, "counted less kept: queued -7; the repair adds it")]
        assert report.clean
        assert len(watcher.steps) > 24
        await checked_ledger(ground.storage)

    run(scenario())


def test_no_statement_reads_more_than_a_page(
    ground: Ground, run, server: Mariadb, monkeypatch
) -> None:
    monkeypatch.setattr(audit, "PAGE_ROWS", 50)
    sent: list[str] = []

    async def scenario() -> None:
        await ground.queued(60, size=20)
        await ground.deliveries(70, PENDING)
        await ground.deliveries(70, DROPPED)
        await ground.deliveries(80, QUEUED)
        await ground.store(30)
        storage = MysqlStorage(
            server.options(DATABASE), record=lambda text: sent.append(text.decode())
        )
        await storage.open()
        report = await ground.fsck(storage=storage).run(repair=True)
        assert report.clean
        await storage.close()

    run(scenario())
    reads = [text for text in sent if text.startswith("SELECT") and "receive" in text]
    assert len(reads) > 100
    for text in reads:
        if " IN (" in text:
            [wanted] = re.findall(r" IN \(([\d,]+)\)", text)
            assert wanted.count(",") < queries.IDS_MAX
        elif "FROM receive_msg" in text:
            [limit] = re.findall(r"LIMIT (\d+)$", text.strip())
            assert int(limit) <= queries.ROWS_MAX
        elif "JOIN receive_msg" in text:
            # Between the ends of two pages there are no more messages than rows of a page.
            assert re.search(r"m\.id > -?\d+ AND m\.id < \d+", text), text
        else:
            assert skeleton(text.encode()).endswith(("LIMIT ?", "LIMIT 1000000")), text
    assert tally.PAGE_ROWS <= 50_000
