"""Requests of the one plain form, read at one look (pure twin of request.pyx)."""

import re
from typing import Final

_LENGTH_DIGITS_MAX: Final = 15
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)\r\n")
_KEPT: Final = (b"authorization", b"content-type", b"content-length")
# What says that a body is framed, coded or asked for in another way, or a connection not kept.
_UNUSUAL: Final = (
    b"connection", b"content-encoding", b"expect", b"proxy-connection", b"transfer-encoding",
    b"upgrade",
)  # fmt: skip


def scan(data: bytes, line: bytes, head_bytes_max: int) -> tuple[bytes, bytes, int, int] | None:
    """The request that data begins with, if it is plain and its head is complete, else None.

    Plain is what every HTTP parser reads in the same way: the request line is `line`, CRLF
    included; every header is well formed; exactly one content-length, at most one authorization
    and content-type, nothing of connections but keep-alive, and nothing else that bears on how
    the body is to be read. The rest is for a whole parser, which has words for what is wrong.

    Returns authorization and content-type (empty: not there), and where the body begins and
    ends, which may be behind the end of data.
    """
    if not data.startswith(line):
        return None
    at = len(line)
    kept: dict[bytes, bytes] = {}
    while not data.startswith(b"\r\n", at):
        field = _FIELD.match(data, at)
        if field is None or field.end() + 2 > head_bytes_max:
            return None
        name, value = field[1].lower(), field[2].rstrip(b" \t")
        if name in kept or (name in _UNUSUAL and value.lower() != b"keep-alive"):
            return None
        if name in _UNUSUAL and name != b"connection":
            return None
        if name in _KEPT:
            kept[name] = value
        at = field.end()
    length = kept.get(b"content-length", b"")
    if not length.isdigit() or len(length) > _LENGTH_DIGITS_MAX:
        return None
    begin = at + 2
    return (
        kept.get(b"authorization", b""),
        kept.get(b"content-type", b""),
        begin,
        begin + int(length),
    )
