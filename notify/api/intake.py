"""The rules of accepting messages and what is under way, whichever way a request was read."""

from typing import Final

from notify.api.accept import Acceptor
from notify.api.auth import Keys
from notify.api.metrics import ApiMetrics
from notify.api.problems import Refused
from notify.api.waiting import Asker
from notify.config import ApiConfig
from notify.domain.errors import Busy
from notify_core import receive
from notify_core.body import Limits

PATH: Final = "/v1/messages"
CONTENT_TYPES: Final = ("application/json", "application/x-ndjson", "application/msgpack")
# Request bodies held at a time, over all requests; beyond, 503.
BODIES_BYTES_MAX: Final = 256 << 20

_KNOWN_TYPES: Final = {name.encode(): name for name in CONTENT_TYPES}


class Intake:
    """Where requests to accept messages come in.

    A request enters, reserves the bytes of its body as they come, and leaves with all of them.
    """

    def __init__(
        self, acceptor: Acceptor, keys: Keys, metrics: ApiMetrics, config: ApiConfig
    ) -> None:
        self.metrics = metrics
        self.body_bytes_max = config.body_bytes_max
        self._acceptor = acceptor
        self._keys = keys
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

    def enter(self) -> None:
        """Begin with a request. It has entered even where this raises Busy."""
        self._requests += 1
        if self._requests > self._requests_max:
            raise Busy("too many requests at a time; try again", 1)

    def leave(self, size: int) -> None:
        """Be done with a request that had reserved so many bytes."""
        self._requests -= 1
        self._bytes -= size

    def reserve(self, size: int) -> None:
        """Account for bytes held. Raises Busy, reserved all the same, where all are too many."""
        self._bytes += size
        if self._bytes > BODIES_BYTES_MAX:
            raise Busy("the bodies of all requests together are too large; try again", 1)

    def release(self, size: int) -> None:
        """Hold so many bytes no more."""
        self._bytes -= size

    def may_come(self, authorization: bytes, size: int) -> bool:
        """Whether nothing is known that would refuse a request before its body is there."""
        return size <= self.body_bytes_max and self._keys.known(authorization) is not None

    async def producer_id(self, authorization: bytes) -> int:
        """Who sends. Raises Unauthorized or StorageUnavailable."""
        return (await self._keys.producer(authorization)).id

    async def accept(self, producer_id: int, body: bytes, content_type: str) -> list[int]:
        """The ids of the messages in a body, committed. Raises BodyError, Busy, StorageError."""
        batch = receive.parse(body, content_type, self._limits)
        return await self._acceptor.accept(batch, producer_id, len(body))

    def offer(self, asker: Asker, authorization: bytes, content_type: bytes, body: bytes) -> bool:
        """Take a whole request for an asker that is told later, and leaves then.

        False, and nothing was done, where something has to be waited for first: then the request
        goes the long way. Raises whatever refuses it there; then too it is not under way.
        """
        size = 0
        taken = False
        try:
            self.enter()
            producer = self._keys.known(authorization)
            if producer is not None:
                media = media_type(content_type, b"")
                self.check_size(len(body))
                size = len(body)
                self.reserve(size)
                taken = self._acceptor.offer(asker, producer.id, body, media, self._limits)
        finally:
            if not taken:
                self.leave(size)
        return taken

    def check_size(self, size: int) -> None:
        """Raises Refused (413) for a body that is too large."""
        if size > self.body_bytes_max:
            text = f"the body is larger than {self.body_bytes_max} bytes; send smaller batches"
            raise Refused(413, text)


def media_type(content_type: bytes, encoding: bytes) -> str:
    """The media type without parameters. Raises Refused (415) for one that is not understood."""
    if encoding and encoding.lower() != b"identity":
        raise Refused(415, "send the body without content-encoding")
    known = _KNOWN_TYPES.get(content_type)
    if known is not None:
        return known
    name, _, parameters = content_type.lower().partition(b";")
    known = _KNOWN_TYPES.get(name.strip())
    charset = parameters.strip().replace(b'"', b"")
    if known is None or charset not in (b"", b"charset=utf-8", b"charset=utf8"):
        given = content_type[:100].decode("latin-1") or "absent"
        types = ", ".join(CONTENT_TYPES)
        raise Refused(415, f"content-type is {given}; send one of {types}, in UTF-8")
    return known


def answer_text(ids: list[int]) -> bytes:
    """The body of a 202."""
    if len(ids) == 1:
        return b'{"accepted":1,"ids":["%d"]}' % ids[0]
    return b'{"accepted":%d,"ids":["%s"]}' % (len(ids), '","'.join(map(str, ids)).encode())
