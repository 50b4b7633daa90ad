"""uvicorn's HTTP/1.1 protocol with what it lacks: bounded requests, answers in one write."""

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from notify.api.messages import ANSWER, PATH
from notify.api.problems import Refused, answer_of

HEAD_BYTES_MAX: Final = 32768
# A connection whose request is not complete so long after it began is closed.
REQUEST_WAIT_S: Final = 30.0
_PATH: Final = PATH.encode()


class BoundedHttp(HttpToolsProtocol):
    """One connection.

    Requests to accept messages find a function in their scope that writes a whole answer at
    once: ASGI's two events would be two writes, and a write is the largest cost of a request.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._since: float | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._too_long = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, and watch that a first request arrives."""
        super().connection_made(transport)
        self._since = self.loop.time()
        self._watch = self.loop.call_later(REQUEST_WAIT_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Count a new head."""
        super().on_message_begin()
        self._head_bytes = 0
        self._since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        """Bound the target."""
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Bound the headers."""
        self._grow(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request."""
        super().on_headers_complete()
        if self.url.startswith(_PATH):
            self.scope[ANSWER] = partial(self._answer, self.cycle)  # type: ignore[typeddict-unknown-key]

    def on_message_complete(self) -> None:
        """Have all of the request."""
        self._since = None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, or too long, and close."""
        status = 431 if self._too_long else 400
        text = f"the request head has at most {HEAD_BYTES_MAX} bytes" if self._too_long else msg
        answer = answer_of(Refused(status, text))
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"content-type: {answer.content_type}\r\ncontent-length: {len(answer.body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + answer.body)
        self.transport.close()

    def _grow(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES_MAX:
            self._too_long = True
            raise ValueError("the request head is too long")

    def _answer(self, cycle: RequestResponseCycle, status: int, rest: bytes) -> bool:
        """Write status line, own headers and `rest`: further headers, a blank line, the body.

        False, and nothing was done, while the client does not read: then ASGI's way waits.
        """
        if self.flow.write_paused:
            return False
        if cycle.disconnected or cycle.response_started:
            return True
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        head = [STATUS_LINE[status]]
        for name, value in cycle.default_headers:
            head += (name, b": ", value, b"\r\n")
        if not cycle.keep_alive:
            head.append(b"connection: close\r\n")
        head.append(rest)
        self.transport.write(b"".join(head))
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        return True

    def _look(self) -> None:
        """Close a connection that makes us wait for a request; look again later otherwise."""
        since = self._since
        waited = 0.0 if since is None else self.loop.time() - since
        if waited >= REQUEST_WAIT_S:
            self.transport.close()
        else:
            self._watch = self.loop.call_later(REQUEST_WAIT_S - waited, self._look)
