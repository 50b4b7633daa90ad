"""How every service runs: step after step, through outages, until it is told to stop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from notify.domain.errors import NotifyError, QueueLost
from notify.domain.ports import Clock, Random

BACKOFF_FIRST_S: Final = 0.1
BACKOFF_MAX_S: Final = 5.0

log = logging.getLogger(__name__)


class Stopping:
    """Set once, when the services shall come to an end; waits can be cut short by it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = asyncio.Event()

    def set(self) -> None:
        """Tell everybody to stop."""
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        """Return when it is set."""
        await self._event.wait()

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until it is set."""
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        stopping = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait((sleeping, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            stopping.cancel()


async def run_steps(
    name: str, step: Callable[[], Awaitable[None]], stopping: Stopping, random: Random
) -> None:
    """Repeat a step until stopping; an error of Notify is logged and backed off, not fatal.

    A step waits for its own work (with a time-out, so that stopping is noticed) and must be
    repeatable after it failed anywhere. Errors that are bugs end the service.
    """
    failures = 0
    while not stopping:
        try:
            await step()
            failures = 0
        except QueueLost:
            # The Rescuer rebuilds it within its interval; nothing to do here but wait.
            await stopping.pause(BACKOFF_FIRST_S)
        except NotifyError as error:
            failures += 1
            delay_s = min(BACKOFF_FIRST_S * 2 ** (failures - 1), BACKOFF_MAX_S)
            log.warning("%s: %s; trying again in %.1f s", name, error, delay_s)
            await stopping.pause(delay_s * (0.5 + random.random()))


async def run_every(
    name: str,
    step: Callable[[], Awaitable[None]],
    interval_ms: int,
    stopping: Stopping,
    random: Random,
) -> None:
    """Repeat a step with a pause between; otherwise like run_steps."""

    async def step_and_pause() -> None:
        await step()
        await stopping.pause(interval_ms / 1000)

    await run_steps(name, step_and_pause, stopping, random)
