"""POST /v1/messages as a bare ASGI application, for any server: it makes no request objects."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from notify.api.intake import Intake, answer_text, media_type
from notify.api.problems import Answer, answer_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# After a refusal some of an unread body is thrown away, so that the client gets to read the
# answer: closing at once would reset the connection under it.
LINGER_S: Final = 1.0
LINGER_BYTES_MAX: Final = 16 << 20
UNREAD_BYTES_MAX: Final = 65536

_JSON_HEADER: Final = (b"content-type", b"application/json")


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

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def __call__(self, scope: Message, receive_: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        head = _Head(scope["headers"])
        body = _Body(receive_, self._intake)
        try:
            ids = await self._accepted(head, body)
        except ClientGone:
            return
        except Exception as error:
            await self._refuse(answer_of(error), head, body, send)
            return
        finally:
            self._intake.leave(body.size)
        self._intake.metrics.count(202)
        text = answer_text(ids)
        length = (b"content-length", b"%d" % len(text))
        await send(
            {"type": "http.response.start", "status": 202, "headers": [_JSON_HEADER, length]}
        )
        await send({"type": "http.response.body", "body": text})

    async def _accepted(self, head: _Head, body: "_Body") -> list[int]:
        self._intake.enter()
        producer_id = await self._intake.producer_id(head.authorization)
        content_type = media_type(head.content_type, head.encoding)
        self._intake.check_size(head.length)
        return await self._intake.accept(producer_id, await body.read(), content_type)

    async def _refuse(self, answer: Answer, head: _Head, body: "_Body", send: Send) -> None:
        self._intake.metrics.count(answer.status)
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

    __slots__ = ("_intake", "_receive", "complete", "size")

    def __init__(self, receive_: Receive, intake: Intake) -> None:
        self._receive = receive_
        self._intake = intake
        self.size = 0
        self.complete = False

    async def read(self) -> bytes:
        """All of it. Raises ClientGone, Refused (413) or Busy.

        How long it may take is bounded by the server, which closes the connection.
        """
        parts: list[bytes] = []
        while True:
            part = await self._part()
            self.size += len(part)
            self._intake.reserve(len(part))
            self._intake.check_size(self.size)
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
