"""What an idle system costs: `python -m bench.idle`.

The set of bench.whole_flow with a thousand subscriptions and no messages: commands a second that
Redis gets, those inside functions counted, and the CPU of every process.
"""

import argparse
import asyncio
import json
import time
from contextlib import ExitStack
from typing import Any

import uvloop

from bench.whole_flow import TOKEN, Flow, Set, api_of
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


async def measure(system: Set, asked: argparse.Namespace) -> dict[str, Any]:
    flow = Flow(api_of(system), 0)
    await flow.configure(system.port)
    target = {"name": "crm", "url": f"http://127.0.0.1:{system.port}/"}
    consumer = await flow.api.call("POST", "/v1/consumers", TOKEN, target)
    for number in range(asked.subscriptions):
        wanted = {"producer_id": 1, "consumer_id": consumer["id"], "types": [f"order.{number}"]}
        await flow.api.call("POST", "/v1/subscriptions", TOKEN, wanted)
    await asyncio.sleep(SETTLE_S)
    before, used, began = commands(system.redis), system.cpu(), time.perf_counter()
    await asyncio.sleep(asked.seconds)
    after, used_after = commands(system.redis), system.cpu()
    seconds = time.perf_counter() - began
    await flow.api.close()
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
        print(json.dumps(uvloop.run(measure(Set(stack, asked.workers), asked)), indent=2))


if __name__ == "__main__":
    main()
