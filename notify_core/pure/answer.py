"""The answers of HTTP/1.1 endpoints, read piece by piece, within strict bounds (RFC 9112).

Framing is taken at its word or not at all: what two readers could delimit in two ways is refused,
so that no byte of one answer is ever taken for the next. The bytes alone decide, never how they
were cut into pieces. An answer that is too long is cut: its code is known and counts, and the
connection, which is out of step then, is not kept.
"""

import re
from typing import Final

INCOMPLETE: Final = 0
COMPLETE: Final = 1
REFUSED: Final = 2

HEADERS_MAX: Final = 100
INTERIM_MAX: Final = 10
RETRY_AFTER_CHARS_MAX: Final = 64

_LENGTH_BOUND: Final = 1 << 64
_CHUNK_BOUND: Final = 1 << 60

# States; the first three read lines.
_STATUS, _HEADERS, _TRAILERS, _LENGTH, _CLOSE, _SIZE, _EXTENSION, _SIZE_LF = range(8)
_CHUNK, _CHUNK_CR, _CHUNK_LF, _DONE, _REFUSED = range(8, 13)
_LINES = frozenset((_STATUS, _HEADERS, _TRAILERS))
_BODIES = frozenset((_LENGTH, _CLOSE, _CHUNK))

_START = b"HTTP/1."
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})(?: [^\r\n]*)?\r\n")
_HEADER_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)\r\n",
)
_DIGITS = re.compile(rb"[0-9]+")
_HEX = {byte: int(chr(byte), 16) for byte in b"0123456789abcdefABCDEF"}


