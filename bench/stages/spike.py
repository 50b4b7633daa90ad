"""A flash sale over MySQL and Redis, each service a process: `python -m bench.stages.spike`.

A steady load, then twenty times as much for a while, then the steady load again until the
latencies, in windows of a second, are twice what they were before, or less. Each batch is sent
once: what is refused is counted, by the bound that was reached, and not sent again. Everything
accepted has to arrive.
"""

import asyncio
import statistics
import time
from collections import defaultdict
from contextlib import ExitStack
from typing import Final

from bench.figures import Figure
from bench.load import Load, settle
from bench.stages import command
from bench.system import System
from notify.domain.errors import NotifyError

STAGE: Final = "spike"
RATE: Final = 500.0  # messages a second
TIMES: Final = 20
BATCH: Final = 10
BEFORE_S: Final = 5.0
SPIKE_S: Final = 10.0  # 30 from scale 3 on
SPIKE_S_MAX: Final = 30.0
# So long at most until it is as before; then it is said that it was not.
AFTER_S: Final = 60.0
CALM_WINDOWS: Final = 3
AS_BEFORE: Final = 2.0
PATIENCE_S: Final = 120.0
# The bounds that an Api may refuse by, and what it says then.
BOUNDS: Final = {
    "ingest_depth_max": b"wait to be split",
    "requests_max": b"too many requests at a time",
    "commit_rows_max": b"wait to be stored",
}


class Windows:
    """Latencies by the second in which deliveries arrived, from the end of the spike on."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._took_ms: defaultdict[int, list[float]] = defaultdict(list)
        self.zero_s = time.time()

    def look(self) -> None:
        """Take what arrived."""
        for came_s, took_ms in self._system.endpoints.ask("noted"):
            self._took_ms[int((came_s - self.zero_s) // 1)].append(took_ms)

    def p99_ms(self) -> dict[int, float]:
        """By second, of those that have passed."""
        now = int(time.time() - self.zero_s)
        return {
            second: statistics.quantiles(some, n=100)[98]
            for second, some in sorted(self._took_ms.items())
            if second < now and len(some) > 1
        }

    def calm_after_s(self, limit_ms: float) -> int | None:
        """The first second after the spike from which on it is within the limit; None: not yet."""
        since = {second: ms for second, ms in self.p99_ms().items() if second >= 0}
        late = [second for second, ms in since.items() if ms > limit_ms]
        calm = max(late, default=-1) + 1
        return calm if len([second for second in since if second >= calm]) >= CALM_WINDOWS else None


async def sale(system: System, load: Load, spike_s: float) -> Figure:
    windows = Windows(system)
    await load.evenly(RATE, BATCH, lambda passed_s: passed_s < BEFORE_S)
    windows.look()
    took_ms = [
        ms for second, ms in windows.p99_ms().items() if second > 0
    ]  # the first one warms up
    before_ms = statistics.median(took_ms)
    accepted, used = load.sent, system.cpu_s()
    windows = Windows(system)
    windows.zero_s += spike_s
    began = time.perf_counter()
    offered = await load.evenly(RATE * TIMES, BATCH, lambda passed_s: passed_s < spike_s)
    accepted = load.sent - accepted
    seconds = time.perf_counter() - began
    calm: int | None = None

    async def look() -> None:
        nonlocal calm
        while calm is None:
            await asyncio.sleep(1)
            windows.look()
            calm = windows.calm_after_s(AS_BEFORE * before_ms)

    looking = asyncio.create_task(look())
    await load.evenly(RATE, BATCH, lambda passed_s: passed_s < AFTER_S and not looking.done())
    looking.cancel()
    await settle(system.delivered, load.sent, PATIENCE_S)
    used = {name: now - used[name] for name, now in system.cpu_s().items()}
    arrived = int(system.endpoints.ask("different"))
    if arrived != load.sent:
        raise NotifyError(f"{load.sent} messages were accepted, {arrived} arrived")
    refused = {
        f"refused_by.{bound}": sum(n for (_, said), n in load.refused.items() if words in said)
        for bound, words in BOUNDS.items()
    }
    return Figure(
        stage=STAGE,
        case=f"{TIMES} times {RATE:,.0f}/s",
        kind="notify",
        name="one process of each service",
        unit="messages",
        per_s=accepted / seconds,
        cpu_s={name: used_s / load.sent * 100_000 for name, used_s in used.items()},
        more={
            "spike_s": spike_s,
            "offered": offered,
            "accepted": accepted,
            **refused,
            "refused_otherwise": load.refused.total() - sum(refused.values()),
            "lost": load.sent - arrived,
            "p99_before_ms": before_ms,
            "recovered": float(calm is not None),
            "recovered_after_s": AFTER_S if calm is None else calm,
            **{f"p99_ms@{second}": ms for second, ms in windows.p99_ms().items()},
        },
    )


async def measure(scale: float) -> list[Figure]:
    """One sale."""
    spike_s = min(SPIKE_S_MAX, SPIKE_S * scale)
    command.say(f"spike: {RATE * TIMES:,.0f} messages/s for {spike_s:g} s")
    with ExitStack() as stack:
        system = System(stack)
        key = await system.subscribe([system.endpoints.url("noting", 0)])
        load = Load(system.url, key)
        try:
            return [await sale(system, load, spike_s)]
        finally:
            await load.close()
            await system.close()


if __name__ == "__main__":
    command.run(measure)
