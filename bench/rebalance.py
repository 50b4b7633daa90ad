"""How soon Senders share the work anew, and what is doubled: `python -m bench.rebalance`.

Everything but the Rescuer as processes over private servers; three Senders under a steady load, a
message a tick that goes to all subscriptions. Then a fourth is added, and later one is killed
(kill -9). After each: seconds until every subscription got something that was accepted later;
until nothing accepted before was missing; the slowest delivery; and after the addition, until the
new one makes at least half of its fair share of the tries. Doubled: arrived more than once.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from bench.lone_sender import Configured, Ground, Service, body
from notify.cli.api_client import ApiError
from notify.domain.errors import NotifyError

SENDERS = 3
SETTLE_S = 12.0
LOOK_S = 0.25
ARRIVING_S = 0.005
WINDOW_S = 1.0
METRICS_S = 30
PATIENCE_S = 60.0
# What a killed one held is taken over when its lease of 30 s ran out, by a look each 10 s.
TAKEOVER_S = 45.0


class Load:
    """A message a tick to everybody, and what of it arrived when."""

    def __init__(self, ground: Ground, configured: Configured, endpoints: int) -> None:
        self._ground = ground
        self._configured = configured
        self._endpoints = endpoints
        self._accepted: dict[str, float] = {}
        self._arrived: dict[tuple[str, str], float] = {}
        self.times: Counter[tuple[str, str]] = Counter()

    async def run(self, per_s: float, stopping: asyncio.Event) -> None:
        """Send until stopping."""
        batch = msgspec.Raw(b'[{"type":"order.paid","payload":' + body() + b"}]")
        began, sent = time.monotonic(), 0
        while not stopping.is_set():
            try:
                answer = await self._configured.api.call(
                    "POST", "/v1/messages", self._configured.key, batch
                )
            except ApiError as error:
                if error.code != 503:
                    raise
            else:
                self._accepted[answer["ids"][0]] = time.monotonic()
            sent += 1
            await asyncio.sleep(max(0.0, began + sent / per_s - time.monotonic()))

    def look(self) -> None:
        """Take what arrived."""
        for what, at_s in self._ground.endpoints.ask("kept"):
            target, _, message = what.partition(" ")
            self.times[target, message] += 1
            self._arrived.setdefault((target, message), at_s)

    async def arriving(self) -> None:
        """Return at a moment when deliveries arrive."""
        count = len(self.times)
        while len(self.times) == count:
            await asyncio.sleep(ARRIVING_S)
            self.look()

    def missing(self, before_s: float) -> int:
        """Deliveries accepted before that moment that have not arrived."""
        messages = {message for message, at_s in self._accepted.items() if at_s < before_s}
        arrived = sum(message in messages for _, message in self._arrived)
        return len(messages) * self._endpoints - arrived

    def served_s(self, since_s: float) -> list[float]:
        """By endpoint, when the first of what was accepted since then arrived, in s after."""
        first: dict[str, float] = {}
        for (target, message), at_s in self._arrived.items():
            if self._accepted.get(message, 0.0) >= since_s:
                first[target] = min(first.get(target, at_s), at_s)
        return [at_s - since_s for at_s in first.values()]

    def slowest_s(self, since_s: float) -> float:
        """The slowest delivery that arrived since then."""
        return max(
            (at_s - self._accepted[message]
             for (_, message), at_s in self._arrived.items()
             if at_s >= since_s and message in self._accepted), default=0.0
        )  # fmt: skip

    @property
    def doubled(self) -> int:
        return sum(count - 1 for count in self.times.values())


async def attempts(sender: Service) -> float:
    """The tries that a Sender has begun."""

    def read() -> str:
        with urllib.request.urlopen(sender.url + "/metrics", timeout=METRICS_S) as answer:
            return str(answer.read().decode())

    text = await asyncio.to_thread(read)
    for line in text.splitlines():
        if line.startswith(("notify_sender_attempts ", "notify_sender_attempts_total ")):
            return float(line.split()[1])
    raise NotifyError("the Sender's metrics do not tell its attempts")


async def until(condition: Callable[[], bool], load: Load) -> float | None:
    """Seconds until it holds; None: it did not in time."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_S:
        load.look()
        if condition():
            return time.monotonic() - began
        await asyncio.sleep(LOOK_S)
    return None


