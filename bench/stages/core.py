"""The compiled core beside its pure twin, job by job: `python -m bench.stages.core`.

What the gate of instructions counts (tests/instructions) is timed here, and what a service does
in one go. One process without servers, the twins in turn; rates are of CPU time as of wall clock.
"""

import gc
import statistics
import time
from dataclasses import dataclass
from typing import Final

from bench.figures import Figure
from bench.stages import command
from tests.instructions.jobs import COMPILED, FLOWS, JOBS, PURE, Call, Job

STAGE: Final = "core"
BATCHES: Final = (100, 500)
ROUNDS: Final = 3
# Of one job in one round; the pure twin's first call may take longer.
ROUND_S: Final = 0.1
WARM_UPS: Final = 3


@dataclass(frozen=True)
class Sample:
    """One round: items by seconds of wall clock and of CPU."""

    items: int
    wall_s: float
    cpu_s: float


async def measure(scale: float) -> list[Figure]:
    """Both twins of each job, batch after batch."""
    figures = []
    for job in (*FLOWS, *JOBS):
        command.say(job.name)
        for rows in BATCHES:
            figures += _twins(job, rows, ROUND_S * scale)
    return figures


def _twins(job: Job, rows: int, round_s: float) -> list[Figure]:
    calls = {twin: job.make(twin, rows) for twin in (COMPILED, PURE)}
    for call in calls.values():
        for _ in range(WARM_UPS):
            call()
    rounds = [{twin: _round(calls[twin], rows, round_s) for twin in calls} for _ in range(ROUNDS)]
    return [_figure(job, rows, twin, [each[twin] for each in rounds]) for twin in (COMPILED, PURE)]


def _round(call: Call, rows: int, round_s: float) -> Sample:
    gc.collect()
    calls = 0
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    while time.perf_counter() - wall_s < round_s:
        call()
        calls += 1
    return Sample(calls * rows, time.perf_counter() - wall_s, time.process_time() - cpu_s)


def _figure(job: Job, rows: int, twin: str, rounds: list[Sample]) -> Figure:
    return Figure(
        stage=STAGE,
        case=f"{job.name}, batch of {rows}",
        kind="notify" if twin == COMPILED else "baseline",
        name="compiled core" if twin == COMPILED else "pure twin",
        unit=job.unit,
        per_s=statistics.median(one.items / one.wall_s for one in rounds),
        cpu_s={"core": statistics.median(100_000 * one.cpu_s / one.items for one in rounds)},
        rounds=len(rounds),
    )


if __name__ == "__main__":
    command.run(measure)
