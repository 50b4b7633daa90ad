"""Types of outcomes.py, for its compiled form."""


cdef class Held:
    cdef public object claim
    cdef public long open
    cdef public bint lost


cdef class Outcomes:
    cdef object _queue
    cdef long _rows_max
    cdef double _wait_s
    cdef public list _outcomes
    cdef long long _since_ms
    cdef list _follow_ups
    cdef list _finished
    cdef long _losses
    cdef public long long added
    cdef public long long handed_on
    cdef object _flushing
    cdef object _some
    cdef object _full

    cpdef decide(self, Held held, delivery, outcome)
    cpdef add(self, outcome, long long since_ms)
    cdef _close(self, Held held, long deliveries)
