"""The real clock and the real randomness."""

import asyncio
import random
import secrets
import time


class SystemClock:
    """The machine's clock (port Clock)."""

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class SystemRandom:
    """The machine's randomness (port Random)."""

    def random(self) -> float:
        """0 <= x < 1, for jitter: not for secrets."""
        return random.random()  # noqa: S311 - jitter needs no cryptography

    def token_bytes(self, n: int) -> bytes:
        """So many bytes fit for keys and secrets."""
        return secrets.token_bytes(n)
