"""Chunks: what travels through the queue.

A chunk is the msgpack array `[VERSION, kind, ref, items]`:

kind MESSAGES    ref = config version of the accepting Api, items = MessageRecord arrays
kind DELIVERIES  ref = subscription id, items = `[attempts, MessageRecord array]`
kind OUTCOMES    ref = 0, items = OutcomeRecord arrays

Integers are 0..2**63-1, texts are UTF-8 `str`, bytes are `bin`, a payload is `bin` or `nil`.
Packing refuses what unpacking would refuse, so that a chunk once queued can be read.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_CheckExact
from cpython.object cimport PyTypeObject
from cpython.ref cimport Py_INCREF
from cpython.sequence cimport PySequence_Fast_GET_ITEM, PySequence_Fast_GET_SIZE
from cpython.tuple cimport PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t

from notify_core.buffer cimport Buffer, Reader, Span, damaged, read_array, read_int
from notify_core.wire cimport (
    KIND_DELIVERIES,
    KIND_MESSAGES,
    KIND_OUTCOMES,
    WIRE_VERSION,
    Message,
    Outcome,
    pack_open,
    read_close,
    read_message,
    read_open,
    read_outcome,
)

from notify_core.errors import ChunkError
from notify_core.records import DeliveryRecord, MessageRecord, OutcomeRecord

cdef extern from "Python.h":
    # cpython.type declares it for an object, which a C compiler warns about.
    object PyType_GenericAlloc(PyTypeObject *cls, Py_ssize_t items)

VERSION = WIRE_VERSION
MESSAGES = KIND_MESSAGES
DELIVERIES = KIND_DELIVERIES
OUTCOMES = KIND_OUTCOMES


def pack_messages(config_version, messages):
    """Messages as an ingest chunk. Raises ChunkError for a value that has no place in one."""
    cdef list items = list(messages)
    cdef Buffer out = Buffer()
    pack_open(out, KIND_MESSAGES, _int(config_version), len(items))
    for item in items:
        _pack_message(out, item)
    return out.take()


def unpack_messages(bytes chunk not None):
    """The config version and the messages of an ingest chunk. Raises ChunkError."""
    cdef Reader reader
    cdef int64_t config_version = 0
    cdef Py_ssize_t count = read_open(&reader, chunk, KIND_MESSAGES, &config_version)
    cdef list messages = []
    for _ in range(count):
        messages.append(_unpack_message(&reader))
    read_close(&reader)
    return config_version, messages


def pack_deliveries(sub_id, deliveries):
    """Deliveries of one subscription as a chunk of its queue. Raises ChunkError as above."""
    cdef list items = list(deliveries)
    cdef Buffer out = Buffer()
    pack_open(out, KIND_DELIVERIES, _int(sub_id), len(items))
    for item in items:
        _fields(item, 2)
        out.pack_array_header(2)
        out.pack_int(_int(<object> PySequence_Fast_GET_ITEM(item, 0)))
        _pack_message(out, <object> PySequence_Fast_GET_ITEM(item, 1))
    return out.take()


def unpack_deliveries(bytes chunk not None):
    """The subscription id and the deliveries of a chunk. Raises ChunkError."""
    cdef Reader reader
    cdef int64_t sub_id = 0, attempts
    cdef Py_ssize_t count = read_open(&reader, chunk, KIND_DELIVERIES, &sub_id)
    cdef list deliveries = []
    cdef tuple delivery
    for _ in range(count):
        if read_array(&reader) != 2:
            damaged("expected an array of 2")
        attempts = read_int(&reader)
        message = _unpack_message(&reader)
        delivery = <tuple> PyType_GenericAlloc(<PyTypeObject *> DeliveryRecord, 2)
        _set(delivery, 0, attempts)
        _set(delivery, 1, message)
        deliveries.append(delivery)
    read_close(&reader)
    return sub_id, deliveries


def pack_outcomes(outcomes):
    """Outcomes as a chunk of the mark stream. Raises ChunkError as above."""
    cdef list items = list(outcomes)
    cdef Buffer out = Buffer()
    cdef Py_ssize_t i
    pack_open(out, KIND_OUTCOMES, 0, len(items))
    for item in items:
        _fields(item, 11)
        out.pack_array_header(11)
        for i in range(9):
            out.pack_int(_int(<object> PySequence_Fast_GET_ITEM(item, i)))
        _pack_text(out, <object> PySequence_Fast_GET_ITEM(item, 9))
        _pack_bytes(out, <object> PySequence_Fast_GET_ITEM(item, 10))
    return out.take()


def unpack_outcomes(bytes chunk not None):
    """The outcomes of a chunk. Raises ChunkError."""
    cdef Reader reader
    cdef Outcome found
    cdef Py_ssize_t count = read_open(&reader, chunk, KIND_OUTCOMES, NULL)
    cdef list outcomes = []
    cdef tuple outcome
    for _ in range(count):
        read_outcome(&reader, &found)
        outcome = <tuple> PyType_GenericAlloc(<PyTypeObject *> OutcomeRecord, 11)
        _set(outcome, 0, found.msg_id)
        _set(outcome, 1, found.sub_id)
        _set(outcome, 2, found.status)
        _set(outcome, 3, found.attempts)
        _set(outcome, 4, found.at_ms)
        _set(outcome, 5, found.due_ms)
        _set(outcome, 6, found.latency_ms)
        _set(outcome, 7, found.code)
        _set(outcome, 8, found.reason)
        _set(outcome, 9, _text(&found.error))
        _set(outcome, 10, _bytes(&found.response))
        outcomes.append(outcome)
    read_close(&reader)
    return outcomes


cdef tuple _unpack_message(Reader *reader):
    cdef Message found
    cdef tuple message
    read_message(reader, &found)
    message = <tuple> PyType_GenericAlloc(<PyTypeObject *> MessageRecord, 9)
    _set(message, 0, found.id)
    _set(message, 1, found.biz_id)
    _set(message, 2, _text(&found.type))
    _set(message, 3, _text(&found.content_type))
    _set(message, 4, _bytes(&found.headers))
    _set(message, 5, _text(&found.ordering_key))
    _set(message, 6, found.deliver_ms)
    _set(message, 7, found.expires_ms)
    _set(message, 8, None if found.payload.data == NULL else _bytes(&found.payload))
    return message


cdef inline int _set(tuple record, Py_ssize_t i, object value) except -1:
    # A record is a new named tuple, not yet seen by anybody: filling it in place spares the
    # second tuple that its constructor would copy from. A field left out by an error is NULL,
    # which a tuple's deallocation allows for.
    Py_INCREF(value)
    PyTuple_SET_ITEM(record, i, value)
    return 0


cdef inline str _text(const Span *span):
    return PyUnicode_DecodeUTF8(<char *> span.data, span.size, NULL)


cdef inline bytes _bytes(const Span *span):
    return PyBytes_FromStringAndSize(span.data, span.size)


cdef int _pack_message(Buffer out, object message) except -1:
    _fields(message, 9)
    out.pack_array_header(9)
    out.pack_int(_int(<object> PySequence_Fast_GET_ITEM(message, 0)))
    out.pack_int(_int(<object> PySequence_Fast_GET_ITEM(message, 1)))
    _pack_text(out, <object> PySequence_Fast_GET_ITEM(message, 2))
    _pack_text(out, <object> PySequence_Fast_GET_ITEM(message, 3))
    _pack_bytes(out, <object> PySequence_Fast_GET_ITEM(message, 4))
    _pack_text(out, <object> PySequence_Fast_GET_ITEM(message, 5))
    out.pack_int(_int(<object> PySequence_Fast_GET_ITEM(message, 6)))
    out.pack_int(_int(<object> PySequence_Fast_GET_ITEM(message, 7)))
    payload = <object> PySequence_Fast_GET_ITEM(message, 8)
    if payload is None:
        return out.pack_nil()
    return _pack_bytes(out, payload)


cdef int _fields(object item, Py_ssize_t count) except -1:
    # Whoever reads items 0..count-1 without further checks does so behind this one.
    if not isinstance(item, (tuple, list)) or PySequence_Fast_GET_SIZE(item) != count:
        damaged(f"expected an array of {count}")
    return 0


cdef int64_t _int(object value) except -1:
    cdef int overflow = 0
    cdef int64_t number
    if not PyLong_CheckExact(value):
        return _unexpected(value)
    number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow or number < 0:
        return _unexpected(value)
    return number


cdef int _pack_text(Buffer out, object value) except -1:
    if not isinstance(value, str):
        return _unexpected(value)
    try:
        return out.pack_str(<str> value)
    except UnicodeEncodeError:
        raise ChunkError("a text with a lone surrogate has no place in a chunk") from None


cdef int _pack_bytes(Buffer out, object value) except -1:
    if not isinstance(value, bytes):
        return _unexpected(value)
    return out.pack_bin(PyBytes_AS_STRING(<bytes> value), PyBytes_GET_SIZE(<bytes> value))


cdef int _unexpected(object value) except -1:
    return damaged(f"unexpected {type(value).__name__} or its range")
