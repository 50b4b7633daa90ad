"""What characters a text may hold, and how deep a JSON text goes (see grammar.pyx)."""

from libc.stdint cimport int64_t

# What a byte may be part of, one bit each.
cdef enum:
    IN_TYPE = 1
    IN_TOKEN = 2  # RFC 9110, 5.6.2
    IN_VALUE = 4  # printable ASCII, space and tab
    NO_CONTROL = 8  # everything but ASCII control characters


# Whether every UTF-8 byte of text is of one kind; UnicodeEncodeError for a lone surrogate.
cdef bint all_of(str text, int kind) except -1
# Whether a valid JSON text is nested deeper than depth_max.
cdef bint too_deep(const char *data, Py_ssize_t size, int64_t depth_max) noexcept
