"""The C side of `fanout`: deliveries collected by subscription, then packed into queue chunks.

Only for `cimport` by the other compiled modules: it has no Python interface, and so neither a
stub nor a pure twin. A message is copied once for each delivery, into a chunk that is made in
exactly its size.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy

from notify_core.wire cimport KIND_DELIVERIES, pack_open

# The begin of a delivery item: an array of attempts (0) and the message, which follows.
cdef const char *ITEM_HEAD = b"\x92\x00"
cdef enum:
    ITEM_HEAD_SIZE = 2


@cython.final
cdef class Lanes:
    """Deliveries by subscription; a lane's order is that of arrival."""

    def __cinit__(self):
        self.count = 0
        self.lanes = Buffer()
        self.items = Buffer()
        self.order = Buffer()

    cdef Py_ssize_t add(self, int64_t sub_id, int mode) except -1:
        cdef Lane lane
        lane.sub_id = sub_id
        lane.mode = mode
        lane.first = lane.last = -1
        self.lanes.put(<const char *> &lane, sizeof(Lane))
        self.count += 1
        return self.count - 1

    cdef list pack(self, Py_ssize_t rows_max, Py_ssize_t bytes_max):
        cdef Py_ssize_t *order = <Py_ssize_t *> self.order.data
        cdef Item *items = <Item *> self.items.data
        cdef Buffer head = Buffer()
        cdef Lane *lane
        cdef list packed = []
        cdef Py_ssize_t i, first, at, count, size, item_size
        for i in range(self.order.size // <Py_ssize_t> sizeof(Py_ssize_t)):
            lane = self.lane(order[i])
            at = lane.first
            while at >= 0:
                first, count, size = at, 0, 0
                while at >= 0:
                    item_size = ITEM_HEAD_SIZE + items[at].message.size
                    if count and (count >= rows_max or size + item_size > bytes_max):
                        break
                    count += 1
                    size += item_size
                    at = items[at].following
                head.clear()
                pack_open(head, KIND_DELIVERIES, lane.sub_id, count)
                packed.append((lane.sub_id, count, _joined(head, items, first, count, size)))
        return packed


cdef bytes chunk_of_one(int64_t sub_id, const Span *span):
    cdef Buffer head = Buffer()
    cdef Item item
    item.message = span[0]
    item.following = -1
    pack_open(head, KIND_DELIVERIES, sub_id, 1)
    return _joined(head, &item, 0, 1, ITEM_HEAD_SIZE + span.size)


cdef bytes _joined(
    Buffer head, const Item *items, Py_ssize_t at, Py_ssize_t count, Py_ssize_t size
):
    # One chunk: head and the count items of a chain from at, which take size bytes.
    cdef bytes chunk = PyBytes_FromStringAndSize(NULL, head.size + size)
    cdef char *out = PyBytes_AS_STRING(chunk)
    cdef const Span *message
    memcpy(out, head.data, head.size)
    out += head.size
    for _ in range(count):
        message = &items[at].message
        memcpy(out, ITEM_HEAD, ITEM_HEAD_SIZE)
        memcpy(out + ITEM_HEAD_SIZE, message.data, message.size)
        out += ITEM_HEAD_SIZE + message.size
        at = items[at].following
    return chunk
