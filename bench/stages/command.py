"""How a stage is run alone: `python -m bench.stages.STAGE [--scale X] [--json | --save]`.

A stage is a module of this folder with `async def measure(scale: float) -> list[Figure]`: scale 1
takes up to half a minute, 0.1 some seconds. It starts its own servers and stops them.
"""

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from bench.compare import comparisons
from bench.figures import Figure
from bench.kept import RESULTS, Run, save
from bench.machine import machine
from notify.domain.errors import NotifyError

Measure = Callable[[float], Awaitable[list[Figure]]]

_said = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """Tell whoever waits what is being measured."""
    _said.print(f"[dim]{text}[/]")


def stages() -> list[str]:
    """The stages there are, by name."""
    found = sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
    return [name for name in found if name not in ("command", "__init__")]


def show(figures: Sequence[Figure], console: Console) -> None:
    """A table: rates, what they cost, and how many times ours is of the others."""
    ratios = {id(one.other): one for one in comparisons(figures)}
    table = Table("case", "", "per s", "CPU s for 100 000", "ours: wall", "ours: CPU")
    for one in figures:
        ratio = ratios.get(id(one))
        table.add_row(
            one.case,
            one.name if one.kind == "notify" else f"{one.kind}: {one.name}",
            f"{one.per_s:,.0f} {one.unit}",
            f"{one.all_cpu_s:,.2f}" if one.cpu_s else "",
            f"{ratio.wall:,.2f}x" if ratio and ratio.wall else "",
            f"{ratio.cpu:,.2f}x" if ratio and ratio.cpu else "",
        )
    console.print(table)
    for one in figures:
        told = ", ".join(f"{name} {value:,.4g}" for name, value in one.more.items())
        if told:
            console.print(f"{one.case}, {one.name}: {told}", highlight=False)


def run(measure: Measure) -> None:
    """The command of a stage."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="1: up to half a minute")
    parser.add_argument("--json", action="store_true", help="one object a line, as they are saved")
    parser.add_argument("--save", action="store_true", help="for the report, beside the others")
    asked = parser.parse_args()

    async def measured() -> list[Figure]:
        return await measure(asked.scale)

    on = Run(asked.scale, machine())
    try:
        figures = uvloop.run(measured())
    except NotifyError as error:
        sys.exit(str(error))
    if asked.save:
        save(RESULTS, figures, on)
    if asked.json:
        for one in figures:
            print(json.dumps(asdict(one)))
    else:
        show(figures, Console())
