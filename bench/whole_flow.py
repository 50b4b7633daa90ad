"""The whole flow over MySQL and Redis, each service a process: `python -m bench.whole_flow`.

Starts private servers (durable commits), `notify up` with one process of each service, and an
endpoint that answers 200. First as much as the system takes, in batches over HTTP; then half of
that, evenly, for the latencies. Prints rates, and CPU seconds per 100 000 deliveries by process.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from notify.cli.api_client import ApiClient, ApiError
from notify.config import load
from tests.servers.mariadb import PASSWORD_IN_URL, USER, Mariadb
from tests.servers.redis import RedisServer

ROOT = Path(__file__).parents[1]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
CONNECTIONS = 4
LOOK_S = 0.05
NOTE = "x" * 540
KEYS = 1000
TOKEN = "bench"
SETTINGS = ("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=1G")


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, its threads included."""
    text = Path(f"/proc/{pid}/stat").read_text()
    user, system = text.rpartition(") ")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS_PER_S


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


class Set:
    """Servers, services and the sink; `pids` by name."""

    def __init__(self, stack: ExitStack, workers: int) -> None:
        database, queue = Mariadb(SETTINGS), RedisServer()
        stack.callback(database.remove)
        stack.callback(queue.remove)
        database.create()
        database.sql("CREATE DATABASE nt_flow")
        queue.start()
        self.redis = queue
        self.sink = stack.enter_context(process([sys.executable, "-m", "bench.sink"], {}))
        self.port = int(self.sink.stdout.readline())  # type: ignore[union-attr]
        login = f"{USER}:{PASSWORD_IN_URL}"
        environ = {
            "NOTIFY_STORAGE__URL": f"mysql+unix://{login}@/nt_flow?socket={database.socket}",
            "NOTIFY_QUEUE__URL": queue.url,
            "NOTIFY_API__ADMIN_TOKEN": TOKEN,
            "NOTIFY_SENDER__ALLOW_CIDRS": "127.0.0.0/8",
            "NOTIFY_RUNTIME__LOG_LEVEL": "warning",
        }
        up = stack.enter_context(
            process(
                [sys.executable, "-m", "notify", "up", "--port=0", f"--workers={workers}"], environ
            )
        )
        self.pids = {"mariadbd": database.pid, "redis-server": queue.pid, "sink": self.sink.pid}
        self.url = ""
        while not self.url:
            line = up.stdout.readline()  # type: ignore[union-attr]
            assert line, "notify up ended"
            name, _, rest = line.partition(" (pid ")
            if rest:
                self.pids[name] = int(rest.partition(")")[0])
            elif line.startswith("Notify is up at "):
                self.url = line.split()[4].rstrip(",")
        self.pids["producer"] = os.getpid()

    def cpu(self) -> dict[str, float]:
        return {name: cpu_s(pid) for name, pid in self.pids.items()}

    def latencies_ms(self) -> list[float]:
        """What the sink saw since it was asked last."""
        self.sink.stdin.write("\n")  # type: ignore[union-attr]
        self.sink.stdin.flush()  # type: ignore[union-attr]
        found: list[float] = json.loads(self.sink.stdout.readline())  # type: ignore[union-attr]
        return found


