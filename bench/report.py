"""The report of the benchmarks: `python -m bench.report [--readme]`.

Reads what `make bench` saved and writes bench/REPORT.md with its charts, or the table of README.md
between its two markers. The same results give the same bytes. --check changes nothing and fails
where a file is not what the results make of it.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench import charts
from bench.compare import Comparison, comparisons
from bench.figures import Figure
from bench.goals import goal_of, judged
from bench.kept import RESULTS, Run, saved_benchmarks, saved_figures, saved_runs
from bench.machine import Machine

HERE: Final = Path(__file__).parent
REPORT: Final = HERE / "REPORT.md"
README: Final = HERE.parent / "README.md"
BEGIN: Final = "<!-- made by `python -m bench.report --readme` -->\n"
END: Final = "<!-- end -->\n"
GROWTH: Final = "growth"  # its baseline is Notify itself, over empty tables
# In the order of a message's way; others follow by name.
STAGES: Final = ("flow", "api", "maker", "sender", "marker", "spike", GROWTH, "core")
# What the stages' ceilings of one case of the flow are: stage, case, word in the name, whether
# its unit is a delivery.
ADDED_UP: Final = (
    ("api", "batches of 100", "INSERT", False),
    ("maker", "fan-out {}", "INSERT and push", False),
    ("sender", "HTTP, 1 ", "bare", True),
    ("marker", "all success", "", True),
)
# Groups of figures, by what is before the dot in their names.
GROUPS: Final = {
    "core_s": "Busy seconds of each core for 100 000, whoever had it",
    "half_load_cores": "Cores used at half load",
    "rss_mb": "Memory, MB",
    "until_accepted": "Until the 202 at half load",
    "refused_by": "Refused, by the bound that was reached",
}
# Not of Notify, but on the same cores in the same run.
AROUND: Final = ("producer", "endpoints")

Rows = Iterator[str]


def ordered(figures: Sequence[Figure]) -> list[Figure]:
    """By stage in the order of a message's way; within a stage as they came."""
    rank = {stage: number for number, stage in enumerate(STAGES)}
    return sorted(figures, key=lambda one: (rank.get(one.stage, len(rank)), one.stage))


def added_up(figures: Sequence[Figure], runs: dict[str, Run]) -> list[Figure]:
    """For each case of the flow, what the ceilings of the stages add up to on its cores."""
    return [
        made
        for flow in figures
        if (flow.stage, flow.kind) == ("flow", "notify")
        and (made := _added_up(flow, figures, runs["flow"].machine.cores))
    ]


def _added_up(flow: Figure, figures: Sequence[Figure], cores: int) -> Figure | None:
    fan_out = int(flow.case.removeprefix("fan-out "))
    cpu_s = {name: flow.cpu_s[name] for name in AROUND}
    for stage, case, word, each in ADDED_UP:
        found = [
            one
            for one in figures
            if (one.stage, one.kind) == (stage, "ceiling")
            and one.case.startswith(case.format(fan_out))
            and word in one.name
        ]
        if not found:
            return None
        cpu_s[stage] = found[0].all_cpu_s * (fan_out if each else 1)
    name = "what the ceilings of the stages add up to"
    per_s = cores * 100_000 / sum(cpu_s.values())
    return replace(flow, kind="ceiling", name=name, per_s=per_s, cpu_s=cpu_s, more={}, rounds=1)


def goals(figures: Sequence[Figure]) -> Rows:
    """What was to be reached."""
    yield "## Goals\n"
    yield "| stage | goal | found | |"
    yield "|---|---|---|---|"
    for one in judged(figures):
        yield f"| {one.stage} | {one.goal} | {one.found} | {'met' if one.met else '**missed**'} |"
    yield "\nOf wall clock and CPU the better counts where the goal does not say which.\n"


def ratios(stage: str, figures: Sequence[Figure]) -> Rows:
    """Ours beside the others, ratios first."""
    beside = {id(one.other): one for one in comparisons(figures)}
    yield "| case | | wall clock | CPU | per s | CPU seconds for 100 000 |"
    yield "|---|---|---|---|---|---|"
    for one in figures:
        ratio = beside.get(id(one))
        name = f"**{one.name}**" if one.kind == "notify" else f"{one.kind}: {one.name}"
        wall = _ratio(ratio, ratio.wall) if ratio else ""
        cpu = _ratio(ratio, ratio.cpu) if ratio else ""
        used = f"{one.all_cpu_s:,.2f}" if one.cpu_s else ""
        rate = f"{one.per_s:,.0f} {one.unit}"
        yield f"| {one.case} | {name} | {wall} | {cpu} | {rate} | {used} |"
    yield f"\n`python -m bench.stages.{stage}`\n"


