"""A subscription's rate: a token bucket, kept by the one Sender that holds the subscription."""

from math import ceil


class Rate:
    """At most per_s tries a second, `burst` of them at once after a rest.

    fresh: nobody else sent for this subscription before. Otherwise it begins with nothing saved
    up, since the Sender before it may have just used it.
    """

    def __init__(self, per_s: float, burst: int, now_ms: int, fresh: bool) -> None:
        self._per_ms = per_s / 1000
        self._burst = float(burst)
        self._tokens = self._burst if fresh else 0.0
        self._at_ms = now_ms

    def wait_ms(self, now_ms: int) -> int:
        """0: a try may begin; else how long to wait for that."""
        if now_ms != self._at_ms:
            # A clock that was set back gives nothing, and takes nothing.
            gained = max(0, now_ms - self._at_ms) * self._per_ms
            self._tokens = min(self._burst, self._tokens + gained)
            self._at_ms = now_ms
        # A part of a token short by rounding is a whole one.
        if self._tokens >= 1 - 1e-9:
            return 0
        return ceil((1 - self._tokens) / self._per_ms)

    def take(self, count: int = 1) -> None:
        """So many deliveries leave; more than there are tokens (a batch) are owed."""
        self._tokens -= count
