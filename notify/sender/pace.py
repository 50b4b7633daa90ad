"""How many tries an endpoint takes at a time, and whether it takes any.

limit     found out, so that nobody has to tune it. It doubles from a first guess until the answers
          come later, then grows by its square root each round while their time is flat, and
          shrinks as that rises: the gradient of Netflix' concurrency-limits (Gradient2) in the
          manner of TCP Vegas. Answers that are late because of the limit itself would come to be
          the usual ones: so every so often it dips, to see how fast they are with fewer
          (ProbeRTT of BBR, 2016). A time-out, a 429 or a 503 halves it, once a round: additive
          increase, multiplicative decrease (Chiu and Jain, 1989).
breaker   opens when so many different deliveries failed with no answer of a live endpoint in
          between. Then one try at a time is made, after pauses that double, until the
          endpoint is back. One delivery that fails alone, however often, never opens it.
quiet     what an endpoint asks for by Retry-After.
"""

from enum import Enum, auto
from math import inf, sqrt
from typing import Final

from notify.config import SenderConfig
from notify.domain.ports import Random

LIMIT_FIRST: Final = 16
# A round: so many answers at least, so that one slow answer is no trend.
ROUND_MIN: Final = 10
# Answers count as late when they take so many times their usual time, and so much more: below,
# it is the grain of the clock and this machine's own queueing that are measured.
TOLERANCE: Final = 2.0
TOLERANCE_MS: Final = 10
# The usual time follows a lasting change: by so much of the difference in a round.
AGING: Final = 0.02
# The limit dips to a part, after so many rounds; again soon where that showed better times.
DIP_PART: Final = 0.25
DIP_ROUNDS: Final = 25
DIP_AGAIN_ROUNDS: Final = 2
PROBE_FIRST_MS: Final = 1000


class Answered(Enum):
    """What a try says about its endpoint."""

    WELL = auto()  # it answered, be it a refusal of this delivery
    OVERLOADED = auto()  # 429: alive, and too much for it
    STRAINED = auto()  # 503 or a time-out: too much for it, or dead
    FAILED = auto()  # another error of the server, or no connection


