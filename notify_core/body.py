"""The shape of what producers send: decoders shared by both twins of `receive`.

msgspec scans the JSON and the msgpack, and keeps each payload as the raw bytes it was sent as.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from notify_core.errors import BodyError

JSON: Final = ""  # how application/json is stored
MSGPACK: Final = "application/msgpack"

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Limits(NamedTuple):
    """Bounds of one request body.

    items_max: messages a batch. payload_bytes_max: one payload. depth_max: nesting of a JSON
    payload. headers_bytes_max: names and values of one message's headers together.
    """

    items_max: int = 1000
    payload_bytes_max: int = 1 << 20
    depth_max: int = 100
    headers_bytes_max: int = 4096


class Item(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One message of a request body."""

    type: str
    payload: msgspec.Raw
    key: str | None = None
    ordering_key: str | None = None
    deliver_at: Moment | None = None
    expires_at: Moment | None = None
    headers: dict[str, str] | None = None


_item = msgspec.json.Decoder(Item)
_items = msgspec.json.Decoder(list[Item])
_packed = msgspec.msgpack.Decoder(list[Item])
_json_value = msgspec.json.Decoder(msgspec.Raw)
_PATH = re.compile(r" - at `\$(?:\[(\d+)\])?\.?(.*)`$", re.DOTALL)


def decode(body: bytes, content_type: str) -> list[Item]:
    """The messages of a body; content_type without parameters, lower case. Raises BodyError."""
    if content_type == "application/msgpack":
        return _decoded(_packed, body)
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise BodyError("malformed", f"the body is not UTF-8 (byte {error.start})") from None
    if content_type == "application/x-ndjson":
        return _lines(body)
    start = body.lstrip(b" \t\r\n")[:1]
    if start == b"[":
        return _decoded(_items, body)
    if start == b"{":
        return [_decoded(_item, body)]
    raise BodyError("malformed", "the body must be a JSON object or array of messages")


def check_json(payload: bytes) -> None:
    """Raises BodyError unless payload is one JSON text in UTF-8."""
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise BodyError("item", f"the payload is not UTF-8 (byte {error.start})") from None
    _decoded(_json_value, payload, "item")


def _lines(body: bytes) -> list[Item]:
    items = []
    for line in body.split(b"\n"):
        if line.strip():
            try:
                items.append(_decoded(_item, line))
            except BodyError as error:
                raise BodyError(error.kind, error.reason, len(items)) from None
    return items


def _decoded(decoder: Any, body: bytes, malformed: str = "malformed") -> Any:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from None
    except msgspec.DecodeError as error:
        text = str(error)
        if "surrogate" in text or text == "Input data was truncated" and b"\\u" in body:
            text = "truncated, or a lone surrogate escape (\\ud800 to \\udfff without its pair)"
        raise BodyError(malformed, text) from None
    except RecursionError:
        raise BodyError("item", "the JSON is nested too deeply") from None
    except UnicodeDecodeError:
        raise BodyError("malformed", "a text in the body is not UTF-8") from None


def _explained(text: str) -> BodyError:
    found = _PATH.search(text)
    if not found:
        return BodyError("item", text)
    index, field = found.groups()
    reason = text[: found.start()] + (f" in `{field}`" if field else "")
    return BodyError("item", reason, None if index is None else int(index))
