"""Each stage once, its figures saved for the report: part of `make bench`.

A stage fails where it cannot be measured or a promise is broken, never by how fast it is.
"""

import importlib
from pathlib import Path
from typing import Any

import pytest
import uvloop

from bench.compare import comparisons
from bench.figures import Figure
from bench.kept import Run, save
from bench.machine import machine
from bench.stages.command import stages


@pytest.mark.benchmark(group="stages")
@pytest.mark.parametrize("stage", stages())
def test_stage(benchmark: Any, pytestconfig: pytest.Config, stage: str) -> None:
    scale: float = pytestconfig.getoption("--scale")
    results: Path = pytestconfig.getoption("--results")
    measure = importlib.import_module(f"bench.stages.{stage}").measure
    on = machine()

    async def measured() -> list[Figure]:
        found: list[Figure] = await measure(scale)
        return found

    figures = benchmark.pedantic(lambda: uvloop.run(measured()), rounds=1)
    assert {one.stage for one in figures} == {stage}
    assert all(one.per_s > 0 for one in figures)
    save(results, figures, Run(scale, on))
    for one in figures:
        benchmark.extra_info[f"{one.case}, {one.name}"] = round(one.per_s)
    for ratio in comparisons(figures):
        name = f"{ratio.ours.case}: times {ratio.other.name}"
        benchmark.extra_info[name] = round(ratio.best, 2)
