"""Types of exchange.py, for its compiled form."""

cimport cython


@cython.freelist(256)
cdef class Exchange:
    cdef object _client
    cdef object _done
    cdef bint _replaced
    cdef public object endpoint
    cdef public bytes head
    cdef public bytes body
    cdef public long long timeout_ms
    cdef public double deadline
    cdef public Py_ssize_t kept_bytes
    cdef public object connection
    cdef public object task

    cpdef end(self, answer, error)
