"""What the demo shows: a live table while it runs, the accounts at the end."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from notify.cli.demo.sale import Sale

COUNTS: Final = ("matched", "delivered", "dropped", "queued", "pending")
CAST: Final = """\
warehouse   gets all events, its endpoint is healthy
loyalty     gets order.*, its endpoint answers 503 to every tenth request
mailer      gets payment.*, its endpoint takes 50 ms; paused, resumed half-way
old feed    discarded: recorded, never delivered
"""


class Screen:
    """The live view of one sale."""

    def __init__(self, sale: Sale) -> None:
        self._sale = sale
        self._progress = Progress(
            TextColumn("accepted"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        self._task = self._progress.add_task("accepted", total=sale.messages, rate="")

    def render(self, stats: Mapping[int, Mapping[str, Any]], elapsed_s: float) -> RenderableType:
        """The view at one moment."""
        rate = f"{self._sale.accepted / elapsed_s:,.0f} messages/s" if elapsed_s else ""
        self._progress.update(self._task, completed=self._sale.accepted, rate=rate)
        rows = [stats.get(line.subscription_id, {}) for line in self._sale.lines]
        titles = [line.title for line in self._sale.lines]
        return Group(self._progress, ledger_table(titles, rows))


def ledger_table(titles: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    """The account per subscription as Notify keeps it."""
    table = _table("The ledger: matched = delivered + dropped + queued + pending", COUNTS)
    for title, row in zip(titles, rows, strict=True):
        table.add_row(title, *(f"{row.get(name, 0):,}" for name in COUNTS))
    return table


def arrivals_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What the endpoints themselves counted, with the time from accepted to arrived."""
    table = _table(
        "What the endpoints saw, signatures verified; ms from accepted to arrived",
        ("arrived", "duplicates", "bad", "503s", "p50", "p95", "p99"),
    )
    for row in rows:
        latencies = [percentile(row["latencies_ms"], share) for share in (0.5, 0.95, 0.99)]
        table.add_row(
            row["title"],
            *(f"{row[name]:,}" for name in ("arrived", "duplicates", "bad_signatures", "refused")),
            *("-" if value is None else f"{value:,}" for value in latencies),
        )
    return table


def percentile(values: Sequence[int], share: float) -> int | None:
    """The value below which this share of sorted values lies; None for none."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else None


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE)
    table.add_column("subscription")
    for name in columns:
        table.add_column(name, justify="right")
    return table
