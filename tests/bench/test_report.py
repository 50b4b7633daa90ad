"""The report says what the results say: ratios, goals, charts, and the table of README.md."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from bench import charts, report
from bench.compare import comparisons
from bench.figures import Figure
from bench.goals import judged
from bench.kept import Benchmark, Run, save, saved_benchmarks, saved_figures, saved_runs
from bench.machine import Machine

OURS = Figure("maker", "fan-out 5", "notify", "Maker", "messages", 600.0, {"maker": 2.0, "db": 2.0})
NAIVE = replace(OURS, kind="baseline", name="one at a time", per_s=10.0, cpu_s={"maker": 240.0})
BEST = replace(
    OURS, kind="ceiling", name="INSERT and push in turn", per_s=1000.0, cpu_s={"db": 3.0}
)
RUN = Run(1.0, Machine(2, "cpu", "Linux 6", "3.11", "10.11", "7.0", 0.5))


def test_ratios_are_of_the_same_case_by_wall_clock_and_by_cpu() -> None:
    other_case = replace(NAIVE, case="fan-out 1", per_s=1.0)
    first, second = comparisons([NAIVE, OURS, BEST, other_case])
    assert (first.wall, first.cpu, first.best) == (60.0, 60.0, 60.0)
    assert (second.wall, second.cpu, second.best) == (0.6, 0.75, 0.75)


@pytest.mark.parametrize(("rate", "met"), [(500.0, True), (499.0, False)])
def test_a_goal_is_met_or_missed_by_the_ratio(rate: float, met: bool) -> None:
    ours = replace(OURS, per_s=rate, cpu_s={"maker": 100.0})
    (verdict,) = judged([ours, NAIVE])
    assert verdict.met is met
    assert "fan-out 5: at least 50x one at a time" in verdict.goal


def test_a_goal_that_nothing_was_measured_for_is_not_told() -> None:
    assert judged([OURS]) == []


def test_what_the_ceilings_of_the_stages_add_up_to_is_said_by_cpu_on_all_cores() -> None:
    flow = replace(OURS, stage="flow", cpu_s={"producer": 1.0, "endpoints": 2.0, "sender": 50.0})
    api = replace(BEST, stage="api", case="batches of 100", name="INSERT of 800 rows")
    sender = replace(BEST, stage="sender", case="HTTP, 1 endpoint", name="bare client")
    marker = replace(BEST, stage="marker", case="all success")
    figures = [flow, api, BEST, sender, marker]
    (made,) = report.added_up(figures, {"flow": RUN})
    # Deliveries count five times, and the naive rest of the flow does not count.
    assert made.cpu_s == {
        "producer": 1.0, "endpoints": 2.0, "api": 3.0, "maker": 3.0, "sender": 15.0, "marker": 15.0,
    }  # fmt: skip
    assert made.per_s == pytest.approx(2 * 100_000 / 39.0)
    assert report.added_up(figures[:-1], {"flow": RUN}) == []


def test_figures_are_kept_by_stage_with_how_they_came_about(tmp_path: Path) -> None:
    save(tmp_path, [OURS, NAIVE], RUN)
    save(tmp_path, [replace(OURS, stage="marker")], replace(RUN, scale=5.0))
    save(tmp_path, [BEST], replace(RUN, scale=0.1))
    assert [one.stage for one in saved_figures(tmp_path)] == ["marker", "maker"]
    assert {stage: run.scale for stage, run in saved_runs(tmp_path).items()} == {
        "maker": 0.1,
        "marker": 5.0,
    }


def test_benchmarks_of_pytest_are_read_as_it_writes_them(tmp_path: Path) -> None:
    assert saved_benchmarks(tmp_path) == []
    row = '{"group": "ids", "name": "test_ids", "stats": {"median": 0.5, "rounds": 3, "min": 0.1}}'
    (tmp_path / "benchmarks.json").write_text(f'{{"benchmarks": [{row}]}}')
    assert saved_benchmarks(tmp_path) == [Benchmark("ids", "test_ids", 0.5, 3)]


def test_charts_are_xml_and_the_same_each_time() -> None:
    rows = [charts.Row("a < b", {"by wall clock": 12.0, "by CPU": 0.0}, goal=50.0)]
    drawn = [
        charts.bars("Title & more", rows, "x"),
        charts.stacks("Title", rows, " s"),
        charts.line("Title", "said", {-2: 10.0, 0: 900.0, 9: 20.0}, " ms", (-1, 0), 20.0),
    ]
    for text in drawn:
        root = ET.fromstring(text)
        assert root.tag.endswith("svg")
        assert "prefers-color-scheme:dark" in text
    assert drawn[0] == charts.bars("Title & more", rows, "x")


def test_only_what_is_between_the_markers_of_the_readme_is_replaced() -> None:
    text = f"before\n{report.BEGIN}old\n{report.END}after\n"
    assert (
        report.with_table(text, ["new", ""])
        == f"before\n{report.BEGIN}\nnew\n\n{report.END}after\n"
    )


def test_report_charts_and_readme_are_what_the_kept_results_make_of_them() -> None:
    for path, text in report.files(readme_too=True).items():
        assert path.read_text() == text, f"{path.name}: run python -m bench.report --readme"
