"""When to try again.

The exponential delay is the usual truncated backoff, min(max, initial * factor**n). The jitter
spreads it evenly, delay * (1 +- jitter), so that deliveries that failed together do not come back
together; "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015) shows by simulation what
that saves. Jitter 1 is its "full jitter", 0 to twice the delay. A list of delays over several
days, which is the configured default, is what the Standard Webhooks specification recommends.
"""

from typing import Final

import msgspec

from notify.domain.errors import InvalidInput

ATTEMPTS_MAX: Final = 100
DELAY_MS_MAX: Final = 7 * 24 * 3600 * 1000


class Retry(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """A retry policy: a schedule, or exponential growth; one of the two.

    schedule_ms: the delay after each failed attempt; one more attempt than delays.
    initial_ms, factor, max_ms, attempts: initial_ms * factor**n, at most max_ms.
    jitter: each delay is multiplied by a random number of 1-jitter..1+jitter.
    total_ms: no further try begins later than so long after the message was accepted, or after
    its deliver_at; with either form; None: only the attempts are counted.
    """

    schedule_ms: tuple[int, ...] | None = None
    jitter: float = 0.2
    initial_ms: int | None = None
    factor: float | None = None
    max_ms: int | None = None
    attempts: int | None = None
    total_ms: int | None = None

    @property
    def attempts_max(self) -> int:
        """How many attempts a delivery gets at most."""
        if self.schedule_ms is not None:
            return len(self.schedule_ms) + 1
        assert self.attempts is not None
        return self.attempts

    def delay_ms(self, attempts: int, random: float) -> int | None:
        """How long to wait after so many failed attempts; None: no further attempt.

        attempts: 1 after the first. random: 0..1, for the jitter.
        """
        if attempts >= self.attempts_max:
            return None
        if self.schedule_ms is not None:
            delay: float = self.schedule_ms[attempts - 1]
        else:
            assert self.initial_ms is not None
            assert self.factor is not None
            assert self.max_ms is not None
            delay = min(self.initial_ms * self.factor ** (attempts - 1), self.max_ms)
        return max(0, round(delay * (1 + self.jitter * (2 * random - 1))))


def check_retry(retry: Retry) -> Retry:
    """The policy itself. Raises InvalidInput where it is neither form or out of bounds."""
    exponential = (retry.initial_ms, retry.factor, retry.max_ms, retry.attempts)
    if not 0 <= retry.jitter <= 1:
        raise InvalidInput("retry.jitter must be 0 to 1")
    if retry.total_ms is not None and not 1 <= retry.total_ms <= DELAY_MS_MAX:
        raise InvalidInput(f"retry.total_ms must be 1 to {DELAY_MS_MAX}")
    if retry.schedule_ms is not None:
        if any(value is not None for value in exponential):
            raise InvalidInput("retry takes schedule_ms or initial_ms, factor, max_ms, attempts")
        if len(retry.schedule_ms) >= ATTEMPTS_MAX:
            raise InvalidInput(f"retry.schedule_ms holds at most {ATTEMPTS_MAX - 1} delays")
        if not all(0 <= delay <= DELAY_MS_MAX for delay in retry.schedule_ms):
            raise InvalidInput(f"retry.schedule_ms: each delay must be 0 to {DELAY_MS_MAX}")
        return retry
    if (
        retry.initial_ms is None
        or retry.factor is None
        or retry.max_ms is None
        or retry.attempts is None
    ):
        raise InvalidInput(
            "retry needs schedule_ms, or all of initial_ms, factor, max_ms, attempts"
        )
    if not 0 <= retry.initial_ms <= retry.max_ms <= DELAY_MS_MAX:
        raise InvalidInput(f"retry needs 0 <= initial_ms <= max_ms <= {DELAY_MS_MAX}")
    if not 1 <= retry.factor <= 100:
        raise InvalidInput("retry.factor must be 1 to 100")
    if not 1 <= retry.attempts <= ATTEMPTS_MAX:
        raise InvalidInput(f"retry.attempts must be 1 to {ATTEMPTS_MAX}")
    return retry
