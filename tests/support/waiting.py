"""Waiting for a condition, always within a bound."""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

TICK_S = 0.01


async def until(
    condition: Callable[[], Any | Awaitable[Any]], what: str, timeout_s: float = 15.0
) -> Any:
    """The condition's value as soon as it is true. Fails the test, naming `what`, at time-out.

    condition: a plain or a coroutine function; what it asks has no event to wait for.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        value = condition()
        if isawaitable(value):
            value = await value
        if value:
            return value
        if loop.time() > deadline:
            raise AssertionError(f"after {timeout_s:g} s still not: {what}")
        await asyncio.sleep(TICK_S)
