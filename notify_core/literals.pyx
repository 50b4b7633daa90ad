"""MySQL literals written to a buffer: the C side of `sqltext`.

Only for `cimport` by the other compiled modules: it has no Python interface, and so neither a
stub nor a pure twin; what a literal looks like is fixed by `pure.sqltext.literal`.
"""

from cpython.bytes cimport PyBytes_AsStringAndSize
from cpython.long cimport PyLong_AsLongLong
from cpython.unicode cimport PyUnicode_AsUTF8AndSize

from notify_core.errors import SqlTextError


cdef int put_value(Buffer out, object value) except -1:
    if type(value) is int:
        return put_int(out, value)
    if type(value) is str:
        return put_text(out, value)
    if type(value) is bytes:
        return put_bytes(out, value)
    raise SqlTextError(f"{type(value).__name__} has no literal")


cdef int put_text(Buffer out, str text) except -1:
    cdef Py_ssize_t size = 0
    cdef const char *data
    try:
        data = PyUnicode_AsUTF8AndSize(text, &size)
    except UnicodeEncodeError:
        raise SqlTextError("a text with a lone surrogate has no literal") from None
    out.put_byte(c"'")
    out.put_escaped(data, size)
    return out.put_byte(c"'")


cdef int put_bytes(Buffer out, bytes content) except -1:
    cdef char *data
    cdef Py_ssize_t size = 0
    PyBytes_AsStringAndSize(content, &data, &size)  # TypeError for None
    out.put(b"_binary'", 8)
    out.put_escaped(data, size)
    return out.put_byte(c"'")


cdef int put_int(Buffer out, object value) except -1:
    try:
        return out.put_decimal(PyLong_AsLongLong(value))
    except OverflowError:
        raise SqlTextError("an integer outside 64 bits has no literal") from None
