"""Types of destination.py, for its compiled form."""

from notify.sender.pace cimport Pace
from notify.sender.protocols.target cimport Target


cdef class Destination:
    cdef public object consumer_id
    cdef public Pace pace
    cdef public long long held_since_ms
    cdef public object lanes
    cdef public Target target
    cdef public bint plain
    cdef str _problem
    cdef public object rate
    cdef object _consumer
    cdef bint _pumping

    cpdef pump(self, long long now_ms=*)
