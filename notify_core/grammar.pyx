"""Scans of what producers send: character classes and nesting.

Only for `cimport` by `receive`: it has no Python interface, and so neither a stub nor a pure
twin; the rules are those of `pure.receive`.
"""

from cpython.unicode cimport PyUnicode_AsUTF8AndSize

from notify_core.headers import NAME_MARKS as _NAME_MARKS

cdef unsigned char[256] _classes
for _byte in range(256):
    _letter = chr(_byte) if _byte < 128 else ""
    _classes[_byte] = (
        (IN_TYPE if _letter.isalnum() or _letter and _letter in "_.:/-" else 0)
        | (IN_TOKEN if _letter.isalnum() or _letter and _letter in _NAME_MARKS else 0)
        | (IN_VALUE if 0x20 <= _byte < 0x7F or _byte == 9 else 0)
        | (NO_CONTROL if _byte >= 0x20 and _byte != 0x7F else 0)
    )


cdef bint all_of(str text, int kind) except -1:
    cdef Py_ssize_t i, size = 0
    cdef const char *data = PyUnicode_AsUTF8AndSize(text, &size)
    for i in range(size):
        if not _classes[<unsigned char> data[i]] & kind:
            return False
    return True


cdef bint too_deep(const char *data, Py_ssize_t size, int64_t depth_max) noexcept:
    # Counting the brackets comes first: it is a loop without branches, and all that nearly
    # every payload needs.
    cdef Py_ssize_t i = 0, brackets = 0
    cdef int64_t depth = 0
    cdef bint in_string = False
    cdef char byte
    for i in range(size):
        brackets += (data[i] | 0x20) == c'{'
    if brackets <= depth_max:
        return False
    i = 0
    while i < size:
        byte = data[i]
        if in_string:
            if byte == c'\\':
                i += 1  # what follows is no end of the string
            elif byte == c'"':
                in_string = False
        elif byte == c'"':
            in_string = True
        elif byte == c'[' or byte == c'{':
            depth += 1
            if depth > depth_max:
                return True
        elif byte == c']' or byte == c'}':
            depth -= 1
        i += 1
    return False
