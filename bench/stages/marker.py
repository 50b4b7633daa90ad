"""The Marker alone, all success and mixed: `python -m bench.stages.marker`.

Its mark stream is full, of deliveries of five subscriptions that are queued in the database. Mixed:
of 100 outcomes 85 are first successes, 10 failures that are tried again, 4 successes at the second
try, 1 a dead letter. The baseline marks the same kinds one at a time. The ceiling does without a
Marker: the best bulk statements that are portable, finished, on one connection.
"""

import json
import os
import time
from contextlib import ExitStack
from functools import partial

from bench.baseline.marker_naive import STATUSES, UNDER_WAY
from bench.baseline.naive_queue import MARKS
from bench.figures import Figure
from bench.stages import command
from bench.stores import WARM, Sample, Stores, Timed, figure
from notify.domain.ports import Push
from notify.runtime.streams import MARK
from notify.storage.mysql import queries
from notify.storage.mysql.connection import connect
from notify.storage.mysql.deliveries import plain
from notify_core import chunk, fanout, mark
from notify_core.records import (
    DELIVERED,
    DROPPED,
    QUEUED,
    REASON_EXHAUSTED,
    REASON_NONE,
    MessageRecord,
    OutcomeRecord,
)

SUBSCRIPTIONS = 5
OUTCOMES = 150_000  # of a round; the baseline's are so many times less
SLOWER = 100
ROUNDS = 3
# As a Sender hands them on under load (sender.outcome_rows_max).
CHUNK_ROWS = 500
SPLIT_ROWS = 5000
PUSHES_AT_A_TIME = 50
ERROR = "the endpoint answered 503"
RESPONSE = b"upstream connect error or disconnect/reset before headers"
LATER_MS = 30_000


