"""What sick endpoints cost the healthy ones in the same Sender: `python -m bench.isolation`.

One Sender process, 2 000 subscriptions with an endpoint each: 1 800 that answer after 5 ms, 200
that are dead, hang, drip, or answer 500 or 503. Each phase is run without traffic for the sick
and with it, as much for each as for each healthy one.

Full: the queues are full; how fast those of the healthy are drained. Paced: deliveries come at a
fixed rate, evenly over the subscriptions; from the push to their arrival at the endpoint.
Waited: for its core, which other programs had; above a few percent latencies say little.
"""

import argparse
import asyncio
import itertools
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from bench.lone_sender import LOOK_S, Configured, Ground, Service, body
from notify.domain.errors import NotifyError
from notify.domain.ports import Push, Stream, StreamKind
from notify_core import chunk
from notify_core.records import DeliveryRecord, MessageRecord

SICK = ("dead", "hanging", "dripping", "failing", "busy")
TICK_S = 0.01
# What is left of the healthy ones' queue at the end is that of few: the tail is not throughput.
FROM, TO = 0.1, 0.9
# So long at most, from the start to FROM and from there to TO.
FULL_S = 20.0
# Paced: until connections are made and limits have been found.
SETTLE_S = 4.0


class Crowd:
    """The subscriptions, and the two ways to give them traffic."""

    def __init__(self, ground: Ground, asked: argparse.Namespace) -> None:
        self._ground = ground
        self._asked = asked
        self.healthy: list[int] = []
        self.sick: list[int] = []

    async def configure(self) -> None:
        count, sick = self._asked.subscriptions, self._asked.sick
        with self._ground.service("api", "--port=0") as api:
            configured = Configured(self._ground, api.url)
            self.healthy = await configured.subscribe("slow", range(count - sick))
            for number, kind in enumerate(SICK):
                places = range(count - sick + number, count, len(SICK))
                self.sick += await configured.subscribe(kind, places)
            await configured.api.close()

    def chosen(self, *, sick: bool) -> list[int]:
        return self.healthy + self.sick if sick else self.healthy

    async def full(self, *, sick: bool) -> dict[str, float]:
        """Deliveries/s of the healthy while all queues are full."""
        ground, each = self._ground, self._asked.backlog
        await ground.fresh_queue()
        chosen = self.chosen(sick=sick)
        # Mixed, as they would come: not the sick ones last.
        random.Random(4).shuffle(chosen)
        await ground.fill(chosen, each * len(chosen), rows=self._asked.rows)
        before = self._answered()
        wanted = each * len(self.healthy)
        with ground.service("sender", measured=True) as sender:
            began = await self._reach(before + FROM * wanted, sender)
            ended = await self._reach(before + TO * wanted, sender)
        ground.endpoints.ask("latencies")
        done, seconds, used_s, waited_s = (b - a for a, b in zip(began, ended, strict=True))
        if not done:
            raise NotifyError(f"no healthy endpoint was called for {FULL_S:g} s")
        return {
            "per_s": done / seconds,
            "per_core_s": done / max(used_s, 0.01),
            "waited_percent": waited_s / seconds * 100,
        }

    async def paced(self, *, sick: bool) -> dict[str, float]:
        """Latencies of the healthy, in ms, at the asked rate."""
        ground = self._ground
        await ground.fresh_queue()
        with ground.service("sender", measured=True) as sender:
            await self._push_evenly(sender, SETTLE_S, self.chosen(sick=sick))
            ground.endpoints.ask("latencies")
            used_s, waited_s = sender.cpu_s(), sender.waited_s()
            await self._push_evenly(sender, self._asked.seconds, self.chosen(sick=sick))
            used_s, waited_s = sender.cpu_s() - used_s, sender.waited_s() - waited_s
            latencies = sorted(ground.endpoints.ask("latencies"))
        if len(latencies) < 100:
            raise NotifyError(f"only {len(latencies)} deliveries arrived: nothing to measure")
        cuts = statistics.quantiles(latencies, n=100)
        return {
            "arrived": len(latencies),
            "p50_ms": cuts[49],
            "p99_ms": cuts[98],
            "cpu_percent": used_s / self._asked.seconds * 100,
            "waited_percent": waited_s / self._asked.seconds * 100,
        }

    async def _push_evenly(self, sender: Service, seconds: float, chosen: Sequence[int]) -> None:
        """Push at the rate, as the Maker does; the sick ones' part comes on top."""
        rate = self._asked.rate * len(chosen) / len(self.healthy)
        turn = itertools.cycle(random.Random(5).sample(chosen, len(chosen)))
        began, pushed = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            assert sender.process.poll() is None, "the Sender ended"
            due = int(passed * rate)
            if due > pushed:
                await self._push([next(turn) for _ in range(due - pushed)])
                pushed = due
            await asyncio.sleep(TICK_S - passed % TICK_S)

    async def _push(self, subscriptions: Sequence[int]) -> None:
        pushes = []
        sent = body(time.time_ns())
        numbers = self._ground.message_ids(len(subscriptions))
        for sub_id, number in zip(subscriptions, numbers, strict=True):
            message = MessageRecord(number, 1, "order.paid", "", b"", "", 0, 0, sent)
            packed = chunk.pack_deliveries(sub_id, [DeliveryRecord(0, message)])
            pushes.append(Push(Stream(StreamKind.SUBSCRIPTION, sub_id), packed, 1))
        await self._ground.queue.push(pushes)

    def _answered(self) -> int:
        return int(self._ground.endpoints.ask("answered"))

    async def _reach(self, wanted: float, sender: Service) -> tuple[int, float, float, float]:
        """Wait for so many answers, FULL_S at most.

        Answers, monotonic s; of the Sender: CPU s, and s that it waited for its core.
        """
        until = time.monotonic() + FULL_S
        while True:
            found = self._answered(), time.monotonic(), sender.cpu_s(), sender.waited_s()
            if found[0] >= wanted or found[1] >= until:
                return found
            await asyncio.sleep(LOOK_S)


