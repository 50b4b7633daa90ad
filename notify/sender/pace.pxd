"""Types of what every delivery touches: compiled by them, pace.py runs the same without."""


cdef class Pace:
    cdef object _random
    cdef public double _max
    cdef Py_ssize_t _failures_max
    cdef long long _probe_ms_max
    cdef public double limit
    cdef public long in_flight
    cdef public long long quiet_until_ms
    cdef public long long open_since_ms
    cdef long long _probe_ms
    cdef long long _pause_ms
    cdef bint _probing
    cdef readonly set _failing
    cdef bint _doubling
    cdef bint _gentle
    cdef long long _cut_ms
    cdef double _usual_ms
    cdef long _answers
    cdef long long _sum_ms
    cdef long _busiest
    cdef long _rounds
    cdef long long _dip_ms
    cdef double _dipped_from
    cdef long long _seen_ms

    cpdef bint room(self, long long now_ms, bint fixed=*)
    cpdef long long next_ms(self, long long now_ms)
    cpdef began(self)
    cpdef given_up(self)
    cpdef well(self, long long started_ms, long long now_ms)
    cpdef bint ended(self, how, delivery, long long started_ms, long long now_ms)
    cdef _see(self, long long now_ms)
