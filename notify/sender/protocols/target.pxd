"""Types of target.py, for its compiled form."""


cdef class Target:
    cdef public object consumer
    cdef public object timeout_ms
    cdef public object endpoint
    cdef public bytes _prefix
    cdef public object _own
    cdef public object _signer
    cdef public object _access

    cpdef request(
        self, message, bytes body, sub_id, attempt, long long now_ms, bytes extra=*
    )
