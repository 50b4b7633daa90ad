"""The shape of what producers send: decoders shared by both twins of `receive`.

msgspec scans the JSON and the msgpack, and keeps each payload as the raw bytes it was sent as.
What it finds wrong is told again in the producer's terms: which message, which field, what
was expected there.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from notify_core.errors import BodyError
from notify_core.headers import HEADERS_BYTES_MAX

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
    headers_bytes_max: int = HEADERS_BYTES_MAX


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

_TEXT_CHARS_MAX = 200  # an unknown field's name may be as long as the body
_EXAMPLE = "like 2026-01-31T12:00:00Z"
_KINDS = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "a boolean",
    "null": "null",
    "object": "an object",
    "array": "an array",
    "bytes": "bytes",
    "ext": "an extension value",
    "datetime": f"an RFC 3339 time ({_EXAMPLE})",
}
_PLACE = re.compile(r"(.*) - at `(key` in `)?\$(?:\[(\d+)\])?\.?([^`]*)`", re.DOTALL)
_EXPECTED = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
_BYTE = re.compile(r".* \(byte (\d+)\)")
_ESCAPE = re.compile(rb"\\(?:u([0-9A-Fa-f]{4})|u[0-9A-Fa-f]{0,3}\Z|.)", re.DOTALL)


def is_utf8(text: bytes) -> bool:
    """Whether text is UTF-8 (no surrogates, shortest forms only)."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def decode(
    body: bytes, content_type: str, is_utf8: Callable[[bytes], bool] = is_utf8
) -> list[Item]:
    """The messages of a body; content_type without parameters, lower case. Raises BodyError.

    is_utf8: a faster test, where there is one; it looks at every byte of a JSON body, because
    the scanner does not look into the strings of a payload.
    """
    if content_type == MSGPACK:
        if not body:
            raise BodyError("malformed", "the body is empty")
        return _batch(_packed, body, "the body is not valid msgpack")
    if not is_utf8(body):
        raise BodyError("malformed", f"the body is not UTF-8 (byte {_flaw_in_utf8(body)})")
    if content_type == "application/x-ndjson":
        return _lines(body)
    start = body.lstrip(b" \t\r\n")[:1]
    if start == b"{":
        return [_one(body)]
    if start == b"[":
        return _batch(_items, body, "the body is not valid JSON")
    if not start:
        raise BodyError("malformed", "the body is empty")
    if body.startswith(b"\xef\xbb\xbf"):
        raise BodyError("malformed", "the body begins with a byte order mark, which JSON has not")
    raise BodyError("malformed", "the body must be a JSON object or an array of messages")


def check_json(payload: bytes) -> None:
    """Raises BodyError unless payload is one JSON text in UTF-8."""
    if not payload:
        raise BodyError("item", "the payload is empty")
    if not is_utf8(payload):
        raise BodyError("item", f"the payload is not UTF-8 (byte {_flaw_in_utf8(payload)})")
    try:
        _decoded(_json_value, payload, "the payload is not valid JSON")
    except BodyError as error:
        raise BodyError("item", error.reason) from None


def _batch(decoder: Any, body: bytes, malformed: str) -> list[Item]:
    items: list[Item] = _decoded(decoder, body, malformed)
    return items


def _lines(body: bytes) -> list[Item]:
    items: list[Item] = []
    for line in body.split(b"\n"):
        if line.strip():
            try:
                items.append(_decoded(_item, line, "the line is not valid JSON"))
            except BodyError as error:
                raise BodyError(error.kind, error.reason, len(items)) from None
    return items


def _one(body: bytes) -> Item:
    try:
        item: Item = _decoded(_item, body, "the body is not valid JSON")
    except BodyError as error:
        index = 0 if error.kind == "item" else None
        raise BodyError(error.kind, error.reason, index) from None
    return item


def _flaw_in_utf8(text: bytes) -> int:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start
    raise AssertionError("the test and the decoder of UTF-8 do not agree")


def _decoded(decoder: Any, body: bytes, malformed: str) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _explained(str(error), alone=decoder is _item) from None
    except msgspec.DecodeError as error:
        raise BodyError("malformed", f"{malformed}: {_flaw(str(error), body)}") from None
    except RecursionError:
        raise BodyError("item", "the payload is nested too deeply") from None
    except UnicodeDecodeError:  # msgpack; JSON was checked as a whole
        raise BodyError("malformed", f"{malformed}: a text in it is not UTF-8") from None


def _flaw(text: str, body: bytes) -> str:
    """What is wrong with a malformed body, from the scanner's text."""
    if text.startswith("MessagePack"):
        return text.partition(": ")[2]
    truncated = text == "Input data was truncated"
    if truncated or "surrogate" in text or "hex escape" in text:
        position = _lone_surrogate(body)
        if position is not None:
            return f"a surrogate escape without its pair (byte {position})"
    if truncated:
        return "it ends too early"
    found = _BYTE.fullmatch(text)
    if found and body.startswith((b"NaN", b"Infinity"), int(found[1])):
        return f"JSON has no NaN and no Infinity (byte {found[1]})"
    return text.partition(": ")[2] or text


def _lone_surrogate(body: bytes) -> int | None:
    r"""The position of the first \ud800 to \udfff escape that is not half of a pair."""
    high: re.Match[bytes] | None = None
    for found in _ESCAPE.finditer(body):
        code = int(found[1], 16) if found[1] else 0
        is_low = 0xDC00 <= code < 0xE000
        paired = high is not None and found.start() == high.end() and is_low
        if high is not None and not paired and found.end() < len(body):
            return high.start()
        if is_low and not paired:
            return found.start()
        high = found if 0xD800 <= code < 0xDC00 else None
    return high.start() if high is not None and high.end() < len(body) else None


def _explained(text: str, alone: bool) -> BodyError:
    """A message of the wrong shape, in the producer's terms."""
    index, field, in_key = None, "", False
    unknown = text.startswith("Object contains unknown field ")
    found = _PLACE.fullmatch(text)
    if found and not (unknown and alone):  # then what looks like a place is part of the name
        text, key, number, field = found.groups()
        index = None if number is None else int(number)
        in_key = key is not None
    expected = _EXPECTED.fullmatch(text)
    if expected and expected[1] == "array":  # only a whole msgpack body has to be one
        return BodyError("malformed", f"the body {_must_be(expected)} of messages")
    if expected:
        reason = f"{_subject(field, in_key)} {_must_be(expected)}"
        reason += f", not {_KINDS.get(expected[2], expected[2])}"
    elif text.startswith("Object missing required field "):
        reason = f"{text.split('`')[1]} is missing"
    elif unknown:
        name = text.partition("`")[2].removesuffix("`")[:_TEXT_CHARS_MAX]
        reason = f'unknown field "{name}" (known: {", ".join(Item.__struct_fields__)})'
    elif text.startswith("Expected `datetime` with a timezone"):
        reason = f"{field} needs a time zone ({_EXAMPLE})"
    elif text.startswith("Invalid RFC3339"):
        reason = f"{field} must be {_KINDS['datetime']}"
    else:
        reason = f"{field}: {text}" if field else text
    return BodyError("item", reason, index)


def _subject(field: str, in_key: bool) -> str:
    if in_key:
        return "the name of a header" if field == "headers" else "the name of a field"
    if field.startswith("headers["):
        return "the value of a header"
    return field or "a message"


def _must_be(expected: re.Match[str]) -> str:
    kinds = [kind for kind in expected[1].split(" | ") if kind != "null"]
    return "must be " + " or ".join(_KINDS.get(kind, kind) for kind in kinds)
