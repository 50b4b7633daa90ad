"""What the demo shows: a live table while it runs, the ledger at the end."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from notify.cli.demo.sale import Sale

COUNTS = ("matched", "delivered", "dropped", "queued", "pending")


class Screen:
    """The live view of one sale."""

    def __init__(self, sale: Sale) -> None:
        self._sale = sale
        self._progress = Progress(
            TextColumn("accepted"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}")
        )
        self._task = self._progress.add_task("accepted", total=sale.messages, rate="")

    def render(self, stats: Mapping[int, Mapping[str, Any]], elapsed_s: float) -> RenderableType:
        """The view at one moment."""
        rate = f"{self._sale.accepted / elapsed_s:,.0f} messages/s" if elapsed_s else ""
        self._progress.update(self._task, completed=self._sale.accepted, rate=rate)
        return Group(self._progress, ledger_table("Deliveries", self._sale, stats))


def ledger_table(
    title: str,
    sale: Sale,
    stats: Mapping[int, Mapping[str, Any]],
    arrived: Mapping[int, Mapping[str, Any]] | None = None,
) -> Table:
    """The account per subscription; with what the endpoints themselves counted, if given."""
    table = Table(title=title, title_justify="left")
    table.add_column("subscription")
    for name in COUNTS:
        table.add_column(name, justify="right")
    if arrived is not None:
        for name in ("balance", "duplicates", "p50 ms", "p99 ms"):
            table.add_column(name, justify="right")
    for line in sale.lines:
        row = stats.get(line.subscription_id, {})
        cells = [f"{row.get(name, 0):,}" for name in COUNTS]
        if arrived is not None:
            seen = arrived[line.subscription_id]
            cells += [
                "[green]0[/]" if seen["balanced"] else "[red]off[/]",
                str(seen["duplicates"]),
                percentile_text(seen["latencies_ms"], 0.5),
                percentile_text(seen["latencies_ms"], 0.99),
            ]
        table.add_row(line.title, *cells)
    return table


def percentile(values: Sequence[int], share: float) -> int | None:
    """The value below which this share of sorted values lies; None for none."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else None


def percentile_text(values: Sequence[int], share: float) -> str:
    """The same for people."""
    value = percentile(values, share)
    return "-" if value is None else f"{value:,}"
