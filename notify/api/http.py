"""uvicorn's HTTP/1.1 protocol with what it lacks: bounded requests, and time to make them."""

import asyncio
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from notify.api.problems import Refused, answer_of

HEAD_BYTES_MAX: Final = 32768
# A connection whose request is not complete so long after it began is closed.
REQUEST_WAIT_S: Final = 30.0


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._close_at: float | None = None  # unless something comes that changes it
        self._watch: asyncio.TimerHandle | None = None
        self._too_long = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, and watch that a first request arrives."""
        super().connection_made(transport)
        self._await_request()
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
        self._await_request()

    def on_url(self, url: bytes) -> None:
        """Bound the target."""
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Bound the headers."""
        self._grow(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_message_complete(self) -> None:
        """Have all of the request."""
        self._close_at = None
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

    def _await_request(self) -> None:
        self._close_at = self.loop.time() + REQUEST_WAIT_S

    def _look(self) -> None:
        """Close a connection whose time is over; look again when that may be otherwise.

        No time is shorter than REQUEST_WAIT_S, so that looking as often misses none.
        """
        left_s = REQUEST_WAIT_S
        if self._close_at is not None:
            left_s = min(left_s, self._close_at - self.loop.time())
        if left_s <= 0:
            self.transport.close()
        else:
            self._watch = self.loop.call_later(left_s, self._look)
