"""Chunks: what travels through the queue (pure twin of chunk.pyx).

A chunk is the msgpack array `[VERSION, kind, ref, items]`:

kind MESSAGES    ref = config version of the accepting Api, items = MessageRecord arrays
kind DELIVERIES  ref = subscription id, items = `[attempts, MessageRecord array]`
kind OUTCOMES    ref = 0, items = OutcomeRecord arrays

Integers are 0..2**63-1, texts are UTF-8 `str`, bytes are `bin`, a payload is `bin` or `nil`.
Packing refuses what unpacking would refuse, so that a chunk once queued can be read.
"""

from collections.abc import Sequence
from typing import Any, Final, NoReturn

import msgpack

from notify_core.errors import ChunkError
from notify_core.records import DeliveryRecord, MessageRecord, OutcomeRecord

VERSION: Final = 1
MESSAGES: Final = 1
DELIVERIES: Final = 2
OUTCOMES: Final = 3

_INT_MAX = (1 << 63) - 1
_KINDS = {MESSAGES: "messages", DELIVERIES: "deliveries", OUTCOMES: "outcomes"}
_MESSAGE_SHAPE = "iissbsiip"
_OUTCOME_SHAPE = "iiiiiiiiisb"


def pack_messages(config_version: int, messages: Sequence[MessageRecord]) -> bytes:
    """Messages as an ingest chunk. Raises ChunkError for a value that has no place in one."""
    for message in messages:
        _checked(message, _MESSAGE_SHAPE)
    return _pack(MESSAGES, config_version, messages)


def unpack_messages(chunk: bytes) -> tuple[int, list[MessageRecord]]:
    """The config version and the messages of an ingest chunk. Raises ChunkError."""
    ref, items = _unpack(chunk, MESSAGES)
    return ref, [MessageRecord._make(_checked(item, _MESSAGE_SHAPE)) for item in items]


def pack_deliveries(sub_id: int, deliveries: Sequence[DeliveryRecord]) -> bytes:
    """Deliveries of one subscription as a chunk of its queue. Raises ChunkError as above."""
    for delivery in deliveries:
        _, message = _checked(delivery, "ia")
        _checked(message, _MESSAGE_SHAPE)
    return _pack(DELIVERIES, sub_id, deliveries)


def unpack_deliveries(chunk: bytes) -> tuple[int, list[DeliveryRecord]]:
    """The subscription id and the deliveries of a chunk. Raises ChunkError."""
    ref, items = _unpack(chunk, DELIVERIES)
    deliveries = []
    for item in items:
        attempts, message = _checked(item, "ia")
        record = MessageRecord._make(_checked(message, _MESSAGE_SHAPE))
        deliveries.append(DeliveryRecord(attempts, record))
    return ref, deliveries


def pack_outcomes(outcomes: Sequence[OutcomeRecord]) -> bytes:
    """Outcomes as a chunk of the mark stream. Raises ChunkError as above."""
    for outcome in outcomes:
        _checked(outcome, _OUTCOME_SHAPE)
    return _pack(OUTCOMES, 0, outcomes)


def unpack_outcomes(chunk: bytes) -> list[OutcomeRecord]:
    """The outcomes of a chunk. Raises ChunkError."""
    _, items = _unpack(chunk, OUTCOMES)
    return [OutcomeRecord._make(_checked(item, _OUTCOME_SHAPE)) for item in items]


def _pack(kind: int, ref: int, items: Sequence[tuple[Any, ...]]) -> bytes:
    _checked([ref], "i")
    try:
        packed: bytes = msgpack.packb([VERSION, kind, ref, list(items)], use_bin_type=True)
    except UnicodeEncodeError:
        raise ChunkError("a text with a lone surrogate has no place in a chunk") from None
    return packed


def _unpack(chunk: bytes, kind: int) -> tuple[int, list[Any]]:
    try:
        top = msgpack.unpackb(
            chunk, use_list=True, strict_map_key=False, object_pairs_hook=_refuse_map
        )
    except ValueError as error:
        raise ChunkError(f"damaged chunk: {error}") from None
    if not isinstance(top, list) or not top:
        raise ChunkError("damaged chunk: not an array")
    if type(top[0]) is not int or top[0] != VERSION:
        raise ChunkError(f"chunk version {top[0]!r}: this release reads version {VERSION}")
    _, found, ref, items = _checked(top, "iiia")
    if found != kind:
        raise ChunkError(f"a chunk of {_KINDS.get(found, found)}, expected {_KINDS[kind]}")
    return ref, items


def _refuse_map(_: Any) -> NoReturn:
    raise ValueError("a chunk holds no map")


def _checked(item: Any, shape: str) -> Sequence[Any]:
    if not isinstance(item, list | tuple) or len(item) != len(shape):
        raise ChunkError(f"damaged chunk: expected an array of {len(shape)}")
    for value, code in zip(item, shape, strict=True):
        if not _fits(value, code):
            raise ChunkError(f"damaged chunk: unexpected {type(value).__name__} or its range")
    return item


def _fits(value: Any, code: str) -> bool:
    if code == "i":
        return type(value) is int and 0 <= value <= _INT_MAX
    if code == "s":
        return isinstance(value, str)
    if code == "b":
        return isinstance(value, bytes)
    if code == "p":
        return value is None or isinstance(value, bytes)
    return isinstance(value, list | tuple)
