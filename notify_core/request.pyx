"""Requests of the one plain form, read at one look (see pure/request.py)."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memcmp

from notify_core.headers import NAME_MARKS as _NAME_MARKS

cdef enum:
    LENGTH_DIGITS_MAX = 15
    # What a byte of a head may be part of, one bit each.
    IN_NAME = 1
    IN_VALUE = 2

cdef unsigned char[256] _classes
cdef int _byte
for _byte in range(256):
    _classes[_byte] = (
        (IN_NAME if _byte < 128 and (chr(_byte).isalnum() or chr(_byte) in _NAME_MARKS) else 0)
        | (IN_VALUE if _byte == 9 or (_byte >= 32 and _byte != 127) else 0)
    )

cdef struct Text:
    const unsigned char *data
    Py_ssize_t size

cdef struct Found:
    # What counts of a head; data is NULL for what was not there. length -1: not there.
    Text authorization
    Text content_type
    int64_t length


def scan(bytes data not None, bytes line not None, Py_ssize_t head_bytes_max):
    """The request that data begins with, if it is plain and its head is complete, else None.

    Plain is what every HTTP parser reads in the same way: the request line is `line`, CRLF
    included; every header is well formed; exactly one content-length, at most one authorization
    and content-type, nothing of connections but keep-alive, and nothing else that bears on how
    the body is to be read. The rest is for a whole parser, which has words for what is wrong.

    Returns authorization and content-type (empty: not there), and where the body begins and
    ends, which may be behind the end of data.
    """
    cdef const unsigned char *begin = <const unsigned char *> PyBytes_AS_STRING(data)
    cdef const unsigned char *at = begin + PyBytes_GET_SIZE(line)
    cdef const unsigned char *end = begin + PyBytes_GET_SIZE(data)
    cdef const unsigned char *bound = begin + min(PyBytes_GET_SIZE(data), head_bytes_max)
    cdef Text name, value
    cdef Found found
    if at > end or memcmp(begin, PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line)):
        return None
    found.authorization.data = found.content_type.data = NULL
    found.authorization.size = found.content_type.size = 0
    found.length = -1
    while end - at < 2 or at[0] != c'\r' or at[1] != c'\n':
        name.data = at
        while at < bound and _classes[at[0]] & IN_NAME:
            at += 1
        name.size = at - name.data
        if not name.size or at >= bound or at[0] != c':':
            return None
        at += 1
        while at < bound and (at[0] == c' ' or at[0] == c'\t'):
            at += 1
        value.data = at
        while at < bound and _classes[at[0]] & IN_VALUE:
            at += 1
        # Room for the CRLF of this line and for that of the end of the head.
        if bound - at < 2 or at[0] != c'\r' or at[1] != c'\n' or at - begin + 4 > head_bytes_max:
            return None
        value.size = at - value.data
        while value.size and value.data[value.size - 1] in (c' ', c'\t'):
            value.size -= 1
        at += 2
        if not _usual(&name, &value, &found):
            return None
    if found.length < 0:
        return None
    return (
        PyBytes_FromStringAndSize(
            <const char *> found.authorization.data, found.authorization.size
        ),
        PyBytes_FromStringAndSize(<const char *> found.content_type.data, found.content_type.size),
        at + 2 - begin,
        at + 2 - begin + found.length,
    )


cdef bint _usual(const Text *name, const Text *value, Found *found) noexcept:
    # Note a header that counts; False for one with which the request is not plain.
    cdef Py_ssize_t size = name.size
    if size == 12 and _is(name, b"content-type"):
        return _note(&found.content_type, value)
    if size == 13 and _is(name, b"authorization"):
        return _note(&found.authorization, value)
    if size == 14 and _is(name, b"content-length"):
        return _note_length(&found.length, value)
    if size == 10 and _is(name, b"connection"):
        return value.size == 10 and _is(value, b"keep-alive")
    return not (
        size == 6 and _is(name, b"expect")
        or size == 7 and _is(name, b"upgrade")
        or size == 16 and (_is(name, b"content-encoding") or _is(name, b"proxy-connection"))
        or size == 17 and _is(name, b"transfer-encoding")
    )


cdef bint _note(Text *noted, const Text *value) noexcept:
    if noted.data != NULL:
        return False
    noted[0] = value[0]
    return True


cdef bint _note_length(int64_t *length, const Text *value) noexcept:
    cdef Py_ssize_t i
    if length[0] >= 0 or not 1 <= value.size <= LENGTH_DIGITS_MAX:
        return False
    length[0] = 0
    for i in range(value.size):
        if not c'0' <= value.data[i] <= c'9':
            return False
        length[0] = length[0] * 10 + value.data[i] - c'0'
    return True


cdef inline bint _is(const Text *text, const char *wanted) noexcept:
    # Whether a text as long as wanted, which is lower case, is the same but for case.
    cdef Py_ssize_t i
    cdef unsigned char byte
    for i in range(text.size):
        byte = text.data[i]
        if c'A' <= byte <= c'Z':
            byte |= 0x20
        if byte != <unsigned char> wanted[i]:
            return False
    return True
