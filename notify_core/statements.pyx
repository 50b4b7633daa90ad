"""Rows to multi-row statements within limits: the C side of `sqltext.insert`.

Only for `cimport` by the other compiled modules: it has no Python interface, and so neither a
stub nor a pure twin; the rule of where a statement ends is that of `pure.sqltext.insert`.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy, memmove


@cython.final
cdef class Statements:
    """Statements `head (…),(…) tail` of at most rows_max rows and bytes_max bytes, all told.

    A single row may be larger than bytes_max; it then goes alone.
    """

    def __cinit__(self, bytes head not None, bytes tail not None, rows_max, bytes_max):
        # Python integers have no end, and the limits of a caller may mean "none".
        self.rows_max = max(0, min(rows_max, 1 << 62))
        self.bytes_max = max(0, min(bytes_max, 1 << 62)) - PyBytes_GET_SIZE(tail)
        self.tail = tail
        self.head_size = PyBytes_GET_SIZE(head)
        self.rows = 0
        self.finished = []
        self.out = Buffer()
        self.out.put(PyBytes_AS_STRING(head), self.head_size)
        self.row_at = self.head_size

    cdef int cut(self, Py_ssize_t at) except -1:
        cdef Py_ssize_t tail_size = PyBytes_GET_SIZE(self.tail)
        cdef Py_ssize_t row_size = self.out.size - self.row_at
        cdef bytes statement = PyBytes_FromStringAndSize(NULL, at + tail_size)
        memcpy(PyBytes_AS_STRING(statement), self.out.data, at)
        memcpy(PyBytes_AS_STRING(statement) + at, PyBytes_AS_STRING(self.tail), tail_size)
        self.finished.append(statement)
        memmove(self.out.data + self.head_size, self.out.data + self.row_at, row_size)
        self.out.size = self.head_size + row_size
        self.row_at = self.head_size
        self.rows = 0
        return 0

    cdef list finish(self):
        if self.rows:
            self.row_at = self.out.size
            self.cut(self.out.size)
        return self.finished
