"""What a Sender on one core delivers: `python -m bench.stages.sender`.

A thin form of `python -m bench.sender`, which measures more (batches, order) and says how.
"""

import argparse
import statistics
from contextlib import ExitStack
from typing import Final

from bench.figures import Figure, Kind
from bench.lone_sender import Ground
from bench.sender import CONTENDERS, MANY, Contender, Rate, Runs
from bench.stages import command

STAGE: Final = "sender"
DELIVERIES: Final = 30_000
DELIVERIES_MAX: Final = 100_000
WHO: Final[dict[str, tuple[Kind, str]]] = {
    "ours": ("notify", "one Sender"),
    "naive": ("baseline", "requests, one pop and one mark each"),
    "aiohttp": ("baseline", "aiohttp on uvloop, 64 in flight"),
    "bare": ("ceiling", "bare client: ready-made requests, nothing around them"),
}


def figure(contender: Contender, rates: list[Rate]) -> Figure:
    """The medians of a contender's rounds."""
    kind, name = WHO[contender.program]
    ends = f"{contender.endpoints} endpoint{'s' * (contender.endpoints > 1)}"
    cpu_s = {
        "sender": 100_000 / statistics.median(rate.per_core_s for rate in rates),
        "redis-server": statistics.median(rate.redis_s_per_100k for rate in rates),
    }
    if contender.program == "bare":
        del cpu_s["redis-server"]  # it has none to ask
    return Figure(
        stage=STAGE,
        case=f"{'HTTPS' if contender.tls else 'HTTP'}, {ends}",
        kind=kind,
        name=name,
        unit="deliveries",
        per_s=statistics.median(rate.per_s for rate in rates),
        cpu_s=cpu_s,
        more={"waited_percent": statistics.median(rate.waited_percent for rate in rates)},
        rounds=len(rates),
    )


async def measure(scale: float) -> list[Figure]:
    """Each contender in turn, round after round."""
    asked = argparse.Namespace(
        # So many that each of many endpoints gets some of the slowest contender's part.
        deliveries=max(MANY * 100, min(DELIVERIES_MAX, int(DELIVERIES * scale))),
        batch=False,
        ordered=False,
        threads=0,
    )
    rounds = 3 if scale > 1 else 1
    rates: dict[Contender, list[Rate]] = {one: [] for one in CONTENDERS}
    with ExitStack() as stack:
        ground = Ground(stack, MANY)
        runs = Runs(ground, asked)
        await runs.configure()
        for number in range(rounds):
            for one in CONTENDERS:
                command.say(f"sender: {one.name}, round {number + 1} of {rounds}")
                rates[one].append(await runs.run(one))
        await ground.queue.close()
    order = list(WHO)
    ordered = sorted(rates, key=lambda one: (one.tls, one.endpoints, order.index(one.program)))
    return [figure(one, rates[one]) for one in ordered]


if __name__ == "__main__":
    command.run(measure)
