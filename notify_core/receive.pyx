"""Request bodies to checked columnar batches."""

from datetime import datetime, timedelta, timezone

import msgspec

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_AsStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t

from notify_core.buffer cimport Buffer, Span, check_utf8
from notify_core.grammar cimport IN_TOKEN, IN_TYPE, IN_VALUE, NO_CONTROL, all_of, too_deep
from notify_core.literals cimport put_bytes, put_text
from notify_core.statements cimport Statements
from notify_core.wire cimport KIND_MESSAGES, pack_open

from notify_core.body import JSON as _JSON
from notify_core.body import MSGPACK as _MSGPACK
from notify_core.body import check_json, decode
from notify_core.errors import BodyError, ChunkError
from notify_core.headers import HEADERS_MAX as _HEADERS_MAX
from notify_core.headers import RESERVED_OF_MESSAGES as _RESERVED
from notify_core.headers import RESERVED_PREFIXES as _RESERVED_PREFIXES
from notify_core.headers import find_flaw as _find_flaw
from notify_core.records import MessageRecord

cdef extern from "Python.h":
    bytes PyBytes_FromObject(object source)

COLUMNS = (
    "id,biz_id,type,content_type,headers,dkey,ordering_key,deliver_ms,expires_ms,payload"
)
TYPE_CHARS_MAX = 128
CONTENT_TYPE_CHARS_MAX = 128
KEY_BYTES_MAX = 128

_ID_MAX = (1 << 63) - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MS = timedelta(milliseconds=1)
_headers_json = msgspec.json.Encoder()


@cython.final
cdef class Batch:
    """Messages as columns: lists of equal length, one entry a message.

    Fields as in MessageRecord, and keys ("" for none). ids and biz_ids are empty until they are
    set; what goes to the database or into a chunk must be stamped, that is, have both.
    """

    cdef readonly list ids
    cdef readonly list biz_ids
    cdef readonly list types
    cdef readonly list content_types
    cdef readonly list headers
    cdef readonly list keys
    cdef readonly list ordering_keys
    cdef readonly list deliver_ms
    cdef readonly list expires_ms
    cdef readonly list payloads

    def __cinit__(self):
        self.ids = []
        self.biz_ids = []
        self.types = []
        self.content_types = []
        self.headers = []
        self.keys = []
        self.ordering_keys = []
        self.deliver_ms = []
        self.expires_ms = []
        self.payloads = []

    def __len__(self):
        return len(self.types)

    def stamp(self, biz_id, list ids not None):
        """Give every message its producer and id. Raises ValueError as the setters do."""
        self.set_producer(biz_id)
        self.set_ids(ids)

    def set_producer(self, biz_id):
        """Give every message the same producer. ValueError where it is not of 63 bits."""
        if not 0 <= biz_id <= _ID_MAX:
            raise ValueError("ids are integers of 63 bits")
        self.biz_ids = [biz_id] * len(self.types)

    def set_ids(self, list ids not None):
        """Give every message its id.

        Raises ValueError where the lengths differ or a number is not one of 63 bits.
        """
        if len(ids) != len(self.types):
            raise ValueError("one id for each message")
        for number in ids:
            if not 0 <= number <= _ID_MAX:
                raise ValueError("ids are integers of 63 bits")
        self.ids = list(ids)

    def extend(self, Batch other not None):
        """Append the messages of another batch. ValueError where only one is stamped."""
        if self.types and other.types and bool(self.ids) != bool(other.ids):
            raise ValueError("a stamped batch and one that is not do not mix")
        for mine, others in zip(self._columns(), other._columns(), strict=True):
            mine.extend(others)

    def drop_last(self):
        """Forget the last message. Raises IndexError where there is none."""
        cdef list column
        self.types.pop()
        for column in self._columns():
            if len(column) > len(self.types):
                column.pop()

    def take(self, list positions not None):
        """A new batch of the messages at these positions, in this order. Raises IndexError."""
        cdef Batch taken = Batch()
        cdef list mine, column
        for mine, column in zip(taken._columns(), self._columns(), strict=True):
            if column or column is self.types:
                for position in positions:
                    mine.append(column[position])
        return taken

    def rows(self):
        """One tuple a message, in the order of COLUMNS. ValueError unless stamped."""
        self._check_stamped()
        return list(zip(*self._columns(), strict=True))

    def records(self, inline_bytes_max):
        """The messages as records; a payload above inline_bytes_max becomes None.

        Raises ValueError unless stamped.
        """
        cdef Py_ssize_t i
        cdef list records = []
        self._check_stamped()
        for i in range(len(self.types)):
            payload = self.payloads[i]
            if len(payload) > inline_bytes_max:
                payload = None
            # Past the named tuple's own constructor, which is a Python function.
            records.append(tuple.__new__(MessageRecord, (
                self.ids[i], self.biz_ids[i], self.types[i], self.content_types[i],
                self.headers[i], self.ordering_keys[i], self.deliver_ms[i], self.expires_ms[i],
                payload,
            )))
        return records

    def chunk(self, int64_t config_version, int64_t inline_bytes_max):
        """The messages as an ingest chunk; a payload above inline_bytes_max stays behind.

        Raises ValueError unless stamped.
        """
        cdef Buffer out = Buffer()
        cdef Py_ssize_t i, size = 0
        cdef char *data
        self._check_stamped()
        pack_open(out, KIND_MESSAGES, config_version, len(self.types))
        for i in range(len(self.types)):
            out.pack_array_header(9)
            out.pack_int(self.ids[i])
            out.pack_int(self.biz_ids[i])
            out.pack_str(self.types[i])
            out.pack_str(self.content_types[i])
            PyBytes_AsStringAndSize(self.headers[i], &data, &size)
            out.pack_bin(data, size)
            out.pack_str(self.ordering_keys[i])
            out.pack_int(self.deliver_ms[i])
            out.pack_int(self.expires_ms[i])
            PyBytes_AsStringAndSize(self.payloads[i], &data, &size)
            if size > inline_bytes_max:
                out.pack_nil()
            else:
                out.pack_bin(data, size)
        return out.take()

    def insert_sql(self, bint ignore, rows_max, bytes_max):
        """Multi-row INSERTs into biz_msg (INSERT IGNORE for a retry), within both limits.

        The limits are those of `sqltext.insert`. Raises ValueError unless stamped.
        """
        cdef bytes verb = b"INSERT IGNORE INTO" if ignore else b"INSERT INTO"
        cdef bytes head = b"%s biz_msg (%s) VALUES " % (verb, COLUMNS.encode())
        cdef Statements statements
        cdef Py_ssize_t i
        self._check_stamped()
        statements = Statements(head, b"", rows_max, bytes_max)
        for i in range(len(self.types)):
            statements.begin_row()
            self._put_row(statements.out, i)
            statements.end_row(False)
        return statements.finish()

    cdef int _put_row(self, Buffer out, Py_ssize_t i) except -1:
        out.put_byte(c'(')
        out.put_decimal(self.ids[i])
        out.put_byte(c',')
        out.put_decimal(self.biz_ids[i])
        out.put_byte(c',')
        put_text(out, self.types[i])
        out.put_byte(c',')
        put_text(out, self.content_types[i])
        out.put_byte(c',')
        put_bytes(out, self.headers[i])
        out.put_byte(c',')
        put_text(out, self.keys[i])
        out.put_byte(c',')
        put_text(out, self.ordering_keys[i])
        out.put_byte(c',')
        out.put_decimal(self.deliver_ms[i])
        out.put_byte(c',')
        out.put_decimal(self.expires_ms[i])
        out.put_byte(c',')
        put_bytes(out, self.payloads[i])
        return out.put_byte(c')')

    cdef int _check_stamped(self) except -1:
        if not len(self.ids) == len(self.biz_ids) == len(self.types):
            raise ValueError("the batch is not stamped: its messages have no ids yet")
        return 0

    cdef tuple _columns(self):
        return (
            self.ids, self.biz_ids, self.types, self.content_types, self.headers, self.keys,
            self.ordering_keys, self.deliver_ms, self.expires_ms, self.payloads,
        )


