"""`notify fsck`: proves that database and queue agree, and puts right what does not."""

import sys
import time
from pathlib import Path
from typing import Final

import click
import msgspec
import uvloop
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from notify.config import Config, load
from notify.domain.errors import ConfigError, StorageRefused
from notify.fsck import Finding, Fsck, Report, Watcher
from notify.queue import open_queue
from notify.runtime.clock import SystemClock, SystemRandom
from notify.runtime.command import config_option
from notify.storage import open_storage, sqlite_path

GRACE_MS: Final = 30_000
# Between two looks at what moves: longer than a Sender takes to push and let go.
SETTLE_S: Final = 1.0
LINE_S: Final = 10.0


@click.command()
@config_option
@click.option("--repair", is_flag=True, help="Put right what differs, then look again.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
@click.option(
    "--grace-ms",
    type=click.IntRange(min=0),
    default=GRACE_MS,
    show_default=True,
    help="What is younger may be on its way, and is passed over.",
)
def fsck(file: Path | None, repair: bool, as_json: bool, grace_ms: int) -> None:
    """Compare what is kept, what is queued and what is stored; exit code 1 on a difference.

    Counts every delivery against the accounts, finds messages that nobody splits, deliveries
    that the queue forgot and those it holds twice. Services may run meanwhile.
    """
    config = load(file)
    _check_places(config)
    try:
        report = uvloop.run(_checked(config, repair, grace_ms, quiet=as_json))
    except KeyboardInterrupt:
        click.echo("notify: stopped; every repair is whole by itself, run it again", err=True)
        sys.exit(1)
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        _show(report)
    sys.exit(0 if report.clean else 1)


def _check_places(config: Config) -> None:
    """Raises NotifyError where there is nothing to compare: no data file, or no shared queue."""
    if config.storage.url.partition(":")[0].lower() == "sqlite":
        path = sqlite_path(config.storage.url)
        if not Path(path).exists():
            raise StorageRefused(f"there is no data file {path}: correct storage.url")
    elif _is_memory(config):
        raise ConfigError(
            ["queue.url is memory:, but services over this database share a queue: set queue.url"]
        )


def _is_memory(config: Config) -> bool:
    return config.queue.url.partition(":")[0] == "memory"


async def _checked(config: Config, repair: bool, grace_ms: int, quiet: bool) -> Report:
    """The report. Raises NotifyError."""
    clock = SystemClock()
    storage = open_storage(config.storage)
    # A queue in the memory of another process cannot be seen from here.
    queue = None if _is_memory(config) else open_queue(config.queue, clock)
    watcher = _watcher(quiet)
    try:
        await storage.open()
        if queue is not None:
            await queue.open()
        random = SystemRandom()
        work = Fsck(storage, queue, clock, random, config.queue, watcher, grace_ms, SETTLE_S)
        with watcher:
            return await work.run(repair)
    finally:
        if queue is not None:
            await queue.close()
        await storage.close()


class _Nothing(Watcher):
    """Says nothing."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None

    def step(self, what: str, done: int, total: int) -> None:
        """Nothing."""


class _Lines(_Nothing):
    """A line for each step, and every LINE_S; may be called from another thread."""

    def __init__(self) -> None:
        self._what = ""
        self._said_s = 0.0

    def step(self, what: str, done: int, total: int) -> None:
        """Say what is done, where it is time to."""
        now_s = time.monotonic()
        if what == self._what and now_s - self._said_s < LINE_S:
            return
        self._what, self._said_s = what, now_s
        click.echo(f"{what}: {done} of {total}", err=True)


class _Bar(_Nothing):
    """A progress bar on stderr; may be called from another thread."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._what = ""
        self._task: TaskID | None = None

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self, what: str, done: int, total: int) -> None:
        """Move the bar, or begin another one."""
        if self._task is None or what != self._what:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(what, total=total)
            self._what = what
        self._progress.update(self._task, completed=done, total=total)


def _watcher(quiet: bool) -> _Nothing:
    if quiet:
        return _Nothing()
    return _Bar() if sys.stderr.isatty() else _Lines()


def _show(report: Report) -> None:
    console = Console(highlight=False)
    if report.findings:
        console.print(_table("Found", report.findings))
    if report.remaining:
        console.print(_table("Left after the repair", report.remaining))
    for sentence in (*report.notes, report.verdict):
        console.print(escape(sentence), soft_wrap=True)


def _table(title: str, findings: list[Finding]) -> Table:
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    table.add_column("check", no_wrap=True)
    table.add_column("subscription", justify="right")
    table.add_column("count", justify="right")
    table.add_column("what")
    table.add_column("messages, some", overflow="fold")
    for one in findings:
        table.add_row(
            one.check.value,
            str(one.subscription_id or "-"),
            str(one.count),
            escape(one.text),
            " ".join(one.message_ids),
        )
    return table
