"""The whole flow over MySQL and Redis, each service a process: `python -m bench.stages.flow`.

Producer, endpoints, servers and services share all cores. First as much as the system takes, until
everything is delivered and marked: rates and CPU. Then as much in small requests, and half of what
came of that, evenly: from the moment the producer sends to its 202 and to the arrival at the
endpoint, and the memory of each process. CPU by core is what the cores were busy with everything
that ran; others: with programs that have nothing to do with it.
"""

import statistics
import time
from contextlib import ExitStack
from typing import Final

from bench.baseline.system import NaiveSystem
from bench.figures import Figure, Kind
from bench.load import Load, settle
from bench.processes import cores_s
from bench.stages import command
from bench.system import System

STAGE: Final = "flow"
FAN_OUTS: Final = (1, 5)
MESSAGES: Final = 30_000
SLOWER: Final = 30  # the naive system gets so many times less to do
BATCH: Final = 100  # messages a request at full load
SMALLER: Final = 3  # what is sent in small requests is so many times less
# Latencies are of smaller requests, at half of what the system takes of these.
STEADY_BATCH: Final = 10
STEADY_S: Final = 6.0
STEADY_WARM_S: Final = 1.0
TRIED: Final = 0.1  # a smaller scale only shows that it can be measured
WARM: Final = 10  # one in so many, before anything counts
PATIENCE_S: Final = 100.0
# Deep enough that nothing has to wait in the database: that is the spike's part.
ENVIRON: Final = {"NOTIFY_QUEUE__DEPTH_MAX": "1000000", "NOTIFY_QUEUE__INGEST_DEPTH_MAX": "100000"}


def latencies(took_ms: list[float], what: str = "") -> dict[str, float]:
    """The percentiles that are told."""
    cuts = statistics.quantiles(took_ms, n=100)
    return {f"{what}p50_ms": cuts[49], f"{what}p99_ms": cuts[98]}


async def whole(
    system: System | NaiveSystem, load: Load, kind: Kind, fan_out: int, scale: float
) -> Figure:
    """Measure a system that is configured; load: its producer."""

    async def done() -> None:
        await settle(system.delivered, load.sent * fan_out, PATIENCE_S)

    slower = 1 if kind == "notify" else SLOWER
    messages = max(BATCH, int(MESSAGES * scale / fan_out / slower) // BATCH * BATCH)
    await load.full(max(BATCH, messages // WARM), BATCH)
    await done()
    used, cores, began = system.cpu_s(), cores_s(), time.perf_counter()
    accepted_s = await load.full(messages, BATCH)
    await done()
    seconds = time.perf_counter() - began
    used = {name: now - used[name] for name, now in system.cpu_s().items()}
    cores = {name: now - cores[name] for name, now in cores_s().items()}
    rate = messages / seconds
    few = max(STEADY_BATCH, messages // SMALLER // STEADY_BATCH * STEADY_BATCH)
    began = time.perf_counter()
    await load.full(few, STEADY_BATCH)
    await done()
    half_rate = few / (time.perf_counter() - began) / 2
    await load.evenly(half_rate, STEADY_BATCH, lambda passed_s: passed_s < STEADY_WARM_S)
    system.endpoints.ask("noted")
    load.took_ms.clear()
    # Of the slowest, too, some requests.
    half_s = max(1.0, STEADY_S * min(scale, 2), 4 * STEADY_BATCH / half_rate)
    half, half_cores = system.cpu_s(), cores_s()
    await load.evenly(half_rate, STEADY_BATCH, lambda passed_s: passed_s < half_s)
    half = {name: (now - half[name]) / half_s for name, now in system.cpu_s().items()}
    # Above a few hundredths latencies say little.
    half["others"] = (sum(cores_s().values()) - sum(half_cores.values())) / half_s - sum(
        half.values()
    )
    memory = system.rss_mb()
    await done()
    return Figure(
        stage=STAGE,
        case=f"fan-out {fan_out}",
        kind=kind,
        name="one process of each service" if kind == "notify" else "the naive system",
        unit="messages",
        per_s=rate,
        cpu_s={name: used_s / messages * 100_000 for name, used_s in used.items()},
        more={
            "accepted_per_s": messages / accepted_s,
            "deliveries_per_s": rate * fan_out,
            "half_load_per_s": half_rate,
            **latencies([took_ms for _, took_ms in system.endpoints.ask("noted")]),
            **latencies(load.took_ms, "until_accepted."),
            **{f"core_s.{name}": busy_s / messages * 100_000 for name, busy_s in cores.items()},
            **{f"half_load_cores.{name}": cores_used for name, cores_used in half.items()},
            **{f"rss_mb.{name}": mb for name, mb in memory.items()},
        },
    )


async def measured(kind: Kind, fan_out: int, scale: float) -> Figure:
    """The figure of Notify or of the naive system."""
    command.say(f"flow, fan-out {fan_out}: {kind}")
    with ExitStack() as stack:
        system = System(stack, environ=ENVIRON) if kind == "notify" else NaiveSystem(stack)
        urls = [system.endpoints.url("noting", number) for number in range(fan_out)]
        key = await system.subscribe(urls)
        load = Load(system.url, key)
        try:
            return await whole(system, load, kind, fan_out, scale)
        finally:
            await load.close()
            await system.close()


async def measure(scale: float) -> list[Figure]:
    """Each fan-out, Notify and the naive system; one fan-out where it is only tried."""
    kinds: tuple[Kind, ...] = ("notify", "baseline")
    fan_outs = FAN_OUTS if scale >= TRIED else FAN_OUTS[:1]
    return [await measured(kind, fan_out, scale) for fan_out in fan_outs for kind in kinds]


if __name__ == "__main__":
    command.run(measure)