def _ratio(ratio: Comparison, value: float) -> str:
    if not value:
        return ""
    return f"{value:.0%}" if ratio.other.kind == "ceiling" else f"{value:,.3g}x"


def by_process(figures: Sequence[Figure]) -> Rows:
    """Who used the CPU."""
    names = list(dict.fromkeys(name for one in figures for name in one.cpu_s))
    if names:
        yield "CPU seconds for 100 000, by process:\n"
        yield f"| case | | {' | '.join(names)} |"
        yield f"|---|---|{'---|' * len(names)}"
        for one in figures:
            cells = (f"{one.cpu_s[name]:,.2f}" if name in one.cpu_s else "" for name in names)
            yield f"| {one.case} | {one.name} | {' | '.join(cells)} |"
        yield ""


def more(figures: Sequence[Figure]) -> Rows:
    """Everything else that was found, but for what is drawn second by second."""
    for group in dict.fromkeys(_group(name) for one in figures for name in one.more):
        named = [
            (one, {name: one.more[name] for name in one.more if _group(name) == group})
            for one in figures
        ]
        names = list(dict.fromkeys(name for _, told in named for name in told if "@" not in name))
        if not names:
            continue
        yield f"{GROUPS.get(group, group)}:\n" if group else ""
        yield f"| case | | {' | '.join(name.removeprefix(f'{group}.') for name in names)} |"
        yield f"|---|---|{'---|' * len(names)}"
        for one, told in named:
            cells = (f"{told[name]:,.4g}" if name in told else "" for name in names)
            if told:
                yield f"| {one.case} | {one.name} | {' | '.join(cells)} |"
        yield ""


def _group(name: str) -> str:
    """What a name with a dot belongs to."""
    return name.rpartition(".")[0]


def on(run: Run) -> str:
    """What a stage was measured on."""
    return f"Scale {run.scale:g}; {told(run.machine)}; load before it {run.machine.load:g}.\n"


def told(machine: Machine) -> str:
    """A machine in a line."""
    return (
        f"{machine.cores} cores ({machine.cpu}), {machine.kernel}, Python {machine.python},"
        f" MariaDB {machine.mariadb}, Redis {machine.redis}"
    )


def drawn(figures: Sequence[Figure]) -> dict[str, str]:
    """The charts by name; none of what was not measured."""
    found = comparisons(figures)
    made = {}
    for kind, title, unit in (
        ("baseline", "Times as fast as the baseline (the line is the goal)", "x"),
        ("ceiling", "Share of the ceiling (the line is the goal)", " %"),
    ):
        factor = 100 if kind == "ceiling" else 1
        rows = [
            charts.Row(
                f"{one.ours.stage}: {one.ours.case}",
                {"by wall clock": one.wall * factor, "by CPU": one.cpu * factor},
                goal=(goal_of(one) or 0) * factor or None,
            )
            for one in _first_of_case(found, kind)
        ]
        if rows:
            made[kind] = charts.bars(title, rows, unit)
    rows = [
        charts.Row(f"{one.case}, {one.kind}", one.cpu_s)
        for one in figures
        if one.stage == "flow" and one.kind != "baseline"
    ]
    if rows:
        made["cpu"] = charts.stacks("The whole flow: CPU seconds for 100 000 messages", rows, " s")
    rows = [
        charts.Row(one.ours.case, {one.other.name: one.other.per_s, one.ours.name: one.ours.per_s})
        for one in found
        if one.ours.stage == GROWTH
    ]
    if rows:
        made["growth"] = charts.bars("Rates over grown tables", rows, "/s")
    for one in figures:
        if one.stage == "spike":
            made["spike"] = _spike(one)
    return made


def _first_of_case(found: Sequence[Comparison], kind: str) -> list[Comparison]:
    first: dict[tuple[str, str], Comparison] = {}
    for one in found:
        if one.other.kind == kind and one.ours.stage != GROWTH:
            first.setdefault((one.ours.stage, one.ours.case), one)
    return list(first.values())


