"""The goals: what a figure has to be beside another one of the same run, and whether it is."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from bench.compare import Comparison
from bench.figures import Figure, Kind

By = Literal["wall", "cpu", "best"]


@dataclass(frozen=True)
class Goal:
    """Ours of a stage and case beside `other`: the first of `kind` with that word in its name.

    by: wall clock, CPU, or the better of both. other_case: where that differs from ours. share:
    told in percent, of a ceiling.
    """

    stage: str
    case: str
    kind: Kind
    other: str
    at_least: float
    by: By = "best"
    other_case: str = ""


@dataclass(frozen=True)
class Bound:
    """What something that is told of ours may be at most."""

    stage: str
    case: str
    field: str
    what: str
    at_most: float


GOALS: Final = (
    Goal("api", "single", "baseline", "Flask", 25),
    Goal("api", "batches of 100", "baseline", "Flask", 9),
    Goal("api", "batches of 100", "baseline", "Flask", 40, other_case="single"),
    Goal("api", "batches of 100", "ceiling", "INSERT", 0.85, "wall"),
    Goal("maker", "fan-out 5", "baseline", "", 50),
    Goal("maker", "fan-out 5", "ceiling", "INSERT and push", 0.75),
    Goal("sender", "HTTP, 1 ", "baseline", "requests", 80),
    Goal("sender", "HTTP, 1 ", "baseline", "aiohttp", 6),
    Goal("sender", "HTTP, 1 ", "ceiling", "bare", 0.5),
    Goal("marker", "all success", "baseline", "", 45),
    Goal("marker", "all success", "ceiling", "", 0.8),
    Goal("flow", "fan-out 1", "baseline", "", 40),
    Goal("flow", "fan-out 1", "ceiling", "", 0.6),
    *(Goal("growth", name, "baseline", "", 0.85, "wall") for name in ("ingest", "maker", "marker")),
)
BOUNDS: Final = (
    Bound("flow", "fan-out 1", "p50_ms", "sent to arrived at half load, p50, ms", 10),
    Bound("flow", "fan-out 1", "p99_ms", "sent to arrived at half load, p99, ms", 50),
    Bound("spike", "", "refused_otherwise", "refused by no announced bound", 0),
    Bound("spike", "", "lost", "accepted and never delivered", 0),
)


def goal_of(ratio: Comparison) -> float | None:
    """The goal of just this comparison, where there is one."""
    ours, other = ratio.ours, ratio.other
    for goal in GOALS:
        if (
            (goal.stage, goal.kind, goal.other_case) == (ours.stage, other.kind, "")
            and ours.case.startswith(goal.case)
            and goal.other in other.name
        ):
            return goal.at_least
    return None


@dataclass(frozen=True)
class Verdict:
    """A goal and what was found, as they are told."""

    stage: str
    goal: str
    found: str
    met: bool


def judged(figures: Sequence[Figure]) -> list[Verdict]:
    """The goals that something was measured for."""
    ratios = [
        verdict
        for goal in GOALS
        for ours in _all(figures, goal.stage, goal.case, "notify", "")
        if (verdict := _of(goal, ours, figures))
    ]
    bounds = [
        _of_bound(bound, ours)
        for bound in BOUNDS
        for ours in _all(figures, bound.stage, bound.case, "notify", "")
    ]
    return ratios + bounds


def _of(goal: Goal, ours: Figure, figures: Sequence[Figure]) -> Verdict | None:
    others = _all(figures, goal.stage, goal.other_case or ours.case, goal.kind, goal.other)
    other = next(others, None)
    if other is None:
        return None
    ratio: float = getattr(Comparison(ours, other), goal.by)
    beside = other.name if ours.case == other.case else f"{other.name} ({other.case})"
    of = "of " if goal.kind == "ceiling" else ""
    by = {"wall": " by wall clock", "cpu": " by CPU", "best": ""}[goal.by]
    return Verdict(
        goal.stage,
        f"{ours.case}: at least {_told(goal, goal.at_least)} {of}{beside}{by}",
        _told(goal, ratio),
        ratio >= goal.at_least,
    )


def _of_bound(bound: Bound, ours: Figure) -> Verdict:
    found = ours.more[bound.field]
    return Verdict(
        bound.stage,
        f"{ours.case}: {bound.what}: at most {bound.at_most:g}",
        f"{found:,.3g}",
        found <= bound.at_most,
    )


def _told(goal: Goal, ratio: float) -> str:
    return f"{ratio:.0%}" if goal.kind == "ceiling" else f"{ratio:,.3g}x"


def _all(
    figures: Iterable[Figure], stage: str, case: str, kind: Kind, word: str
) -> Iterator[Figure]:
    """The figures of a stage whose case begins so, with that word in their name."""
    for one in figures:
        wanted = (one.stage, one.kind) == (stage, kind) and one.case.startswith(case)
        if wanted and word in one.name:
            yield one
