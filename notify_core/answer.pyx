"""The answers of HTTP/1.1 endpoints, read piece by piece (see pure/answer.py for the rules).

A line that comes in one piece is read where it lies; only one that is cut is copied.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp

from notify_core.buffer cimport Buffer

INCOMPLETE = 0
COMPLETE = 1
REFUSED = 2

HEADERS_MAX = 100
INTERIM_MAX = 10
RETRY_AFTER_CHARS_MAX = 64

cdef int _HEADERS_MAX = HEADERS_MAX
cdef int _INTERIM_MAX = INTERIM_MAX
cdef Py_ssize_t _RETRY_AFTER_MAX = RETRY_AFTER_CHARS_MAX
cdef uint64_t _CHUNK_BOUND = <uint64_t> 1 << 60

cdef enum State:
    # The first three read lines.
    STATUS
    HEADERS
    TRAILERS
    LENGTH
    CLOSE
    SIZE
    EXTENSION
    SIZE_LF
    CHUNK
    CHUNK_CR
    CHUNK_LF
    DONE
    BROKEN

# What a byte is: part of a header's name (bit 0), of its value (bit 1).
cdef unsigned char[256] _kind
cdef int _byte
for _byte in range(256):
    _kind[_byte] = 2 if _byte == 9 or (_byte >= 32 and _byte != 127) else 0
for _byte in (
    b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
):
    _kind[_byte] |= 1


@cython.final
cdef class Parser:
    """Reads one answer after the other; `begin` comes before each.

    header_bytes_max bounds all that stands before the body, interim answers included;
    body_bytes_max the body; both together what is read in all. When complete: `code`, `body`
    (its first bytes), `retry_after` ("" without), `keep`: the connection may serve again.
    """

    cdef readonly int code
    cdef readonly bytes body
    cdef readonly str retry_after
    cdef readonly bint keep
    cdef readonly Py_ssize_t received
    cdef readonly str problem
    cdef Py_ssize_t header_max
    cdef Py_ssize_t body_max
    cdef Py_ssize_t kept_max
    cdef State state
    cdef Buffer line
    cdef Py_ssize_t head_bytes
    cdef int headers_seen
    cdef int interim_seen
    # What is kept of a body that comes in more than one piece.
    cdef list pieces
    cdef Py_ssize_t body_seen
    cdef uint64_t left
    cdef bint digits
    # Of the present head.
    cdef bint old
    cdef bint framed
    cdef uint64_t length
    cdef bint encoded
    cdef bint chunked
    cdef bint close
    cdef bint keep_alive

    def __init__(self, Py_ssize_t header_bytes_max, Py_ssize_t body_bytes_max):
        self.header_max = header_bytes_max
        self.body_max = body_bytes_max
        self.line = Buffer()
        self.begin(0)
        self.state = DONE

    @property
    def begun(self):
        """Whether an answer is under way: not before its first byte, nor behind an interim one."""
        return self.state != STATUS or self.line.size > 0

    def begin(self, Py_ssize_t kept_bytes):
        """Expect an answer and keep so many bytes of its body."""
        self.code = 0
        self.body = b""
        self.keep = True
        self.received = 0
        self.problem = ""
        self.kept_max = kept_bytes
        self.state = STATUS
        self.line.clear()
        self.head_bytes = 0
        self.headers_seen = 0
        self.interim_seen = 0
        self.pieces = None
        self.body_seen = 0
        self.left = 0
        self.digits = False
        self.begin_head()

    def feed(self, bytes data not None):
        """Read on: INCOMPLETE, COMPLETE, or REFUSED, which `problem` explains."""
        cdef const unsigned char *begin = <const unsigned char *> PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef const unsigned char *at = begin
        cdef const unsigned char *end = begin + min(
            size, max(0, self.header_max + self.body_max - self.received)
        )
        self.received += size
        while at < end and self.state < DONE:
            if self.state <= TRAILERS:
                at = self.read_line(at, end)
            elif self.state == LENGTH or self.state == CLOSE or self.state == CHUNK:
                at = self.read_body(at, end)
            else:
                self.read_framing(at[0])
                at += 1
        if self.state == BROKEN:
            return 2
        if self.state == DONE:
            if at < begin + size:
                self.keep = False
        elif self.received >= self.header_max + self.body_max:
            self.cut()
        else:
            return 0
        return 1

    def end(self):
        """Whether the end of the connection completes the answer: its body has no length."""
        if self.state == CLOSE:
            self.finish()
            return True
        return False

    # Lines: the status line, headers and trailers.

    cdef const unsigned char *read_line(
        self, const unsigned char *at, const unsigned char *end
    ) except NULL:
        cdef const unsigned char *newline = <const unsigned char *> memchr(at, c'\n', end - at)
        cdef const unsigned char *stop = end if newline == NULL else newline + 1
        cdef const unsigned char *line = at
        cdef Py_ssize_t size = stop - at
        self.head_bytes += size
        if self.line.size:
            self.line.put(<const char *> at, size)
            line = <const unsigned char *> self.line.data
            size = self.line.size
        if self.state == STATUS and memcmp(line, b"HTTP/1.", min(size, 7)):
            self.not_http("it does not begin with HTTP/1.0 or HTTP/1.1")
        elif self.head_bytes > self.header_max:
            self.too_long(f"the answer's headers are longer than {self.header_max} bytes")
        elif newline == NULL:
            if not self.line.size:
                self.line.put(<const char *> at, size)
        else:
            if self.state == STATUS:
                self.status_line(line, size)
            elif size == 2 and line[0] == c'\r':
                self.end_of_lines()
            else:
                self.header_line(line, size)
            self.line.clear()
        return stop

    cdef int status_line(self, const unsigned char *line, Py_ssize_t size) except -1:
        # HTTP/1.1 200 reason; the blank before an empty reason may be missing.
        cdef Py_ssize_t i
        cdef bint sound = (
            size >= 14 and (line[7] == c'0' or line[7] == c'1') and line[8] == c' '
            and line[size - 2] == c'\r' and (size == 14 or line[12] == c' ')
            and memchr(line, c'\r', size - 2) == NULL
        )
        self.code = 0
        if sound:
            for i in range(9, 12):
                sound = sound and c'0' <= line[i] <= c'9'
                self.code = 10 * self.code + line[i] - c'0'
        if not sound:
            self.code = 0
            return self.not_http("its status line is malformed")
        self.old = line[7] == c'0'
        self.state = HEADERS
        return 0

    cdef int header_line(self, const unsigned char *line, Py_ssize_t size) except -1:
        cdef const unsigned char *at = line
        cdef const unsigned char *end = line + size - 2
        cdef const unsigned char *value
        cdef Py_ssize_t name_size
        self.headers_seen += 1
        if self.headers_seen > _HEADERS_MAX:
            return self.too_long(f"the answer has more than {HEADERS_MAX} headers")
        while at < end and _kind[at[0]] & 1:
            at += 1
        name_size = at - line
        if at >= end or name_size == 0 or at[0] != c':' or end[0] != c'\r':
            return self.not_http("a header line is malformed")
        at += 1
        value = at
        while at < end and _kind[at[0]] & 2:
            at += 1
        if at < end:
            return self.not_http("a header line is malformed")
        if self.state == TRAILERS:
            return 0
        while value < end and (value[0] == c' ' or value[0] == c'\t'):
            value += 1
        while end > value and (end[-1] == c' ' or end[-1] == c'\t'):
            end -= 1
        if name_size == 14 and _same(line, "content-length", 14):
            return self.content_length(value, end)
        if name_size == 17 and _same(line, "transfer-encoding", 17):
            return self.transfer_encoding(value, end)
        if name_size == 10 and _same(line, "connection", 10):
            return self.connection(value, end)
        if name_size == 11 and _same(line, "retry-after", 11):
            end = value + min(end - value, _RETRY_AFTER_MAX)
            while end > value and (end[-1] == c' ' or end[-1] == c'\t'):
                end -= 1
            self.retry_after = value[:end - value].decode("latin-1")
        return 0

    cdef int content_length(self, const unsigned char *at, const unsigned char *end) except -1:
        cdef uint64_t digit
        if self.framed:
            return self.not_http("it has several Content-Lengths")
        if at == end:
            return self.not_http("its Content-Length is not a 64-bit number")
        self.framed = True
        self.length = 0
        while at < end:
            digit = at[0] - <uint64_t> c'0'
            # Where the last step cannot overflow, or does not: 2**64 - 1 is ...1615.
            if digit > 9 or self.length > (<uint64_t> 0xFFFFFFFFFFFFFFFF - digit) // 10:
                return self.not_http("its Content-Length is not a 64-bit number")
            self.length = 10 * self.length + digit
            at += 1
        return 0

    cdef int transfer_encoding(self, const unsigned char *at, const unsigned char *end) except -1:
        cdef const unsigned char *token
        cdef Py_ssize_t size
        self.encoded = True
        while True:
            at = _token(at, end, &token, &size)
            if at == NULL:
                return 0
            if self.chunked:
                return self.not_http("chunked is not its last Transfer-Encoding")
            self.chunked = size == 7 and _same(token, "chunked", 7)

    cdef int connection(self, const unsigned char *at, const unsigned char *end) except -1:
        cdef const unsigned char *token
        cdef Py_ssize_t size
        while True:
            at = _token(at, end, &token, &size)
            if at == NULL:
                return 0
            if size == 5 and _same(token, "close", 5):
                self.close = True
            elif size == 10 and _same(token, "keep-alive", 10):
                self.keep_alive = True

    cdef int end_of_lines(self) except -1:
        if self.state == TRAILERS:
            return self.finish()
        if self.encoded and self.framed:
            return self.not_http("it has both Content-Length and Transfer-Encoding")
        if self.code < 200:
            return self.interim()
        return self.begin_body()

    cdef int interim(self) except -1:
        self.interim_seen += 1
        if self.code < 100:
            return self.refuse(f"the answer has the impossible code {self.code}")
        if self.code == 101:
            return self.refuse("the endpoint switches protocols (101), which nobody asked for")
        if self.encoded or self.framed:
            return self.refuse(f"the interim answer {self.code} announces a body")
        if self.interim_seen > _INTERIM_MAX:
            return self.refuse(
                f"more than {INTERIM_MAX} interim answers (1xx) came before the answer"
            )
        self.state = STATUS
        self.begin_head()
        return 0

    cdef void begin_head(self):
        self.retry_after = ""
        self.old = False
        self.framed = False
        self.length = 0
        self.encoded = False
        self.chunked = False
        self.close = False
        self.keep_alive = False

    # The body.

    cdef int begin_body(self) except -1:
        # HTTP/1.0 knows no Transfer-Encoding: RFC 9112 section 6.1 calls its framing faulty.
        self.keep = not self.close and not (self.old and (self.encoded or not self.keep_alive))
        if self.code == 204 or self.code == 304 or (self.framed and not self.length):
            return self.finish()
        if self.chunked:
            self.state = SIZE
        elif self.framed:
            self.state = LENGTH
            self.left = self.length
        else:
            self.state = CLOSE
            self.keep = False
        return 0

    cdef const unsigned char *read_body(
        self, const unsigned char *at, const unsigned char *end
    ) except NULL:
        cdef Py_ssize_t size = min(end - at, self.body_max - self.body_seen)
        cdef Py_ssize_t kept
        if self.state != CLOSE:
            if self.left < <uint64_t> size:
                size = <Py_ssize_t> self.left
            self.left -= size
        kept = min(size, self.kept_max - self.body_seen)
        if kept > 0:
            if self.pieces is None:
                self.pieces = []
            self.pieces.append(PyBytes_FromStringAndSize(<const char *> at, kept))
        self.body_seen += size
        if self.state == LENGTH and not self.left:
            self.finish()
        elif self.state == CHUNK and not self.left:
            self.state = CHUNK_CR
        elif self.body_seen == self.body_max:
            self.cut()
        return at + size

    cdef int read_framing(self, unsigned char byte) except -1:
        if self.state == SIZE:
            return self.read_size(byte)
        if self.state == EXTENSION:
            # Skipped, whatever it says; only what could be a line's end matters.
            if byte == c'\r':
                self.state = SIZE_LF
            elif not _kind[byte]:
                return self.not_http("a chunk's extension is malformed")
            return 0
        if self.state == SIZE_LF:
            return self.end_of_size(byte)
        if byte != (c'\r' if self.state == CHUNK_CR else c'\n'):
            return self.not_http("a chunk does not end where it should")
        if self.state == CHUNK_CR:
            self.state = CHUNK_LF
        else:
            self.state = SIZE
            self.left = 0
            self.digits = False
        return 0

    cdef int read_size(self, unsigned char byte) except -1:
        cdef unsigned char lower = byte | 0x20
        cdef int digit = -1
        if c'0' <= byte <= c'9':
            digit = byte - c'0'
        elif c'a' <= lower <= c'f':
            digit = lower - c'a' + 10
        if digit >= 0:
            self.digits = True
            self.left = 16 * self.left + <uint64_t> digit
            if self.left >= _CHUNK_BOUND:
                return self.not_http("a chunk's size is absurd")
        elif self.digits and byte == c'\r':
            self.state = SIZE_LF
        elif self.digits and byte == c';':
            self.state = EXTENSION
        else:
            return self.not_http("a chunk's size is not a number")
        return 0

    cdef int end_of_size(self, unsigned char byte) except -1:
        if byte != c'\n':
            return self.not_http("a chunk's size does not end its line")
        if not self.left:
            self.state = TRAILERS
        elif self.body_seen == self.body_max:
            return self.cut()
        else:
            self.state = CHUNK
        return 0

    # Ends.

    cdef int finish(self) except -1:
        self.state = DONE
        if self.pieces is not None:
            self.body = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
            self.pieces = None
        return 0

    cdef int cut(self) except -1:
        self.keep = False
        return self.finish()

    cdef int too_long(self, str problem) except -1:
        return self.cut() if self.state == TRAILERS else self.refuse(problem)

    cdef int not_http(self, str why) except -1:
        return self.refuse("the answer is not HTTP/1.1: " + why)

    cdef int refuse(self, str problem) except -1:
        self.state = BROKEN
        self.keep = False
        self.problem = problem
        return 0


cdef bint _same(const unsigned char *text, const char *lower, Py_ssize_t size) noexcept:
    # Whether letters and hyphens are the same but for their case.
    cdef Py_ssize_t i
    cdef unsigned char byte
    for i in range(size):
        byte = text[i]
        if c'A' <= byte <= c'Z':
            byte |= 0x20
        if byte != <unsigned char> lower[i]:
            return False
    return True


cdef const unsigned char *_token(
    const unsigned char *at,
    const unsigned char *end,
    const unsigned char **token,
    Py_ssize_t *size,
) noexcept:
    # The next member of a comma-separated list, and where to go on; NULL where there is none.
    cdef const unsigned char *last
    while at < end and (at[0] == c' ' or at[0] == c'\t' or at[0] == c','):
        at += 1
    if at == end:
        return NULL
    token[0] = at
    while at < end and at[0] != c',':
        at += 1
    last = at
    while last[-1] == c' ' or last[-1] == c'\t':
        last -= 1
    size[0] = last - token[0]
    return at
