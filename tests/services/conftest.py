"""Fixtures of the services' tests."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.simulation.loop import SimulatedLoop


@pytest.fixture
def simulate() -> Callable[[Coroutine[Any, Any, None]], None]:
    """Run a coroutine in simulated time; what it leaves behind is cancelled."""

    def run(work: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
            runner.run(work)

    return run
