"""What statements cost a private MariaDB: time, CPU, and bytes of its two logs."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.processes import cpu_s
from notify.storage.mysql.connection import connect
from notify_core import ids
from tests.servers.mariadb import Mariadb

DATABASE = "nt_experiment"
SETTINGS = ("--innodb-buffer-pool-size=2G", "--innodb-log-file-size=1G")
# As production has it: what was committed is in the binary log, as rows.
BINLOG = ("--log-bin=binlog", "--binlog-format=ROW", "--sync-binlog=1", "--server-id=1")
ROWS = 50_000
ROUNDS = 3
NOW_MS = 1_800_000_000_000

Job = list[bytes]


class Cost(NamedTuple):
    """Of a way, the medians of its rounds: rows/s, CPU s for 100 000 rows, log bytes a row."""

    per_s: float
    cpu_s: float
    redo_bytes: float
    binlog_bytes: float


Way = Callable[[], Cost]


class Server:
    """A server with an empty, migrated database."""

    def __init__(self, made: Mariadb) -> None:
        self.made = made
        self._next_ms = NOW_MS

    def sql(self, *statements: str) -> tuple[tuple[Any, ...], ...]:
        return self.made.sql(*statements, database=DATABASE)

    def rising(self, count: int) -> list[int]:
        """Message ids that no other call gets."""
        self._next_ms += 1_000_000
        return ids.IdMaker(0, 0).make_many(self._next_ms, count)

    def way(self, make: Callable[..., Sequence[Job]], *given: Any) -> Way:
        """A way to do something here. make(server, *given): its jobs, anew for each round."""
        return lambda: self._cost(make(self, *given))

    def _cost(self, jobs: Sequence[Job]) -> Cost:
        """What jobs cost, each on a connection of its own."""
        sessions = [connect(self.made.options(DATABASE), lane) for lane in range(len(jobs))]
        logs, cpu, began = self._logs(), cpu_s(self.made.pid), time.perf_counter()
        threads = [
            threading.Thread(target=session.change_all, args=(job,))
            for session, job in zip(sessions, jobs, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds, used = time.perf_counter() - began, cpu_s(self.made.pid) - cpu
        redo, binlog = (after - before for after, before in zip(self._logs(), logs, strict=True))
        for session in sessions:
            session.close()
        return Cost(ROWS / seconds, used / ROWS * 100_000, redo / ROWS, binlog / ROWS)

    def _logs(self) -> tuple[int, int]:
        wanted = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Innodb_lsn_current',"
        found = dict(self.sql(wanted + "'Binlog_bytes_written')"))
        return int(found["Innodb_lsn_current"]), int(found["Binlog_bytes_written"])


@contextmanager
def server(*settings: str) -> Iterator[Server]:
    """A server, removed at the end."""
    made = Mariadb((*SETTINGS, *settings))
    try:
        made.create()
        made.new_database(DATABASE)
        yield Server(made)
    finally:
        made.remove()


def median(costs: Sequence[Cost]) -> Cost:
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


def compare(ways: dict[str, Way]) -> dict[str, Cost]:
    """The costs of ways, in turn, round after round; the first round warms up."""
    found: dict[str, list[Cost]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, way in ways.items():
            cost = way()
            if number:
                found[name].append(cost)
    return {name: median(costs) for name, costs in found.items()}


def show(costs: dict[str, Cost], unit: str = "rows") -> None:
    table = Table("", f"{unit}/s", "server CPU s/100 000", "redo bytes", "binlog bytes")
    for name, cost in costs.items():
        table.add_row(
            name, f"{cost.per_s:,.0f}", f"{cost.cpu_s:.2f}", f"{cost.redo_bytes:.0f}",
            f"{cost.binlog_bytes:.0f}",
        )  # fmt: skip
    Console().print(table)
