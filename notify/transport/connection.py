"""One connection: a request out, an answer in, within strict bounds, one exchange at a time.

Exchanges cost no task and no timer of their own: the caller awaits one future, and each
connection keeps a single timer that is moved only when it is about to fire too late or has
fired too early. Arming and cancelling a timer for each request would cost more than parsing.
"""

import asyncio
import os
import ssl
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import NamedTuple, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from notify.config import SenderConfig
from notify.domain.errors import TransportError
from notify.domain.ports import Answer
from notify.transport.alert import tls_reason

HEADERS_MAX = 100
INTERIM_MAX = 10
RETRY_AFTER_CHARS_MAX = 64
_SIZES_THAT_MATTER = frozenset(map(len, (b"content-length", b"transfer-encoding", b"retry-after")))
# A loop rounds its timers to milliseconds; what is left below that counts as expired.
_TIMER_SLACK_S = 0.001


class StaleConnection(Exception):
    """The peer closed a kept connection before it answered anything: a fresh one may be tried."""


class Limits(NamedTuple):
    """Bounds of one answer, in bytes.

    wire: all that is read of an answer, whatever chunk framing or trailers it is wrapped in.
    """

    header: int
    body: int
    kept: int
    wire: int


def limits_of(config: SenderConfig) -> Limits:
    """The bounds that the configuration sets."""
    header, body = config.response_header_bytes_max, config.response_bytes_max
    return Limits(header, body, config.response_kept_bytes, header + body)


