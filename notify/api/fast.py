"""The short way of a plain request to accept messages, inside uvicorn's own protocol.

A request in the one plain form (`notify_core.request`) is read at one look and offered to the
Acceptor at once: no ASGI scope, no task, no event. Everything else goes uvicorn's way to the
ASGI application: other paths, unusual heads, heads in parts, and whatever has to wait for
something before it can be accepted or refused.
"""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from notify.api.http import HEAD_BYTES_MAX, BoundedHttp
from notify.api.intake import PATH, Intake, answer_text
from notify.api.problems import answer_of
from notify.domain.errors import Busy
from notify_core import request

LINE: Final = f"POST {PATH} HTTP/1.1\r\n".encode()

Headers = list[tuple[bytes, bytes]]


class FastWay:
    """What uvicorn makes protocols by: its `http` setting."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self._headers: Headers | None = None
        self._accepted = b""

    def __call__(self, **kwargs: Any) -> "FastHttp":
        """A protocol for one connection."""
        return FastHttp(self, **kwargs)

    def accepted(self, headers: Headers) -> bytes:
        """The head of a 202 but for its length; headers: the server's own, such as the date."""
        if headers is not self._headers:  # the server makes a new list every second
            self._headers = headers
            self._accepted = _head(202, headers, "application/json")
        return self._accepted


class FastHttp(BoundedHttp):
    """One connection, and the asker of the one request of it that goes the short way.

    While that is not answered what comes behind it is kept, and no more is read: answers keep
    the order of the requests, whichever way each goes.
    """

    gone = False

    def __init__(self, way: FastWay, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._way = way
        self._intake = way.intake
        self._connections_max = self.limit_concurrency or (1 << 62)
        self._is_parsing = False  # uvicorn's parser is inside a request
        self._is_taken = False
        self._body_bytes = 0  # of the request that is taken
        self._kept = bytearray()
        self._wanted = 0  # bytes kept before they are worth a look
        self._reserved = 0  # for what is kept of a body
        self._is_last = False  # the server shuts down

    def connection_lost(self, exc: Exception | None) -> None:
        """End. What was taken is stored all the same."""
        self._kept.clear()
        self._release()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin a request that goes uvicorn's way."""
        super().on_message_begin()
        self._is_parsing = True

    def on_message_complete(self) -> None:
        """Have all of it."""
        super().on_message_complete()
        self._is_parsing = False

    def data_received(self, data: bytes) -> None:
        """Take what is plain, hand over the rest."""
        if not self._kept:
            self._read(data)
            return
        self._kept += data
        if self._is_taken:
            self.flow.pause_reading()
        elif len(self._kept) >= self._wanted or not self._reserve(len(data)):
            self._go_on()

    def shutdown(self) -> None:
        """Answer what is under way, then close."""
        self._is_last = True
        if not self._is_taken and not self._kept:
            super().shutdown()

    def stored(self, ids: list[int]) -> None:
        """Answer 202."""
        self._intake.leave(self._body_bytes)
        self._intake.metrics.count(202)
        self._is_taken = False
        self._answer(self._way.accepted(self.server_state.default_headers), answer_text(ids))

    def refused(self, error: Exception) -> None:
        """Answer with problem details."""
        self._intake.leave(self._body_bytes)
        self._is_taken = False
        self._refuse(error)

    def _read(self, data: bytes) -> None:
        """Look at data that begins with a request; several of them are taken one by one."""
        while data and not self.transport.is_closing():
            if self._is_taken:
                self._kept += data
                self.flow.pause_reading()
                return
            used = self._take(data)
            if not used:
                super().data_received(data)
                if self._is_last and not self.transport.is_closing():
                    super().shutdown()
                return
            data = data[used:]

    def _take(self, data: bytes) -> int:
        """Take the request that data begins with; how many bytes were used, 0: uvicorn's turn."""
        found = None if self._is_busy() else request.scan(data, LINE, HEAD_BYTES_MAX)
        if found is None:
            return 0
        authorization, content_type, begin, end = found
        if end > len(data):
            return self._keep(data, end, authorization, end - begin)
        try:
            if not self._intake.offer(self, authorization, content_type, data[begin:end]):
                return 0
        except Exception as error:
            self._unset_keepalive_if_required()
            self._refuse(error)
        else:
            self._unset_keepalive_if_required()
            self._close_at = None
            self._is_taken = True
            self._body_bytes = end - begin
        return end

    def _is_busy(self) -> bool:
        """Whether uvicorn is in the middle of something, or has to refuse or to wait."""
        return (
            self._is_parsing
            or (self.cycle is not None and not self.cycle.response_complete)
            or self.flow.write_paused
            or len(self.connections) >= self._connections_max
        )

    def _keep(self, data: bytes, end: int, authorization: bytes, body_bytes: int) -> int:
        """Keep a request whose body is still coming, if nothing is against it so far."""
        if not self._intake.may_come(authorization, body_bytes) or not self._reserve(len(data)):
            self._release()
            return 0
        self._unset_keepalive_if_required()
        self._await_request()
        self._kept += data
        self._wanted = end
        return len(data)

    def _reserve(self, size: int) -> bool:
        self._reserved += size
        try:
            self._intake.reserve(size)
        except Busy:
            return False
        return True

    def _release(self) -> None:
        self._intake.release(self._reserved)
        self._reserved = 0

    def _go_on(self) -> None:
        """Look at what was kept."""
        data = bytes(self._kept)
        self._kept.clear()
        self._release()
        self.flow.resume_reading()
        self._read(data)

    def _refuse(self, error: Exception) -> None:
        answer = answer_of(error)
        self._intake.metrics.count(answer.status)
        head = _head(answer.status, self.server_state.default_headers, answer.content_type)
        more = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        self._answer(head, answer.body, more.encode())

    def _answer(self, head: bytes, body: bytes, more: bytes = b"") -> None:
        if self.transport.is_closing():
            return
        self.server_state.total_requests += 1
        if self._is_last:
            more += b"connection: close\r\n"
        self.transport.write(b"%scontent-length: %d\r\n%s\r\n%s" % (head, len(body), more, body))
        if self._is_last:
            self.transport.close()
            return
        self._close_at = self.loop.time() + self.timeout_keep_alive
        if self._kept:  # not here: others wait to be told too
            self.loop.call_soon(self._go_on)


def _head(status: int, headers: Headers, content_type: str) -> bytes:
    """Status line, the server's headers, content type."""
    lines = [b"%s: %s\r\n" % header for header in headers]
    return b"".join((STATUS_LINE[status], *lines, f"content-type: {content_type}\r\n".encode()))
