"""What the scan of plain requests takes is what a whole HTTP parser reads; the rest it leaves."""

import importlib
import os

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pure = importlib.import_module("notify_core.pure.request")
core = (
    pure if os.environ.get("NOTIFY_PURE") == "1" else importlib.import_module("notify_core.request")
)
both = pytest.mark.parametrize("request_", list(dict.fromkeys([core, pure])))

LINE = b"POST /v1/messages HTTP/1.1\r\n"
HEAD_MAX = 300
PLAIN = (
    LINE + b"Host: h\r\nAuthorization: \t Bearer k \t\r\ncontent-TYPE:application/json\r\n"
    b"X-Empty:\r\nConnection: Keep-Alive\r\nContent-Length: 007\r\n\r\n"
)


class Seen:
    """What llhttp finds in one request."""

    def __init__(self) -> None:
        self.url = self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.heads = self.complete = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.heads += 1

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


@both
def test_a_plain_request(request_):
    begin, end = len(PLAIN), len(PLAIN) + 7
    wanted = (b"Bearer k", b"application/json", begin, end)
    assert request_.scan(PLAIN + b"1234567", LINE, HEAD_MAX) == wanted
    assert request_.scan(PLAIN + b"12", LINE, HEAD_MAX) == wanted
    assert request_.scan(PLAIN + b"1234567POST /", LINE, HEAD_MAX) == wanted
    bare = LINE + b"content-length: 0\r\n\r\n"
    assert request_.scan(bare, LINE, HEAD_MAX) == (b"", b"", len(bare), len(bare))


UNUSUAL = {
    "no length": b"host: h\r\n\r\n",
    "two lengths": b"content-length: 1\r\ncontent-length: 1\r\n\r\n",
    "a list of lengths": b"content-length: 1, 1\r\n\r\n",
    "a signed length": b"content-length: +1\r\n\r\n",
    "an empty length": b"content-length:\r\n\r\n",
    "a huge length": b"content-length: 1000000000000000\r\n\r\n",
    "chunks": b"transfer-encoding: chunked\r\n\r\n",
    "chunks and a length": b"content-length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a coding": b"content-length: 1\r\ncontent-encoding: identity\r\n\r\n",
    "an expectation": b"content-length: 1\r\nexpect: 100-continue\r\n\r\n",
    "an upgrade": b"content-length: 1\r\nupgrade: websocket\r\n\r\n",
    "an end": b"content-length: 1\r\nconnection: close\r\n\r\n",
    "a proxy's end": b"content-length: 1\r\nproxy-connection: keep-alive\r\n\r\n",
    "two keys": b"authorization: a\r\nauthorization: a\r\ncontent-length: 1\r\n\r\n",
    "two types": b"content-type: a\r\ncontent-type: a\r\ncontent-length: 1\r\n\r\n",
    "a space before the colon": b"content-length : 1\r\n\r\n",
    "a folded line": b"content-length: 1\r\nx: a\r\n b\r\n\r\n",
    "a bare line feed": b"content-length: 1\nx: a\r\n\r\n",
    "a bare carriage return": b"content-length: 1\rx: a\r\n\r\n",
    "a control character": b"content-length: 1\r\nx: \x00\r\n\r\n",
    "a nameless header": b"content-length: 1\r\n: a\r\n\r\n",
    "no colon": b"content-length: 1\r\nx\r\n\r\n",
    "no end of the head": b"content-length: 1\r\n",
    "half an end": b"content-length: 1\r\n\r",
    "too long a head": b"content-length: 1\r\nx: " + b"y" * HEAD_MAX + b"\r\n\r\n",
}


@both
@pytest.mark.parametrize("what", UNUSUAL)
def test_what_is_unusual_is_left(request_, what):
    assert request_.scan(LINE + UNUSUAL[what], LINE, HEAD_MAX) is None


@both
def test_another_line_is_left(request_):
    rest = b"content-length: 0\r\n\r\n"
    for line in (b"GET /v1/messages HTTP/1.1\r\n", b"POST /v1/messages HTTP/1.0\r\n",
                 b"POST /v1/messages?a=1 HTTP/1.1\r\n", b"POST http://h/v1/messages HTTP/1.1\r\n",
                 b"\r\n" + LINE, LINE[:-1] + b" \n", b""):  # fmt: skip
        assert request_.scan(line + rest, LINE, HEAD_MAX) is None
    assert request_.scan(LINE[:9], LINE, HEAD_MAX) is None


@both
def test_the_bound_of_a_head_is_exact(request_):
    assert request_.scan(PLAIN, LINE, len(PLAIN)) is not None
    assert request_.scan(PLAIN, LINE, len(PLAIN) - 1) is None


names = st.sampled_from(
    [b"content-length", b"Content-Type", b"AUTHORIZATION", b"connection", b"expect", b"upgrade",
     b"transfer-encoding", b"proxy-connection", b"content-encoding", b"host", b"x-y", b"@", b""]
)  # fmt: skip
values = st.one_of(
    st.sampled_from([b"1", b"12", b"keep-alive", b"close", b"chunked", b"", b" a\t", b"1,1"]),
    st.binary(max_size=4),
)
heads = st.lists(st.tuples(names, st.sampled_from([b":", b": ", b" :", b""]), values), max_size=6)


@given(heads, st.sampled_from([b"\r\n", b"\n", b"\r\n "]), st.binary(max_size=20))
@example([(b"content-length", b":", b"1")], b"\r\n", b"a")
def test_what_is_taken_every_parser_reads_the_same_way(fields, end, body):
    lines = [b"".join(field) + b"\r\n" for field in fields]
    data = LINE + b"".join(lines)[:-2] + end + b"\r\n" + body
    found = core.scan(data, LINE, HEAD_MAX)
    assert found == pure.scan(data, LINE, HEAD_MAX)
    if found is None:
        return
    authorization, content_type, begin, stop = found
    seen = Seen()
    parser = httptools.HttpRequestParser(seen)
    parser.feed_data(data[:begin])
    assert seen.heads == 1
    parser.feed_data((body + bytes(stop))[: stop - begin])
    assert seen.complete == 1
    assert parser.get_method() == b"POST"
    assert parser.get_http_version() == "1.1"
    assert parser.should_keep_alive()
    assert not parser.should_upgrade()
    assert seen.url == b"/v1/messages"
    headers = dict(seen.headers)
    assert headers.get(b"authorization", b"") == authorization
    assert headers.get(b"content-type", b"") == content_type
    assert len(seen.body) == stop - begin
    assert not {b"transfer-encoding", b"expect", b"content-encoding"} & headers.keys()


@given(st.binary(max_size=60), st.integers(0, len(PLAIN)), st.integers(0, 10))
def test_twins_agree_on_damaged_heads(junk, at, cut):
    data = PLAIN[:at] + junk + PLAIN[at + cut :]
    assert core.scan(data, LINE, HEAD_MAX) == pure.scan(data, LINE, HEAD_MAX)