def reason_of(error: BaseException) -> str:
    """Give the system's own words: event loops wrap them, or leave them out."""
    if isinstance(error, ssl.SSLError):
        return tls_reason(error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


class Connection(asyncio.Protocol):
    """An HTTP/1.1 client connection. `on_lost` is called once when it is gone for good."""

    __slots__ = (
        "_alarm",
        "_alarm_at",
        "_answer_body",
        "_answer_code",
        "_body_max",
        "_body_seen",
        "_complete",
        "_deadline",
        "_framed",
        "_future",
        "_head_done",
        "_header_bytes",
        "_header_max",
        "_headers_seen",
        "_interim_seen",
        "_keep",
        "_kept_max",
        "_loop",
        "_on_lost",
        "_parser",
        "_problem",
        "_received",
        "_retry_after",
        "_timeout_ms",
        "_transport",
        "_unsent",
        "_used",
        "_wire_max",
    )

    def __init__(
        self,
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
        on_lost: Callable[["Connection"], None],
    ) -> None:
        # Apart, because reading a field of a tuple by name costs twice a slot.
        self._header_max, self._body_max, self._kept_max, self._wire_max = limits
        self._loop = loop
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser: HttpResponseParser | None = None
        self._future: asyncio.Future[Answer] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = inf
        self._deadline = inf
        self._timeout_ms = 0
        self._used = False
        self._unsent = False
        self._keep = True
        # Of the exchange under way; exchange() starts them anew, _problem ends the connection.
        self._received = self._headers_seen = self._header_bytes = self._interim_seen = 0
        self._head_done = self._framed = self._complete = False
        self._answer_code = self._body_seen = 0
        self._answer_body = b""
        self._retry_after = self._problem = ""

    @property
    def idle(self) -> bool:
        """Nothing is under way and the next exchange may use this connection."""
        return self._keep and self._future is None

    @property
    def connected(self) -> bool:
        """The loop still holds this connection."""
        return self._transport is not None

    @property
    def deadline(self) -> float:
        """When the exchange, or the rest between two, ends at the latest (monotonic seconds)."""
        return self._deadline

    def exchange(
        self, head: bytes, body: bytes, timeout_ms: int, deadline: float
    ) -> asyncio.Future[Answer]:
        """Send a request; the future is its answer, or raises TransportError.

        Raises StaleConnection at once or through the future where a kept connection turns out
        to be closed. Whoever gives the future up must abort the connection.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            # A late write on a closed transport raises on uvloop, and is lost on asyncio.
            raise StaleConnection
        self._received = self._headers_seen = self._header_bytes = self._interim_seen = 0
        self._head_done = self._framed = self._complete = False
        self._body_seen = 0
        self._answer_body = b""
        self._retry_after = ""
        self._timeout_ms = timeout_ms
        self._deadline = deadline
        if deadline < self._alarm_at:
            self._arm(deadline)
        future = self._future = self._loop.create_future()
        transport.write(head + body)
        return future

    def rest(self, deadline: float) -> None:
        """Keep the idle connection until `deadline` (monotonic seconds), then close it."""
        self._deadline = deadline
        if deadline < self._alarm_at:
            self._arm(deadline)

    def abort(self) -> None:
        """Close now; what is unsent or unread is given up."""
        self._keep = False
        if self._transport is not None:
            self._transport.abort()

    def fail(self, stage: str, text: str) -> None:
        """End the exchange with TransportError and close."""
        self._end(TransportError(stage, text))
        self.abort()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected (and, over TLS, the peer is verified)."""
        # uvloop's transports are no subclass of asyncio.Transport, they only behave as one.
        self._transport = stream = cast("asyncio.Transport", transport)
        # So pause_writing says: the kernel has not taken the whole request yet. Not 0, because
        # over TLS a loop compares with >= and would call an empty buffer full.
        stream.set_write_buffer_limits(high=1)
        self._parser = HttpResponseParser(self)

    def pause_writing(self) -> None:
        """A part of the request waits for the peer to read."""
        self._unsent = True

    def resume_writing(self) -> None:
        """The whole request is with the kernel."""
        self._unsent = False

    def data_received(self, data: bytes) -> None:
        """Parse; anything that comes while no answer is due ends the connection."""
        if self._future is None or self._parser is None:
            # An answer that nobody asked for would be taken for the next request's.
            self.abort()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._keep = False
            if not self._complete and self._body_seen < self._body_max:
                reason = self._problem or f"the answer is not HTTP/1.1: {error}"
                self.fail("response", reason)
                return
        if self._complete:
            self._finish()
        elif self._head_done:
            if self._body_seen >= self._body_max or self._received >= self._wire_max:
                # The code is known and enough is read: the answer counts, the rest is refused.
                self._keep = False
                self._finish()
        elif self._received > self._header_max:
            self.fail("response", self._too_many_headers())

    def eof_received(self) -> None:
        """Not to be used again; returning None lets the loop close our side too."""
        self._keep = False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: by us, by the peer, or by the network."""
        self._keep = False
        self._transport = None
        self._parser = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._future is not None:
            if self._head_done and not self._framed and exc is None:
                self._finish()
            elif self._used and not self._received:
                self._end(StaleConnection())
            else:
                self._end(TransportError(self._closed_stage(exc), self._closed_text(exc)))
        self._on_lost(self)

    # Called by the parser, inside data_received. Raising here ends the parsing.

    def on_message_begin(self) -> None:
        """Refuse what follows a complete answer: it is nobody's."""
        if self._complete:
            self._refuse("bytes follow the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count, and note the three headers that matter."""
        size = len(name)
        self._headers_seen += 1
        self._header_bytes += size + len(value) + 4
        if self._headers_seen > HEADERS_MAX or self._header_bytes > self._header_max:
            self._refuse(self._too_many_headers())
        if size in _SIZES_THAT_MATTER:
            lower = name.lower()
            if lower == b"content-length":
                self._framed = True
            elif lower == b"transfer-encoding":
                self._framed = self._framed or b"chunked" in value.lower()
            elif lower == b"retry-after":
                self._retry_after = value[:RETRY_AFTER_CHARS_MAX].decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        """Tell a final answer from an interim one (1xx), which is passed over."""
        assert self._parser is not None
        code: int = self._parser.get_status_code()
        if code >= 200:
            self._answer_code = code
            self._head_done = True
            return
        if code < 100:
            self._refuse(f"the answer has the impossible code {code}")
        if code == 101:
            self._refuse("the endpoint switches protocols (101), which nobody asked for")
        if self._framed:
            self._refuse(f"the interim answer {code} announces a body")
        self._interim_seen += 1
        if self._interim_seen > INTERIM_MAX:
            self._refuse(f"more than {INTERIM_MAX} interim answers (1xx) came before the answer")
        self._retry_after = ""

    def on_body(self, data: bytes) -> None:
        """Keep the first bytes, count the others."""
        kept = self._kept_max
        seen = self._body_seen
        if seen < kept:
            room = kept - seen
            piece = data if len(data) <= room else data[:room]
            self._answer_body = self._answer_body + piece if seen else piece
        self._body_seen = seen + len(data)

    def on_message_complete(self) -> None:
        """The answer, or an interim one, is whole."""
        if self._head_done:
            assert self._parser is not None
            self._complete = True
            if not self._parser.should_keep_alive():
                self._keep = False

    # Ends of an exchange.

    def _finish(self) -> None:
        future, self._future = self._future, None
        self._used = True
        if not self._keep or self._unsent:
            # Unsent: the peer answered without reading the request and may never read on.
            self.abort()
        if future is not None and not future.done():
            future.set_result(Answer(self._answer_code, self._answer_body, self._retry_after))

    def _end(self, error: Exception) -> None:
        future, self._future = self._future, None
        self._keep = False
        if future is not None and not future.done():
            future.set_exception(error)

    def _refuse(self, problem: str) -> None:
        self._problem = problem
        raise ValueError(problem)

    def _arm(self, deadline: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = deadline
        self._alarm = self._loop.call_later(max(0.0, deadline - monotonic()), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._alarm_at = inf
        if self._deadline > monotonic() + _TIMER_SLACK_S:
            self._arm(self._deadline)
        elif self._future is None:
            self.abort()
        else:
            self.fail("timeout", self._timeout_text())

    # What the person on call reads.

    def _too_many_headers(self) -> str:
        if self._headers_seen > HEADERS_MAX:
            return f"the answer has more than {HEADERS_MAX} headers"
        return f"the answer's headers are longer than {self._header_max} bytes"

    def _progress(self) -> str:
        sent = "request not fully sent" if self._unsent else "request sent"
        return f"{sent}, {self._received} bytes back"

    def _timeout_text(self) -> str:
        what = "no answer" if not self._received else "no complete answer"
        return f"{what} within {self._timeout_ms} ms (connected, {self._progress()})"

    def _closed_stage(self, exc: Exception | None) -> str:
        if isinstance(exc, ssl.SSLError):
            return "tls"
        return "send" if self._unsent and not self._received else "closed"

    def _closed_text(self, exc: Exception | None) -> str:
        what = "closed by the endpoint" if exc is None else f"lost ({reason_of(exc)})"
        when = "before the answer was complete" if self._received else "before any answer"
        return f"the connection was {what} {when} ({self._progress()})"
