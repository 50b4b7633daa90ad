"""What the crash tests share: real processes, several experiments at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Instance, environment

CHILD = Path(__file__).parent / "child.py"


@pytest.fixture(autouse=True)
def quiet_client(caplog: pytest.LogCaptureFixture) -> None:
    """The HTTP client of the tests logs every request; thousands of lines help nobody."""
    caplog.set_level(logging.WARNING, "httpx")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def notify() -> Callable[..., Instance]:
    """`async with notify(data_dir, SENDER__TIMEOUT_MS=100) as it`: a process that serves."""

    def start(data_dir: Path, **options: object) -> Instance:
        return Instance(data_dir, environment(**options))

    return start


@pytest.fixture
def doomed() -> Callable[..., Instance]:
    """The same, killing itself "before storage.mark" or "after transport.send 10" times."""

    def start(data_dir: Path, moment: str, **options: object) -> Instance:
        when, method, *nth = moment.split()
        arguments = (str(CHILD), when, method, *(nth or ["1"]))
        return Instance(data_dir, environment(**options), arguments)

    return start


@pytest.fixture
def side_by_side(run: Any, tmp_path: Path) -> Callable[..., None]:
    """Run scenario(data_dir, *case) for every case at once, on all cores."""

    async def one(scenario: Callable[..., Awaitable[None]], number: int, case: Any) -> None:
        try:
            await scenario(tmp_path / f"data-{number}", *case)
        except BaseException as error:
            error.add_note(f"in the case {case}")
            raise

    async def together(scenario: Callable[..., Awaitable[None]], cases: Iterable[Any]) -> None:
        async with asyncio.TaskGroup() as group:
            for number, case in enumerate(cases):
                group.create_task(one(scenario, number, case))

    return lambda scenario, cases: run(together(scenario, cases))
