"""A request on its way: what is sent, until when, and whom to tell."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from notify.domain.errors import TransportError
from notify.domain.ports import Answer, Endpoint

if TYPE_CHECKING:
    from notify.transport.client import HttpTransport
    from notify.transport.connection import Connection

Done = Callable[[Answer | None, TransportError | None], None]

log = logging.getLogger(__name__)


class Exchange:
    """Implements ports.Exchange. deadline: monotonic seconds.

    It is on a connection, or waits for one in a task; `done` is taken off it when it is over.
    """

    __slots__ = (
        "_client",
        "_done",
        "_replaced",
        "body",
        "connection",
        "deadline",
        "endpoint",
        "head",
        "kept_bytes",
        "task",
        "timeout_ms",
    )

    def __init__(
        self,
        client: "HttpTransport",
        endpoint: Endpoint,
        head: bytes,
        body: bytes,
        timeout_ms: int,
        deadline: float,
        kept_bytes: int,
        done: Done,
    ) -> None:
        self._client = client
        self._done: Done | None = done
        self._replaced = False
        self.endpoint = endpoint
        self.head = head
        self.body = body
        self.timeout_ms = timeout_ms
        self.deadline = deadline
        self.kept_bytes = kept_bytes
        self.connection: Connection | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended, or was cancelled."""
        return self._done is None

    def cancel(self) -> None:
        """Close its connection; `done` is not called any more. Safe to call when it is over."""
        if self._done is None:
            return
        self._done = None
        self._client.requests_in_flight -= 1
        if self.task is not None:
            self.task.cancel()
        elif self.connection is not None:
            self.connection.give_up()

    def end(self, answer: Answer | None, error: TransportError | None) -> None:
        """Tell what came of it, unless it is over."""
        done = self._done
        if done is None:
            return
        self._done = None
        self._client.requests_in_flight -= 1
        try:
            done(answer, error)
        except Exception:
            log.exception("what was to be done after a request to %s failed", self.endpoint.host)

    def replace(self) -> None:
        """Go on over a fresh connection: the kept one was closed before it was of any use."""
        self.connection = None
        if self._replaced:
            text = "the endpoint closed the connection as soon as it was made"
            self.end(None, TransportError("closed", text))
        elif self._done is not None:
            self._replaced = True
            self._client.dial(self)
