"""The headers that others give us to send along: one set of rules for messages and consumers.

A message's headers come from its producer, a consumer's are set with the consumer and go with
every request to it (and win where both give one). `receive` (which scans in C), the consumers'
API and the delivery client all go by what is here.
"""

import re
from collections.abc import Mapping
from typing import Final

HEADERS_MAX: Final = 32
# Names and values together; of messages a default (Limits.headers_bytes_max).
HEADERS_BYTES_MAX: Final = 4096
NAME_CHARS_SHOWN: Final = 64

# What Notify sets itself, and what would change how HTTP/1.1 reads the request.
_RESERVED = frozenset(
    {
        "connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "te",
        "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
RESERVED_PREFIXES: Final = ("webhook-", "notify-", "proxy-")
# Who calls is for the consumer's operator to say, what is sent is for the producer.
RESERVED_OF_MESSAGES: Final = _RESERVED | {"user-agent"}
RESERVED_OF_CONSUMERS: Final = _RESERVED | {"content-type"}

# RFC 9110: 5.6.2 (token) beside letters and digits; 5.5 without obs-text and empty values.
NAME_MARKS: Final = "!#$%&'*+.^_`|~-"
_TOKEN = re.compile(rf"[A-Za-z0-9{re.escape(NAME_MARKS)}]+", re.ASCII)
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?", re.ASCII)


def find_flaw(given: Mapping[str, str], reserved: frozenset[str], bytes_max: int) -> str | None:
    """The first rule that these headers break, as a sentence; None: they may be sent.

    reserved: RESERVED_OF_MESSAGES or RESERVED_OF_CONSUMERS.
    """
    if len(given) > HEADERS_MAX:
        return f"at most {HEADERS_MAX} headers are allowed, not {len(given)}"
    size = 0
    seen: set[str] = set()
    for given_name, value in given.items():
        if not _TOKEN.fullmatch(given_name):
            return f'"{given_name[:NAME_CHARS_SHOWN]}" is not the name of a header'
        name = given_name.lower()
        shown = name[:NAME_CHARS_SHOWN]
        if not _VALUE.fullmatch(value):
            return (
                f"the value of header {shown} must be printable ASCII, not empty and without "
                "spaces around it"
            )
        if name in reserved or name.startswith(RESERVED_PREFIXES):
            return f"header {shown} is set by Notify or by HTTP itself"
        if name in seen:
            return f"header {shown} appears twice"
        seen.add(name)
        size += len(name) + len(value)
    if size > bytes_max:
        return f"the headers have {size} bytes, the limit is {bytes_max}"
    return None
