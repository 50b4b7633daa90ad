"""Rates over tables that have grown: `python -m bench.stages.growth`.

Two servers in turn: one with empty tables, one with so many million deliveries, a fifth as many
messages, in tables larger than its buffer pool once there are some millions. Ingest is
insert_messages of an Api's batches on one connection; Maker and Marker are processes.
"""

import os
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from bench.figures import Figure
from bench.stages import command, maker, marker
from bench.stores import DATABASE, PAYLOAD_BYTES, Sample, Stores, Timed, figure, payload
from notify_core import ids, receive
from notify_core.body import Limits

FAN_OUT = 5
MILLIONS = (1,)
MILLIONS_FULL = (10, 50)
FULL_SCALE = 5
ROUNDS = 3
# Of a round: messages of ingest, messages of the Maker, outcomes of the Marker.
MESSAGES, SPLIT, OUTCOMES = 40_000, 20_000, 100_000
BATCH_ROWS = 500
SETTINGS = ("--innodb-buffer-pool-size=512M", "--innodb-log-file-size=1G",
            "--innodb-io-capacity=10000")  # fmt: skip
STEP = 500_000  # deliveries of one statement that fills
# A message every 10 ms: 50 million deliveries of fan-out 5 are 28 hours.
ID_STEP = 10 << 22
HISTORY_MS = 7 * 86_400_000
DIRTY_PERCENT = 5
SETTLE_S = 60.0


class Tables:
    """One server with its subscriptions, and how many deliveries it was filled with."""

    def __init__(self, stack: ExitStack) -> None:
        self.stores = Stores(stack, SETTINGS)
        self._first = ids.id_floor(time.time_ns() // 1_000_000 - HISTORY_MS)
        self._rows = 0

    async def open(self) -> None:
        await self.stores.open()
        self.producer_id, self.sub_ids = await self.stores.subscribe(FAN_OUT)
        self.maker = maker.Case(self.stores, self.producer_id, self.sub_ids)
        self.marker = marker.Case(self.stores, self.producer_id, self.sub_ids, mixed=False)

    def grow(self, rows: int) -> None:
        """Fill up to so many deliveries, all delivered, of messages that are older than now."""
        self._sql("SET GLOBAL innodb_flush_log_at_trx_commit=2")
        while self._rows < rows:
            step = min(STEP, rows - self._rows)
            self._add(self._rows // FAN_OUT, (self._rows + step) // FAN_OUT - 1)
            self._rows += step
        self._sql("SET GLOBAL innodb_flush_log_at_trx_commit=1")
        until = time.monotonic() + SETTLE_S
        while self._dirty_percent() > DIRTY_PERCENT and time.monotonic() < until:
            time.sleep(1)

    def _add(self, first: int, last: int) -> None:
        id_ = f"{self._first} + seq * {ID_STEP}"
        at_ms = f"({id_} >> 22)"
        numbers = f"seq_{first}_to_{last}"
        subscriptions = " UNION ALL ".join(f"SELECT {sub_id} AS sub_id" for sub_id in self.sub_ids)
        self._sql(
            f"INSERT INTO biz_msg ({receive.COLUMNS}) SELECT {id_}, {self.producer_id},"
            f" 'order.paid', '', '', '', '', 0, 0, REPEAT('x', {PAYLOAD_BYTES}) FROM {numbers}",
            "INSERT INTO receive_msg (msg_id,sub_id,status,attempts,reason,due_ms,updated_ms)"
            f" SELECT STRAIGHT_JOIN {id_}, sub_id, 2, 1, 0, 0, {at_ms}"
            f" FROM {numbers} JOIN ({subscriptions}) AS subs",
            *(
                "INSERT INTO ledger (sub_id,slot,matched,delivered,dropped,queued,pending)"
                f" VALUES ({sub_id},0,{last + 1 - first},{last + 1 - first},0,0,0)"
                " ON DUPLICATE KEY UPDATE matched = matched + VALUES(matched),"
                " delivered = delivered + VALUES(delivered)"
                for sub_id in self.sub_ids
            ),
        )

    def _dirty_percent(self) -> float:
        wanted = "SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_%'"
        pages = {name.rpartition("_")[2]: int(value) for name, value in self._sql(wanted)}
        return pages["dirty"] / pages["total"] * 100

    def _sql(self, *statements: str) -> tuple[tuple[Any, ...], ...]:
        return self.stores.database.sql(*statements, database=DATABASE)

    async def ingest(self, count: int) -> Sample:
        """Store messages as an Api does, batch after batch."""
        item = b'{"type":"order.paid","payload":%s}' % payload
        body = b"[%s]" % b",".join([item] * BATCH_ROWS)
        batches = []
        for _ in range(count // BATCH_ROWS):
            batch = receive.parse(body, "application/json", Limits(items_max=BATCH_ROWS))
            batch.stamp(self.producer_id, self.stores.message_ids(BATCH_ROWS))
            batches.append(batch)
        timed = Timed(self.stores.pids(client=os.getpid()))
        for batch in batches:
            await self.stores.storage.insert_messages(batch, time.time_ns() // 1_000_000)
        return timed.sample(len(batches) * BATCH_ROWS)


Round = Callable[[Tables], Awaitable[Sample]]


async def measure(scale: float) -> list[Figure]:
    """The figures of all sizes."""
    figures: list[Figure] = []
    with ExitStack() as stack:
        empty, grown = Tables(stack), Tables(stack)
        await empty.open()
        await grown.open()
        for millions in MILLIONS_FULL if scale >= FULL_SCALE else MILLIONS:
            rows = int(millions * 1_000_000 * min(scale, 1))
            grown.grow(rows)
            figures += await compare(empty, grown, rows, min(scale, 1))
        await empty.stores.close()
        await grown.stores.close()
    return figures


async def compare(empty: Tables, grown: Tables, rows: int, scale: float) -> list[Figure]:
    """The rates of both servers, in turn."""
    rounds: dict[str, tuple[str, Round]] = {}
    with ExitStack() as stack:
        pids = {
            (name, tables): stack.enter_context(tables.stores.service(name))
            for tables in (empty, grown)
            for name in ("maker", "marker")
        }
        messages, split, outcomes = (
            max(int(count * scale) // BATCH_ROWS, 1) * BATCH_ROWS
            for count in (MESSAGES, SPLIT, OUTCOMES)
        )
        rounds = {
            "ingest": ("messages", lambda tables: tables.ingest(messages)),
            "maker": ("messages", lambda t: t.maker.ours(pids["maker", t], split)),
            "marker": ("outcomes", lambda t: t.marker.ours(pids["marker", t], outcomes)),
        }
        found: dict[tuple[str, Tables], list[Sample]] = {}
        for number in range(ROUNDS + 1):
            for name, (_, run) in rounds.items():
                for tables in (empty, grown):
                    sample = await run(tables)
                    if number:  # the first one warms up
                        found.setdefault((name, tables), []).append(sample)
    figures = []
    for name, (unit, _) in rounds.items():
        made = partial(figure, "growth", f"{name}, {rows / 1e6:g} million rows", unit=unit)
        figures.append(made("notify", "grown tables", samples=found[name, grown]))
        figures.append(made("baseline", "empty tables", samples=found[name, empty]))
    return figures


if __name__ == "__main__":
    command.run(measure)
