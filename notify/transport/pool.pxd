"""Types of pool.py, for its compiled form."""


cdef class _Pool:
    cdef public object origin
    cdef public list idle
    cdef public long open


cdef class Pools:
    cdef object _loop
    cdef object _dial
    cdef object _config
    cdef Py_ssize_t _idle_max
    cdef double _idle_s
    cdef Py_ssize_t _connections_max
    cdef object _idle
    cdef dict _pools
    cdef readonly dict _pool_of
    cdef object _waiting
    cdef object _gone
    cdef bint _closed

    cpdef take(self, endpoint)
    cpdef give_back(self, connection)
