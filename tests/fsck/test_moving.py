"""A server that shows each statement another moment: nothing is taken for a difference by it."""

import asyncio

from notify.fsck.books import Books
from notify.fsck.findings import Check
from notify.storage.mysql import MysqlStorage
from notify_core.records import DELIVERED
from tests.conformance.storage.samples import chunks, grid, message_ids, outcome
from tests.fsck.conftest import DATABASE
from tests.servers.mariadb import Mariadb


class Silent:
    def step(self, what: str, done: int, total: int) -> None:
        """Say nothing."""


def test_what_moves_in_each_count_alike_is_no_difference(server: Mariadb, run) -> None:
    ids = message_ids(20)
    left = list(ids)
    writer = MysqlStorage(server.options(DATABASE, "&connections_max=1"))

    def deliver_one(statement: bytes) -> None:
        """Between the accounts and the rows, as a Marker does."""
        if b"(msg_id >" in statement and statement.startswith(
            b"SELECT msg_id, sub_id, status FROM"
        ):
            asyncio.run(writer.mark(chunks(outcome(left.pop(), 1, DELIVERED))))

    async def scenario() -> None:
        await writer.open()
        await writer.insert_deliveries(grid(ids, [1]))
        ((was,),) = server.sql("SELECT @@GLOBAL.tx_isolation")
        server.sql("SET GLOBAL tx_isolation = 'READ-COMMITTED'")
        try:
            reader = MysqlStorage(server.options(DATABASE), record=deliver_one)
            await reader.open()
            found = await Books(reader, Silent()).check(repair=True)
            await reader.close()
        finally:
            server.sql(f"SET GLOBAL tx_isolation = '{was}'")
        assert [one.check for one in found] == [Check.LEDGER], "it cannot be told"
        assert "stop the services" in found[0].text
        kept = await writer.ledger()
        assert kept == await writer.counted_ledger(), "a repair of nothing made it wrong"
        await writer.close()

    run(scenario())
    server.empty(DATABASE)
