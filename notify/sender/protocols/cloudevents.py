"""CloudEvents 1.0 over HTTP, the binary and the structured content mode (HTTP binding 1.0.2)."""

from base64 import b64encode
from datetime import UTC, datetime
from typing import Final

import msgspec

from notify.sender.protocols.target import SingleTarget
from notify_core import ids
from notify_core.records import MessageRecord

STRUCTURED: Final = "application/cloudevents+json"
_JSON: Final = "application/json"
# What the HTTP binding leaves as it is in a header (section 3.1.3.2).
_PLAIN: Final = frozenset(range(0x21, 0x7F)) - set(b'"%')


class _EventTarget(SingleTarget):
    """Headers of a message that look like attributes stay behind: receivers would take them so."""

    def _message_headers(self, message: MessageRecord) -> bytes:
        lines = super()._message_headers(message).splitlines(keepends=True)
        return b"".join(line for line in lines if not line.startswith(b"ce-"))


class BinaryTarget(_EventTarget):
    """The attributes are headers, the body is the payload as it was accepted."""

    def request(
        self,
        message: MessageRecord,
        body: bytes,
        sub_id: int,
        attempt: int,
        now_ms: int,
        extra: bytes = b"",
    ) -> tuple[bytes, bytes]:
        """Head and body of one try."""
        lines = b"".join(
            b"ce-%s: %s\r\n" % (name.encode(), header_value(value))
            for name, value in attributes(message).items()
        )
        return super().request(message, body, sub_id, attempt, now_ms, lines + extra)


class StructuredTarget(_EventTarget):
    """Attributes and payload are one JSON document, in which the payload's bytes stay as they are.

    What is not JSON is carried as base64.
    """

    def request(
        self,
        message: MessageRecord,
        body: bytes,
        sub_id: int,
        attempt: int,
        now_ms: int,
        extra: bytes = b"",
    ) -> tuple[bytes, bytes]:
        """Head and body of one try; it is the document that is signed."""
        content_type = message.content_type or _JSON
        event: dict[str, object] = {**attributes(message), "datacontenttype": content_type}
        if is_json(content_type):
            event["data"] = msgspec.Raw(body)
        else:
            event["data_base64"] = b64encode(body).decode("ascii")
        document = msgspec.json.encode(event)
        wrapped = message._replace(content_type=STRUCTURED)
        return super().request(wrapped, document, sub_id, attempt, now_ms, extra)


def attributes(message: MessageRecord) -> dict[str, str]:
    """The context attributes of a message, without datacontenttype.

    An ordering key is both what the event is about and what keeps such events in order.
    """
    moment = datetime.fromtimestamp(ids.id_ms(message.id) / 1000, UTC)
    given = {
        "specversion": "1.0",
        "id": str(message.id),
        "source": f"/notify/{message.biz_id}",
        "type": message.type,
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if message.ordering_key:
        given |= {"subject": message.ordering_key, "partitionkey": message.ordering_key}
    return given


def header_value(text: str) -> bytes:
    """A text as the value of a header: what is not plain ASCII is percent-encoded UTF-8."""
    return b"".join(b"%c" % byte if byte in _PLAIN else b"%%%02X" % byte for byte in text.encode())


def is_json(content_type: str) -> bool:
    """Whether a media type is JSON, `application/json` or a `+json` one."""
    media = content_type.partition(";")[0].strip().lower()
    return media == _JSON or media.endswith("+json")
