"""Messages x subscriptions to deliveries (pure twin of fanout.pyx).

A message item is never re-encoded here: its bytes are copied from the ingest chunk into the
chunk of every subscription that matches.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

import msgpack

from notify_core.pure import chunk as chunks
from notify_core.pure import sqltext
from notify_core.records import (
    DROPPED,
    PENDING,
    QUEUED,
    REASON_DISCARDED,
    REASON_EXPIRED,
    REASON_NONE,
    REASON_UNMATCHED,
    UNMATCHED_SUB,
    MessageRecord,
)

# What happens to what matches a subscription.
QUEUE: Final = 0  # into its queue
HOLD: Final = 1  # stored as pending: paused, or its queue is full
DISCARD: Final = 2  # recorded as dropped

COLUMNS: Final = "msg_id,sub_id,status,attempts,reason,due_ms,updated_ms"
# Of rows that are queued at once; the other columns have what these need as their defaults.
COLUMNS_QUEUED: Final = "msg_id,sub_id,updated_ms"
_QUEUED_AT_ONCE = (QUEUED, 0, REASON_NONE, 0)
_MEMO_MAX = 10_000


class Table:
    """Which subscriptions a message matches; immutable but for a memo of types seen.

    subscriptions: (subscription id, producer id, type patterns); no pattern matches all, `*`
    in a pattern stands for any run of characters.
    """

    def __init__(self, subscriptions: Sequence[tuple[int, int, Sequence[str]]]) -> None:
        self._by_biz: dict[int, list[tuple[int, list[list[str]]]]] = {}
        for sub_id, biz_id, patterns in sorted(subscriptions):
            entry = (sub_id, [pattern.split("*") for pattern in patterns])
            self._by_biz.setdefault(biz_id, []).append(entry)
        self._memo: dict[tuple[int, str], tuple[int, ...]] = {}

    def match(self, biz_id: int, event_type: str) -> tuple[int, ...]:
        """The ids of the matching subscriptions, rising."""
        key = (biz_id, event_type)
        found = self._memo.get(key)
        if found is None:
            found = tuple(
                sub_id
                for sub_id, patterns in self._by_biz.get(biz_id, ())
                if not patterns or any(_matches(parts, event_type) for parts in patterns)
            )
            if len(self._memo) >= _MEMO_MAX:
                self._memo.clear()
            self._memo[key] = found
        return found


class Split:
    """What a fan-out made.

    messages: how many were split. config_version: the highest that a chunk carried.
    rows: tuples in the order of COLUMNS, a message's rows together.
    queued: (sub_id, count, chunk). delayed: (sub_id, due_ms, chunk of one).
    """

    def __init__(self) -> None:
        self.messages = 0
        self.config_version = 0
        self.rows: list[tuple[int, int, int, int, int, int, int]] = []
        self.queued: list[tuple[int, int, bytes]] = []
        self.delayed: list[tuple[int, int, bytes]] = []

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def counts(self, span_bits: int) -> list[tuple[int, int, int, int, int]]:
        """How many rows are alike: (sub_id, span, status, updated_ms, count), sorted.

        span: of the message's id, what is left without its last span_bits, at most 63.
        """
        if not 0 <= span_bits <= 63:
            raise ValueError("span_bits must be from 0 to 63")
        alike = Counter((row[1], row[0] >> span_bits, row[2], row[6]) for row in self.rows)
        return [(*key, count) for key, count in sorted(alike.items())]

    def insert_sql(self, rows_max: int, bytes_max: int) -> list[bytes]:
        """Multi-row INSERT IGNOREs into receive_msg; one message's rows stay together.

        Messages whose rows are all queued at once come first, with COLUMNS_QUEUED alone: reading
        literals is a fourth of what an INSERT costs the server.
        """
        queued: list[tuple[int, int, int]] = []
        others: list[tuple[int, int, int, int, int, int, int]] = []
        for _, group in groupby(self.rows, itemgetter(0)):
            of_message = list(group)
            if all(row[2:6] == _QUEUED_AT_ONCE for row in of_message):
                queued += [(row[0], row[1], row[6]) for row in of_message]
            else:
                others += of_message
        return _inserts(COLUMNS_QUEUED, queued, rows_max, bytes_max) + _inserts(
            COLUMNS, others, rows_max, bytes_max
        )


def _inserts(
    columns: str, rows: Sequence[Sequence[int]], rows_max: int, bytes_max: int
) -> list[bytes]:
    head = b"INSERT IGNORE INTO receive_msg (%s) VALUES " % columns.encode()
    return sqltext.insert(head, rows, b"", rows_max, bytes_max, True)


def split(
    table: Table,
    ingest: Sequence[bytes],
    modes: Mapping[int, int],
    now_ms: int,
    horizon_ms: int,
    skip: Collection[tuple[int, int]],
    chunk_rows_max: int,
    chunk_bytes_max: int,
) -> Split:
    """Fan out the messages of ingest chunks; one that comes twice (a rescue) is split once.

    modes: subscription id to QUEUE, HOLD or DISCARD; QUEUE where absent. horizon_ms: a
    deliver time further off is left pending in the database instead of the delay set.
    skip: (message id, subscription id) to leave out, done earlier. A queue chunk holds at
    most chunk_rows_max deliveries and, from its second on, chunk_bytes_max bytes of items.
    Raises ChunkError; then nothing was split.
    """
    result = Split()
    items: dict[int, list[bytes]] = {}
    seen: set[int] = set()
    for ingest_chunk in ingest:
        config_version, records = chunks.unpack_messages(ingest_chunk)
        result.config_version = max(result.config_version, config_version)
        for record, span in zip(records, _spans(ingest_chunk), strict=True):
            if record.id not in seen:
                seen.add(record.id)
                result.messages += 1
                _split_one(result, items, table, record, span, modes, now_ms, horizon_ms, skip)
    for sub_id, spans in items.items():
        _pack_queue(result, sub_id, spans, chunk_rows_max, chunk_bytes_max)
    return result


def _split_one(
    result: Split,
    items: dict[int, list[bytes]],
    table: Table,
    record: MessageRecord,
    span: bytes,
    modes: Mapping[int, int],
    now_ms: int,
    horizon_ms: int,
    skip: Collection[tuple[int, int]],
) -> None:
    matched = table.match(record.biz_id, record.type)
    if not matched and (record.id, UNMATCHED_SUB) not in skip:
        result.rows.append((record.id, UNMATCHED_SUB, DROPPED, 0, REASON_UNMATCHED, 0, now_ms))
    for sub_id in matched:
        if (record.id, sub_id) in skip:
            continue
        mode = modes.get(sub_id, QUEUE)
        due_ms = record.deliver_ms if record.deliver_ms > now_ms else 0
        status, reason = QUEUED, REASON_NONE
        if mode == DISCARD:
            status, reason, due_ms = DROPPED, REASON_DISCARDED, 0
        elif 0 < record.expires_ms <= now_ms:
            status, reason, due_ms = DROPPED, REASON_EXPIRED, 0
        elif mode == HOLD or (due_ms and due_ms > now_ms + horizon_ms):
            status = PENDING
        elif due_ms:
            delayed = _wrap(sub_id, [b"\x92\x00" + span])
            result.delayed.append((sub_id, due_ms, delayed))
        else:
            items.setdefault(sub_id, []).append(b"\x92\x00" + span)
        result.rows.append((record.id, sub_id, status, 0, reason, due_ms, now_ms))


def _pack_queue(
    result: Split, sub_id: int, spans: list[bytes], rows_max: int, bytes_max: int
) -> None:
    part: list[bytes] = []
    size = 0
    for span in spans:
        if part and (len(part) >= rows_max or size + len(span) > bytes_max):
            result.queued.append((sub_id, len(part), _wrap(sub_id, part)))
            part, size = [], 0
        part.append(span)
        size += len(span)
    result.queued.append((sub_id, len(part), _wrap(sub_id, part)))


def _wrap(sub_id: int, items: list[bytes]) -> bytes:
    packer = msgpack.Packer(autoreset=False)
    packer.pack_array_header(4)
    packer.pack(chunks.VERSION)
    packer.pack(chunks.DELIVERIES)
    packer.pack(sub_id)
    packer.pack_array_header(len(items))
    head: bytes = packer.bytes()
    return head + b"".join(items)


def _spans(ingest: bytes) -> list[bytes]:
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(ingest)
    unpacker.read_array_header()
    for _ in range(3):
        unpacker.skip()
    spans = []
    for _ in range(unpacker.read_array_header()):
        start = unpacker.tell()
        unpacker.skip()
        spans.append(ingest[start : unpacker.tell()])
    return spans


def _matches(parts: list[str], text: str) -> bool:
    """Whether text is the parts in order, with anything between them: `a.*` is ["a.", ""]."""
    if len(parts) == 1:
        return text == parts[0]
    first, last = parts[0], parts[-1]
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for part in parts[1:-1]:
        position = text.find(part, position, end)
        if position < 0:
            return False
        position += len(part)
    return True
