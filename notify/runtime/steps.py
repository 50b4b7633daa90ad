"""How every service runs: step after step, through outages, until it is told to stop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

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
        await self.cut_short(self._clock.sleep(seconds))

    async def cut_short(self, *waiting: Coroutine[Any, Any, object]) -> None:
        """Await the first of what does nothing but wait; give all up when this is set."""
        tasks = [asyncio.ensure_future(one) for one in (*waiting, self._event.wait())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        for task in done:
            await task


async def run_steps(
    name: str, step: Callable[[], Awaitable[None]], stopping: Stopping, random: Random
) -> None:
    """Repeat a step until stopping; errors are logged and backed off, never fatal.

    A step waits for its own work (cut short by stopping) and must be repeatable after it
    failed anywhere. A bug is logged with its traceback: what it hits is tried again and again,
    and everything else goes on. An error that only comes again is not logged again, however
    long an outage lasts.
    """
    failures, said = 0, ""
    while not stopping:
        try:
            await step()
            if said:
                log.info("%s: goes on", name)
            failures, said = 0, ""
        except QueueLost:
            # The Rescuer rebuilds it within its interval; nothing to do here but wait.
            await stopping.pause(BACKOFF_FIRST_S)
        except Exception as error:
            failures += 1
            delay_s = min(BACKOFF_FIRST_S * 2 ** min(failures - 1, 10), BACKOFF_MAX_S)
            before, said = said, repr(error)
            if said == before:
                pass  # an operator was told, and nothing changed
            elif isinstance(error, NotifyError):
                log.warning("%s: %s; trying until it works", name, error)
            else:
                log.exception("%s: a bug; trying until it works", name)
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
