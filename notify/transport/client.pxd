"""Types of client.py, for its compiled form."""

from notify.transport.pool cimport Pools


cdef class HttpTransport:
    cdef readonly object _resolver
    cdef readonly Pools _pools
    cdef object _loop
    cdef set _dials
    cdef public long requests_in_flight
