"""Charts as SVG text: the same figures give the same bytes, readable on light and dark pages.

Each has a background of its own, so that it is readable whatever page it is on.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 820
LABELS: Final = 250  # left of where bars begin
VALUES: Final = 90  # right of where the longest one ends
PLOT: Final = WIDTH - LABELS - VALUES
BAR: Final = 16
GAP: Final = 12
TOP: Final = 64
BOTTOM: Final = 34
LINES_HEIGHT: Final = 300
LEFT: Final = 90  # of a curve

LIGHT: Final = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf8700",
                "#cf222e", "#0e8a8a", "#6e7781", "#d4a2ff", "#57ab5a")  # fmt: skip
DARK: Final = ("#58a6ff", "#f0883e", "#3fb950", "#bc8cff", "#d29922",
               "#ff7b72", "#39c5cf", "#8b949e", "#e2c5ff", "#7ee787")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A group of bars. values: by series. goal: marked across them."""

    label: str
    values: Mapping[str, float]
    goal: float | None = None


def bars(title: str, rows: Sequence[Row], unit: str) -> str:
    """Horizontal bars side by side, on a scale of powers of ten; goals as lines across them."""
    series = _series(rows)
    shown = [value for row in rows for value in (*row.values.values(), row.goal or 0) if value > 0]
    low = math.floor(math.log10(min(shown, default=1.0)) - 0.01)
    high = max(low + 1, math.ceil(math.log10(max(shown, default=1.0))))

    def x(value: float) -> float:
        return LABELS + PLOT * max(0.0, math.log10(value) - low) / (high - low)

    height = TOP + sum(len(row.values) * BAR + GAP for row in rows) + BOTTOM
    parts = [*_legend(title, series)]
    for power in range(low, high + 1):
        parts += _grid(x(10**power), height, _told(10**power) + unit)
    at = TOP
    for row in rows:
        tall = len(row.values) * BAR
        parts.append(_text(LABELS - 8, at + tall / 2 + 4, row.label, "end"))
        for name, value in row.values.items():
            if value > 0:
                end = x(value)
                parts.append(_bar(LABELS, at, end - LABELS, series[name]))
                goal = x(row.goal) if row.goal else 0.0
                clear = goal if end - 5 < goal < end + VALUES / 2 else end
                parts.append(_text(clear + 5, at + BAR - 4, _told(value) + unit))
            at += BAR
        if row.goal:
            parts.append(_line(x(row.goal), at - tall - 3, x(row.goal), at + 3, "goal"))
        at += GAP
    return _drawing(height, parts)


def stacks(title: str, rows: Sequence[Row], unit: str) -> str:
    """A horizontal bar for each row, made of its values."""
    series = _series(rows)
    longest = max((sum(row.values.values()) for row in rows), default=1.0)
    height = TOP + 20 + len(rows) * (BAR + GAP) + BOTTOM
    parts = [*_legend(title, series)]
    at = TOP + 20
    for row in rows:
        parts.append(_text(LABELS - 8, at + BAR - 4, row.label, "end"))
        left = float(LABELS)
        for name, value in row.values.items():
            wide = PLOT * value / longest
            parts.append(_bar(left, at, wide, series[name], f"{name}: {_told(value)}{unit}"))
            left += wide
        parts.append(_text(left + 5, at + BAR - 4, _told(sum(row.values.values())) + unit))
        at += BAR + GAP
    return _drawing(height, parts)


