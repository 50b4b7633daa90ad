"""POST /v1/messages as a bare ASGI application: the hot path makes no request objects."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from notify.api.accept import Acceptor
from notify.api.auth import Keys
from notify.api.metrics import ApiMetrics
from notify.api.problems import Answer, Refused, answer_of
from notify.config import ApiConfig
from notify.domain.errors import Busy
from notify_core import receive
from notify_core.body import Limits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PATH: Final = "/v1/messages"
# Where the server leaves a function (status, rest) in the scope that writes an answer at once.
ANSWER: Final = "notify.answer"
CONTENT_TYPES: Final = ("application/json", "application/x-ndjson", "application/msgpack")
# Request bodies held at a time, over all requests; beyond, 503.
BODIES_BYTES_MAX: Final = 256 << 20
# After a refusal some of an unread body is thrown away, so that the client gets to read the
# answer: closing at once would reset the connection under it.
LINGER_S: Final = 1.0
LINGER_BYTES_MAX: Final = 16 << 20
UNREAD_BYTES_MAX: Final = 65536

_JSON_HEADER: Final = (b"content-type", b"application/json")
_JSON_LINE: Final = b"content-type: application/json\r\n"
_KNOWN_TYPES: Final = {name.encode(): name for name in CONTENT_TYPES}


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class _Head:
    """What counts of the request's headers."""

    __slots__ = ("authorization", "content_type", "encoding", "expects", "length")

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.authorization = self.content_type = self.encoding = b""
        self.length = -1
        self.expects = False
        for name, value in headers:
            if name == b"content-length":
                self.length = int(value)
            elif name == b"content-type":
                self.content_type = value
            elif name == b"authorization":
                self.authorization = value
            elif name == b"content-encoding":
                self.encoding = value
            elif name == b"expect":
                self.expects = True


class MessagesApp:
    """Accepts messages. Answers every request, whatever happens; counts what it answers."""

    def __init__(
        self, acceptor: Acceptor, keys: Keys, metrics: ApiMetrics, config: ApiConfig
    ) -> None:
        self._acceptor = acceptor
        self._keys = keys
        self._metrics = metrics
        self._body_max = config.body_bytes_max
        self._requests_max = config.requests_max
        self._requests = 0
        self._bytes = 0
        self._limits = Limits(
            items_max=config.batch_items_max,
            payload_bytes_max=config.payload_bytes_max,
            depth_max=config.payload_depth_max,
            headers_bytes_max=config.headers_bytes_max,
        )
        metrics.in_flight.set_function(lambda: self._requests)

    async def __call__(self, scope: Message, receive_: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        # Taken out of the scope, which it leads back to: a cycle would cost a collection.
        answer = scope.pop(ANSWER, None)
        head = _Head(scope["headers"])
        body = _Body(receive_, self)
        self._requests += 1
        try:
            ids = await self._accepted(head, body)
        except ClientGone:
            return
        except Exception as error:
            await self._refuse(answer_of(error), head, body, send)
            return
        finally:
            self._requests -= 1
            self._bytes -= body.size
        self._metrics.count(202)
        text = b'{"accepted":%d,"ids":["%s"]}' % (len(ids), '","'.join(map(str, ids)).encode())
        if answer is not None and answer(
            202, b"%scontent-length: %d\r\n\r\n%s" % (_JSON_LINE, len(text), text)
        ):
            return
        length = (b"content-length", b"%d" % len(text))
        await send(
            {"type": "http.response.start", "status": 202, "headers": [_JSON_HEADER, length]}
        )
        await send({"type": "http.response.body", "body": text})

    async def _accepted(self, head: _Head, body: "_Body") -> list[int]:
        if self._requests > self._requests_max:
            raise Busy("too many requests at a time; try again", 1)
        producer = await self._keys.producer(head.authorization)
        content_type = _content_type(head)
        if head.length > self._body_max:
            raise _too_large(self._body_max)
        data = await body.read(self._body_max)
        batch = receive.parse(data, content_type, self._limits)
        return await self._acceptor.accept(batch, producer.id, len(data))

    def reserve(self, size: int) -> None:
        """Account for body bytes held. Raises Busy where all requests together hold too many."""
        self._bytes += size
        if self._bytes > BODIES_BYTES_MAX:
            raise Busy("the bodies of all requests together are too large; try again", 1)

    async def _refuse(self, answer: Answer, head: _Head, body: "_Body", send: Send) -> None:
        self._metrics.count(answer.status)
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", b"%d" % len(answer.body)),
            *((name.encode(), value.encode()) for name, value in answer.headers.items()),
        ]
        # What is small or read already is skipped by the server and the connection lives on.
        small = 0 <= head.length <= UNREAD_BYTES_MAX and not head.expects
        close = not (body.complete or small)
        if close:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": close})
        if close:
            await body.discard()
            await send({"type": "http.response.body", "body": b""})


class _Body:
    """The body of one request, read within bounds."""

    __slots__ = ("_owner", "_receive", "complete", "size")

    def __init__(self, receive_: Receive, owner: MessagesApp) -> None:
        self._receive = receive_
        self._owner = owner
        self.size = 0
        self.complete = False

    async def read(self, size_max: int) -> bytes:
        """All of it. Raises ClientGone, Refused (413) or Busy.

        How long it may take is bounded by the server, which closes the connection.
        """
        parts: list[bytes] = []
        while True:
            part = await self._part()
            self.size += len(part)
            self._owner.reserve(len(part))
            if self.size > size_max:
                raise _too_large(size_max)
            if self.complete and not parts:  # the common case: all of it came with the head
                return part
            parts.append(part)
            if self.complete:
                return b"".join(parts)

    async def discard(self) -> None:
        """Throw away what still comes, within LINGER_S and LINGER_BYTES_MAX."""
        left = LINGER_BYTES_MAX
        with contextlib.suppress(TimeoutError, ClientGone):
            async with asyncio.timeout(LINGER_S):
                while not self.complete and left > 0:
                    left -= len(await self._part())

    async def _part(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        self.complete = not message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part


def _content_type(head: _Head) -> str:
    """The media type without parameters. Raises Refused (415) for one that is not understood."""
    if head.encoding and head.encoding.lower() != b"identity":
        raise Refused(415, "send the body without content-encoding")
    known = _KNOWN_TYPES.get(head.content_type)
    if known is not None:
        return known
    name, _, parameters = head.content_type.lower().partition(b";")
    known = _KNOWN_TYPES.get(name.strip())
    charset = parameters.strip().replace(b'"', b"")
    if known is None or charset not in (b"", b"charset=utf-8", b"charset=utf8"):
        given = head.content_type[:100].decode("latin-1") or "absent"
        types = ", ".join(CONTENT_TYPES)
        raise Refused(415, f"content-type is {given}; send one of {types}, in UTF-8")
    return known


def _too_large(size_max: int) -> Refused:
    return Refused(413, f"the body is larger than {size_max} bytes; send smaller batches")
