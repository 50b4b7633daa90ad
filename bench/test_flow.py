"""The embedded product end to end: accepted to delivered and marked, SQLite, real HTTP.

One process for Notify, one for the sink. A round sends MESSAGES messages of 600 B in batches of
100 over the library and lasts until every delivery is marked in the database.
`make bench` shows messages/s and deliveries/s in the columns of extra information.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from notify.config import load
from notify.embedded import Notify

MESSAGES = 5_000
BATCH = 100
SENDERS = 4
ROUNDS = 3
PAYLOAD = {"order_id": 10001, "note": "x" * 570}


@pytest.fixture
def sink() -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.sink"],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    with process:
        yield int(process.stdout.readline())
        process.stdin.close()


async def configure(notify: Notify, port: int, fan_out: int) -> int:
    producer = await notify.add_producer("shop")
    for number in range(fan_out):
        consumer = await notify.add_consumer(f"c{number}", f"http://127.0.0.1:{port}/{number}")
        await notify.subscribe(producer.id, consumer.id, concurrency_max=32)
    return producer.id


async def flow(notify: Notify, producer_id: int, fan_out: int) -> None:
    """One round: everything sent, delivered and marked."""
    done_before = sum(row.delivered for row in (await notify.stats()).subscriptions)
    batches = iter(range(MESSAGES // BATCH))

    async def send() -> None:
        for _ in batches:
            await notify.send(producer_id, [{"type": "order.paid", "payload": PAYLOAD}] * BATCH)

    async with asyncio.TaskGroup() as group:
        for _ in range(SENDERS):
            group.create_task(send())
    while True:
        done = sum(row.delivered for row in (await notify.stats()).subscriptions)
        if done - done_before == MESSAGES * fan_out:
            return
        await asyncio.sleep(0.01)


@pytest.mark.benchmark(group="embedded flow")
@pytest.mark.parametrize("fan_out", [1, 5])
def test_embedded_flow(benchmark: Any, tmp_path: Path, sink: int, fan_out: int) -> None:
    config = load(
        environ={},
        flags={
            "storage.url": f"sqlite:///{tmp_path}/notify.db",
            "sender.allow_cidrs": ["127.0.0.0/8"],
            "queue.depth_max": MESSAGES * 2,
            "queue.ingest_depth_max": MESSAGES * 2,
        },
    )
    notify = Notify(config=config, http=False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(notify.__aenter__())
        producer_id = runner.run(configure(notify, sink, fan_out))
        benchmark.pedantic(
            lambda: runner.run(flow(notify, producer_id, fan_out)),
            rounds=ROUNDS,
            warmup_rounds=1,
        )
        runner.run(notify.__aexit__(None, None, None))
    seconds = benchmark.stats.stats.median
    benchmark.extra_info["messages_per_s"] = round(MESSAGES / seconds)
    benchmark.extra_info["deliveries_per_s"] = round(MESSAGES * fan_out / seconds)
    print(f"\nfan-out {fan_out}: {benchmark.extra_info}")
