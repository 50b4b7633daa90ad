"""Message ids: 63 bits, time-ordered, made by the app (pure twin of ids.pyx).

`ms41 << 22 | worker8 << 14 | seq8 << 6 | random6`. The random low bits keep `id MOD n` even
over up to 64 shards at low rates, where a classic snowflake, whose sequence then stays at 0,
puts everything on one shard.
"""

from typing import Final

EPOCH_MS: Final = 1_704_067_200_000  # 2024-01-01T00:00:00Z
WORKERS_MAX: Final = 256

_MASK64 = (1 << 64) - 1
_SLOT_MAX = (1 << 49) - 1


class IdMaker:
    """Makes ids of one leased worker number; never the same one twice, always rising.

    A clock that stands still or steps back borrows the following milliseconds instead.
    worker: 0..255. seed: any int, for the random bits. floor_ms: no id at or before this
    moment (unix ms), for a worker number that somebody held before.
    Raises ValueError where worker is out of range.
    """

    def __init__(self, worker: int, seed: int, floor_ms: int = 0) -> None:
        if not 0 <= worker < WORKERS_MAX:
            raise ValueError(f"worker must be 0..{WORKERS_MAX - 1}, not {worker}")
        self.worker = worker
        self._state = seed & _MASK64
        # A slot is `ms41 << 8 | seq8`: the last one given away, -1 before the first.
        self._slot = max(-1, _slot(floor_ms) | 255)

    @property
    def last_ms(self) -> int:
        """The latest millisecond used so far (unix ms): ahead of the clock where it borrowed."""
        return (self._slot >> 8) + EPOCH_MS

    def make_many(self, now_ms: int, n: int) -> list[int]:
        """N new ids at now_ms (unix ms), rising.

        Raises ValueError where the 41 bits of time are used up; then no id is lost by it.
        """
        first = max(self._slot + 1, _slot(now_ms))
        if first + n - 1 > _SLOT_MAX:
            raise ValueError("the clock is beyond the range of message ids (year 2093)")
        if n <= 0:
            return []
        self._slot = first + n - 1
        return [
            (slot >> 8) << 22 | self.worker << 14 | (slot & 255) << 6 | self._random6()
            for slot in range(first, first + n)
        ]

    def _random6(self) -> int:
        # splitmix64, its top six bits: even enough for sharding, and the same in both twins.
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK64
        z = self._state
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & _MASK64
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & _MASK64
        return (z ^ z >> 31) >> 58


def id_ms(message_id: int) -> int:
    """When an id was made (unix ms)."""
    return (message_id >> 22) + EPOCH_MS


def id_floor(ms: int) -> int:
    """The smallest id that can have been made at or after ms (unix ms)."""
    return max(0, ms - EPOCH_MS) << 22


def _slot(ms: int) -> int:
    return (ms - EPOCH_MS) << 8
