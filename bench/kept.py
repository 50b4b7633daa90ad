"""Where results are kept: figures, and for each stage when and on what they were made.

`make bench` and `make bench-full` write here what the report is made of; both are checked in, so
that the report and README can be made again, and checked, without measuring.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.figures import Figure, read, write
from bench.machine import Machine

RESULTS: Final = Path(__file__).parent / "results"
FIGURES: Final = "figures.jsonl"
RUNS: Final = "runs.json"
BENCHMARKS: Final = "benchmarks.json"  # pytest-benchmark's own


@dataclass(frozen=True)
class Run:
    """How the figures of a stage came about."""

    scale: float
    machine: Machine


def save(directory: Path, figures: Sequence[Figure], run: Run) -> None:
    """Keep figures of one run in the place of earlier ones of the same stages."""
    directory.mkdir(parents=True, exist_ok=True)
    write(directory / FIGURES, figures)
    runs = saved_runs(directory) | {one.stage: run for one in figures}
    rows = {stage: asdict(one) for stage, one in sorted(runs.items())}
    (directory / RUNS).write_text(json.dumps(rows, indent=2) + "\n")


def saved_figures(directory: Path) -> list[Figure]:
    """All figures that are kept; none before the first run."""
    path = directory / FIGURES
    return read(path) if path.exists() else []


def saved_runs(directory: Path) -> dict[str, Run]:
    """By stage, how its figures came about."""
    path = directory / RUNS
    rows = json.loads(path.read_text()) if path.exists() else {}
    return {stage: Run(row["scale"], Machine(**row["machine"])) for stage, row in rows.items()}


@dataclass(frozen=True)
class Benchmark:
    """A benchmark of pytest-benchmark; median_s: of its rounds."""

    group: str
    name: str
    median_s: float
    rounds: int


def saved_benchmarks(directory: Path) -> list[Benchmark]:
    """Those of the last `make bench`, by group and name."""
    path = directory / BENCHMARKS
    rows = json.loads(path.read_text())["benchmarks"] if path.exists() else []
    found = [
        Benchmark(row["group"] or "", row["name"], row["stats"]["median"], row["stats"]["rounds"])
        for row in rows
    ]
    return sorted(found, key=lambda one: (one.group, one.name))
