"""Multi-row statements of the compiled core (see statements.pyx)."""

cimport cython

from notify_core.buffer cimport Buffer


@cython.final
cdef class Statements:
    # Write one row's text to out between begin_row and end_row.
    cdef Buffer out
    cdef Py_ssize_t head_size
    cdef bytes tail
    cdef Py_ssize_t rows_max
    cdef Py_ssize_t bytes_max
    cdef Py_ssize_t rows
    cdef Py_ssize_t row_at
    cdef list finished

    # Ends the statement at `at`; the row that begins behind it opens the next one.
    cdef int cut(self, Py_ssize_t at) except -1
    # The statements, in order; only once.
    cdef list finish(self)

    cdef inline int begin_row(self) except -1:
        if self.rows:
            self.out.put_byte(c',')
        self.row_at = self.out.size
        return 0

    cdef inline int end_row(self, bint with_previous) except -1:
        # with_previous: this row must be in the statement of the row before it.
        if self.rows and not with_previous and (
            self.rows >= self.rows_max or self.out.size > self.bytes_max
        ):
            self.cut(self.row_at - 1)
        self.rows += 1
        return 0
