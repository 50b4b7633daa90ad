"""One connection: a request out, an answer in, within strict bounds, one exchange at a time.

Exchanges cost no task, no future and no timer of their own: each connection keeps a single timer
that is moved only when it is about to fire too late or has fired too early. Arming and cancelling
a timer for each request would cost more than parsing.
"""

import asyncio
import os
import ssl
from collections.abc import Callable
from functools import partial
from math import inf
from time import monotonic
from typing import Final, cast

from notify.config import SenderConfig
from notify.domain.errors import TransportError
from notify.domain.ports import Answer
from notify.transport.alert import tls_reason
from notify.transport.exchange import Exchange
from notify_core import answer

# A loop rounds its timers to milliseconds; what is left below that counts as expired.
_TIMER_SLACK_S = 0.001
# A global is found in half the time of a module's attribute.
_COMPLETE: Final = answer.COMPLETE
_REFUSED: Final = answer.REFUSED
# An answer of its fields in their order, without the way over its named ones.
_made: Final[Callable[[tuple[object, ...]], Answer]] = partial(tuple.__new__, Answer)


def reason_of(error: BaseException) -> str:
    """Give the system's own words: event loops wrap them, or leave them out."""
    if isinstance(error, ssl.SSLError):
        return tls_reason(error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


class Connection:
    """An HTTP/1.1 client connection.

    `on_idle` is called when an exchange has ended and the next may begin, `on_lost` once when
    the connection is gone for good; both before the exchange is told its end.
    """

    __slots__ = (
        "_alarm",
        "_alarm_at",
        "_deadline",
        "_exchange",
        "_idle_read_s",
        "_keep",
        "_loop",
        "_on_idle",
        "_on_lost",
        "_parser",
        "_silent_at",
        "_transport",
        "_unsent",
        "_used",
    )

    def __init__(
        self,
        config: SenderConfig,
        loop: asyncio.AbstractEventLoop,
        on_idle: Callable[["Connection"], None],
        on_lost: Callable[["Connection"], None],
    ) -> None:
        self._loop = loop
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._parser = answer.Parser(config.response_header_bytes_max, config.response_bytes_max)
        self._idle_read_s = config.idle_read_ms / 1000
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = inf
        self._deadline = inf
        self._silent_at = inf  # when an answer that has begun will have been silent for too long
        self._used = False
        self._unsent = False
        self._keep = True

    @property
    def connected(self) -> bool:
        """The loop still holds this connection."""
        return self._transport is not None

    @property
    def deadline(self) -> float:
        """When the exchange, or the rest between two, ends at the latest (monotonic seconds)."""
        return self._deadline

    def begin(self, exchange: Exchange) -> bool:
        """Send a request. False, and the connection is given up, where it is closed already."""
        transport = self._transport
        if transport is None or transport.is_closing():
            # A late write on a closed transport raises on uvloop, and is lost on asyncio.
            self.give_up()
            return False
        self._exchange = exchange
        exchange.connection = self
        self._parser.begin(exchange.kept_bytes)
        self._silent_at = inf
        deadline = self._deadline = exchange.deadline
        if deadline < self._alarm_at:
            self._arm(deadline)
        transport.write(exchange.head + exchange.body)
        return True

    def rest(self, deadline: float) -> None:
        """Keep the idle connection until `deadline` (monotonic seconds), then close it."""
        self._silent_at = inf
        self._deadline = deadline
        if deadline < self._alarm_at:
            self._arm(deadline)

    def give_up(self) -> None:
        """Close now; what is unsent or unread is given up, and nobody is told."""
        self._exchange = None
        self._keep = False
        if self._transport is not None:
            self._transport.abort()

    def fail(self, stage: str, text: str) -> None:
        """Close, and end the exchange with TransportError."""
        exchange = self._exchange
        self.give_up()
        if exchange is not None:
            exchange.end(None, TransportError(stage, text))

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected (and, over TLS, the peer is verified)."""
        # uvloop's transports are no subclass of asyncio.Transport, they only behave as one.
        self._transport = stream = cast("asyncio.Transport", transport)
        # So pause_writing says: the kernel has not taken the whole request yet. Not 0, because
        # over TLS a loop compares with >= and would call an empty buffer full.
        stream.set_write_buffer_limits(high=1)

    def pause_writing(self) -> None:
        """A part of the request waits for the peer to read."""
        self._unsent = True

    def resume_writing(self) -> None:
        """The whole request is with the kernel."""
        self._unsent = False

    def data_received(self, data: bytes) -> None:
        """Parse; anything that comes while no answer is due ends the connection."""
        exchange = self._exchange
        if exchange is None:
            # An answer that nobody asked for would be taken for the next request's.
            self.give_up()
            return
        state = self._parser.feed(data)
        if state == _COMPLETE:
            self._finish(exchange)
        elif state == _REFUSED:
            self.fail("response", self._parser.problem)
        elif self._parser.begun:
            self._silent_at = monotonic() + self._idle_read_s
            if self._silent_at < self._alarm_at:
                self._arm(min(self._silent_at, self._deadline))
        else:
            self._silent_at = inf

    def eof_received(self) -> None:
        """Not to be used again; returning None lets the loop close our side too."""
        self._keep = False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: by us, by the peer, or by the network."""
        exchange, self._exchange = self._exchange, None
        self._keep = False
        self._transport = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._on_lost(self)
        if exchange is None:
            return
        if exc is None and self._parser.end():
            exchange.end(self._answer(), None)
        elif self._used and not self._parser.received:
            exchange.replace()
        else:
            error = TransportError(self._closed_stage(exc), self._closed_text(exc))
            exchange.end(None, error)

    # Ends of an exchange.

    def _finish(self, exchange: Exchange) -> None:
        told = self._answer()
        self._exchange = None
        self._used = True
        # Unsent: the peer answered without reading the request and may never read on.
        if self._keep and self._parser.keep and not self._unsent:
            self._on_idle(self)
        else:
            self.give_up()
        # The last thing here: it may begin the next exchange on this connection.
        exchange.end(told, None)

    def _answer(self) -> Answer:
        parser = self._parser
        return _made((parser.code, parser.body, parser.retry_after, parser.allowed))

    def _arm(self, deadline: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = deadline
        self._alarm = self._loop.call_later(max(0.0, deadline - monotonic()), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._alarm_at = inf
        due = min(self._deadline, self._silent_at)
        if due > monotonic() + _TIMER_SLACK_S:
            self._arm(due)
        elif self._exchange is None:
            self.give_up()
        else:
            silent = self._silent_at < self._deadline
            text = self._silent_text() if silent else self._timeout_text(self._exchange.timeout_ms)
            self.fail("timeout", text)

    # What the person on call reads.

    def _progress(self) -> str:
        sent = "request not fully sent" if self._unsent else "request sent"
        return f"{sent}, {self._parser.received} bytes back"

    def _timeout_text(self, timeout_ms: int) -> str:
        what = "no complete answer" if self._parser.received else "no answer"
        return f"{what} within {timeout_ms} ms (connected, {self._progress()})"

    def _silent_text(self) -> str:
        return (
            f"the answer began and then nothing came for {self._idle_read_s * 1000:.0f} ms "
            f"({self._progress()}; see sender.idle_read_ms)"
        )

    def _closed_stage(self, exc: Exception | None) -> str:
        if isinstance(exc, ssl.SSLError):
            return "tls"
        return "send" if self._unsent and not self._parser.received else "closed"

    def _closed_text(self, exc: Exception | None) -> str:
        what = "closed by the endpoint" if exc is None else f"lost ({reason_of(exc)})"
        received = self._parser.received
        when = "before the answer was complete" if received else "before any answer"
        return f"the connection was {what} {when} ({self._progress()})"
