"""A pipeline of Redis commands as one buffer, and the scan of its raw answer (see pure/push.py)."""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_CheckExact
from cpython.ref cimport PyObject
from cpython.sequence cimport PySequence_Fast
from libc.stdint cimport int64_t
from libc.string cimport memchr

from notify_core.buffer cimport DECIMAL_MAX, Buffer, decimal
from notify_core.errors import ReplyError

cdef extern from "Python.h":
    Py_ssize_t PySequence_Fast_GET_SIZE(object sequence)
    PyObject *PySequence_Fast_GET_ITEM(object sequence, Py_ssize_t i)
    int64_t PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1

cdef int DEPTH_MAX = 8


def pack(commands):
    """Commands as one pipeline. Raises TypeError for an argument that is not bytes or int."""
    cdef Buffer out = Buffer()
    for command in commands:
        _put_arguments(out, command, True)
    return out.take()


def pack_pushes(bytes function not None, groups, arguments):
    """One FCALL for each group of keys and pushes.

    A push is (anything, chunk, items, due_ms, since_ms). Behind the keys and the arguments,
    which are the same for every group, stand items, due_ms, since_ms and chunk of each push.
    Raises TypeError as `pack` does, ValueError for a push of another length.
    """
    cdef Buffer out = Buffer()
    cdef Buffer same = Buffer()
    cdef object fast, push, chunk
    cdef Py_ssize_t i, count
    cdef Py_ssize_t same_count = len(arguments)
    _put_arguments(same, arguments, False)
    for keys, pushes in groups:
        fast = PySequence_Fast(pushes, "pushes are a sequence")
        count = PySequence_Fast_GET_SIZE(fast)
        _put_head(out, c'*', 3 + len(keys) + same_count + 4 * count)
        _put_bytes(out, b"FCALL")
        _put_bytes(out, function)
        _put_int(out, len(keys))
        _put_arguments(out, keys, False)
        out.put(same.data, same.size)
        for i in range(count):
            push = PySequence_Fast(<object> PySequence_Fast_GET_ITEM(fast, i), "a push is a tuple")
            if PySequence_Fast_GET_SIZE(push) != 5:
                raise ValueError("a push has five fields")
            _put_count(out, <object> PySequence_Fast_GET_ITEM(push, 2))
            _put_count(out, <object> PySequence_Fast_GET_ITEM(push, 3))
            _put_count(out, <object> PySequence_Fast_GET_ITEM(push, 4))
            chunk = <object> PySequence_Fast_GET_ITEM(push, 1)
            if not isinstance(chunk, bytes):
                raise TypeError(f"a chunk is bytes, not {type(chunk).__name__}")
            _put_bytes(out, <bytes> chunk)
    return out.take()


def scan(answer, Py_ssize_t start, Py_ssize_t replies):
    """How many whole replies are in an answer from `start` on, at most `replies`.

    Also where they end, and the first error's text, None without one. Errors inside of an
    array count. Raises ReplyError for what is not RESP2.
    """
    cdef const char *begin
    cdef Py_ssize_t size
    cdef const char *error = NULL
    cdef Py_ssize_t error_size = 0
    cdef Py_ssize_t count = 0
    cdef Scanner scanner
    if isinstance(answer, bytearray):
        begin = PyByteArray_AS_STRING(answer)
        size = PyByteArray_GET_SIZE(answer)
    elif isinstance(answer, bytes):
        begin = PyBytes_AS_STRING(answer)
        size = PyBytes_GET_SIZE(answer)
    else:
        raise TypeError(f"an answer is bytes or bytearray, not {type(answer).__name__}")
    if start < 0 or start > size:
        raise ValueError("start is outside of the answer")
    scanner.at = begin + start
    scanner.end = begin + size
    cdef const char *whole = scanner.at
    while count < replies:
        scanner.error = NULL
        if not _reply(&scanner, 0):
            break
        if error == NULL and scanner.error != NULL:
            error = scanner.error
            error_size = scanner.error_size
        whole = scanner.at
        count += 1
    text = None if error == NULL else PyBytes_FromStringAndSize(error, error_size)
    return count, whole - begin, text


cdef struct Scanner:
    # How far the answer is read, and the first error met in the present reply.
    const char *at
    const char *end
    const char *error
    Py_ssize_t error_size


