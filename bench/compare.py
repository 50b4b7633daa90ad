"""Ratios: a figure of Notify beside what it is compared with, of the same run."""

from collections.abc import Iterable
from dataclasses import dataclass

from bench.figures import Figure


@dataclass(frozen=True)
class Comparison:
    """ours: of Notify. other: a baseline or a ceiling of the same stage and case."""

    ours: Figure
    other: Figure

    @property
    def wall(self) -> float:
        """How many times as fast ours is by wall clock; 0: one of both does not say."""
        return self.ours.per_s / self.other.per_s if self.other.per_s else 0.0

    @property
    def cpu(self) -> float:
        """How many times as much ours makes of a CPU second; 0: one of both does not say."""
        return self.other.all_cpu_s / self.ours.all_cpu_s if self.ours.all_cpu_s else 0.0

    @property
    def best(self) -> float:
        """The better of both: on few cores one of them is held by something else."""
        return max(self.wall, self.cpu)


def comparisons(figures: Iterable[Figure]) -> list[Comparison]:
    """Each figure that is not ours beside ours of its case, in the order they came in."""
    every = list(figures)
    ours = {}
    for one in every:
        if one.kind == "notify":
            ours.setdefault((one.stage, one.case), one)
    return [
        Comparison(ours[one.stage, one.case], one)
        for one in every
        if one.kind != "notify" and (one.stage, one.case) in ours
    ]
