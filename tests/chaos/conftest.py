"""How long the chaos lasts, from which seed, and the table at the end."""

import logging
import random
import sys
from collections.abc import Iterable
from dataclasses import astuple

import pytest

from tests.chaos.round import Row

CI_S = 1500
ROWS = pytest.StashKey[list[Row]]()
SEED = pytest.StashKey[int]()
HEAD = ("fault", "load", "messages", "deliveries", "lost", "doubled", "in flight", "recovery s",
        "settled s")  # fmt: skip


def pytest_collection_modifyitems(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Each wait is bounded; the whole as well."""
    minutes = config.getoption("chaos_minutes")
    for item in items:
        if item.get_closest_marker("chaos"):
            item.add_marker(pytest.mark.timeout(CI_S + 60 * minutes))


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """Printed with the table, and before anything happens."""
    given = pytestconfig.getoption("chaos_seed")
    number = random.SystemRandom().randrange(10**6) if given is None else given
    pytestconfig.stash[SEED] = number
    sys.stdout.write(f"--chaos-seed {number}\n")
    return number


@pytest.fixture
def rows(pytestconfig: pytest.Config) -> list[Row]:
    """What the terminal shows at the end."""
    return pytestconfig.stash.setdefault(ROWS, [])


@pytest.fixture(autouse=True)
def quiet_client(caplog: pytest.LogCaptureFixture) -> None:
    """The HTTP client of the tests logs every request; thousands of lines help nobody."""
    caplog.set_level(logging.WARNING, "httpx")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """The table: what was done to the system and what came of it."""
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    terminalreporter.section(f"chaos, seed {config.stash[SEED]}")
    texts = [[_shown(cell) for cell in astuple(row)] for row in rows]
    widths = [max(map(len, column)) for column in zip(HEAD, *texts, strict=True)]
    for line in (HEAD, *texts):
        cells = (
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        terminalreporter.line("  ".join(cells))
    slowest = max(rows, key=lambda row: row.recovery_s)
    terminalreporter.line(
        f"{len(rows)} faults, {sum(row.messages for row in rows)} messages, "
        f"{sum(row.deliveries for row in rows)} deliveries, {sum(row.lost for row in rows)} lost, "
        f"{sum(row.doubled for row in rows)} doubled; "
        f"slowest recovery {slowest.recovery_s:.1f} s ({slowest.fault})"
    )


def _shown(cell: object) -> str:
    return f"{cell:.1f}" if isinstance(cell, float) else str(cell)