cdef int _reply(Scanner *scanner, int depth) except -1:
    # Step over one reply; 0 where it is not whole.
    cdef const char *begin = scanner.at
    cdef const char *line_end = _line_end(scanner)
    cdef int64_t length
    cdef char tag
    if line_end == NULL:
        return 0
    tag = begin[0]
    scanner.at = line_end + 2
    if tag == c'+' or tag == c':':
        return 1
    if tag == c'-':
        if scanner.error == NULL:
            scanner.error = begin + 1
            scanner.error_size = line_end - begin - 1
        return 1
    if tag != c'$' and tag != c'*':
        shown = PyBytes_FromStringAndSize(begin, 1)
        raise ReplyError(f"the answer of Redis is not RESP2: a reply begins with {shown!r}")
    length = _length(begin + 1, line_end)
    if length < 0:
        return 1
    if tag == c'$':
        if length + 2 > scanner.end - scanner.at:
            return 0
        scanner.at += length + 2
        if scanner.at[-2] != c'\r' or scanner.at[-1] != c'\n':
            raise ReplyError("the answer of Redis is not RESP2: a bulk string has no end")
        return 1
    if depth == DEPTH_MAX:
        raise ReplyError("the answer of Redis is nested too deeply")
    while length:
        if not _reply(scanner, depth + 1):
            return 0
        length -= 1
    return 1


cdef const char *_line_end(Scanner *scanner) noexcept:
    cdef const char *at = scanner.at
    while at < scanner.end:
        at = <const char *> memchr(at, c'\r', scanner.end - at)
        if at == NULL or at + 1 >= scanner.end:
            return NULL
        if at[1] == c'\n':
            return at
        at += 1
    return NULL


cdef int64_t _length(const char *at, const char *end) except -2:
    cdef int64_t value = 0
    if end - at == 2 and at[0] == c'-' and at[1] == c'1':
        return -1
    if not 1 <= end - at <= 10:
        raise ReplyError("the answer of Redis is not RESP2: a length is not a number")
    while at < end:
        if not c'0' <= at[0] <= c'9':
            raise ReplyError("the answer of Redis is not RESP2: a length is not a number")
        value = 10 * value + (at[0] - c'0')
        at += 1
    return value


cdef int _put_arguments(Buffer out, object arguments, bint counted) except -1:
    cdef object fast = PySequence_Fast(arguments, "a command is a sequence")
    cdef Py_ssize_t i, count = PySequence_Fast_GET_SIZE(fast)
    cdef object argument
    if counted:
        _put_head(out, c'*', count)
    for i in range(count):
        argument = <object> PySequence_Fast_GET_ITEM(fast, i)
        if isinstance(argument, bytes):
            _put_bytes(out, <bytes> argument)
        elif PyLong_CheckExact(argument):
            _put_int(out, argument)
        elif isinstance(argument, int) and not isinstance(argument, bool):
            _put_int(out, argument)
        else:
            raise TypeError(
                f"a Redis argument is bytes or int, not {type(argument).__name__}"
            )
    return 0


cdef int _put_count(Buffer out, object value) except -1:
    if not isinstance(value, int):
        raise TypeError(f"a push counts in int, not {type(value).__name__}")
    if isinstance(value, bool):
        raise TypeError(f"a Redis argument is bytes or int, not {type(value).__name__}")
    return _put_int(out, value)


cdef int _put_int(Buffer out, object value) except -1:
    cdef char[2 * DECIMAL_MAX] text
    cdef Py_ssize_t size
    cdef int overflow = 0
    cdef int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow:
        return _put_bytes(out, b"%d" % value)
    size = decimal(text, number)
    _put_head(out, c'$', size)
    out.put_digits(text, size)
    return out.put("\r\n", 2)


cdef inline int _put_bytes(Buffer out, bytes value) except -1:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    _put_head(out, c'$', size)
    out.put(PyBytes_AS_STRING(value), size)
    return out.put("\r\n", 2)


cdef inline int _put_head(Buffer out, char tag, Py_ssize_t count) except -1:
    out.put_byte(tag)
    out.put_decimal(count)
    return out.put("\r\n", 2)
