"""An event loop whose time is simulated: waiting costs nothing, and every run is the same."""

import asyncio
import random
import selectors
from typing import Any

START_MS = 1_790_000_000_000


class Stalled(AssertionError):
    """Nothing can ever happen again: everything waits and no timer runs."""


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    loop: "SimulatedLoop"

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise Stalled("everything waits and no timer runs")
        self.loop.elapsed_s += max(0.0, timeout)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer instead of waiting for it. No I/O, no threads."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.elapsed_s


class SimulatedClock:
    """The clock of the running simulated loop (port Clock). ahead_ms: by so much it was set."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return START_MS + round(asyncio.get_running_loop().time() * 1000) + self.ahead_ms

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SeededRandom(random.Random):
    """Randomness from a seed (port Random)."""

    def token_bytes(self, n: int) -> bytes:
        return self.randbytes(n)