class Parser:
    """Reads one answer after the other; `begin` comes before each.

    header_bytes_max bounds all that stands before the body, interim answers included;
    body_bytes_max the body; both together what is read in all. When complete: `code`, `body`
    (its first bytes), `retry_after` ("" without), `keep`: the connection may serve again.
    """

    def __init__(self, header_bytes_max: int, body_bytes_max: int) -> None:
        self._header_max = header_bytes_max
        self._body_max = body_bytes_max
        # Of the present head; _length -1: none was announced.
        self._minor = 1
        self._length = -1
        self._encoded = self._chunked = self._close = self._keep_alive = False
        self.begin(0)
        self._state = _DONE

    @property
    def begun(self) -> bool:
        """Whether an answer is under way: not before its first byte, nor behind an interim one."""
        return self._state != _STATUS or bool(self._line)

    def begin(self, kept_bytes: int) -> None:
        """Expect an answer and keep so many bytes of its body."""
        self.code = 0
        self.body = b""
        self.retry_after = ""
        self.keep = True
        self.received = 0
        self.problem = ""
        self._kept_max = kept_bytes
        self._state = _STATUS
        self._line = bytearray()
        self._head_bytes = self._headers_seen = self._interim_seen = 0
        self._pieces: list[bytes] = []
        self._body_seen = self._left = self._digits = 0
        self._begin_head()

    def feed(self, data: bytes) -> int:
        """Read on: INCOMPLETE, COMPLETE, or REFUSED, which `problem` explains."""
        at = 0
        end = min(len(data), max(0, self._header_max + self._body_max - self.received))
        self.received += len(data)
        while at < end and self._state < _DONE:
            if self._state in _LINES:
                at = self._read_line(data, at, end)
            elif self._state in _BODIES:
                at = self._read_body(data, at, end)
            else:
                self._read_framing(data[at])
                at += 1
        if self._state == _REFUSED:
            return REFUSED
        if self._state == _DONE:
            if at < len(data):
                self.keep = False
        elif self.received >= self._header_max + self._body_max:
            self._cut()
        else:
            return INCOMPLETE
        return COMPLETE

    def end(self) -> bool:
        """Whether the end of the connection completes the answer: its body has no length."""
        if self._state == _CLOSE:
            self._finish()
            return True
        return False

    # Lines: the status line, headers and trailers.

    def _read_line(self, data: bytes, at: int, end: int) -> int:
        newline = data.find(b"\n", at, end)
        stop = end if newline < 0 else newline + 1
        line = self._line
        line += data[at:stop]
        self._head_bytes += stop - at
        if self._state == _STATUS and not _START.startswith(line[:7]):
            self._not_http("it does not begin with HTTP/1.0 or HTTP/1.1")
        elif self._head_bytes > self._header_max:
            self._too_long(f"the answer's headers are longer than {self._header_max} bytes")
        elif newline >= 0:
            self._line = bytearray()
            if self._state == _STATUS:
                self._status_line(bytes(line))
            elif line == b"\r\n":
                self._end_of_lines()
            else:
                self._header_line(bytes(line))
        return stop

    def _status_line(self, line: bytes) -> None:
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            self._not_http("its status line is malformed")
            return
        self._minor = int(match[1])
        self.code = int(match[2])
        self._state = _HEADERS

    def _header_line(self, line: bytes) -> None:
        self._headers_seen += 1
        if self._headers_seen > HEADERS_MAX:
            self._too_long(f"the answer has more than {HEADERS_MAX} headers")
            return
        match = _HEADER_LINE.fullmatch(line)
        if match is None:
            self._not_http("a header line is malformed")
            return
        if self._state == _TRAILERS:
            return
        name, value = match[1].lower(), match[2].strip(b" \t")
        if name == b"content-length":
            self._content_length(value)
        elif name == b"transfer-encoding":
            self._transfer_encoding(value)
        elif name == b"connection":
            for token in _tokens(value):
                self._close = self._close or token == b"close"
                self._keep_alive = self._keep_alive or token == b"keep-alive"
        elif name == b"retry-after":
            self.retry_after = value[:RETRY_AFTER_CHARS_MAX].decode("latin-1").strip(" \t")

    def _content_length(self, value: bytes) -> None:
        if self._length >= 0:
            self._not_http("it has several Content-Lengths")
            return
        significant = value.lstrip(b"0")
        # Twenty digits hold every 64-bit number; int() refuses thousands of them.
        if not _DIGITS.fullmatch(value) or len(significant) > 20:
            self._not_http("its Content-Length is not a 64-bit number")
            return
        self._length = int(significant or b"0")
        if self._length >= _LENGTH_BOUND:
            self._not_http("its Content-Length is not a 64-bit number")

    def _transfer_encoding(self, value: bytes) -> None:
        self._encoded = True
        for token in _tokens(value):
            if self._chunked:
                self._not_http("chunked is not its last Transfer-Encoding")
                return
            self._chunked = token == b"chunked"

    def _end_of_lines(self) -> None:
        if self._state == _TRAILERS:
            self._finish()
        elif self._encoded and self._length >= 0:
            self._not_http("it has both Content-Length and Transfer-Encoding")
        elif self.code < 200:
            self._interim()
        else:
            self._begin_body()

    def _interim(self) -> None:
        self._interim_seen += 1
        if self.code < 100:
            self._refuse(f"the answer has the impossible code {self.code}")
        elif self.code == 101:
            self._refuse("the endpoint switches protocols (101), which nobody asked for")
        elif self._encoded or self._length >= 0:
            self._refuse(f"the interim answer {self.code} announces a body")
        elif self._interim_seen > INTERIM_MAX:
            self._refuse(f"more than {INTERIM_MAX} interim answers (1xx) came before the answer")
        else:
            self._state = _STATUS
            self._begin_head()

    def _begin_head(self) -> None:
        self.retry_after = ""
        self._minor = 1
        self._length = -1
        self._encoded = self._chunked = self._close = self._keep_alive = False

    # The body.

    def _begin_body(self) -> None:
        # HTTP/1.0 knows no Transfer-Encoding: RFC 9112 section 6.1 calls its framing faulty.
        old = self._minor == 0 and (self._encoded or not self._keep_alive)
        self.keep = not self._close and not old
        if self.code in (204, 304) or self._length == 0:
            self._finish()
        elif self._chunked:
            self._state = _SIZE
        elif self._length > 0:
            self._state = _LENGTH
            self._left = self._length
        else:
            self._state = _CLOSE
            self.keep = False

    def _read_body(self, data: bytes, at: int, end: int) -> int:
        size = min(end - at, self._body_max - self._body_seen)
        if self._state != _CLOSE:
            size = min(size, self._left)
            self._left -= size
        kept = min(size, self._kept_max - self._body_seen)
        if kept > 0:
            self._pieces.append(data[at : at + kept])
        self._body_seen += size
        if self._state == _LENGTH and not self._left:
            self._finish()
        elif self._state == _CHUNK and not self._left:
            self._state = _CHUNK_CR
        elif self._body_seen == self._body_max:
            self._cut()
        return at + size

    def _read_framing(self, byte: int) -> None:
        state = self._state
        if state == _SIZE:
            self._read_size(byte)
        elif state == _EXTENSION:
            # Skipped, whatever it says; only what could be a line's end matters.
            if byte == 0x0D:
                self._state = _SIZE_LF
            elif (byte < 0x20 and byte != 0x09) or byte == 0x7F:
                self._not_http("a chunk's extension is malformed")
        elif state == _SIZE_LF:
            self._end_of_size(byte)
        elif byte != (0x0D if state == _CHUNK_CR else 0x0A):
            self._not_http("a chunk does not end where it should")
        elif state == _CHUNK_CR:
            self._state = _CHUNK_LF
        else:
            self._state = _SIZE
            self._left = self._digits = 0

    def _read_size(self, byte: int) -> None:
        digit = _HEX.get(byte, -1)
        if digit >= 0:
            self._digits += 1
            self._left = 16 * self._left + digit
            if self._left >= _CHUNK_BOUND:
                self._not_http("a chunk's size is absurd")
        elif self._digits and byte == 0x0D:
            self._state = _SIZE_LF
        elif self._digits and byte == 0x3B:
            self._state = _EXTENSION
        else:
            self._not_http("a chunk's size is not a number")

    def _end_of_size(self, byte: int) -> None:
        if byte != 0x0A:
            self._not_http("a chunk's size does not end its line")
        elif not self._left:
            self._state = _TRAILERS
        elif self._body_seen == self._body_max:
            self._cut()
        else:
            self._state = _CHUNK

    # Ends.

    def _finish(self) -> None:
        self._state = _DONE
        self.body = b"".join(self._pieces)

    def _cut(self) -> None:
        self.keep = False
        self._finish()

    def _too_long(self, problem: str) -> None:
        if self._state == _TRAILERS:
            self._cut()
        else:
            self._refuse(problem)

    def _not_http(self, why: str) -> None:
        self._refuse(f"the answer is not HTTP/1.1: {why}")

    def _refuse(self, problem: str) -> None:
        self._state = _REFUSED
        self.keep = False
        self.problem = problem


def _tokens(value: bytes) -> list[bytes]:
    """The members of a comma-separated list, in lower case."""
    stripped = (token.strip(b" \t") for token in value.lower().split(b","))
    return [token for token in stripped if token]
