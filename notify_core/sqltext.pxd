"""MySQL literals for the other compiled modules (see sqltext.pyx)."""

from notify_core.buffer cimport Buffer


# Each writes one literal; the texts and bytes as they stand, with quotes and escapes.
cdef int put_text(Buffer out, str text) except -1
cdef int put_bytes(Buffer out, bytes content) except -1
cdef int put_value(Buffer out, object value) except -1
