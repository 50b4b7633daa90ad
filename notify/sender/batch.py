"""Many deliveries in one request, and what the answer says of each.

JSON: `[{"id": "…", "type": "…", "payload": …}, …]`; NDJSON: the same objects, one a line. A payload
that is JSON stands there as it was accepted; any other as `payload_base64` with its
`content_type`. An answer acknowledges all by 2xx, or lists what failed: `{"failed": ["id", …]}`.
"""

import base64
import codecs
import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from notify_core.records import DeliveryRecord

JSON_TYPE: Final = "application/json"
CONTENT_TYPES: Final = {"json": JSON_TYPE, "ndjson": "application/x-ndjson"}


class Composed(NamedTuple):
    """A batch on the wire. id: of these deliveries in this order, whenever they are sent."""

    id: str
    content_type: str
    body: bytes


class Place(NamedTuple):
    """Where an ordered delivery stands in its key's line. previous_id 0: it is the first."""

    sequence: int
    previous_id: int


class _Failed(msgspec.Struct):
    failed: list[str | int] | None = None


_decoder = msgspec.json.Decoder(_Failed)


def compose(
    form: str, deliveries: Sequence[tuple[DeliveryRecord, bytes, Place | None]]
) -> Composed:
    """A batch of deliveries with their payloads."""
    ids = ",".join(str(delivery.message.id) for delivery, _, _ in deliveries)
    items = [_item(delivery, payload, place) for delivery, payload, place in deliveries]
    if form == "json":
        body = b"[" + b",".join(items) + b"]"
    else:
        # One object a line: the line ends of a payload are blanks to JSON.
        lines = (item.replace(b"\n", b" ").replace(b"\r", b" ") for item in items)
        body = b"\n".join(lines) + b"\n"
    digest = hashlib.blake2b(ids.encode(), digest_size=16).hexdigest()
    return Composed(f"batch-{digest}", CONTENT_TYPES[form], body)


def failed(body: bytes, ids: Sequence[int]) -> tuple[str | None, frozenset[int] | None]:
    """Of a 2xx answer to a batch: why it cannot be relied on, and the ids that it lists as failed.

    An answer that is no JSON object acknowledges all; one with a `failed` that is no list of ids
    of this batch acknowledges none, because something went wrong there.
    """
    text = body.removeprefix(codecs.BOM_UTF8).strip()
    if not text.startswith(b"{"):
        return None, None
    try:
        found = _decoder.decode(text).failed
    except msgspec.DecodeError as error:
        if b'"failed"' not in text:
            return None, None
        return f"the answer to the batch cannot be read: {error}", None
    if not found:
        return None, None
    known = {str(id_): id_ for id_ in ids}
    if unknown := [one for one in found if str(one) not in known]:
        return f"the answer lists {str(unknown[0])[:40]!r} as failed, which was not sent", None
    return None, frozenset(known[str(one)] for one in found)


def _item(delivery: DeliveryRecord, payload: bytes, place: Place | None) -> bytes:
    message = delivery.message
    content_type = message.content_type or JSON_TYPE
    head = f'{{"id":"{message.id}","type":{_text(message.type)},"attempt":{delivery.attempts + 1}'
    if place is not None:
        head += f',"sequence":{place.sequence},"previous_id":"{place.previous_id or ""}"'
    if message.ordering_key:
        head += f',"ordering_key":{_text(message.ordering_key)}'
    start = head.encode()
    if message.headers:
        start += b',"headers":' + message.headers
    if content_type == JSON_TYPE:
        return start + b',"payload":' + payload + b"}"
    encoded = base64.b64encode(payload)
    kind = _text(content_type).encode()
    return start + b',"content_type":' + kind + b',"payload_base64":"' + encoded + b'"}'


def _text(text: str) -> str:
    return msgspec.json.encode(text).decode()
