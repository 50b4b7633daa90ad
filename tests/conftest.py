"""Fixtures of all tests."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
import uvloop

from tests.servers import mariadb
from tests.servers.redis import shared_redis

__all__ = ["run", "shared_redis"]

T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of tests/chaos."""
    group = parser.getgroup("chaos")
    group.addoption("--chaos-minutes", type=float, default=0, help="Go on with random faults.")
    group.addoption("--chaos-seed", type=int, help="Repeat the draws of an earlier run.")


@pytest.fixture
def run() -> Iterator[Callable[[Coroutine[Any, Any, T]], T]]:
    """Run coroutines one after the other on the test's own event loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner.run


@pytest.fixture(scope="session", autouse=True)
def _servers() -> Iterator[None]:
    """End the servers that tests of this session started."""
    yield
    mariadb.end_shared()