@contextmanager
def process(arguments: list[str], environ: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """A program of this project, stopped at the end."""
    with subprocess.Popen(
        arguments,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    ) as made:
        try:
            yield made
        finally:
            made.stdin.close()  # type: ignore[union-attr]
            made.terminate()
            made.wait()


class Flow:
    """A producer and its subscriptions; what was sent and what became of it."""

    def __init__(self, api: ApiClient, fan_out: int, ordering: str = "none") -> None:
        self.api = api
        self.fan_out = fan_out
        self.policy = {"concurrency_max": 64, "ordering": ordering}
        self.sent = 0

    async def configure(self, port: int) -> None:
        async def made(path: str, body: Any) -> Any:
            return await self.api.call("POST", path, TOKEN, body)

        producer = await made("/v1/producers", {"name": "shop"})
        self.key = producer["api_key"]
        for number in range(self.fan_out):
            url = f"http://127.0.0.1:{port}/{number}"
            consumer = await made("/v1/consumers", {"name": f"c{number}", "url": url})
            wanted = {"producer_id": producer["id"], "consumer_id": consumer["id"]}
            await made("/v1/subscriptions", {**wanted, **self.policy})

    async def send(self, count: int) -> None:
        """One batch, as often as it takes."""
        while True:
            payload = {"sent_ns": time.time_ns(), "note": NOTE}
            batch = [
                {"type": "order.paid", "payload": payload, "ordering_key": f"{n % KEYS}"}
                for n in range(self.sent, self.sent + count)
            ]
            try:
                await self.api.call("POST", "/v1/messages", self.key, msgspec.Raw(_json(batch)))
            except ApiError as error:
                if error.code != 503:
                    raise
                await asyncio.sleep(0.02)
            else:
                self.sent += count
                return

    async def delivered(self) -> int:
        rows = (await self.api.call("GET", "/v1/stats", TOKEN))["subscriptions"]
        return sum(row["delivered"] for row in rows)

    async def settle(self) -> None:
        """Until every delivery is marked as delivered."""
        while await self.delivered() < self.sent * self.fan_out:  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(LOOK_S)

    async def full(self, messages: int, batch: int) -> tuple[float, float]:
        """Send as fast as is taken: seconds until the last was accepted, and delivered."""
        left = iter(range(messages // batch))
        started = time.perf_counter()

        async def one() -> None:
            for _ in left:
                await self.send(batch)

        await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
        accepted_s = time.perf_counter() - started
        await self.settle()
        return accepted_s, time.perf_counter() - started

    async def steady(self, rate: float, seconds: float, batch: int) -> None:
        """Send at an even rate, late or not."""
        pause_s, tasks = batch / rate, []
        began = time.perf_counter()
        for number in range(int(seconds / pause_s)):
            await asyncio.sleep(max(0.0, began + number * pause_s - time.perf_counter()))
            tasks.append(asyncio.create_task(self.send(batch)))
        await asyncio.gather(*tasks)
        await self.settle()


def api_of(system: Set) -> ApiClient:
    flags = {"sender.allow_cidrs": ["127.0.0.0/8"], "sender.response_kept_bytes": 65536}
    return ApiClient(system.url, load(environ={}, flags=flags).sender)


async def measure(system: Set, asked: argparse.Namespace) -> dict[str, Any]:
    api = api_of(system)
    flow = Flow(api, asked.fan_out, asked.ordering)
    await flow.configure(system.port)
    await flow.full(asked.messages // 5, asked.batch)  # warm
    before = system.cpu()
    accepted_s, delivered_s = await flow.full(asked.messages, asked.batch)
    used = {name: used_s - before[name] for name, used_s in system.cpu().items()}
    deliveries = asked.messages * asked.fan_out
    rate = asked.messages / delivered_s
    system.latencies_ms()
    await flow.steady(rate / 2, asked.seconds, asked.steady_batch)
    await asyncio.sleep(0.1)
    latencies = sorted(system.latencies_ms())
    await api.close()
    cuts = statistics.quantiles(latencies, n=100)
    return {
        "messages": asked.messages,
        "fan_out": asked.fan_out,
        "accepted_per_s": round(asked.messages / accepted_s),
        "delivered_per_s": round(deliveries / delivered_s),
        "half_load_messages_per_s": round(rate / 2),
        "p50_ms": round(cuts[49], 1),
        "p99_ms": round(cuts[98], 1),
        "cpu_s_per_100k_deliveries": {
            name: round(used_s / deliveries * 100_000, 2) for name, used_s in used.items()
        },
        "rss_mb": {name: round(rss_mb(pid)) for name, pid in system.pids.items()},
    }


def show(result: dict[str, Any]) -> None:
    console = Console()
    console.print(
        f"fan-out {result['fan_out']}: accepted {result['accepted_per_s']:,}/s, delivered and"
        f" marked {result['delivered_per_s']:,}/s; at {result['half_load_messages_per_s']:,}"
        f" messages/s, sent to arrived: p50 {result['p50_ms']} ms, p99 {result['p99_ms']} ms"
    )
    table = Table("process", "CPU s per 100 000 deliveries", "RSS MB")
    for name, used_s in result["cpu_s_per_100k_deliveries"].items():
        table.add_row(name, f"{used_s:.2f}", str(result["rss_mb"][name]))
    total = sum(result["cpu_s_per_100k_deliveries"].values())
    table.add_row("all", f"{total:.2f}", "")
    console.print(table)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--fan-out", type=int, default=1)
    parser.add_argument("--batch", type=int, default=100, help="messages a request, at full load")
    parser.add_argument("--steady-batch", type=int, default=10, help="the same at half load")
    parser.add_argument("--seconds", type=float, default=10, help="how long half load lasts")
    parser.add_argument(
        "--ordering", choices=("none", "key", "strict"), default="none",
        help=f"of the subscriptions; messages have {KEYS} keys",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, help="processes of each service")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with ExitStack() as stack:
        result = uvloop.run(measure(Set(stack, asked.workers), asked))
    if asked.json:
        print(json.dumps(result))
    else:
        show(result)


if __name__ == "__main__":
    main()
