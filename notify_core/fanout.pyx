"""Messages x subscriptions to deliveries.

A message item is never re-encoded here: its bytes are copied from the ingest chunk into the
chunk of every subscription that matches, once each. Rows stay C structs until somebody asks
for tuples; the INSERT text is written straight from them.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.string cimport memcmp

from notify_core.buffer cimport Buffer, Reader, Span
from notify_core.lanes cimport Lane, Lanes, chunk_of_one
from notify_core.statements cimport Statements
from notify_core.wire cimport KIND_MESSAGES, Message, read_close, read_message, read_open

from notify_core import records

# What happens to what matches a subscription.
QUEUE = 0  # into its queue
HOLD = 1  # stored as pending: paused, or its queue is full
DISCARD = 2  # recorded as dropped

COLUMNS = "msg_id,sub_id,status,attempts,reason,due_ms,updated_ms"
# Of rows that are queued at once; the other columns have what these need as their defaults.
COLUMNS_QUEUED = "msg_id,sub_id,updated_ms"
_MEMO_MAX = 10_000

cdef int _PENDING = records.PENDING
cdef int _QUEUED = records.QUEUED
cdef int _DROPPED = records.DROPPED
cdef int _REASON_NONE = records.REASON_NONE
cdef int _REASON_DISCARDED = records.REASON_DISCARDED
cdef int _REASON_EXPIRED = records.REASON_EXPIRED
cdef int _REASON_UNMATCHED = records.REASON_UNMATCHED
cdef int64_t _UNMATCHED_SUB = records.UNMATCHED_SUB

cdef enum Mode:
    MODE_QUEUE = 0
    MODE_HOLD = 1
    MODE_DISCARD = 2


cdef struct Row:
    # One receive_msg row; attempts is 0 and updated_ms the same in all.
    int64_t msg_id
    int64_t sub_id
    int64_t due_ms
    int status
    int reason


cdef struct Alike:
    # Rows of one subscription, span of message ids and status.
    int64_t sub_id
    int64_t span
    int64_t count
    int status


@cython.final
cdef class Table:
    """Which subscriptions a message matches; immutable but for a memo of types seen.

    subscriptions: (subscription id, producer id, type patterns); no pattern matches all, `*`
    in a pattern stands for any run of characters.
    """

    cdef dict _by_biz
    cdef dict _memo

    def __init__(self, subscriptions):
        self._by_biz = {}
        self._memo = {}
        for sub_id, biz_id, patterns in sorted(subscriptions):
            entry = (sub_id, [pattern.split("*") for pattern in patterns])
            self._by_biz.setdefault(biz_id, []).append(entry)

    def match(self, biz_id, event_type):
        """The ids of the matching subscriptions, rising."""
        cdef tuple key = (biz_id, event_type)
        cdef object found
        found = self._memo.get(key)
        if found is None:
            found = tuple([
                sub_id
                for sub_id, patterns in self._by_biz.get(biz_id, ())
                if not patterns or _any_matches(patterns, event_type)
            ])
            if len(self._memo) >= _MEMO_MAX:
                self._memo.clear()
            self._memo[key] = found
        return found


@cython.final
cdef class Split:
    """What a fan-out made.

    messages: how many were split. config_version: the highest that a chunk carried.
    rows: tuples in the order of COLUMNS, a message's rows together.
    queued: (sub_id, count, chunk). delayed: (sub_id, due_ms, chunk of one).
    """

    cdef readonly Py_ssize_t messages
    cdef readonly int64_t config_version
    cdef readonly list queued
    cdef readonly list delayed
    cdef Buffer _rows
    cdef Py_ssize_t _row_count
    cdef int64_t _now_ms

    def __cinit__(self):
        self.messages = 0
        self.config_version = 0
        self.queued = []
        self.delayed = []
        self._rows = Buffer()
        self._row_count = 0
        self._now_ms = 0

    @property
    def rows(self):
        """The receive_msg rows as tuples, made anew at each access."""
        cdef Row *row = <Row *> self._rows.data
        cdef list rows = []
        cdef Py_ssize_t i
        for i in range(self._row_count):
            rows.append((
                row[i].msg_id, row[i].sub_id, row[i].status, 0, row[i].reason,
                row[i].due_ms, self._now_ms,
            ))
        return rows

    @property
    def row_count(self):
        """How many rows there are."""
        return self._row_count

    def counts(self, int span_bits):
        """How many rows are alike: (sub_id, span, status, updated_ms, count), sorted.

        span: of the message's id, what is left without its last span_bits, at most 63.
        """
        cdef Row *row = <Row *> self._rows.data
        cdef Buffer cells = Buffer()
        cdef Alike *cell
        cdef dict places = {}
        cdef Py_ssize_t i, at = -1, cell_count = 0
        cdef Alike new
        if not 0 <= span_bits <= 63:
            raise ValueError("span_bits must be from 0 to 63")
        for i in range(self._row_count):
            new = Alike(row[i].sub_id, row[i].msg_id >> span_bits, 0, row[i].status)
            # Neighbouring messages go the same ways: mostly this one follows on the last.
            at = at + 1 if at + 1 < cell_count else 0
            cell = <Alike *> cells.data + at
            if cell_count == 0 or not _are_alike(cell, &new):
                at = places.setdefault((new.sub_id, new.span, new.status), cell_count)
                if at == cell_count:
                    cells.put(<const char *> &new, sizeof(Alike))
                    cell_count += 1
                cell = <Alike *> cells.data + at
            cell.count += 1
        cell = <Alike *> cells.data
        return sorted([
            (cell[i].sub_id, cell[i].span, cell[i].status, self._now_ms, cell[i].count)
            for i in range(cell_count)
        ])

    def insert_sql(self, rows_max, bytes_max):
        """Multi-row INSERT IGNOREs into receive_msg; one message's rows stay together.

        Messages whose rows are all queued at once come first, with COLUMNS_QUEUED alone: reading
        literals is a fourth of what an INSERT costs the server.
        """
        cdef Row *row = <Row *> self._rows.data
        cdef bytes tail = b",%d)" % self._now_ms
        cdef Statements queued = _inserts(COLUMNS_QUEUED, rows_max, bytes_max)
        cdef Statements others = _inserts(COLUMNS, rows_max, bytes_max)
        cdef Statements statements
        cdef Py_ssize_t i, start = 0, end
        cdef bint all_queued
        while start < self._row_count:
            end = start
            all_queued = True
            while end < self._row_count and row[end].msg_id == row[start].msg_id:
                all_queued = all_queued and row[end].status == _QUEUED and row[end].due_ms == 0
                end += 1
            statements = queued if all_queued else others
            for i in range(start, end):
                statements.begin_row()
                _put_row(statements.out, row + i, all_queued, tail)
                statements.end_row(i > start)
            start = end
        return queued.finish() + others.finish()


@cython.final
cdef class _Splitter:
    """One fan-out under way. Its arrays of structs live in buffers, which free themselves."""

    cdef Table table
    cdef object modes
    cdef set seen  # ids of messages
    cdef int64_t highest_id
    cdef object skip  # None where nothing is left out: the usual case
    cdef int64_t now_ms
    cdef int64_t horizon_ms
    cdef Split result
    cdef Lanes lanes
    cdef Buffer routes  # Py_ssize_t: a count and as many lanes, for each (producer, type) seen
    cdef dict lane_of  # sub_id: position in lanes
    cdef dict route_of  # (biz_id, type): position in routes
    cdef int64_t last_biz_id
    cdef Span last_type
    cdef Py_ssize_t last_route

    def __cinit__(self, Table table not None, modes, int64_t now_ms, horizon_ms, skip):
        self.table = table
        self.modes = modes
        self.seen = set()
        self.highest_id = -1
        self.skip = skip if len(skip) else None
        self.now_ms = now_ms
        self.horizon_ms = max(-1, min(horizon_ms, INT64_MAX))
        self.result = Split()
        self.result._now_ms = now_ms
        self.lanes = Lanes()
        self.routes = Buffer()
        self.lane_of = {}
        self.route_of = {}
        self.last_route = -1

    cdef int split_chunk(self, bytes chunk) except -1:
        cdef Reader reader
        cdef Message message
        cdef Span span
        cdef int64_t config_version
        cdef Py_ssize_t count = read_open(&reader, chunk, KIND_MESSAGES, &config_version)
        self.result.config_version = max(self.result.config_version, config_version)
        for _ in range(count):
            span.data = <const char *> reader.at
            read_message(&reader, &message)
            span.size = <const char *> reader.at - span.data
            if self.is_new(message.id):
                self.result.messages += 1
                self.split_one(&message, &span)
        return read_close(&reader)

    cdef bint is_new(self, int64_t msg_id) except -1:
        # Ids rise: only one that does not can have come before.
        if msg_id > self.highest_id:
            self.highest_id = msg_id
        elif msg_id in self.seen:
            return False
        self.seen.add(msg_id)
        return True

    cdef int split_one(self, const Message *message, const Span *span) except -1:
        cdef Py_ssize_t at = self.route(message)
        cdef Py_ssize_t count = (<Py_ssize_t *> self.routes.data)[at]
        cdef Py_ssize_t i, lane_at
        if count == 0 and not self.skips(message.id, _UNMATCHED_SUB):
            self.add_row(message.id, _UNMATCHED_SUB, _DROPPED, _REASON_UNMATCHED, 0)
        for i in range(count):
            lane_at = (<Py_ssize_t *> self.routes.data)[at + 1 + i]
            if not self.skips(message.id, self.lanes.lane(lane_at).sub_id):
                self.deliver(message, span, lane_at)
        return 0

    cdef bint skips(self, int64_t msg_id, int64_t sub_id) except -1:
        return self.skip is not None and (msg_id, sub_id) in self.skip

    cdef int deliver(
        self, const Message *message, const Span *span, Py_ssize_t lane_at
    ) except -1:
        cdef Lane *lane = self.lanes.lane(lane_at)
        cdef int64_t due_ms = message.deliver_ms if message.deliver_ms > self.now_ms else 0
        if lane.mode == MODE_DISCARD:
            return self.add_row(message.id, lane.sub_id, _DROPPED, _REASON_DISCARDED, 0)
        if 0 < message.expires_ms <= self.now_ms:
            return self.add_row(message.id, lane.sub_id, _DROPPED, _REASON_EXPIRED, 0)
        if lane.mode == MODE_HOLD or due_ms and self.beyond_horizon(due_ms):
            return self.add_row(message.id, lane.sub_id, _PENDING, _REASON_NONE, due_ms)
        if due_ms:
            delayed = (lane.sub_id, due_ms, chunk_of_one(lane.sub_id, span))
            self.result.delayed.append(delayed)
        else:
            self.lanes.enqueue(lane_at, span)
        return self.add_row(message.id, lane.sub_id, _QUEUED, _REASON_NONE, due_ms)

    cdef inline bint beyond_horizon(self, int64_t due_ms) noexcept:
        # due_ms > now_ms here, so the unsigned difference is exact where the signed overflows.
        cdef uint64_t ahead_ms = <uint64_t> due_ms - <uint64_t> self.now_ms
        return self.horizon_ms < 0 or ahead_ms > <uint64_t> self.horizon_ms

    cdef inline int add_row(
        self, int64_t msg_id, int64_t sub_id, int status, int reason, int64_t due_ms
    ) except -1:
        cdef Buffer rows = self.result._rows
        cdef Row *row
        rows.reserve(sizeof(Row))
        row = <Row *> (rows.data + rows.size)
        row.msg_id = msg_id
        row.sub_id = sub_id
        row.status = status
        row.reason = reason
        row.due_ms = due_ms
        rows.size += sizeof(Row)
        self.result._row_count += 1
        return 0

    cdef Py_ssize_t route(self, const Message *message) except -1:
        # Where the message's lanes are in routes. Neighbours are mostly of one kind.
        cdef Py_ssize_t at
        # Typed by hand: left to infer these, Cython 3.3.1 never comes to an end.
        cdef object found
        cdef str event_type
        cdef tuple key
        if (
            self.last_route >= 0
            and self.last_biz_id == message.biz_id
            and self.last_type.size == message.type.size
            and memcmp(self.last_type.data, message.type.data, message.type.size) == 0
        ):
            return self.last_route
        event_type = PyUnicode_DecodeUTF8(<char *> message.type.data, message.type.size, NULL)
        key = (message.biz_id, event_type)
        found = self.route_of.get(key)
        if found is None:
            at = self.new_route(message.biz_id, event_type)
            self.route_of[key] = at
        else:
            at = found
        self.last_biz_id = message.biz_id
        self.last_type = message.type
        self.last_route = at
        return at

    cdef Py_ssize_t new_route(self, int64_t biz_id, str event_type) except -1:
        cdef tuple matched = self.table.match(biz_id, event_type)
        cdef Py_ssize_t at = self.routes.size // <Py_ssize_t> sizeof(Py_ssize_t)
        cdef Py_ssize_t value = len(matched)
        self.routes.put(<const char *> &value, sizeof(Py_ssize_t))
        for sub_id in matched:
            value = self.lane(sub_id)
            self.routes.put(<const char *> &value, sizeof(Py_ssize_t))
        return at

    cdef Py_ssize_t lane(self, object sub_id) except -1:
        cdef Py_ssize_t at
        cdef int mode = MODE_QUEUE
        cdef object found = self.lane_of.get(sub_id)
        if found is not None:
            return found
        given = self.modes.get(sub_id, QUEUE)
        if given == DISCARD:
            mode = MODE_DISCARD
        elif given == HOLD:
            mode = MODE_HOLD
        at = self.lanes.add(sub_id, mode)
        self.lane_of[sub_id] = at
        return at


def split(table, ingest, modes, now_ms, horizon_ms, skip, chunk_rows_max, chunk_bytes_max):
    """Fan out the messages of ingest chunks; one that comes twice (a rescue) is split once.

    modes: subscription id to QUEUE, HOLD or DISCARD; QUEUE where absent. horizon_ms: a
    deliver time further off is left pending in the database instead of the delay set.
    skip: (message id, subscription id) to leave out, done earlier. A queue chunk holds at
    most chunk_rows_max deliveries and, from its second on, chunk_bytes_max bytes of items.
    Raises ChunkError; then nothing was split.
    """
    # The spans of the splitter point into these chunks: they must live as long as it does.
    cdef list chunks = list(ingest)
    cdef _Splitter splitter = _Splitter(table, modes, now_ms, horizon_ms, skip)
    for chunk in chunks:
        splitter.split_chunk(<bytes?> chunk)
    splitter.result.queued = splitter.lanes.pack(
        max(0, min(chunk_rows_max, 1 << 62)), max(0, min(chunk_bytes_max, 1 << 62))
    )
    return splitter.result


cdef Statements _inserts(str columns, rows_max, bytes_max):
    cdef bytes head = b"INSERT IGNORE INTO receive_msg (%s) VALUES " % columns.encode()
    return Statements(head, b"", rows_max, bytes_max)


cdef inline int _put_row(Buffer out, const Row *row, bint queued, bytes tail) except -1:
    out.put_byte(c'(')
    out.put_decimal(row.msg_id)
    out.put_byte(c',')
    out.put_decimal(row.sub_id)
    if not queued:
        out.put_byte(c',')
        out.put_decimal(row.status)
        out.put(",0,", 3)
        out.put_decimal(row.reason)
        out.put_byte(c',')
        out.put_decimal(row.due_ms)
    return out.put(PyBytes_AS_STRING(tail), PyBytes_GET_SIZE(tail))


cdef inline bint _are_alike(const Alike *one, const Alike *other) noexcept:
    return (
        one.sub_id == other.sub_id and one.span == other.span and one.status == other.status
    )


cdef bint _any_matches(list patterns, str text) except -1:
    for parts in patterns:
        if _matches(parts, text):
            return True
    return False


cdef bint _matches(list parts, str text) except -1:
    # Whether text is the parts in order, with anything between them: `a.*` is ["a.", ""].
    cdef str first = parts[0], last = parts[-1]
    cdef Py_ssize_t position, end
    if len(parts) == 1:
        return text == first
    if len(text) < len(first) + len(last):
        return False
    if not text.startswith(first) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for part in parts[1:-1]:
        position = text.find(part, position, end)
        if position < 0:
            return False
        position += len(part)
    return True