def line(
    title: str,
    said: str,
    points: Mapping[int, float],
    unit: str,
    during: tuple[int, int],
    limit: float,
) -> str:
    """A curve over seconds, on a scale of powers of ten.

    during: a span that is shaded; limit: a line across; said: what they mean.
    """
    height = LINES_HEIGHT
    first, last = min(points), max(points)
    low = math.floor(math.log10(min(points.values())))
    high = max(low + 1, math.ceil(math.log10(max(points.values()))))

    def x(second: float) -> float:
        return LEFT + (WIDTH - LEFT - 30) * (second - first) / max(1, last - first)

    def y(value: float) -> float:
        part = (math.log10(value) - low) / (high - low)
        return height - BOTTOM - (height - TOP - BOTTOM) * part

    parts = [*_legend(title, {}), _text(16, 45, said)]
    begin, end = (min(last, max(first, second)) for second in during)
    parts.append(
        f'<rect class="span" x="{x(begin):.1f}" y="{TOP}" width="{x(end) - x(begin):.1f}"'
        f' height="{height - TOP - BOTTOM}"/>'
    )
    for power in range(low, high + 1):
        parts.append(_line(LEFT, y(10**power), WIDTH - 30, y(10**power), "grid"))
        parts.append(_text(LEFT - 8, y(10**power) + 4, _told(10**power) + unit, "end"))
    parts += [
        _text(x(second), height - 12, f"{second} s", "middle")
        for second in range(first, last + 1)
        if second % 10 == 0
    ]
    parts.append(_line(LEFT, y(limit), WIDTH - 30, y(limit), "goal"))
    drawn = " ".join(f"{x(second):.1f},{y(value):.1f}" for second, value in sorted(points.items()))
    parts.append(f'<polyline class="curve" points="{drawn}"/>')
    return _drawing(height, parts)


def _told(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _series(rows: Sequence[Row]) -> dict[str, int]:
    """The colour of each name, in the order they come."""
    names = dict.fromkeys(name for row in rows for name in row.values)
    return {name: number % len(LIGHT) for number, name in enumerate(names)}


def _legend(title: str, series: Mapping[str, int]) -> Iterator[str]:
    yield f'<text x="16" y="24" class="title">{escape(title)}</text>'
    at, down = 16.0, 38
    for name, colour in series.items():
        wide = 24 + 6.6 * len(name)
        if at + wide > WIDTH - 16:
            at, down = 16.0, down + 18
        yield _bar(at, down - 2, 10, colour, tall=10)
        yield _text(at + 15, down + 7, name)
        at += wide


def _grid(x: float, height: float, label: str) -> Iterator[str]:
    yield _line(x, TOP - 6, x, height - BOTTOM, "grid")
    yield _text(x, height - 14, label, "middle")


def _bar(
    x: float, y: float, wide: float, colour: int, hint: str = "", tall: float = BAR - 2
) -> str:
    shape = f'<rect class="s{colour}" x="{x:.1f}" y="{y:.1f}" width="{max(wide, 1):.1f}"'
    inner = f"<title>{escape(hint)}</title>" if hint else ""
    return f'{shape} height="{tall}">{inner}</rect>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x: float, y: float, to_x: float, to_y: float, kind: str) -> str:
    ends = f'x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"'
    return f'<line class="{kind}" {ends}/>'


def _colours(palette: Sequence[str], paper: str, ink: str, grid: str, goal: str) -> str:
    fills = "".join(f".s{number}{{fill:{colour}}}" for number, colour in enumerate(palette))
    return (
        f".paper{{fill:{paper}}}text{{fill:{ink}}}.grid{{stroke:{grid}}}.span{{fill:{grid}}}"
        f".goal{{stroke:{goal}}}.curve{{stroke:{palette[0]}}}{fills}"
    )


def _drawing(height: float, parts: Sequence[str]) -> str:
    light = _colours(LIGHT, "#ffffff", "#1f2328", "#d8dee4", "#cf222e")
    dark = _colours(DARK, "#0d1117", "#e6edf3", "#30363d", "#ff7b72")
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}"'
        f' width="{WIDTH}" height="{height:g}" role="img">'
    )
    style = (
        "<style>text{font:12px system-ui,sans-serif}.title{font-size:15px;font-weight:600}"
        ".grid{stroke-width:1}.goal{stroke-width:2.5}.curve{fill:none;stroke-width:2}"
        f"{light}@media (prefers-color-scheme:dark){{{dark}}}</style>"
    )
    paper = f'<rect class="paper" width="{WIDTH}" height="{height:g}" rx="6"/>'
    return "\n".join((head, style, paper, *parts, "</svg>\n"))
