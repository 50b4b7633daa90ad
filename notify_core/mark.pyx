"""Outcomes to bulk updates and per-minute counters.

Outcomes are scanned into C structs and grouped by sorting pointers to them; a delivery that
succeeds costs no Python object of its own. Texts and responses stay in the chunks, which a
Marks keeps alive, until a statement is written from them.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport qsort

import numpy as np

from notify_core.buffer cimport Buffer, Reader
from notify_core.statements cimport Statements
from notify_core.wire cimport KIND_OUTCOMES, Outcome, read_close, read_open, read_outcome

from notify_core import records

ATTEMPT_COLUMNS = "msg_id,sub_id,attempt,at_ms,latency_ms,code,error,response"
RETRY_COLUMNS = "msg_id,sub_id,status,attempts,reason,due_ms,updated_ms"
MINUTE_MS = 60_000

cdef int64_t _DELIVERED = records.DELIVERED
cdef int64_t _DROPPED = records.DROPPED
cdef int64_t _MINUTE_MS = MINUTE_MS

ctypedef Outcome *OutcomePtr


@cython.final
cdef class _Pointers:
    """An array of pointers to outcomes."""

    cdef Buffer memory
    cdef OutcomePtr *at
    cdef Py_ssize_t count

    def __cinit__(self):
        self.memory = Buffer()
        self.at = NULL
        self.count = 0

    cdef inline int add(self, Outcome *outcome) except -1:
        self.memory.put(<const char *> &outcome, sizeof(OutcomePtr))
        self.at = <OutcomePtr *> self.memory.data
        self.count += 1
        return 0

    cdef inline int sort(
        self, int (*order)(const void *, const void *) noexcept nogil
    ) except -1:
        if self.count > 1:
            qsort(self.at, self.count, sizeof(OutcomePtr), order)
        return 0


@cython.final
cdef class Marks:
    """Outcomes grouped for the database.

    finals: (sub_id, status, attempts, reason, updated_ms, rising msg_ids): everything in a
    group is set to the same values; updated_ms is the latest of the group.
    retries: tuples in the order of RETRY_COLUMNS, the outcome with the most attempts of each
    delivery that is not in finals; of as many the latest, which put it off without a try.
    attempts: tuples in the order of ATTEMPT_COLUMNS; a delivery that succeeded at its first
    try has none, its row says it all.
    minutes: int64 array (n, 6): sub_id, minute (unix), delivered, dropped, failed attempts,
    sum of latency_ms over all attempts; sorted by sub_id, minute.
    """

    cdef list _chunks
    cdef Buffer _outcomes  # Outcome; not grown any more once pointers to them are taken
    cdef _Pointers _finals  # by sub_id, status, attempts, reason, msg_id
    cdef _Pointers _retries  # by msg_id, sub_id
    cdef _Pointers _attempts  # in the order of arrival
    cdef readonly object minutes

    def __cinit__(self):
        self._chunks = []
        self._outcomes = Buffer()
        self._finals = _Pointers()
        self._retries = _Pointers()
        self._attempts = _Pointers()
        self.minutes = np.zeros((0, 6), np.int64)

    @property
    def finals(self):
        """The finished deliveries by what they are set to, made anew at each access."""
        cdef OutcomePtr *at = self._finals.at
        cdef Py_ssize_t i, start = 0, end
        cdef list finals = [], msg_ids
        while start < self._finals.count:
            end = self.group_end(start)
            msg_ids = []
            for i in range(start, end):
                msg_ids.append(at[i].msg_id)
            finals.append((
                at[start].sub_id, at[start].status, at[start].attempts, at[start].reason,
                self.latest_ms(start, end), msg_ids,
            ))
            start = end
        return finals

    @property
    def retries(self):
        """The deliveries that are to be tried again, made anew at each access."""
        cdef Outcome *outcome
        cdef Py_ssize_t i
        cdef list retries = []
        for i in range(self._retries.count):
            outcome = self._retries.at[i]
            retries.append((
                outcome.msg_id, outcome.sub_id, outcome.status, outcome.attempts,
                outcome.reason, outcome.due_ms, outcome.at_ms,
            ))
        return retries

    @property
    def attempts(self):
        """The HTTP tries worth a row of their own, made anew at each access."""
        cdef Outcome *outcome
        cdef Py_ssize_t i
        cdef list attempts = []
        for i in range(self._attempts.count):
            outcome = self._attempts.at[i]
            attempts.append((
                outcome.msg_id, outcome.sub_id, outcome.attempts, outcome.at_ms,
                outcome.latency_ms, outcome.code,
                PyUnicode_DecodeUTF8(<char *> outcome.error.data, outcome.error.size, NULL),
                PyBytes_FromStringAndSize(outcome.response.data, outcome.response.size),
            ))
        return attempts

    def finals_sql(self, in_max):
        """Uniform bulk UPDATEs of receive_msg, at most in_max ids a statement.

        Raises ValueError where in_max is below 1.
        """
        cdef Py_ssize_t ids_max, start = 0, part, part_end, end
        cdef int64_t updated_ms
        cdef list statements = []
        cdef Buffer out = Buffer()
        if in_max < 1:
            raise ValueError("in_max must be at least 1")
        ids_max = min(in_max, self._finals.count)
        while start < self._finals.count:
            end = self.group_end(start)
            updated_ms = self.latest_ms(start, end)
            part = start
            while part < end:
                part_end = min(part + ids_max, end)
                self.put_update(out, part, part_end, updated_ms)
                statements.append(out.take())
                part = part_end
            start = end
        return statements

    def attempts_sql(self, rows_max, bytes_max):
        """Multi-row INSERT IGNOREs into receive_attempt."""
        cdef bytes head = (
            b"INSERT IGNORE INTO receive_attempt (%s) VALUES " % ATTEMPT_COLUMNS.encode()
        )
        cdef Statements statements = Statements(head, b"", rows_max, bytes_max)
        cdef Buffer out = statements.out
        cdef Outcome *outcome
        cdef Py_ssize_t i
        for i in range(self._attempts.count):
            outcome = self._attempts.at[i]
            statements.begin_row()
            out.put_byte(c'(')
            _put_int(out, outcome.msg_id)
            _put_int(out, outcome.sub_id)
            _put_int(out, outcome.attempts)
            _put_int(out, outcome.at_ms)
            _put_int(out, outcome.latency_ms)
            _put_int(out, outcome.code)
            out.put_byte(c"'")
            out.put_escaped(outcome.error.data, outcome.error.size)
            out.put("',_binary'", 10)
            out.put_escaped(outcome.response.data, outcome.response.size)
            out.put("')", 2)
            statements.end_row(False)
        return statements.finish()

    cdef Py_ssize_t group_end(self, Py_ssize_t start) noexcept:
        # Behind the last of the finals that are set to the same values as the one at start.
        cdef OutcomePtr *at = self._finals.at
        cdef Py_ssize_t end = start + 1
        while end < self._finals.count and (
            at[end].sub_id == at[start].sub_id
            and at[end].status == at[start].status
            and at[end].attempts == at[start].attempts
            and at[end].reason == at[start].reason
        ):
            end += 1
        return end

    cdef int64_t latest_ms(self, Py_ssize_t start, Py_ssize_t end) noexcept:
        cdef Py_ssize_t i
        cdef int64_t latest_ms = 0
        for i in range(start, end):
            latest_ms = max(latest_ms, self._finals.at[i].at_ms)
        return latest_ms

    cdef int put_update(
        self, Buffer out, Py_ssize_t start, Py_ssize_t end, int64_t updated_ms
    ) except -1:
        cdef OutcomePtr *at = self._finals.at
        cdef Py_ssize_t i
        out.put("UPDATE receive_msg SET status=", 30)
        out.put_decimal(at[start].status)
        out.put(",attempts=", 10)
        out.put_decimal(at[start].attempts)
        out.put(",reason=", 8)
        out.put_decimal(at[start].reason)
        out.put(",due_ms=0,updated_ms=", 21)
        out.put_decimal(updated_ms)
        out.put(" WHERE sub_id=", 14)
        out.put_decimal(at[start].sub_id)
        out.put(" AND msg_id IN (", 16)
        for i in range(start, end):
            _put_int(out, at[i].msg_id)
        out.size -= 1  # the last comma
        return out.put(") AND status IN (0,1)", 21)


def group(outcome_chunks, skip):
    """Group the outcomes of chunks; skip: (msg_id, sub_id) that the database shows finished.

    Of several final outcomes of one delivery the first counts. Raises ChunkError.
    """
    cdef Marks marks = Marks()
    cdef _Pointers counted
    left_out = skip if len(skip) else None
    marks._chunks = list(outcome_chunks)
    for chunk in marks._chunks:
        _scan(marks._outcomes, <bytes?> chunk, left_out)
    counted = _decide(marks)
    marks._finals.sort(&_by_group)
    marks.minutes = _per_minute(counted)
    return marks


cdef int _scan(Buffer outcomes, bytes chunk, object skip) except -1:
    cdef Reader reader
    cdef Outcome outcome
    cdef Py_ssize_t count = read_open(&reader, chunk, KIND_OUTCOMES, NULL)
    for _ in range(count):
        read_outcome(&reader, &outcome)
        if skip is None or (outcome.msg_id, outcome.sub_id) not in skip:
            outcomes.put(<const char *> &outcome, sizeof(Outcome))
    return read_close(&reader)


cdef _Pointers _decide(Marks marks):
    # Fills finals, retries and attempts; answers what counts: all of a delivery's outcomes up
    # to its first final one.
    cdef Outcome *outcome = <Outcome *> marks._outcomes.data
    cdef Py_ssize_t total = marks._outcomes.size // <Py_ssize_t> sizeof(Outcome)
    cdef Py_ssize_t i = 0, last
    cdef _Pointers by_key = _Pointers()
    cdef _Pointers counted = _Pointers()
    cdef Outcome *best
    for i in range(total):
        by_key.add(outcome + i)
    by_key.sort(&_by_key)
    i = 0
    while i < total:
        best = by_key.at[i]
        last = i
        counted.add(best)
        while not _final(best) and last + 1 < total and _same_key(best, by_key.at[last + 1]):
            last += 1
            counted.add(by_key.at[last])
            if _final(by_key.at[last]) or not _earlier(by_key.at[last], best):
                best = by_key.at[last]
        (marks._finals if _final(best) else marks._retries).add(best)
        while last + 1 < total and _same_key(best, by_key.at[last + 1]):
            last += 1  # what came after the final one
        i = last + 1
    for i in range(counted.count):
        if _tried(counted.at[i]) and not _first_success(counted.at[i]):
            marks._attempts.add(counted.at[i])
    marks._attempts.sort(&_by_arrival)
    return counted


cdef object _per_minute(_Pointers counted):
    cdef Buffer cells = Buffer()
    cdef int64_t[6] cell
    cdef Outcome *outcome
    cdef Py_ssize_t i
    if counted.count == 0:
        return np.zeros((0, 6), np.int64)
    counted.sort(&_by_time)
    for i in range(counted.count):
        outcome = counted.at[i]
        if i == 0 or cell[0] != outcome.sub_id or cell[1] != outcome.at_ms // _MINUTE_MS:
            if i:
                cells.put(<const char *> cell, sizeof(cell))
            cell[0] = outcome.sub_id
            cell[1] = outcome.at_ms // _MINUTE_MS
            cell[2] = cell[3] = cell[4] = cell[5] = 0
        cell[2] += outcome.status == _DELIVERED
        cell[3] += outcome.status == _DROPPED
        cell[4] += _tried(outcome) and outcome.status != _DELIVERED
        # Unsigned, as absurd latencies may overflow: numpy's sums wrap around as well.
        cell[5] = <int64_t> (<uint64_t> cell[5] + <uint64_t> outcome.latency_ms)
    cells.put(<const char *> cell, sizeof(cell))
    return np.frombuffer(bytearray(cells.take()), np.int64).reshape(-1, 6)


cdef inline int _put_int(Buffer out, int64_t value) except -1:
    out.put_decimal(value)
    return out.put_byte(c',')


cdef inline bint _final(const Outcome *outcome) noexcept nogil:
    return outcome.status == _DELIVERED or outcome.status == _DROPPED


cdef inline bint _tried(const Outcome *outcome) noexcept nogil:
    return outcome.code != 0 or outcome.error.size != 0


cdef inline bint _first_success(const Outcome *outcome) noexcept nogil:
    return outcome.status == _DELIVERED and outcome.attempts == 1


cdef inline bint _same_key(const Outcome *one, const Outcome *other) noexcept nogil:
    return one.msg_id == other.msg_id and one.sub_id == other.sub_id


cdef inline bint _earlier(const Outcome *one, const Outcome *other) noexcept nogil:
    if one.attempts != other.attempts:
        return one.attempts < other.attempts
    return one.at_ms < other.at_ms


cdef inline int _compare(int64_t one, int64_t other) noexcept nogil:
    return (one > other) - (one < other)


# Orders for qsort. All outcomes are in one array, in the order of arrival, so the address
# decides between equals.

cdef int _by_arrival(const void *one, const void *other) noexcept nogil:
    return _compare(<int64_t> (<OutcomePtr *> one)[0], <int64_t> (<OutcomePtr *> other)[0])


cdef int _by_key(const void *one, const void *other) noexcept nogil:
    cdef const Outcome *a = (<OutcomePtr *> one)[0]
    cdef const Outcome *b = (<OutcomePtr *> other)[0]
    return (
        _compare(a.msg_id, b.msg_id)
        or _compare(a.sub_id, b.sub_id)
        or _by_arrival(one, other)
    )


cdef int _by_group(const void *one, const void *other) noexcept nogil:
    cdef const Outcome *a = (<OutcomePtr *> one)[0]
    cdef const Outcome *b = (<OutcomePtr *> other)[0]
    return (
        _compare(a.sub_id, b.sub_id)
        or _compare(a.status, b.status)
        or _compare(a.attempts, b.attempts)
        or _compare(a.reason, b.reason)
        or _compare(a.msg_id, b.msg_id)
    )


cdef int _by_time(const void *one, const void *other) noexcept nogil:
    cdef const Outcome *a = (<OutcomePtr *> one)[0]
    cdef const Outcome *b = (<OutcomePtr *> other)[0]
    return _compare(a.sub_id, b.sub_id) or _compare(a.at_ms, b.at_ms)
