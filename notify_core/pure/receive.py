"""Request bodies to checked columnar batches (pure twin of receive.pyx)."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from notify_core.body import JSON, MSGPACK, Item, Limits, check_json, decode
from notify_core.errors import BodyError
from notify_core.headers import RESERVED_OF_MESSAGES, find_flaw
from notify_core.pure import chunk, sqltext
from notify_core.records import MessageRecord

COLUMNS: Final = (
    "id,biz_id,type,content_type,headers,dkey,ordering_key,deliver_ms,expires_ms,payload"
)
TYPE_CHARS_MAX: Final = 128
CONTENT_TYPE_CHARS_MAX: Final = 128
KEY_BYTES_MAX: Final = 128

_ID_MAX = (1 << 63) - 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_TYPE = re.compile(r"[A-Za-z0-9_.:/-]+", re.ASCII)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_headers_json = msgspec.json.Encoder()


class Batch:
    """Messages as columns: lists of equal length, one entry a message.

    Fields as in MessageRecord, and keys ("" for none). ids and biz_ids are empty until they are
    set; what goes to the database or into a chunk must be stamped, that is, have both.
    """

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.biz_ids: list[int] = []
        self.types: list[str] = []
        self.content_types: list[str] = []
        self.headers: list[bytes] = []
        self.keys: list[str] = []
        self.ordering_keys: list[str] = []
        self.deliver_ms: list[int] = []
        self.expires_ms: list[int] = []
        self.payloads: list[bytes] = []

    def __len__(self) -> int:
        return len(self.types)

    def stamp(self, biz_id: int, ids: list[int]) -> None:
        """Give every message its producer and id. Raises ValueError as the setters do."""
        self.set_producer(biz_id)
        self.set_ids(ids)

    def set_producer(self, biz_id: int) -> None:
        """Give every message the same producer. ValueError where it is not of 63 bits."""
        if not 0 <= biz_id <= _ID_MAX:
            raise ValueError("ids are integers of 63 bits")
        self.biz_ids = [biz_id] * len(self)

    def set_ids(self, ids: list[int]) -> None:
        """Give every message its id.

        Raises ValueError where the lengths differ or a number is not one of 63 bits.
        """
        if len(ids) != len(self):
            raise ValueError("one id for each message")
        if not all(0 <= number <= _ID_MAX for number in ids):
            raise ValueError("ids are integers of 63 bits")
        self.ids = list(ids)

    def extend(self, other: "Batch") -> None:
        """Append the messages of another batch. ValueError where only one is stamped."""
        if len(self) and len(other) and bool(self.ids) != bool(other.ids):
            raise ValueError("a stamped batch and one that is not do not mix")
        for mine, others in zip(self._columns(), other._columns(), strict=True):
            mine.extend(others)

    def drop_last(self) -> None:
        """Forget the last message. Raises IndexError where there is none."""
        self.types.pop()
        for column in self._columns():
            del column[len(self) :]

    def take(self, positions: list[int]) -> "Batch":
        """A new batch of the messages at these positions, in this order. Raises IndexError."""
        taken = Batch()
        for mine, column in zip(taken._columns(), self._columns(), strict=True):
            if column or column is self.types:
                mine.extend([column[position] for position in positions])
        return taken

    def rows(self) -> list[tuple[int | str | bytes, ...]]:
        """One tuple a message, in the order of COLUMNS. ValueError unless stamped."""
        self._check_stamped()
        return list(zip(*self._columns(), strict=True))

    def records(self, inline_bytes_max: int) -> list[MessageRecord]:
        """The messages as records; a payload above inline_bytes_max becomes None.

        Raises ValueError unless stamped.
        """
        self._check_stamped()
        return [
            MessageRecord(
                id_, biz, type_, content, headers, order, deliver, expires,
                payload if len(payload) <= inline_bytes_max else None,
            )
            for id_, biz, type_, content, headers, _, order, deliver, expires, payload
            in zip(*self._columns(), strict=True)
        ]  # fmt: skip

    def chunk(self, config_version: int, inline_bytes_max: int) -> bytes:
        """The messages as an ingest chunk; a payload above inline_bytes_max stays behind.

        Raises ValueError unless stamped.
        """
        return chunk.pack_messages(config_version, self.records(inline_bytes_max))

    def insert_sql(self, ignore: bool, rows_max: int, bytes_max: int) -> list[bytes]:
        """Multi-row INSERTs into biz_msg (INSERT IGNORE for a retry), within both limits.

        The limits are those of `sqltext.insert`. Raises ValueError unless stamped.
        """
        verb = b"INSERT IGNORE INTO" if ignore else b"INSERT INTO"
        head = b"%s biz_msg (%s) VALUES " % (verb, COLUMNS.encode())
        return sqltext.insert(head, self.rows(), b"", rows_max, bytes_max, False)

    def _check_stamped(self) -> None:
        if not len(self.ids) == len(self.biz_ids) == len(self):
            raise ValueError("the batch is not stamped: its messages have no ids yet")

    def _columns(self) -> tuple[list, ...]:  # type: ignore[type-arg]
        return (
            self.ids, self.biz_ids, self.types, self.content_types, self.headers, self.keys,
            self.ordering_keys, self.deliver_ms, self.expires_ms, self.payloads,
        )  # fmt: skip


def parse(body: bytes, content_type: str, limits: Limits) -> Batch:
    """A request body as a checked batch, all or nothing.

    content_type: application/json (one object or an array), application/x-ndjson or
    application/msgpack (an array; a `bin` payload is JSON text, any other value is delivered
    as application/msgpack). Raises BodyError, with the index of the bad message.
    """
    items = decode(body, content_type)
    if not items:
        raise BodyError("malformed", "the batch is empty")
    if len(items) > limits.items_max:
        raise BodyError(
            "limit", f"a batch holds at most {limits.items_max} messages, not {len(items)}"
        )
    batch = Batch()
    packed = content_type == "application/msgpack"
    for index, item in enumerate(items):
        try:
            _append(batch, item, packed, limits)
        except BodyError as error:
            raise BodyError(error.kind, error.reason, index) from None
    return batch


def append(batch: Batch, biz_id: int, body: bytes, limits: Limits) -> bool:
    """Append the message of a JSON body that is an object, and its producer, to a batch.

    The batch holds messages appended so and no ids. False, and nothing is done, where the body
    does not begin with an object: that is for `parse`. Raises BodyError as that does.
    """
    if len(batch.biz_ids) != len(batch) or batch.ids:
        raise ValueError("the batch holds messages without producers, or with ids")
    if not 0 <= biz_id <= _ID_MAX:
        raise ValueError("ids are integers of 63 bits")
    if not body.startswith(b"{"):
        return False
    one = parse(body, "application/json", limits)
    one.set_producer(biz_id)
    batch.extend(one)
    return True


def _append(batch: Batch, item: Item, packed: bool, limits: Limits) -> None:
    if len(item.type) > TYPE_CHARS_MAX or not _TYPE.fullmatch(item.type):
        raise BodyError(
            "item", f"type must be 1 to {TYPE_CHARS_MAX} characters of A-Z a-z 0-9 _ . : / -"
        )
    payload, content_type = _payload(bytes(item.payload), packed, limits)
    deliver, expires = _unix_ms(item.deliver_at), _unix_ms(item.expires_at)
    if expires and expires <= deliver:
        raise BodyError("item", "expires_at must be after deliver_at")
    key = _key(item.key, "key")
    ordering_key = _key(item.ordering_key, "ordering_key")
    headers = b""
    if item.headers:
        headers, content_type = _headers(item.headers, content_type, limits)
    batch.types.append(item.type)
    batch.content_types.append(content_type)
    batch.headers.append(headers)
    batch.keys.append(key)
    batch.ordering_keys.append(ordering_key)
    batch.deliver_ms.append(deliver)
    batch.expires_ms.append(expires)
    batch.payloads.append(payload)


def _payload(raw: bytes, packed: bool, limits: Limits) -> tuple[bytes, str]:
    content_type = JSON
    if packed:
        if raw[0] in (0xC4, 0xC5, 0xC6):  # bin 8, 16, 32
            raw = raw[(2, 3, 5)[raw[0] - 0xC4] :]
            check_json(raw)
        else:
            content_type = MSGPACK
    if len(raw) > limits.payload_bytes_max:
        raise BodyError(
            "item", f"the payload has {len(raw)} bytes, the limit is {limits.payload_bytes_max}"
        )
    if content_type == JSON and _depth(raw, limits.depth_max) > limits.depth_max:
        raise BodyError("item", f"the payload is nested deeper than {limits.depth_max} levels")
    return raw, content_type


def _depth(payload: bytes, enough: int) -> int:
    """The nesting of a valid JSON text; not looked at where it cannot pass `enough`."""
    if payload.count(b"[") + payload.count(b"{") <= enough:
        return 0
    depth = deepest = 0
    for byte in _STRING.sub(b"", payload):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _unix_ms(moment: datetime | None) -> int:
    if moment is None:
        return 0
    ms = (moment - _EPOCH) // _MS
    if ms <= 0:
        raise BodyError("item", "deliver_at and expires_at must be after 1970")
    return ms


def _key(key: str | None, name: str) -> str:
    if key is None:
        return ""
    if not 1 <= len(key.encode()) <= KEY_BYTES_MAX or _CONTROL.search(key):
        raise BodyError(
            "item", f"{name} must be 1 to {KEY_BYTES_MAX} bytes without control characters"
        )
    return key


def _headers(given: dict[str, str], content_type: str, limits: Limits) -> tuple[bytes, str]:
    flaw = find_flaw(given, RESERVED_OF_MESSAGES, limits.headers_bytes_max)
    if flaw is not None:
        raise BodyError("item", flaw)
    headers = {name.lower(): value for name, value in given.items()}
    content_type = headers.pop("content-type", content_type)
    if len(content_type) > CONTENT_TYPE_CHARS_MAX:
        raise BodyError("item", f"content-type has at most {CONTENT_TYPE_CHARS_MAX} characters")
    return (_headers_json.encode(headers) if headers else b""), content_type