async def measure(asked: argparse.Namespace) -> dict[str, Any]:
    runs: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as stack:
        crowd = Crowd(Ground(stack), asked)
        await crowd.configure()
        for _, sick in itertools.product(range(asked.rounds), (False, True)):
            for name, phase in (("full", crowd.full), ("paced", crowd.paced)):
                found = await phase(sick=sick)
                runs.setdefault(f"{name}, {'with' if sick else 'without'} sick", []).append(found)
                if not asked.json:
                    print(name, "with" if sick else "without", found, flush=True)
    medians = {
        name: {field: statistics.median(one[field] for one in some) for field in some[0]}
        for name, some in runs.items()
    }

    def times(phase: str, field: str) -> float:
        return medians[f"{phase}, with sick"][field] / medians[f"{phase}, without sick"][field]

    return {
        "subscriptions": asked.subscriptions,
        "sick": asked.sick,
        "rate": asked.rate,
        "throughput_kept": times("full", "per_s"),
        "throughput_of_a_core_kept": times("full", "per_core_s"),
        "p99_times": times("paced", "p99_ms"),
        "phases": medians,
    }


def show(result: dict[str, Any]) -> None:
    console = Console()
    console.print(
        f"{result['subscriptions']:,} subscriptions, {result['sick']} of them sick: the healthy"
        f" keep {result['throughput_kept']:.0%} of their throughput"
        f" ({result['throughput_of_a_core_kept']:.0%} by CPU time); at {result['rate']:,}/s their"
        f" p99 is {result['p99_times']:.1f} times what it is without"
    )
    table = Table("", "per s", "per core-s", "p50 ms", "p99 ms", "CPU %", "waited %")
    for name, found in result["phases"].items():
        fields = ("per_s", "per_core_s", "p50_ms", "p99_ms", "cpu_percent",
                  "waited_percent")  # fmt: skip
        table.add_row(name, *(f"{found[f]:,.1f}" if f in found else "" for f in fields))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscriptions", type=int, default=2000)
    parser.add_argument("--sick", type=int, default=200, help="so many of them")
    parser.add_argument("--backlog", type=int, default=30, help="deliveries of each, full phase")
    parser.add_argument("--rows", type=int, default=10, help="deliveries of a chunk, full phase")
    parser.add_argument("--rate", type=int, default=1000, help="healthy deliveries/s, paced phase")
    parser.add_argument("--seconds", type=float, default=10, help="how long the paced phase lasts")
    parser.add_argument("--rounds", type=int, default=1)
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
