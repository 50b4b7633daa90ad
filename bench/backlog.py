"""Redis memory while millions of deliveries wait for dead consumers: `python -m bench.backlog`.

Notify as `notify up` starts it, with subscriptions whose endpoint refuses connections. Sends until
so many deliveries wait, and shows on the way what waits where and what Redis holds. Deliveries
beyond queue.depth_max of a subscription wait in the database, so the memory ends up flat.
"""

import argparse
import asyncio
import json
import time
from contextlib import ExitStack
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from bench.load import Load
from bench.system import System

LOOKS = 10
BATCH = 500


async def look(system: System, load: Load) -> dict[str, Any]:
    """What waits where, now."""
    rows = (await system.call("GET", "/v1/stats"))["subscriptions"]
    with system.redis.client() as client:
        memory = client.info("memory")
    return {
        "accepted": load.sent,
        "queued": sum(row["queued"] for row in rows),
        "pending": sum(row["pending"] for row in rows),
        "redis_mb": round(memory["used_memory"] / 1e6, 1),
        "redis_rss_mb": round(memory["used_memory_rss"] / 1e6, 1),
    }


async def fill(system: System, asked: argparse.Namespace, console: Console) -> list[dict[str, Any]]:
    dead = [system.endpoints.url("dead", number) for number in range(asked.fan_out)]
    load = Load(system.url, await system.subscribe(dead))
    messages = asked.deliveries // asked.fan_out
    looks: list[dict[str, Any]] = []
    began = time.perf_counter()
    for part in range(1, LOOKS + 1):
        await load.full(messages * part // LOOKS - load.sent, BATCH)
        while True:
            found = await look(system, load)
            if found["queued"] + found["pending"] == load.sent * asked.fan_out:
                break
            await asyncio.sleep(0.1)
        found["s"] = round(time.perf_counter() - began, 1)
        looks.append(found)
        if not asked.json:
            console.print(found)
    await load.close()
    await system.close()
    return looks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=2_000_000)
    parser.add_argument("--fan-out", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    console = Console()
    with ExitStack() as stack:
        looks = uvloop.run(fill(System(stack), asked, console))
    if asked.json:
        print(json.dumps(looks))
        return
    table = Table(*looks[0])
    for found in looks:
        table.add_row(*(f"{value:,}" for value in found.values()))
    console.print(table)


if __name__ == "__main__":
    main()