cdef struct Bounds:
    # body.Limits, and whether the body is msgpack.
    int64_t payload_bytes_max
    int64_t depth_max
    int64_t headers_bytes_max
    bint packed


def parse(bytes body not None, str content_type not None, limits):
    """A request body as a checked batch, all or nothing.

    content_type: application/json (one object or an array), application/x-ndjson or
    application/msgpack (an array; a `bin` payload is JSON text, any other value is delivered
    as application/msgpack). Raises BodyError, with the index of the bad message.
    """
    cdef list items = decode(body, content_type, _is_utf8)
    cdef Batch batch = Batch()
    cdef Bounds bounds
    cdef Py_ssize_t index = 0
    if not items:
        raise BodyError("malformed", "the batch is empty")
    if len(items) > limits.items_max:
        raise BodyError(
            "limit", f"a batch holds at most {limits.items_max} messages, not {len(items)}"
        )
    bounds.payload_bytes_max = limits.payload_bytes_max
    bounds.depth_max = limits.depth_max
    bounds.headers_bytes_max = limits.headers_bytes_max
    bounds.packed = content_type == _MSGPACK
    try:
        for index in range(len(items)):
            _append(batch, items[index], &bounds)
    except BodyError as error:
        raise BodyError(error.kind, error.reason, index) from None
    return batch