def _spike(figure: Figure) -> str:
    points = {
        int(name.partition("@")[2]): value
        for name, value in figure.more.items()
        if name.startswith("p99_ms@")
    }
    title = f"A flash sale, {figure.case}: p99 from sent to arrived, by second"
    during = (-int(figure.more["spike_s"]), 0)
    said = "shaded: the sale; the line: twice what it was before"
    return charts.line(title, said, points, " ms", during, 2 * figure.more["p99_before_ms"])


def report(figures: Sequence[Figure], runs: dict[str, Run], pictures: Sequence[str]) -> Rows:
    """The lines of REPORT.md."""
    yield "# What the benchmarks found\n"
    yield "Made by `make bench` (minutes) or `make bench-full` (longer): `python -m bench.report`"
    yield "writes it from `bench/results`. What is compared was measured in one run, in turn. Of a"
    yield "shared machine ratios say more than rates, and CPU seconds more than wall clock.\n"
    yield from goals(figures)
    for name in pictures:
        yield f"![{name}](results/{name}.svg)\n"
    for stage in dict.fromkeys(one.stage for one in figures):
        of_stage = [one for one in figures if one.stage == stage]
        yield f"## {stage.capitalize()}\n"
        yield from ratios(stage, of_stage)
        yield from by_process(of_stage)
        yield from more(of_stage)
        yield on(runs[stage])
    yield from others()


def others() -> Rows:
    """What pytest-benchmark measured beside the stages."""
    found = [one for one in saved_benchmarks(RESULTS) if one.group != "stages"]
    if found:
        yield "## Parts\n"
        yield "Medians of `pytest bench --benchmark-only`, by group.\n"
        yield "| group | | median, us | rounds |"
        yield "|---|---|---|---|"
        for one in found:
            yield f"| {one.group} | {one.name} | {one.median_s * 1e6:,.1f} | {one.rounds} |"
        yield ""


def readme(figures: Sequence[Figure], runs: dict[str, Run]) -> Rows:
    """The lines between the markers of README.md."""
    machines = {replace(run.machine, load=0): None for run in runs.values()}
    yield f"On {'; '.join(told(one) for one in machines)}; ratios are by wall clock / by CPU.\n"
    yield "| | | times the baseline | of the ceiling |"
    yield "|---|---|---|---|"
    every = comparisons(figures)
    for one in figures:
        if one.kind != "notify":
            continue
        mine = [ratio for ratio in every if ratio.ours is one]
        cells = []
        for kind in ("baseline", "ceiling"):
            beside = next((ratio for ratio in mine if ratio.other.kind == kind), None)
            cells.append(_both(beside) if beside else "")
        name = f"{one.stage}: {one.case}"
        yield f"| {name} | {one.per_s:,.0f} {one.unit}/s | {' | '.join(cells)} |"
        if "half_load_per_s" in one.more:
            took = f"p50 {one.more['p50_ms']:,.3g} ms, p99 {one.more['p99_ms']:,.3g} ms"
            yield f"| {name}, sent to arrived at half load | {took} | | |"
    yield ""


def _both(ratio: Comparison) -> str:
    both = (_ratio(ratio, ratio.wall) or "-", _ratio(ratio, ratio.cpu) or "-")
    return f"{' / '.join(both)} ({ratio.other.name})"


def with_table(text: str, lines: Sequence[str]) -> str:
    """README.md with these lines between its markers."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    assert rest
    assert tail
    return "\n".join((head + BEGIN, *lines, END + tail))


def files(*, readme_too: bool) -> dict[Path, str]:
    """What is made of the results, by path."""
    runs = saved_runs(RESULTS)
    saved = saved_figures(RESULTS)
    figures = ordered([*saved, *added_up(saved, runs)])
    pictures = drawn(figures)
    made = {RESULTS / f"{name}.svg": text for name, text in pictures.items()}
    made[REPORT] = "\n".join(report(figures, runs, list(pictures))) + "\n"
    if readme_too:
        made[README] = with_table(README.read_text(), list(readme(figures, runs)))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readme", action="store_true", help="the table of README.md too")
    parser.add_argument("--check", action="store_true", help="change nothing")
    asked = parser.parse_args()
    wrong = []
    for path, text in files(readme_too=asked.readme or asked.check).items():
        if not asked.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            wrong.append(str(path.relative_to(HERE.parent)))
    if wrong:
        sys.exit(f"not what the results make of it: {', '.join(wrong)}; python -m bench.report")


if __name__ == "__main__":
    main()
