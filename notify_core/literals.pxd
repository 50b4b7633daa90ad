"""MySQL literals for the other compiled modules (see literals.pyx)."""

from notify_core.buffer cimport Buffer


# Each writes one literal, or raises SqlTextError where there is none.
cdef int put_value(Buffer out, object value) except -1
cdef int put_int(Buffer out, object value) except -1
cdef int put_text(Buffer out, str text) except -1
cdef int put_bytes(Buffer out, bytes content) except -1
