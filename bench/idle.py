"""What an idle system costs: `python -m bench.idle`.

Notify as `notify up` starts it, with a thousand subscriptions and no messages: commands a second
that Redis gets, those inside functions counted, and the CPU of every process.
"""

import argparse
import asyncio
import json
import time
from contextlib import ExitStack
from typing import Any

import uvloop

from bench.system import System
from tests.servers.redis import RedisServer

# Until every worker has looked at every subscription.
SETTLE_S = 15.0


def commands(server: RedisServer) -> dict[str, int]:
    with server.client() as client:
        stats = client.info("commandstats")
    return {
        name.removeprefix("cmdstat_"): int(entry["calls"])
        for name, entry in stats.items()
        if name != "cmdstat_info"
    }


async def measure(system: System, asked: argparse.Namespace) -> dict[str, Any]:
    await system.subscribe([system.endpoints.url("swift", 0)], types=["order.0"])
    for number in range(1, asked.subscriptions):
        wanted = {"producer_id": 1, "consumer_id": 1, "types": [f"order.{number}"]}
        await system.call("POST", "/v1/subscriptions", wanted)
    await asyncio.sleep(SETTLE_S)
    before, used, began = commands(system.redis), system.cpu_s(), time.perf_counter()
    await asyncio.sleep(asked.seconds)
    after, used_after = commands(system.redis), system.cpu_s()
    seconds = time.perf_counter() - began
    await system.close()
    rates = {name: round((n - before.get(name, 0)) / seconds, 1) for name, n in after.items()}
    return {
        "subscriptions": asked.subscriptions,
        "redis_commands_per_s": round(sum(rates.values()), 1),
        "by_command": {name: rate for name, rate in rates.items() if rate},
        "cpu_percent": {
            name: round((used_after[name] - used[name]) / seconds * 100, 1) for name in used
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscriptions", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--workers", type=int, default=1, help="processes of each service")
    asked = parser.parse_args()
    with ExitStack() as stack:
        print(json.dumps(uvloop.run(measure(System(stack, asked.workers), asked)), indent=2))


if __name__ == "__main__":
    main()
