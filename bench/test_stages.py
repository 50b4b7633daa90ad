"""Each stage once, its figures saved for the report: part of `make bench`.

A stage fails where it cannot be measured or a promise is broken, never by how fast it is. It is a
process of its own, as one runs it alone: stages move to other cores and start servers.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.compare import comparisons
from bench.figures import Figure
from bench.kept import Run, save
from bench.machine import machine
from bench.processes import ROOT
from bench.stages.command import stages


@pytest.mark.benchmark(group="stages")
@pytest.mark.parametrize("stage", stages())
def test_stage(benchmark: Any, pytestconfig: pytest.Config, stage: str) -> None:
    scale: float = pytestconfig.getoption("--scale")
    results: Path = pytestconfig.getoption("--results")
    on = machine()

    def measured() -> str:
        command = [sys.executable, "-m", f"bench.stages.{stage}", f"--scale={scale}", "--json"]
        ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        return ended.stdout

    # What else is printed is said by services that come up.
    lines = benchmark.pedantic(measured, rounds=1).splitlines()
    figures = [Figure(**json.loads(line)) for line in lines if line.startswith("{")]
    assert {one.stage for one in figures} == {stage}
    assert all(one.per_s > 0 for one in figures)
    save(results, figures, Run(scale, on))
    for one in figures:
        benchmark.extra_info[f"{one.case}, {one.name}"] = round(one.per_s)
    for ratio in comparisons(figures):
        name = f"{ratio.ours.case}: times {ratio.other.name}"
        benchmark.extra_info[name] = round(ratio.best, 2)
