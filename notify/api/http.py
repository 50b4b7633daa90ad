"""uvicorn's HTTP/1.1 protocol with the bounds that it lacks: request heads in size and time."""

import asyncio
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from notify.api.problems import Refused, answer_of

HEAD_BYTES_MAX: Final = 32768
# A connection whose request head is not complete after this is closed.
HEAD_WAIT_S: Final = 15.0


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._head_since: float | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._too_long = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, and watch that a first request arrives."""
        super().connection_made(transport)
        self._head_since = self.loop.time()
        self._watch = self.loop.call_later(HEAD_WAIT_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Count a new head."""
        super().on_message_begin()
        self._head_bytes = 0
        self._head_since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        """Bound the target."""
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Bound the headers."""
        self._grow(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head_since = None
        super().on_headers_complete()

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

    def _look(self) -> None:
        """Close a connection that makes us wait for a head; look again later otherwise."""
        since = self._head_since
        waited = 0.0 if since is None else self.loop.time() - since
        if waited >= HEAD_WAIT_S:
            self.transport.close()
        else:
            self._watch = self.loop.call_later(HEAD_WAIT_S - waited, self._look)