class Case:
    """One mix of outcomes. mixed: not all are successes."""

    def __init__(
        self, stores: Stores, producer_id: int, sub_ids: list[int], *, mixed: bool
    ) -> None:
        self._stores = stores
        self._table = fanout.Table([(sub_id, producer_id, []) for sub_id in sub_ids])
        self._producer_id = producer_id
        self._sub_ids = sub_ids
        self.mixed = mixed

    async def outcomes(self, count: int) -> list[OutcomeRecord]:
        """Outcomes of as many new deliveries, which the database shows as queued."""
        ids = self._stores.message_ids(count // len(self._sub_ids))
        now_ms = time.time_ns() // 1_000_000
        for part in queries.parts(ids, SPLIT_ROWS // len(self._sub_ids)):
            records = [
                MessageRecord(id_, self._producer_id, "x", "", b"", "", 0, 0, b"") for id_ in part
            ]
            ingest = [chunk.pack_messages(0, records)]
            split = fanout.split(self._table, ingest, {}, now_ms, 0, (), 100, 1 << 20)
            await self._stores.storage.insert_deliveries(split)
        keys = [(id_, sub_id) for id_ in ids for sub_id in self._sub_ids]
        return [self._outcome(n, *key, now_ms) for n, key in enumerate(keys)]

    def _outcome(self, number: int, msg_id: int, sub_id: int, now_ms: int) -> OutcomeRecord:
        kind = number * 37 % 100 if self.mixed else 0  # mixed well over the subscriptions
        if kind < 85:
            return OutcomeRecord(
                msg_id, sub_id, DELIVERED, 1, now_ms, 0, 12, 200, REASON_NONE, "", b""
            )
        if kind < 95:
            return OutcomeRecord(
                msg_id, sub_id, QUEUED, 1, now_ms, now_ms + LATER_MS, 12, 503, REASON_NONE,
                ERROR, RESPONSE,
            )  # fmt: skip
        if kind < 99:
            return OutcomeRecord(
                msg_id, sub_id, DELIVERED, 2, now_ms, 0, 12, 200, REASON_NONE, "", b""
            )
        return OutcomeRecord(
            msg_id, sub_id, DROPPED, 10, now_ms, 0, 12, 503, REASON_EXHAUSTED, ERROR, RESPONSE
        )

    async def ours(self, pid: int, count: int) -> Sample:
        stores = self._stores
        outcomes = await self.outcomes(count)

        async def fill() -> None:
            parts = list(queries.parts(outcomes, CHUNK_ROWS))
            pushes = [Push(MARK, chunk.pack_outcomes(part), len(part)) for part in parts]
            for part in queries.parts(pushes, PUSHES_AT_A_TIME):
                await stores.queue.push(part)

        return await stores.work_off("marker", pid, count, fill, partial(stores.left, MARK))

    async def naive(self, pid: int, count: int) -> Sample:
        names = {status: name for name, status in STATUSES.items()}
        outcomes = await self.outcomes(count)
        with self._stores.redis.client() as client:

            async def fill() -> None:
                pipe = client.pipeline(transaction=False)
                for one in outcomes:
                    told = {
                        "id": one.msg_id, "subscription": one.sub_id, "attempts": one.attempts,
                        "code": one.code, "status": names[one.status],
                        "latency_ms": one.latency_ms, "error": one.error,
                    }  # fmt: skip
                    pipe.rpush(MARKS, json.dumps(told))
                pipe.execute()

            async def left() -> int:
                return int(client.llen(MARKS)) + int(client.llen(UNDER_WAY))

            return await self._stores.work_off("marker", pid, count, fill, left)

    async def statements(self, count: int) -> Sample:
        """The same keys in finished statements, each its own commit."""
        outcomes = await self.outcomes(count)
        db = connect(self._stores.options, 0)
        statements: list[bytes] = []
        retries: list[tuple[int, ...]] = []
        for part in queries.parts(outcomes, CHUNK_ROWS * PUSHES_AT_A_TIME):
            marks = mark.group([chunk.pack_outcomes(part)], ())
            statements += marks.finals_sql(queries.IDS_MAX)
            retries += marks.retries
            logged = marks.attempts_sql(queries.ROWS_MAX, queries.STATEMENT_BYTES)
            statements += [plain(text) for text in logged]
        statements += queries.insert("move", retries, queries.STATEMENT_BYTES)
        timed = Timed(self._stores.pids(client=os.getpid()))
        db.change_all(statements)
        sample = timed.sample(count)
        db.close()
        return sample


async def measure(scale: float) -> list[Figure]:
    """The figures of both mixes."""
    figures: list[Figure] = []
    with ExitStack() as stack:
        stores = Stores(stack)
        await stores.open()
        producer_id, sub_ids = await stores.subscribe(SUBSCRIPTIONS)
        for mixed in (False, True):
            case = Case(stores, producer_id, sub_ids, mixed=mixed)
            figures += await measure_case(stores, case, scale)
        await stores.close()
    return figures


async def measure_case(stores: Stores, case: Case, scale: float) -> list[Figure]:
    count = max(int(OUTCOMES * scale) // CHUNK_ROWS, 1) * CHUNK_ROWS
    few = max(count // SLOWER // SUBSCRIPTIONS, 1) * SUBSCRIPTIONS
    ours, naive, ceiling = [], [], []
    with stores.service("marker") as marker, stores.baseline("marker_naive") as baseline:
        await case.ours(marker, max(count // WARM, CHUNK_ROWS))
        await case.naive(baseline, SUBSCRIPTIONS)
        for _ in range(ROUNDS):
            ours.append(await case.ours(marker, count))
            naive.append(await case.naive(baseline, few))
            ceiling.append(await case.statements(count))
    name = "mixed" if case.mixed else "all success"
    made = partial(figure, "marker", name, unit="outcomes")
    return [
        made("notify", "Marker", samples=ours),
        made("baseline", "one outcome at a time", samples=naive),
        made("ceiling", "bulk statements alone", samples=ceiling),
    ]


if __name__ == "__main__":
    command.run(measure)
