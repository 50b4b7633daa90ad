"""What each job of the compiled core may cost, stored beside what it was counted with.

How far counts may be compared was measured, in builds of one source: two runs of one build count
the same. Another compiler makes up to 1.5 times our own instructions of the same job, and exactly
as many calls out of the core; another Python 1.2 times our own and 1.3 times the calls.
"""

import json
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from notify_core import chunk
from tests.instructions.callgrind import Count

PATH: Final = Path(__file__).with_name("bounds.json")
RENEW: Final = "python -m tests.instructions --write"
# What a compiler writes into its objects. clang's come first: it links them with some of GCC's.
_COMPILERS: Final = (rb"(clang) version (\d+)", rb"(GCC): \([^)]*\) (\d+)")


@dataclass(frozen=True)
class Bound:
    """Of one job: own and calls of its Count, and how often the pure twin's whole it does."""

    own: float
    calls: float
    ratio: float


@dataclass(frozen=True)
class Tolerance:
    """By what share a figure may be worse than its bound, and better."""

    worse: float
    better: float


# A gain of a fifth has to be stored, so that it is not lost again.
SAME_BUILD: Final = Tolerance(0.05, 0.20)
# Only what at least doubles a cost shows there, and nothing says that a bound is too loose.
OTHER_BUILD: Final = Tolerance(0.60, 1.00)


def bounds_of(compiled: dict[str, Count], pure: dict[str, Count]) -> dict[str, Bound]:
    """What was counted, as bounds."""
    return {
        name: Bound(
            round(count.own, 1), round(count.calls, 2), round(pure[name].whole / count.whole, 1)
        )
        for name, count in compiled.items()
    }


def complaints(
    found: dict[str, Bound], stored: dict[str, Bound], allowed: Tolerance
) -> Iterator[str]:
    """What is wrong, one sentence each."""
    if found.keys() != stored.keys():
        changed = ", ".join(sorted(found.keys() ^ stored.keys()))
        yield f"these jobs are not those of the bounds: {changed}. Renew them: {RENEW}"
    for name in sorted(found.keys() & stored.keys()):
        now, bound = found[name], stored[name]
        yield from _judged(f"{name}: instructions of the core", now.own, bound.own, allowed)
        yield from _judged(f"{name}: calls out of the core", now.calls, bound.calls, allowed)
        if now.ratio < bound.ratio * (1 - allowed.worse):
            yield f"{name}: {now.ratio} times as cheap as its pure twin, it was {bound.ratio}"


def _judged(what: str, now: float, bound: float, allowed: Tolerance) -> Iterator[str]:
    if now > bound * (1 + allowed.worse):
        yield f"{what}: {now} an item, bound {bound}. If it has to be so, renew it: {RENEW}"
    elif now < bound * (1 - allowed.better):
        yield f"{what}: {now} an item, bound {bound}: too loose to keep the gain, renew it: {RENEW}"


def this_build() -> dict[str, str]:
    """What decides how many instructions the source becomes."""
    made = Path(chunk.__file__).read_bytes()
    found = [match for compiler in _COMPILERS for match in re.findall(compiler, made)]
    return {
        "machine": platform.machine(),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "compiler": b" ".join(found[0]).decode() if found else "unknown",
    }


def write(found: dict[str, Bound]) -> None:
    """Make these the bounds."""
    jobs = {name: asdict(bound) for name, bound in found.items()}
    stored = {"build": this_build(), "jobs": jobs}
    PATH.write_text(json.dumps(stored, indent=2) + "\n")


def read() -> tuple[dict[str, Bound], dict[str, str]]:
    """The bounds, and the build that they are of."""
    stored = json.loads(PATH.read_text())
    return {name: Bound(**bound) for name, bound in stored["jobs"].items()}, stored["build"]
