"""Rows of a MySQL text result, read from the connection in large pieces (see core_rows.py)."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint64_t

from notify_core.buffer cimport Buffer

INTEGER, TEXT, BYTES = 0, 1, 2
PIECE = 1 << 18


def rows(read, list kinds):
    """All rows up to the packet that ends them; read(n): some of what is there, at most n bytes."""
    cdef Buffer left = Buffer()
    cdef list found = []
    cdef const unsigned char *at
    cdef const unsigned char *end
    cdef Py_ssize_t size, rest
    cdef bytes piece
    while True:
        piece = read(PIECE)
        if not piece:
            raise ConnectionError("the server has gone away")
        left.put(PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
        at = <const unsigned char *> left.data
        end = at + left.size
        while end - at >= 4:
            size = at[0] | at[1] << 8 | at[2] << 16
            if end - at < 4 + size:
                break
            if at[4] == 0xFE and size < 9:
                return tuple(found)
            if at[4] == 0xFF:
                raise ConnectionError("the server answered with an error")
            found.append(_row(at + 4, at + 4 + size, kinds))
            at += 4 + size
        piece = PyBytes_FromStringAndSize(<const char *> at, end - at)
        left.clear()
        left.put(PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))


cdef tuple _row(const unsigned char *at, const unsigned char *end, list kinds):
    cdef Py_ssize_t i, count = len(kinds)
    cdef uint64_t size
    cdef int width, k
    cdef object value
    cdef tuple row = PyTuple_New(count)
    for i in range(count):
        width, size = 0, 0
        if at < end:
            size = at[0]
            if size > 0xFB:
                width = 2 if size == 0xFC else 3 if size == 0xFD else 8
        value = None
        if size == 0xFB:
            at += 1
        else:
            if width:
                size = 0
                for k in range(width):
                    size |= <uint64_t> at[1 + k] << (8 * k)
            at += 1 + width
            if at > end or size > <uint64_t> (end - at):
                raise ConnectionError("a damaged row")
            value = _value(<const char *> at, size, kinds[i])
            at += size
        Py_INCREF(value)
        PyTuple_SET_ITEM(row, i, value)
    return row


cdef object _value(const char *at, Py_ssize_t size, int kind):
    cdef int64_t number = 0
    cdef Py_ssize_t i, start
    if kind == 1:
        return PyUnicode_DecodeUTF8(at, size, NULL)
    if kind == 2:
        return PyBytes_FromStringAndSize(at, size)
    start = at[0] == c'-'
    for i in range(start, size):
        number = 10 * number + (at[i] - c'0')
    return -number if start else number
