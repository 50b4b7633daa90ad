"""The answer parser: compiled and pure alike, however the bytes are cut, and beside llhttp."""

import importlib
import os

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pure = importlib.import_module("notify_core.pure.answer")
core = (
    pure if os.environ.get("NOTIFY_PURE") == "1" else importlib.import_module("notify_core.answer")
)
both = pytest.mark.parametrize("answer", list(dict.fromkeys([core, pure])))

HEADER_MAX, BODY_MAX, KEPT = 300, 40, 12
PIECES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200\r\n",
    b"HTTP/1.0 503 Busy\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 304 Same\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switch\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n",
    b"HTTP/1.1 099 Odd\r\n",
    b"Content-Length: 3\r\n",
    b"content-length: 0\r\n",
    b"content-length: 39\r\n",
    b"content-length: 40\r\n",
    b"content-length: 41\r\n",
    b"content-length: 18446744073709551615\r\n",
    b"content-length: 18446744073709551616\r\n",
    b"content-length:\r\n",
    b"content-length: 3, 3\r\n",
    b"content-length: +3\r\n",
    b"content-length : 3\r\n",
    b"Transfer-Encoding: Chunked\r\n",
    b"transfer-encoding: gzip , chunked\r\n",
    b"transfer-encoding: chunked, gzip\r\n",
    b"transfer-encoding: gzip\r\n",
    b"transfer-encoding:\r\n",
    b"connection: close\r\n",
    b"connection: x, Keep-Alive \r\n",
    b"connection: upgrade\r\nupgrade: h2c\r\n",
    b"retry-after:\t120 \r\n",
    b"retry-after: " + b"9" * 70 + b"\r\n",
    b"x-\xff: y\r\n",
    b"x: \xff\xfe\r\n",
    b"x: a\rb\r\n",
    b"x: y\n",
    b" folded\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"3\r\nabc\r\n",
    b"3;name=value\r\nabc\r\n",
    b"3 \r\nabc\r\n",
    b"28\r\n" + b"z" * 40 + b"\r\n",
    b"29\r\n" + b"z" * 41 + b"\r\n",
    b"fffffffffffffffff\r\n",
    b"0\r\n",
    b"0\r\n\r\n",
    b"0\r\nx-trailer: 1\r\n\r\n",
    b"0\r\ncontent-length: 3\r\n\r\n",
    b"abc",
    b"y" * 39,
    b"\x00",
]
HEADS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
    b"",
]


@st.composite
def wires(draw):
    """Bytes that often are an answer, at times one that was damaged in one place."""
    wire = bytearray(draw(st.sampled_from(HEADS)))
    wire += b"".join(draw(st.lists(st.sampled_from(PIECES), max_size=8)))
    if wire and draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(wire) - 1))
        wire[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(wire)


def cuts(wire, places):
    ends = sorted({min(place, len(wire)) for place in places} | {len(wire)})
    return [wire[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def told(parser, state):
    shown = (state, parser.code, parser.keep, parser.received, parser.problem)
    return (*shown, parser.body, parser.retry_after) if state == core.COMPLETE else shown


def read(answer, pieces, header_max=HEADER_MAX, body_max=BODY_MAX):
    """What is told after each piece, and at the end of the connection."""
    parser = answer.Parser(header_max, body_max)
    parser.begin(KEPT)
    steps = [(*told(parser, parser.feed(piece)), parser.begun) for piece in pieces]
    return steps, (parser.end(), parser.body)


class Llhttp:
    """What llhttp makes of the same bytes: `whole` answers, an error's text, what is under way."""

    def __init__(self, wire):
        self.whole, self.error, self.bodies = [], "", b""
        self.parser = httptools.HttpResponseParser(self)
        try:
            self.parser.feed_data(wire)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.error = str(error) or type(error).__name__

    def on_message_begin(self):
        self.body = b""

    def on_body(self, data):
        self.body += data

    def on_message_complete(self):
        code = self.parser.get_status_code()
        if code >= 200 or code == 101:
            self.whole.append((code, self.body, self.parser.should_keep_alive()))


@given(wires(), st.lists(st.integers(0, 300), max_size=6))
@settings(max_examples=200)
def test_the_twins_tell_the_same_after_every_piece(wire, places):
    pieces = cuts(wire, places)
    assert read(core, pieces) == read(pure, pieces)


@both
@given(wires(), st.lists(st.integers(0, 300), max_size=6))
@settings(max_examples=100)
def test_how_the_bytes_are_cut_changes_nothing(answer, wire, places):
    (whole,), end = read(answer, [wire])
    for pieces in (cuts(wire, places), [bytes([byte]) for byte in wire] or [b""]):
        steps, ended = read(answer, pieces)
        decided = [step for step in steps if step[0] != answer.INCOMPLETE]
        # An error is told as soon as it is seen; how much had come by then is no matter of it.
        last = steps[-1]
        assert (last[:3], last[4:]) == (whole[:3], whole[4:])
        assert ended == end
        assert {step[0] for step in decided} <= {whole[0]}


# Where we refuse what llhttp reads, and why.
STRICTER = (
    "it does not begin with",  # llhttp skips empty lines before it, and knows HTTP/0.9 and 2.0
    "its status line is malformed",
    "chunked is not its last",  # llhttp reads until the end; others would see chunks
    "a header line is malformed",
    "a trailer announces another body",
)


@given(wires())
@settings(max_examples=500)
def test_llhttp_reads_what_we_read(wire):
    parser = core.Parser(1 << 20, 1 << 20)
    parser.begin(1 << 20)
    state = parser.feed(wire)
    theirs = Llhttp(wire)
    if "chunk extension" in theirs.error:
        return  # which we skip, as long as it is one line
    if state == core.COMPLETE:
        assert theirs.whole
        code, body, keep = theirs.whole[0]
        assert (parser.code, parser.body) == (code, body)
        # Kept for the next request only where llhttp would, and nothing stands behind it.
        assert not parser.keep or (keep and len(theirs.whole) == 1 and not theirs.error)
    elif state == core.INCOMPLETE:
        assert not theirs.whole
        # A line is judged when it is whole; llhttp judges byte for byte.
        assert not theirs.error or parser.feed(b"\r\n") == core.REFUSED
    elif theirs.whole:
        ours_alone = not parser.problem.startswith("the answer is not HTTP/1.1")
        assert ours_alone or any(why in parser.problem for why in STRICTER)
