"""What a Sender on one core delivers, beside what else one could run: `python -m bench.sender`.

The queue is full before it starts; endpoints that cost next to nothing are on the other core.
Each contender is a process of its own, all in turn, round after round. The first tenth warms up;
from there to the end count the time, and the CPU of the contender and of Redis. A rate "of a core"
is deliveries by CPU seconds: what it makes of a core that nobody else uses; ratios are of these.
"""

import argparse
import asyncio
import base64
import itertools
import json
import os
import platform
import secrets
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from bench.baseline.naive_queue import MARKS, QUEUE
from bench.lone_sender import BODY_BYTES, LOOK_S, Configured, Ground, body
from bench.processes import cpu_s, process, waited_s
from notify.cli.api_client import ApiError
from notify.domain.errors import NotifyError

MANY = 50
# In flight in all, by every contender but the naive one; ours: 64 of one, one each of 50.
CONCURRENCY = 64
WARM = 10  # of the deliveries, the first one in so many
STALLED_S = 60.0
KEYS = 1000  # ordering keys
PUSHED_AT_A_TIME = 500

Counted = Callable[[], Awaitable[int]]


class Contender(NamedTuple):
    """program: ours, naive, aiohttp or bare. slower: how many times less it gets to do."""

    program: str
    tls: bool
    endpoints: int
    slower: int

    @property
    def name(self) -> str:
        return f"{self.program} {'HTTPS' if self.tls else 'HTTP'} x {self.endpoints}"


CONTENDERS = [
    *(Contender("ours", tls, endpoints, 1) for tls in (False, True) for endpoints in (1, MANY)),
    *(Contender("bare", tls, endpoints, 1) for tls in (False, True) for endpoints in (1, MANY)),
    *(Contender("aiohttp", False, endpoints, 5) for endpoints in (1, MANY)),
    *(Contender("naive", False, endpoints, 25) for endpoints in (1, MANY)),
]


class Rate(NamedTuple):
    """What one run showed; waited: for its core, which other programs had."""

    per_s: float
    per_core_s: float
    redis_s_per_100k: float
    waited_percent: float


