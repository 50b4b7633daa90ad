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


# Memory of buffers that are gone, for the next ones: the allocator would give much of it back to
# the kernel, and each page that is taken again costs more than filling it.
cdef enum:
    KEPT_MAX = 8
    KEPT_BYTES_MAX = 1 << 20


cdef struct Memory:
    char *data
    Py_ssize_t capacity


cdef Memory[KEPT_MAX] _kept
cdef int _kept_count = 0


cdef bytes _pairs = b"".join([b"%02d" % number for number in range(100)])
PAIRS = _pairs

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
        global _kept_count
        if self.data != NULL and self.capacity <= KEPT_BYTES_MAX and _kept_count < KEPT_MAX:
            _kept[_kept_count] = Memory(self.data, self.capacity)
            _kept_count += 1
        else:
            PyMem_Free(self.data)

    cdef int grow(self, Py_ssize_t n) except -1:
        global _kept_count
        cdef Py_ssize_t wanted
        cdef char *moved
        if n > self.size_max - self.size:
            raise MemoryError(f"a buffer of the core is limited to {self.size_max} bytes")
        if self.data == NULL and _kept_count:
            _kept_count -= 1
            self.data = _kept[_kept_count].data
            self.capacity = _kept[_kept_count].capacity
            if n <= self.capacity:
                return 0
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
