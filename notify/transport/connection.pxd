"""Types of connection.py, for its compiled form."""

from notify.transport.exchange cimport Exchange


cdef class Connection:
    cdef object _loop
    cdef object _on_idle
    cdef object _on_lost
    cdef object _parser
    cdef double _idle_read_s
    cdef readonly object _transport
    cdef Exchange _exchange
    cdef object _alarm
    cdef double _alarm_at
    cdef double _deadline
    cdef double _silent_at
    cdef bint _used
    cdef bint _unsent
    cdef bint _keep

    cpdef bint begin(self, Exchange exchange)
    cpdef rest(self, double deadline)
    cpdef data_received(self, bytes data)
    cdef _finish(self, Exchange exchange)
    cdef _answer(self)