async def tries(senders: Sequence[Service]) -> list[float]:
    """What each of them begins in WINDOW_S."""
    before = [await attempts(one) for one in senders]
    await asyncio.sleep(WINDOW_S)
    return [await attempts(one) - b for one, b in zip(senders, before, strict=True)]


async def share_taken(senders: Sequence[Service], since_s: float) -> float | None:
    """Seconds until the last of them makes at least half of its fair share of the tries."""
    while time.monotonic() - since_s < PATIENCE_S:
        made = await tries(senders)
        if made[-1] >= sum(made) / len(made) / 2:
            return time.monotonic() - since_s
    return None


async def after(load: Load, event_s: float, endpoints: int, settle_s: float) -> dict[str, Any]:
    """What can be said of an event."""
    doubled = load.doubled
    served = await until(lambda: len(load.served_s(event_s)) == endpoints, load)
    whole = await until(lambda: not load.missing(event_s), load)
    whole_s = None if whole is None else time.monotonic() - event_s
    await asyncio.sleep(event_s + settle_s - time.monotonic())
    load.look()
    return {
        "every_subscription_served_s": None if served is None else max(load.served_s(event_s)),
        "median_subscription_served_s": statistics.median(load.served_s(event_s) or [0.0]),
        "nothing_missing_s": whole_s,
        "slowest_delivery_s": load.slowest_s(event_s),
        "doubled": load.doubled - doubled,
    }


async def measure(asked: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        ground = Ground(stack, pinned=False)
        api = stack.enter_context(ground.service("api", "--port=0"))
        for name in ("maker", "marker"):
            stack.enter_context(ground.service(name))
        configured = Configured(ground, api.url)
        await configured.subscribe("keeping", range(asked.subscriptions))
        await ground.fresh_queue()
        senders = [stack.enter_context(ground.service("sender")) for _ in range(SENDERS)]
        load = Load(ground, configured, asked.subscriptions)
        stopping = asyncio.Event()
        async with AsyncExitStack() as tasks, asyncio.TaskGroup() as group:
            tasks.push_async_callback(configured.api.close)
            group.create_task(load.run(asked.messages_per_s, stopping))
            try:
                return await events(stack, ground, load, senders, asked)
            finally:
                stopping.set()


async def events(
    stack: ExitStack,
    ground: Ground,
    load: Load,
    senders: list[Service],
    asked: argparse.Namespace,
) -> dict[str, Any]:
    """Add one, kill one."""
    count = asked.subscriptions
    await asyncio.sleep(SETTLE_S)
    load.look()
    steady = {"slowest_delivery_s": load.slowest_s(time.monotonic() - 5), "doubled": load.doubled}
    # Starting a process takes a while, in which nothing else of this one runs.
    added = await asyncio.to_thread(lambda: stack.enter_context(ground.service("sender")))
    event_s = time.monotonic()
    share_s, since = await asyncio.gather(
        share_taken([*senders, added], event_s), after(load, event_s, count, SETTLE_S)
    )
    found = {"steady": steady, "added": {**since, "half_of_its_share_s": share_s}}
    made = await tries(senders)
    busiest = senders[made.index(max(made))]
    await load.arriving()  # so that it is killed with requests under way
    event_s = time.monotonic()
    busiest.process.kill()
    found["killed"] = await after(load, event_s, count, TAKEOVER_S)
    found["all"] = {"delivered": len(load.times), "doubled": load.doubled}
    return found


def show(result: dict[str, Any]) -> None:
    fields = list(dict.fromkeys(field for found in result.values() for field in found))
    table = Table("", *(name for name in result))
    for field in fields:
        table.add_row(field, *(_shown(found, field) for found in result.values()))
    Console().print(table)


def _shown(found: dict[str, Any], field: str) -> str:
    if field not in found:
        return ""
    value = found[field]
    return f"not in {PATIENCE_S:g}" if value is None else f"{value:.2f}".removesuffix(".00")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscriptions", type=int, default=200)
    parser.add_argument("--messages-per-s", type=float, default=5, help="to every subscription")
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
