"""The Maker alone, fan-out 1, 5 and 20: `python -m bench.stages.maker`.

Its ingest stream is full and its queues are empty; nobody takes what it pushes. The baseline works
on the same messages one at a time. The ceilings do without a Maker: its delivery rows as finished
multi-row INSERTs on one connection, its chunks as pipelined pushes of redis-benchmark, and what
the two make one after the other.
"""

import json
import os
import subprocess
import time
from contextlib import ExitStack
from functools import partial

from bench.baseline.maker_naive import UNDER_WAY
from bench.baseline.naive_queue import MESSAGES, QUEUE
from bench.figures import Figure
from bench.stages import command
from bench.stores import WARM, Sample, Stores, Timed, figure, payload
from notify.domain.ports import Push
from notify.runtime.streams import INGEST
from notify.storage.mysql.connection import connect
from notify.storage.mysql.deliveries import plain
from notify.storage.mysql.queries import ROWS_MAX, STATEMENT_BYTES
from notify_core import chunk, fanout
from notify_core.records import MessageRecord

FAN_OUTS = (1, 5, 20)
DELIVERIES = 150_000  # of a round; the baseline's are so many times less
SLOWER = 150
ROUNDS = 3
TYPE = "order.paid"
# As one commit of the Api stores them under load.
CHUNK_ROWS = 100
PUSHES_AT_A_TIME = 50
# Commands of redis-benchmark that are under way together, and keys that they are spread over.
PIPELINE, KEYS = 16, 50


class Case:
    """One fan-out."""

    def __init__(self, stores: Stores, producer_id: int, sub_ids: list[int]) -> None:
        self._stores = stores
        self._producer_id = producer_id
        self._sub_ids = sub_ids

    @property
    def fan_out(self) -> int:
        return len(self._sub_ids)

    def messages(self, count: int) -> list[MessageRecord]:
        return [
            MessageRecord(id_, self._producer_id, TYPE, "", b"", "", 0, 0, payload)
            for id_ in self._stores.message_ids(count)
        ]

    async def ours(self, pid: int, messages: int) -> Sample:
        stores = self._stores
        records = self.messages(messages)

        async def fill() -> None:
            parts = [records[at : at + CHUNK_ROWS] for at in range(0, messages, CHUNK_ROWS)]
            pushes = [Push(INGEST, chunk.pack_messages(1, part), len(part)) for part in parts]
            for at in range(0, len(pushes), PUSHES_AT_A_TIME):
                await stores.queue.push(pushes[at : at + PUSHES_AT_A_TIME])

        return await stores.work_off("maker", pid, messages, fill, partial(stores.left, INGEST))

    async def naive(self, pid: int, messages: int) -> Sample:
        with self._stores.redis.client() as client:

            async def fill() -> None:
                pipe = client.pipeline(transaction=False)
                for record in self.messages(messages):
                    job = {"id": record.id, "producer": record.biz_id, "type": TYPE,
                           "payload": payload.decode()}  # fmt: skip
                    pipe.lpush(MESSAGES, json.dumps(job))
                pipe.execute()

            async def left() -> int:
                return int(client.llen(MESSAGES)) + int(client.llen(UNDER_WAY))

            sample = await self._stores.work_off("maker", pid, messages, fill, left)
            client.delete(QUEUE)
            return sample

    def rows(self, messages: int) -> Sample:
        """The same rows as finished statements, each its own commit."""
        table = fanout.Table([(sub_id, self._producer_id, []) for sub_id in self._sub_ids])
        ingest = [chunk.pack_messages(1, self.messages(messages))]
        now_ms = time.time_ns() // 1_000_000
        split = fanout.split(table, ingest, {}, now_ms, 0, (), CHUNK_ROWS, 1 << 20)
        statements = [plain(text) for text in split.insert_sql(ROWS_MAX, STATEMENT_BYTES)]
        db = connect(self._stores.options, 0)
        timed = Timed(self._stores.pids(client=os.getpid()))
        db.change_all(statements)
        sample = timed.sample(messages)
        db.close()
        return sample

    def pushes(self, messages: int) -> Sample:
        """As many chunks as large, by redis-benchmark, which ends an argument at its first NUL."""
        chunks = messages * self.fan_out // CHUNK_ROWS
        size = len(chunk.pack_messages(1, self.messages(CHUNK_ROWS)))
        command = ["redis-benchmark", "-s", str(self._stores.redis.socket), "-q", "-c", "1",
                   "-P", str(PIPELINE), "-n", str(chunks), "-r", str(KEYS),
                   "-x", "RPUSH", "bench:__rand_int__"]  # fmt: skip
        before = os.times()
        timed = Timed(self._stores.pids())
        subprocess.run(command, input=b"x" * size, check=True, stdout=subprocess.DEVNULL)
        sample = timed.sample(messages)
        after = os.times()
        client_s = after[2] + after[3] - before[2] - before[3]
        with self._stores.redis.client() as client:
            client.delete(*client.keys("bench:*"))
        return sample._replace(cpu_s={**sample.cpu_s, "client": client_s})


def in_turn(one: Sample, other: Sample) -> Sample:
    """Both, one after the other."""
    cpu_s = {name: one.cpu_s[name] + other.cpu_s[name] for name in one.cpu_s}
    return Sample(one.units, one.seconds + other.seconds, cpu_s)


async def measure(scale: float) -> list[Figure]:
    """The figures of all fan-outs."""
    figures: list[Figure] = []
    with ExitStack() as stack:
        stores = Stores(stack)
        await stores.open()
        for fan_out in FAN_OUTS:
            case = Case(stores, *await stores.subscribe(fan_out))
            figures += await measure_case(stores, case, scale)
        await stores.close()
    return figures


async def measure_case(stores: Stores, case: Case, scale: float) -> list[Figure]:
    count = int(DELIVERIES * scale) // case.fan_out // CHUNK_ROWS * CHUNK_ROWS
    few = max(1, count // SLOWER)
    ours, naive, rows, pushes = [], [], [], []
    await stores.fresh_queue()
    with stores.service("maker") as maker, stores.baseline("maker_naive") as baseline:
        await case.ours(maker, max(count // WARM, CHUNK_ROWS))
        await case.naive(baseline, max(few // WARM, 1))
        for _ in range(ROUNDS):
            ours.append(await case.ours(maker, count))
            naive.append(await case.naive(baseline, few))
            rows.append(case.rows(count))
            pushes.append(case.pushes(count))
    both = [in_turn(one, other) for one, other in zip(rows, pushes, strict=True)]
    made = partial(figure, "maker", f"fan-out {case.fan_out}", unit="messages")
    return [
        made("notify", "Maker", samples=ours),
        made("baseline", "one message at a time", samples=naive),
        made("ceiling", "INSERT and push in turn", samples=both),
        made("ceiling", "INSERT alone", samples=rows),
        made("ceiling", "push alone", samples=pushes),
    ]


if __name__ == "__main__":
    command.run(measure)
