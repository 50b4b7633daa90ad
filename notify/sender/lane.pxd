"""Types of lane.py, for its compiled form."""

cimport cython

from notify.sender.admission cimport Admission
from notify.sender.destination cimport Destination
from notify.sender.outcomes cimport Held, Outcomes


@cython.freelist(256)
cdef class Job:
    cdef public object delivery
    cdef public object message
    cdef public long long expires_ms
    cdef public bytes extra
    cdef public Held held
    cdef public object place


cdef class Lane:
    cdef public object sub_id
    cdef public Destination destination
    cdef public set flights
    cdef public object ended
    cdef public long places
    cdef public long claim_chunks
    cdef public long long claimed_ms
    cdef public object policy
    cdef public object batch
    cdef public object subscription
    cdef public object _begin
    cdef public Admission _admission
    cdef public Outcomes _outcomes
    cdef public object _clock
    cdef public object _valid
    cdef public object _hungry
    cdef public object _jobs
    cdef public long long _jobs_since_ms
    cdef public object _status
    cdef public bint _is_normal
    cdef public object _concurrency_max
    cdef public object _rate
    cdef public bint _timed
    cdef public long long _hold_until_ms
    cdef public bint _closing
    cdef public object _alarm
    cdef public long long _alarm_ms

    cpdef bint wants_more(self)
    cpdef pump(self, long long now_ms=*)
    cpdef settle(self, Job job, outcome)
    cpdef Job _first(self, long long now_ms)
    cpdef list _take(self, long long now_ms)
    cpdef bint _may_begin(self, long long now_ms)
