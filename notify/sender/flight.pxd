"""Types of flight.py, for its compiled form."""

cimport cython

from notify.sender.admission cimport Admission
from notify.sender.lane cimport Job, Lane


@cython.freelist(256)
cdef class Flight:
    cdef Flights _flights
    cdef public Lane lane
    cdef public list jobs
    cdef public long long started_ms
    cdef public bint probe
    cdef public object exchange
    cdef public object task

    cpdef done(self, answer, error)


cdef class Flights:
    cdef object _storage
    cdef object _transport
    cdef object _directory
    cdef object _clock
    cdef object _random
    cdef object _kept_bytes
    cdef object _batch_bytes
    cdef Admission _admission
    cdef set _disabling
    cdef public long made

    cpdef begin(self, Lane lane, list jobs, long long now_ms)
    cpdef landed(self, Flight flight, answer, error)
    cdef _delivered(self, Lane lane, Job job, answer, long long latency_ms, long long now_ms)
