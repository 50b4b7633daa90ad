"""Options of the benchmarks, and what is kept of pytest-benchmark's own results."""

from pathlib import Path
from typing import Any

import pytest

from bench.kept import RESULTS


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much, and where to."""
    group = parser.getgroup("notify")
    group.addoption("--scale", type=float, default=1.0, help="of stages; 1: up to half a minute")
    group.addoption("--results", type=Path, default=RESULTS, help="where figures are saved")


@pytest.hookimpl(trylast=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Keep the name of the machine out of what is checked in."""
    machine_info.pop("node", None)


@pytest.hookimpl(trylast=True)
def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    """Keep the statistics, not each single measurement."""
    for one in output_json["benchmarks"]:
        one["stats"].pop("data", None)
