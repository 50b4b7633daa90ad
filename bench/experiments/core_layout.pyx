"""Chunks of deliveries in a layout of fixed fields (see core_layout.py)."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyTypeObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint16_t, uint32_t
from notify_core.buffer cimport Buffer
from notify_core.records import DeliveryRecord, MessageRecord

cdef extern from "Python.h":
    object PyType_GenericAlloc(PyTypeObject *cls, Py_ssize_t items)

cdef packed struct Head:
    uint16_t version
    uint16_t kind
    uint32_t count
    int64_t ref

cdef packed struct Item:
    int64_t id
    int64_t biz_id
    int64_t deliver_ms
    int64_t expires_ms
    uint32_t attempts
    uint16_t type
    uint16_t content_type
    uint32_t headers
    uint32_t ordering_key
    uint32_t payload  # 0xFFFFFFFF: none

cdef inline void put(tuple record, Py_ssize_t at, object value):
    Py_INCREF(value)
    PyTuple_SET_ITEM(record, at, value)

def pack(int64_t sub_id, list deliveries):
    cdef Buffer out = Buffer()
    cdef Head head = Head(1, 2, <uint32_t> len(deliveries), sub_id)
    cdef Item item
    cdef tuple message
    cdef Py_ssize_t sizes[3]
    cdef const char *texts[3]
    cdef bytes headers, payload
    out.put(<const char *> &head, sizeof(Head))
    for delivery in deliveries:
        message = <tuple> (<tuple> delivery)[1]
        texts[0] = PyUnicode_AsUTF8AndSize(message[2], &sizes[0])
        texts[1] = PyUnicode_AsUTF8AndSize(message[3], &sizes[1])
        texts[2] = PyUnicode_AsUTF8AndSize(message[5], &sizes[2])
        headers, payload = <bytes?> message[4], <bytes?> message[8]
        item = Item(
            message[0], message[1], message[6], message[7], (<tuple> delivery)[0],
            <uint16_t> sizes[0], <uint16_t> sizes[1], <uint32_t> PyBytes_GET_SIZE(headers),
            <uint32_t> sizes[2], <uint32_t> PyBytes_GET_SIZE(payload),
        )
        out.put(<const char *> &item, sizeof(Item))
        out.put(texts[0], sizes[0])
        out.put(texts[1], sizes[1])
        out.put(PyBytes_AS_STRING(headers), PyBytes_GET_SIZE(headers))
        out.put(texts[2], sizes[2])
        out.put(PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
    return out.take()

def unpack(bytes chunk):
    cdef const char *at = PyBytes_AS_STRING(chunk)
    cdef const char *end = at + PyBytes_GET_SIZE(chunk)
    cdef const Head *head = <const Head *> at
    cdef const Item *item
    cdef list deliveries = []
    cdef tuple message, delivery
    cdef int64_t size
    at += sizeof(Head)
    for _ in range(head.count):
        item = <const Item *> at
        at += sizeof(Item)
        size = <int64_t> item.type + item.content_type + item.headers
        if at > end or end - at < size + item.ordering_key + item.payload:
            raise ValueError("damaged")
        message = <tuple> PyType_GenericAlloc(<PyTypeObject *> MessageRecord, 9)
        put(message, 0, item.id)
        put(message, 1, item.biz_id)
        put(message, 2, PyUnicode_DecodeUTF8(at, item.type, NULL))
        at += item.type
        put(message, 3, PyUnicode_DecodeUTF8(at, item.content_type, NULL))
        at += item.content_type
        put(message, 4, PyBytes_FromStringAndSize(at, item.headers))
        at += item.headers
        put(message, 5, PyUnicode_DecodeUTF8(at, item.ordering_key, NULL))
        at += item.ordering_key
        put(message, 6, item.deliver_ms)
        put(message, 7, item.expires_ms)
        put(message, 8, PyBytes_FromStringAndSize(at, item.payload))
        at += item.payload
        delivery = <tuple> PyType_GenericAlloc(<PyTypeObject *> DeliveryRecord, 2)
        put(delivery, 0, item.attempts)
        put(delivery, 1, message)
        deliveries.append(delivery)
    return head.ref, deliveries