def append(Batch batch not None, biz_id, bytes body not None, limits):
    """Append the message of a JSON body that is an object, and its producer, to a batch.

    The batch holds messages appended so and no ids. False, and nothing is done, where the body
    does not begin with an object: that is for `parse`. Raises BodyError as that does.
    """
    cdef Bounds bounds
    if len(batch.biz_ids) != len(batch.types) or batch.ids:
        raise ValueError("the batch holds messages without producers, or with ids")
    if not 0 <= biz_id <= _ID_MAX:
        raise ValueError("ids are integers of 63 bits")
    if not body.startswith(b"{"):
        return False
    bounds.payload_bytes_max = limits.payload_bytes_max
    bounds.depth_max = limits.depth_max
    bounds.headers_bytes_max = limits.headers_bytes_max
    bounds.packed = False
    (item,) = decode(body, "application/json", _is_utf8)
    try:
        _append(batch, item, &bounds)
    except BodyError as error:
        raise BodyError(error.kind, error.reason, 0) from None
    batch.biz_ids.append(biz_id)
    return True


def _is_utf8(bytes text not None):
    cdef Span span = Span(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    try:
        check_utf8(&span)
    except ChunkError:
        return False
    return True


cdef int _append(Batch batch, object item, const Bounds *bounds) except -1:
    cdef str type_ = item.type
    cdef str content_type = _JSON
    cdef bytes payload, headers = b""
    if not 1 <= len(type_) <= TYPE_CHARS_MAX or not all_of(type_, IN_TYPE):
        raise BodyError(
            "item", f"type must be 1 to {TYPE_CHARS_MAX} characters of A-Z a-z 0-9 _ . : / -"
        )
    # Raw is a view of the body; the column keeps the payload, not the body.
    payload = PyBytes_FromObject(item.payload)
    if bounds.packed:
        payload, content_type = _unpacked(payload)
    _check_payload(payload, content_type, bounds)
    deliver, expires = _unix_ms(item.deliver_at), _unix_ms(item.expires_at)
    if expires and expires <= deliver:
        raise BodyError("item", "expires_at must be after deliver_at")
    key = _key(item.key, "key")
    ordering_key = _key(item.ordering_key, "ordering_key")
    given = item.headers
    if given:
        headers, content_type = _headers(given, content_type, bounds.headers_bytes_max)
    batch.types.append(type_)
    batch.content_types.append(content_type)
    batch.headers.append(headers)
    batch.keys.append(key)
    batch.ordering_keys.append(ordering_key)
    batch.deliver_ms.append(deliver)
    batch.expires_ms.append(expires)
    batch.payloads.append(payload)
    return 0


cdef tuple _unpacked(bytes raw):
    cdef unsigned char tag = raw[0]
    if 0xC4 <= tag <= 0xC6:  # bin 8, 16, 32
        raw = raw[1 + (1 << (tag - 0xC4)):]
        check_json(raw)
        return raw, _JSON
    return raw, _MSGPACK


cdef int _check_payload(bytes payload, str content_type, const Bounds *bounds) except -1:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
    if size > bounds.payload_bytes_max:
        raise BodyError(
            "item", f"the payload has {size} bytes, the limit is {bounds.payload_bytes_max}"
        )
    if content_type == _JSON and too_deep(PyBytes_AS_STRING(payload), size, bounds.depth_max):
        raise BodyError("item", f"the payload is nested deeper than {bounds.depth_max} levels")
    return 0


cdef object _unix_ms(object moment):
    if moment is None:
        return 0
    ms = (moment - _EPOCH) // _MS
    if ms <= 0:
        raise BodyError("item", "deliver_at and expires_at must be after 1970")
    return ms


cdef str _key(object key, str name):
    cdef Py_ssize_t size = 0
    if key is None:
        return ""
    PyUnicode_AsUTF8AndSize(key, &size)
    if not 1 <= size <= KEY_BYTES_MAX or not all_of(key, NO_CONTROL):
        raise BodyError(
            "item", f"{name} must be 1 to {KEY_BYTES_MAX} bytes without control characters"
        )
    return key


cdef tuple _headers(dict given, str content_type, int64_t bytes_max):
    # The rules are those of headers.find_flaw, which also words what this scan finds.
    cdef str given_name, name, value
    cdef dict headers = {}
    cdef int64_t size = 0
    cdef bint good = len(given) <= _HEADERS_MAX
    for given_name, value in given.items():
        if not good or not _is_header(given_name, value):
            good = False
            break
        name = given_name.lower()
        good = not (
            name in headers or name in _RESERVED or name.startswith(_RESERVED_PREFIXES)
        )
        size += len(name) + len(value)
        headers[name] = value
    if not good or size > bytes_max:
        raise BodyError("item", _find_flaw(given, _RESERVED, bytes_max))
    content_type = headers.pop("content-type", content_type)
    if len(content_type) > CONTENT_TYPE_CHARS_MAX:
        raise BodyError("item", f"content-type has at most {CONTENT_TYPE_CHARS_MAX} characters")
    return (_headers_json.encode(headers) if headers else b""), content_type


cdef bint _is_header(str name, str value) except -1:
    if not name or not value or value[0] in " \t" or value[-1] in " \t":
        return False
    return all_of(name, IN_TOKEN) and all_of(value, IN_VALUE)