class Pace:
    """The state of one endpoint inside the Sender that holds it. Times are unix ms."""

    def __init__(self, config: SenderConfig, random: Random) -> None:
        self._random = random
        self._max = config.concurrency_max
        self._failures_max = config.breaker_failures
        self._probe_ms_max = config.probe_ms_max
        self.limit = float(min(LIMIT_FIRST, self._max))
        self.in_flight = 0
        self.quiet_until_ms = 0
        self.open_since_ms = 0
        self._probe_ms = 0
        self._pause_ms = PROBE_FIRST_MS
        self._probing = False
        self._failing: set[int] = set()
        self._doubling = True
        self._gentle = False  # coming back after a rest, which a fixed limit has to respect too
        self._cut_ms = 0
        self._usual_ms = inf
        self._answers = 0
        self._sum_ms = 0
        self._busiest = 0
        self._rounds = 0  # until the next dip
        self._dip_ms = 0
        self._dipped_from = 0.0
        self._seen_ms = 0

    @property
    def is_open(self) -> bool:
        """The breaker is open: tries are probes, one at a time."""
        return self.open_since_ms > 0

    def room(self, now_ms: int, fixed: bool = False) -> bool:
        """Whether one more try may begin now; fixed: by a limit that somebody set instead."""
        self._see(now_ms)
        if now_ms < self.quiet_until_ms:
            return False
        if self.open_since_ms:
            return self.in_flight == 0 and now_ms >= self._probe_ms
        return self.in_flight < self.limit or (fixed and not self._gentle)

    def next_ms(self, now_ms: int) -> int:
        """When it is worth asking `room` again by the clock alone; 0: when a try has ended."""
        at_ms = self.quiet_until_ms
        if self.open_since_ms and not self.in_flight:
            at_ms = max(at_ms, self._probe_ms)
        return at_ms if at_ms > now_ms else 0

    def began(self) -> None:
        """A try begins."""
        self.in_flight += 1
        self._probing = self.open_since_ms > 0
        if self.in_flight > self._busiest:
            self._busiest = self.in_flight

    def given_up(self) -> None:
        """A try ends that says nothing of its endpoint."""
        self.in_flight -= 1

    def well(self, started_ms: int, now_ms: int) -> None:
        """As `ended`, of a try that went well while the breaker is closed: the usual case."""
        self.in_flight -= 1
        if self._failing:
            self._failing.clear()
        if self._dipped_from and started_ms <= self._dip_ms:
            return  # it began among more
        self._answers += 1
        self._sum_ms += now_ms - started_ms
        if self._answers >= self.limit:
            self._learn(now_ms)

    def ended(self, how: Answered, delivery: int, started_ms: int, now_ms: int) -> bool:
        """A try ends. delivery: a number of its own. Whether the breaker opens or closes by it."""
        self._see(now_ms)
        if how is Answered.WELL:
            self.well(started_ms, now_ms)
            return self._close() if self.open_since_ms else False
        self.in_flight -= 1
        if how is not Answered.FAILED:
            self._cut(started_ms, now_ms)
        if how is not Answered.OVERLOADED:
            return self._fail(delivery, now_ms)
        self._failing.clear()
        return self._close() if self.open_since_ms else False

    def keep_quiet(self, until_ms: int) -> None:
        """The endpoint asked to be left alone until then; afterwards it is asked gently."""
        self.quiet_until_ms = max(self.quiet_until_ms, until_ms)
        self._restart()

    def _see(self, now_ms: int) -> None:
        """Where the clock was set back, what was to last so long lasts no longer."""
        back_ms, self._seen_ms = self._seen_ms - now_ms, now_ms
        if back_ms > 0:
            self.quiet_until_ms -= back_ms
            self._probe_ms -= back_ms
            self._cut_ms -= back_ms
            self._dip_ms -= back_ms

    def _fail(self, delivery: int, now_ms: int) -> bool:
        if self.open_since_ms:
            if self._probing:  # or it was under way before: that is no further failure
                self._pause_ms = min(2 * self._pause_ms, self._probe_ms_max)
                self._probe_ms = now_ms + self._jittered()
            return False
        self._failing.add(delivery)
        if len(self._failing) < self._failures_max:
            return False
        self.open_since_ms = now_ms
        self._pause_ms = min(PROBE_FIRST_MS, self._probe_ms_max)
        self._probe_ms = now_ms + self._jittered()
        return True

    def _close(self) -> bool:
        self.open_since_ms = 0
        self._failing.clear()
        self._restart()
        return True

    def _jittered(self) -> int:
        return round(self._pause_ms * (0.75 + 0.5 * self._random.random()))

    def _restart(self) -> None:
        self.limit = 1.0
        self._doubling = self._gentle = True
        self._dipped_from = 0.0
        self._begin_round()

    def _cut(self, started_ms: int, now_ms: int) -> None:
        # What was begun before the last cut says nothing of the limit since.
        if started_ms >= self._cut_ms:
            self.limit = max(1.0, (self._dipped_from or self.limit) / 2)
            self._dipped_from = 0.0
            self._cut_ms = now_ms
            self._doubling = False
            self._begin_round()

    def _learn(self, now_ms: int) -> None:
        if not self._doubling and self._answers < ROUND_MIN:
            return
        late_ms = self._sum_ms / self._answers
        if self._dipped_from:
            self._rise(late_ms)
        else:
            self._adapt(late_ms)
            self._rounds += 1
            if self._rounds > DIP_ROUNDS and not self._doubling and self.limit > 1:
                self._dipped_from, self._dip_ms = self.limit, now_ms
                self.limit = max(1.0, DIP_PART * self.limit)
        if self._gentle and (self.limit >= min(LIMIT_FIRST, self._max) or not self._doubling):
            self._gentle = False
        self._begin_round()

    def _adapt(self, late_ms: float) -> None:
        """Grow or shrink by how late the answers of this round came."""
        if late_ms < self._usual_ms:
            self._usual_ms = late_ms
        else:
            self._usual_ms += AGING * (late_ms - self._usual_ms)
        allowed_ms = TOLERANCE * self._usual_ms + TOLERANCE_MS
        if late_ms > allowed_ms:
            if self._doubling:
                self._doubling = False
                self._rounds = DIP_ROUNDS
            self.limit = max(1.0, self.limit * max(0.5, allowed_ms / late_ms))
        elif 2 * self._busiest >= self.limit:  # or it was not the limit that held it
            step = self.limit if self._doubling else sqrt(self.limit)
            self.limit = min(float(self._max), self.limit + step)

    def _rise(self, late_ms: float) -> None:
        """The dip is over: what was seen in it is how fast the endpoint is."""
        better = late_ms < 0.7 * self._usual_ms
        self._rounds = DIP_ROUNDS - DIP_AGAIN_ROUNDS if better else 0
        self._usual_ms = min(self._usual_ms, late_ms)
        self.limit, self._dipped_from = self._dipped_from, 0.0

    def _begin_round(self) -> None:
        self._answers = self._sum_ms = 0
        self._busiest = self.in_flight
