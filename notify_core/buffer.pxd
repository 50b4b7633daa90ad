"""Byte buffers and msgpack reading of the compiled core (see buffer.pyx).

Short functions are inline here, so that a writer costs its callers no call.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy


cdef enum:
    DECIMAL_MAX = 20  # the bytes of -2**63


# "00" to "99".
cdef const char *PAIRS


cdef inline Py_ssize_t decimal(char *text, int64_t value) noexcept:
    # The digits of value, as str() would write them, at the end of text's DECIMAL_MAX bytes:
    # two with each division. Answers how many.
    cdef char *at = text + DECIMAL_MAX
    cdef uint64_t rest = <uint64_t> value
    if value < 0:
        rest = 0 - rest
    while rest >= 100:
        at -= 2
        memcpy(at, PAIRS + 2 * (rest % 100), 2)
        rest //= 100
    if rest >= 10:
        at -= 2
        memcpy(at, PAIRS + 2 * rest, 2)
    else:
        at -= 1
        at[0] = <char> (c'0' + rest)
    if value < 0:
        at -= 1
        at[0] = c'-'
    return text + DECIMAL_MAX - at


cdef struct Reader:
    # What is left of a msgpack text: the owner of the bytes must outlive it.
    const unsigned char *at
    const unsigned char *end


cdef struct Span:
    # A text or bytes inside a msgpack text; data is NULL for nil.
    const char *data
    Py_ssize_t size


# Raises ChunkError("damaged chunk: " + what); always answers -1.
cdef int damaged(str what) except -1
# Raises ChunkError unless span is UTF-8 by CPython's strict rules.
cdef int check_utf8(const Span *span) except -1


@cython.final
cdef class Buffer:
    cdef char *data
    cdef Py_ssize_t size
    cdef Py_ssize_t capacity
    cdef Py_ssize_t size_max

    # Room for n more bytes; MemoryError where there is none or beyond size_max.
    cdef int grow(self, Py_ssize_t n) except -1
    # Bytes as the inside of a MySQL string literal, without the quotes.
    cdef int put_escaped(self, const char *data, Py_ssize_t size) except -1

    cdef inline int reserve(self, Py_ssize_t n) except -1:
        if n > self.capacity - self.size:
            self.grow(n)
        return 0

    cdef inline void clear(self) noexcept:
        self.size = 0

    cdef inline bytes take(self):
        # A copy of the content; the buffer is empty afterwards and keeps its memory.
        cdef bytes content = PyBytes_FromStringAndSize(self.data, self.size)
        self.size = 0
        return content

    cdef inline int put(self, const char *data, Py_ssize_t size) except -1:
        self.reserve(size)
        memcpy(self.data + self.size, data, size)
        self.size += size
        return 0

    cdef inline int put_byte(self, unsigned char byte) except -1:
        self.reserve(1)
        self.data[self.size] = <char> byte
        self.size += 1
        return 0

    cdef inline int put_decimal(self, int64_t value) except -1:
        # The digits of value, as str() would write them.
        cdef char[2 * DECIMAL_MAX] text
        return self.put_digits(text, decimal(text, value))

    cdef inline int put_digits(self, const char *text, Py_ssize_t size) except -1:
        # What decimal() left in text, of twice DECIMAL_MAX bytes: a copy of constant size needs
        # no call, and what it copies too much is written over.
        self.reserve(DECIMAL_MAX)
        memcpy(self.data + self.size, text + DECIMAL_MAX - size, DECIMAL_MAX)
        self.size += size
        return 0

    cdef inline int put_big_endian(
        self, unsigned char tag, uint64_t value, int width
    ) except -1:
        # One msgpack tag and its operand of width bytes.
        cdef int i
        self.reserve(9)
        self.data[self.size] = <char> tag
        for i in range(width):
            self.data[self.size + 1 + i] = <char> (value >> (8 * (width - 1 - i)))
        self.size += 1 + width
        return 0

    cdef inline int pack_nil(self) except -1:
        return self.put_byte(0xC0)

    cdef inline int pack_int(self, int64_t value) except -1:
        # The shortest msgpack form of value.
        if value < -32:
            if value >= -0x80:
                return self.put_big_endian(0xD0, <uint64_t> value, 1)
            if value >= -0x8000:
                return self.put_big_endian(0xD1, <uint64_t> value, 2)
            if value >= -0x80000000LL:
                return self.put_big_endian(0xD2, <uint64_t> value, 4)
            return self.put_big_endian(0xD3, <uint64_t> value, 8)
        if value < 0x80:
            return self.put_byte(<unsigned char> value)
        if value < 0x100:
            return self.put_big_endian(0xCC, <uint64_t> value, 1)
        if value < 0x10000:
            return self.put_big_endian(0xCD, <uint64_t> value, 2)
        if value < 0x100000000LL:
            return self.put_big_endian(0xCE, <uint64_t> value, 4)
        return self.put_big_endian(0xCF, <uint64_t> value, 8)

    cdef inline int pack_array_header(self, Py_ssize_t length) except -1:
        if length < 16:
            return self.put_byte(<unsigned char> (0x90 | length))
        if length < 0x10000:
            return self.put_big_endian(0xDC, <uint64_t> length, 2)
        return self.put_big_endian(0xDD, <uint64_t> length, 4)

    cdef inline int pack_bin(self, const char *data, Py_ssize_t size) except -1:
        if size < 0x100:
            self.put_big_endian(0xC4, <uint64_t> size, 1)
        elif size < 0x10000:
            self.put_big_endian(0xC5, <uint64_t> size, 2)
        else:
            self.put_big_endian(0xC6, <uint64_t> size, 4)
        return self.put(data, size)

    cdef inline int pack_utf8(self, const char *data, Py_ssize_t size) except -1:
        # A msgpack str of bytes that the caller knows to be UTF-8.
        if size < 32:
            self.put_byte(<unsigned char> (0xA0 | size))
        elif size < 0x100:
            self.put_big_endian(0xD9, <uint64_t> size, 1)
        elif size < 0x10000:
            self.put_big_endian(0xDA, <uint64_t> size, 2)
        else:
            self.put_big_endian(0xDB, <uint64_t> size, 4)
        return self.put(data, size)

    cdef inline int pack_str(self, str text) except -1:
        # UnicodeEncodeError where text has a lone surrogate.
        cdef Py_ssize_t size = 0
        cdef const char *data = PyUnicode_AsUTF8AndSize(text, &size)
        return self.pack_utf8(data, size)


cdef inline uint64_t _operand(const unsigned char *at, int width) noexcept:
    cdef uint64_t value = 0
    cdef int i
    for i in range(width):
        value = value << 8 | at[i]
    return value


cdef inline int _need(Reader *reader, uint64_t n) except -1:
    if n > <uint64_t> (reader.end - reader.at):
        damaged("it ends too early")
    return 0


cdef inline int64_t read_int(Reader *reader) except -1:
    # An integer 0..2**63-1 in any integer form; ChunkError where it is anything else.
    cdef unsigned char tag
    cdef int width
    cdef uint64_t value
    _need(reader, 1)
    tag = reader.at[0]
    if tag < 0x80:
        reader.at += 1
        return tag
    if 0xCC <= tag <= 0xD3:
        width = 1 << ((tag - 0xCC) & 3)
        _need(reader, 1 + width)
        value = _operand(reader.at + 1, width)
        if tag < 0xD0:
            # unsigned forms: only the widest can leave the range
            if value >> 63:
                damaged("an integer above 2**63-1")
        elif value >> (8 * width - 1):
            damaged("a negative integer")
        reader.at += 1 + width
        return <int64_t> value
    return damaged("an integer was expected")


cdef inline Py_ssize_t read_array(Reader *reader) except -1:
    # The length of an array; never more than bytes are left, so it is safe to allocate by.
    cdef unsigned char tag
    cdef uint64_t length = 0
    _need(reader, 1)
    tag = reader.at[0]
    if 0x90 <= tag <= 0x9F:
        length = tag & 0x0F
        reader.at += 1
    elif tag == 0xDC or tag == 0xDD:
        _need(reader, 3 if tag == 0xDC else 5)
        length = _operand(reader.at + 1, 2 if tag == 0xDC else 4)
        reader.at += 3 if tag == 0xDC else 5
    else:
        damaged("an array was expected")
    _need(reader, length)
    return <Py_ssize_t> length


cdef inline int _read_span(Reader *reader, Span *span, int width, uint64_t size) except -1:
    # width: bytes of the length behind the tag; size: the length where width is 0.
    if width:
        _need(reader, 1 + width)
        size = _operand(reader.at + 1, width)
    reader.at += 1 + width
    _need(reader, size)
    span.data = <const char *> reader.at
    span.size = <Py_ssize_t> size
    reader.at += size
    return 0


cdef inline int read_str(Reader *reader, Span *span) except -1:
    # A text in any str form, checked to be UTF-8.
    cdef unsigned char tag
    _need(reader, 1)
    tag = reader.at[0]
    if 0xA0 <= tag <= 0xBF:
        _read_span(reader, span, 0, tag & 0x1F)
    elif 0xD9 <= tag <= 0xDB:
        _read_span(reader, span, 1 << (tag - 0xD9), 0)
    else:
        damaged("a text was expected")
    if span.size:
        check_utf8(span)
    return 0


cdef inline int read_bin(Reader *reader, Span *span) except -1:
    # Bytes in any bin form.
    cdef unsigned char tag
    _need(reader, 1)
    tag = reader.at[0]
    if 0xC4 <= tag <= 0xC6:
        return _read_span(reader, span, 1 << (tag - 0xC4), 0)
    return damaged("bytes were expected")


cdef inline int read_bin_or_nil(Reader *reader, Span *span) except -1:
    _need(reader, 1)
    if reader.at[0] == 0xC0:
        reader.at += 1
        span.data = NULL
        span.size = 0
        return 0
    return read_bin(reader, span)