class Runs:
    """Runs contenders over one ground."""

    def __init__(self, ground: Ground, asked: argparse.Namespace) -> None:
        self._ground = ground
        self._asked = asked
        self._subscriptions: dict[tuple[bool, int], list[int]] = {}

    async def configure(self) -> None:
        """Subscriptions for all cases. Raises NotifyError where this Notify cannot do it."""
        fields: dict[str, Any] = {}
        if self._asked.batch:
            fields["batch"] = {"size_max": 100, "format": "json"}
        if self._asked.ordered:
            fields["ordering"] = "key"
        with self._ground.service("api", "--port=0") as api:
            configured = Configured(self._ground, api.url)
            try:
                for tls, endpoints in itertools.product((False, True), (1, MANY)):
                    self._subscriptions[tls, endpoints] = await configured.subscribe(
                        "tls" if tls else "swift",
                        range(endpoints),
                        types=[type_of(tls, endpoints)],
                        concurrency_max=CONCURRENCY // endpoints,
                        **fields,
                    )
            except ApiError as error:
                raise NotifyError(f"this Notify cannot be measured so: {error}") from None
            finally:
                await configured.api.close()
        self._key = configured.key

    async def run(self, contender: Contender) -> Rate:
        deliveries = self._asked.deliveries // contender.slower
        deliveries -= deliveries % contender.endpoints
        if contender.program == "ours":
            return await self._ours(contender, deliveries)
        if contender.program == "bare":
            return await self._bare(contender, deliveries)
        return await self._baseline(contender, deliveries)

    async def _ours(self, contender: Contender, deliveries: int) -> Rate:
        ground = self._ground
        await ground.fresh_queue()
        if self._asked.ordered:
            return await self._ours_in_order(contender, deliveries)
        await ground.fill(self._subscriptions[contender.tls, contender.endpoints], deliveries)
        with ground.service("sender", measured=True) as sender:
            return await self._measure(sender.pid, deliveries, ground.marked)

    async def _ours_in_order(self, contender: Contender, deliveries: int) -> Rate:
        """Ordered deliveries wait in the database: they come the whole way, and are marked."""
        ground = self._ground
        with ground.service("api", "--port=0") as api, ground.service("maker"):
            configured = Configured(ground, api.url)
            kind = type_of(contender.tls, contender.endpoints)
            payload = msgspec.Raw(body())
            for start in range(0, deliveries // contender.endpoints, PUSHED_AT_A_TIME):
                stop = min(start + PUSHED_AT_A_TIME, deliveries // contender.endpoints)
                batch = [
                    {"type": kind, "payload": payload, "ordering_key": f"order-{n % KEYS}"}
                    for n in range(start, stop)
                ]
                await configured.api.call("POST", "/v1/messages", self._key, batch)
            await configured.api.close()
            while ground.open_deliveries() < deliveries:  # noqa: ASYNC110 - of a database
                await asyncio.sleep(LOOK_S)
        answered_before = self._answered()

        async def answered() -> int:
            return self._answered() - answered_before

        with ground.service("marker"), ground.service("sender", measured=True) as sender:
            rate = await self._measure(sender.pid, deliveries, answered)
            while ground.open_deliveries():  # noqa: ASYNC110 - of a database
                await asyncio.sleep(LOOK_S)
            return rate

    async def _bare(self, contender: Contender, deliveries: int) -> Rate:
        path = self._ground.directory / "urls.json"
        path.write_text(json.dumps(self._urls(contender)))
        answered_before = self._answered()

        async def answered() -> int:
            return self._answered() - answered_before

        more = ["--certificate", str(self._ground.directory / "certificate.pem")]
        command = ["bench.bare_client", str(path), str(deliveries), *(more * contender.tls)]
        return await self._process(command, deliveries, answered)

    async def _baseline(self, contender: Contender, deliveries: int) -> Rate:
        ground = self._ground
        path = ground.directory / "targets.json"
        secret = base64.b64encode(secrets.token_bytes(32)).decode()
        urls = self._urls(contender)
        path.write_text(json.dumps({n: {"url": u, "secret": secret} for n, u in enumerate(urls)}))
        with ground.redis.client() as client:
            client.flushall()
            for start in range(0, deliveries, PUSHED_AT_A_TIME):
                stop = min(start + PUSHED_AT_A_TIME, deliveries)
                client.rpush(QUEUE, *(job(n, n % len(urls)) for n in range(start, stop)))

            async def marked() -> int:
                return int(client.llen(MARKS))

            command = [
                f"bench.baseline.sender_{contender.program}",
                str(ground.redis.socket),
                str(path),
            ]
            if contender.program == "naive" and self._asked.threads:
                command.append(f"--threads={self._asked.threads}")
            return await self._process(command, deliveries, marked)

    async def _process(self, command: list[str], deliveries: int, counted: Counted) -> Rate:
        with process([sys.executable, "-m", *command], {}) as made:
            self._ground.measure(made.pid)
            return await self._measure(made.pid, deliveries, counted)

    async def _measure(self, pid: int, deliveries: int, counted: Counted) -> Rate:
        """Watch it work the queue off."""
        first = await self._reach(pid, deliveries // WARM, counted)
        last = await self._reach(pid, deliveries, counted)
        done, seconds, used_s, redis_s, waited = (b - a for a, b in zip(first, last, strict=True))
        return Rate(
            done / seconds,
            done / max(used_s, 0.01),
            redis_s / done * 100_000,
            waited / seconds * 100,
        )

    async def _reach(
        self, pid: int, wanted: int, counted: Counted
    ) -> tuple[int, float, float, float, float]:
        """Wait for so many: count, monotonic s, CPU s of it and of Redis, s waited for a core."""
        seen, since = -1, time.monotonic()
        while True:
            used_s, waited = cpu_s(pid), waited_s(pid)
            now = time.monotonic()
            count = await counted()
            if count >= wanted:
                return count, now, used_s, cpu_s(self._ground.redis.pid), waited
            if count > seen:
                seen, since = count, now
            elif now - since > STALLED_S:
                raise NotifyError(f"nothing was delivered for {STALLED_S:g} s; {count} were before")
            await asyncio.sleep(LOOK_S)

    def _answered(self) -> int:
        return int(self._ground.endpoints.ask("answered"))

    def _urls(self, contender: Contender) -> list[str]:
        kind = "tls" if contender.tls else "swift"
        return [self._ground.endpoints.url(kind, n) for n in range(contender.endpoints)]


def type_of(tls: bool, endpoints: int) -> str:
    """The type of message that the subscriptions of a case want."""
    return f"{'https' if tls else 'http'}.{endpoints}"


def job(number: int, subscription: int) -> str:
    """A delivery of the baselines."""
    return json.dumps(
        {
            "id": str(7_031_000_000_000_000_000 + number),
            "subscription": subscription,
            "type": "order.paid",
            "payload": body().decode(),
            "attempts": 0,
        }
    )


async def measure(asked: argparse.Namespace) -> dict[str, Any]:
    chosen = [one for one in CONTENDERS if asked.only in one.name]
    rates: dict[str, list[Rate]] = {one.name: [] for one in chosen}
    with ExitStack() as stack:
        runs = Runs(Ground(stack, MANY), asked)
        await runs.configure()
        for _ in range(asked.rounds):
            for one in chosen:
                rates[one.name].append(await runs.run(one))
                if not asked.json:
                    print(one.name, rates[one.name][-1], flush=True)
    medians = {
        name: {field: statistics.median(getattr(rate, field) for rate in some)
               for field in Rate._fields}
        for name, some in rates.items()
    }  # fmt: skip
    return {
        "machine": machine(),
        "load": os.getloadavg()[0],
        "deliveries": asked.deliveries,
        "rounds": asked.rounds,
        "ratios": ratios(medians),
        "rates": medians,
    }


def machine() -> str:
    """Whose figures these are."""
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {python}"


def ratios(rates: dict[str, dict[str, float]]) -> dict[str, float]:
    """Ours by each of the others in the same case, by what they make of a core."""
    found = {}
    for name, rate in rates.items():
        program, _, case = name.partition(" ")
        ours = rates.get(f"ours {case}")
        if program != "ours" and ours:
            found[f"ours / {name}"] = round(ours["per_core_s"] / rate["per_core_s"], 2)
    return found


def show(result: dict[str, Any]) -> None:
    console = Console()
    console.print(
        f"{result['machine']}, load {result['load']:.1f}; {result['deliveries']:,} deliveries of"
        f" {BODY_BYTES} B, medians of {result['rounds']}; core-s: CPU seconds of 100 000"
    )
    for name, ratio in result["ratios"].items():
        console.print(f"{name}: {ratio:g}x")
    table = Table("", "per s", "per core-s", "core-s", "Redis", "waited %")
    for name, rate in result["rates"].items():
        table.add_row(
            name,
            f"{rate['per_s']:,.0f}",
            f"{rate['per_core_s']:,.0f}",
            f"{100_000 / rate['per_core_s']:.2f}",
            f"{rate['redis_s_per_100k']:.2f}",
            f"{rate['waited_percent']:.0f}",
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="contenders with this in their name")
    parser.add_argument("--threads", type=int, default=0, help="of the naive one")
    parser.add_argument("--batch", action="store_true", help="ours delivers in batches")
    parser.add_argument("--ordered", action="store_true", help="ours keeps the order by key")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    try:
        result = uvloop.run(measure(asked))
    except NotifyError as error:
        sys.exit(str(error))
    if asked.json:
        print(json.dumps(result))
    else:
        show(result)


if __name__ == "__main__":
    main()
