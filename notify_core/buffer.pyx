"""A growing byte buffer with writers, and a checked msgpack reader: the core's inner workings.

Only for `cimport` by the other compiled modules: it has no Python interface, and so neither a
stub nor a pure twin. What it writes is what `msgpack.packb` writes (the shortest form of each
value) and what `pure.sqltext` escapes; the reader takes any legal form, and raises ChunkError
instead of reading past the end, whatever length the text claims.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.string cimport memcpy

from notify_core.errors import ChunkError

# Above MySQL's largest max_allowed_packet and Redis' largest value: more is our own mistake.
cdef Py_ssize_t SIZE_MAX_DEFAULT = 1 << 30
cdef Py_ssize_t SIZE_FIRST = 1024

# The letter behind the backslash of each byte that must be escaped, else 0.
cdef unsigned char[256] _escapes
for _byte in range(256):
    _escapes[_byte] = 0
for _byte, _letter in zip(b"\0\n\r\x1a'\"\\", b"0nrZ'\"\\"):
    _escapes[_byte] = _letter


@cython.final
cdef class Buffer:
    """Growing bytes. size_max: the most it may hold (0: 1 GiB); MemoryError beyond."""

    def __cinit__(self, Py_ssize_t size_max=0):
        self.data = NULL
        self.size = 0
        self.capacity = 0
        self.size_max = size_max or SIZE_MAX_DEFAULT

    def __dealloc__(self):
        PyMem_Free(self.data)

    cdef int grow(self, Py_ssize_t n) except -1:
        cdef Py_ssize_t wanted
        cdef char *moved
        if n > self.size_max - self.size:
            raise MemoryError(f"a buffer of the core is limited to {self.size_max} bytes")
        wanted = max(self.size + n, SIZE_FIRST, 2 * self.capacity)
        moved = <char *> PyMem_Realloc(self.data, wanted)
        if moved == NULL:
            raise MemoryError
        self.data = moved
        self.capacity = wanted
        return 0

    cdef int put_escaped(self, const char *data, Py_ssize_t size) except -1:
        cdef Py_ssize_t i
        cdef unsigned char letter
        cdef char *out
        self.reserve(2 * size)
        out = self.data + self.size
        for i in range(size):
            letter = _escapes[<unsigned char> data[i]]
            if letter:
                out[0] = c'\\'
                out[1] = <char> letter
                out += 2
            else:
                out[0] = data[i]
                out += 1
        self.size = out - self.data
        return 0


cdef int damaged(str what) except -1:
    raise ChunkError(f"damaged chunk: {what}")


cdef int check_utf8(const Span *span) except -1:
    cdef const unsigned char *at = <const unsigned char *> span.data
    cdef const unsigned char *end = at + span.size
    cdef uint64_t eight
    cdef unsigned char lead, low, high
    cdef int more
    while at < end:
        if end - at >= 8:
            memcpy(&eight, at, 8)
            if not eight & 0x8080808080808080ULL:
                at += 8
                continue
        lead = at[0]
        at += 1
        if lead < 0x80:
            continue
        # Unicode 15, table 3-7: only the second byte's range depends on the first.
        low, high = 0x80, 0xBF
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            if lead == 0xE0:
                low = 0xA0
            elif lead == 0xED:
                high = 0x9F
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            if lead == 0xF0:
                low = 0x90
            elif lead == 0xF4:
                high = 0x8F
        else:
            return damaged("a text is not UTF-8")
        if end - at < more or not low <= at[0] <= high:
            return damaged("a text is not UTF-8")
        at += 1
        for _ in range(more - 1):
            if at[0] & 0xC0 != 0x80:
                return damaged("a text is not UTF-8")
            at += 1
    return 0


cdef int skip_value(Reader *reader, int depth_max) except -1:
    cdef unsigned char tag
    cdef uint64_t size = 0, children = 0
    cdef int width = 0, extra = 0
    _need(reader, 1)
    tag = reader.at[0]
    if tag < 0x80 or tag >= 0xE0 or tag == 0xC0 or tag == 0xC2 or tag == 0xC3:
        pass
    elif tag < 0x90:
        children = 2 * (tag & 0x0F)
    elif tag < 0xA0:
        children = tag & 0x0F
    elif tag < 0xC0:
        size = tag & 0x1F
    elif tag == 0xC1:
        return damaged("a byte that msgpack never uses")
    elif tag <= 0xC6:
        width = 1 << (tag - 0xC4)
    elif tag <= 0xC9:
        width, extra = 1 << (tag - 0xC7), 1
    elif tag == 0xCA:
        size = 4
    elif tag == 0xCB:
        size = 8
    elif tag <= 0xD3:
        size = 1 << ((tag - 0xCC) & 3)
    elif tag <= 0xD8:
        size = 1 + (1 << (tag - 0xD4))
    elif tag <= 0xDB:
        width = 1 << (tag - 0xD9)
    else:
        width = 2 if tag & 1 == 0 else 4
    if width:
        _need(reader, 1 + width)
        size = _operand(reader.at + 1, width) + extra
    reader.at += 1 + width
    if tag >= 0xDC and tag <= 0xDF:
        children = size if tag < 0xDE else 2 * size
        size = 0
    _need(reader, size)
    reader.at += size
    if children:
        if depth_max <= 0:
            return damaged("arrays nested too deeply")
        _need(reader, children)
        for _ in range(children):
            skip_value(reader, depth_max - 1)
    return 0
