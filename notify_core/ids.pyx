"""Message ids: 63 bits, time-ordered, made by the app.

`ms41 << 22 | worker8 << 14 | seq8 << 6 | random6`. The random low bits keep `id MOD n` even
over up to 64 shards at low rates, where a classic snowflake, whose sequence then stays at 0,
puts everything on one shard.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t

EPOCH_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z
WORKERS_MAX = 256

_MASK64 = (1 << 64) - 1
_SLOT_MAX = (1 << 49) - 1


@cython.final
cdef class IdMaker:
    """Makes ids of one leased worker number; never the same one twice, always rising.

    A clock that stands still or steps back borrows the following milliseconds instead.
    worker: 0..255. seed: any int, for the random bits. floor_ms: no id at or before this
    moment (unix ms), for a worker number that somebody held before.
    Raises ValueError where worker is out of range.
    """

    cdef readonly int64_t worker
    cdef uint64_t _state
    cdef object _slot

    def __init__(self, worker, seed, floor_ms=0):
        if not 0 <= worker < WORKERS_MAX:
            raise ValueError(f"worker must be 0..{WORKERS_MAX - 1}, not {worker}")
        self.worker = worker
        self._state = seed & _MASK64
        # A slot is `ms41 << 8 | seq8`: the last one given away, -1 before the first. It stays
        # a Python int: a floor may be any int, and make_many looks at it once a batch.
        self._slot = max(-1, _slot(floor_ms) | 255)

    @property
    def last_ms(self):
        """The latest millisecond used so far (unix ms): ahead of the clock where it borrowed."""
        return (self._slot >> 8) + EPOCH_MS

    def make_many(self, now_ms, n):
        """N new ids at now_ms (unix ms), rising.

        Raises ValueError where the 41 bits of time are used up; then no id is lost by it.
        """
        cdef int64_t slot, last, worker = self.worker << 14
        cdef list ids = []
        first = max(self._slot + 1, _slot(now_ms))
        if first + n - 1 > _SLOT_MAX:
            raise ValueError("the clock is beyond the range of message ids (year 2093)")
        if n <= 0:
            return ids
        slot = first  # 49 bits: checked above
        last = slot + n - 1
        self._slot = last
        while slot <= last:
            ids.append((slot >> 8) << 22 | worker | (slot & 255) << 6 | self._random6())
            slot += 1
        return ids

    cdef inline int64_t _random6(self) noexcept:
        # splitmix64, its top six bits: even enough for sharding, and the same in both twins.
        self._state += <uint64_t> 0x9E3779B97F4A7C15
        cdef uint64_t z = self._state
        z = (z ^ z >> 30) * <uint64_t> 0xBF58476D1CE4E5B9
        z = (z ^ z >> 27) * <uint64_t> 0x94D049BB133111EB
        return <int64_t> ((z ^ z >> 31) >> 58)


def id_ms(message_id):
    """When an id was made (unix ms)."""
    return (message_id >> 22) + EPOCH_MS


def id_floor(ms):
    """The smallest id that can have been made at or after ms (unix ms)."""
    return max(0, ms - EPOCH_MS) << 22


cdef object _slot(ms):
    return (ms - EPOCH_MS) << 8
