"""Queue chunks under construction (see lanes.pyx)."""

cimport cython
from libc.stdint cimport int64_t

from notify_core.buffer cimport Buffer, Span


cdef struct Item:
    # One delivery: its message's bytes, which stay where they are until they are packed.
    Span message
    Py_ssize_t following  # the next item of the same lane, -1 behind the last


cdef struct Lane:
    # One subscription; its items are a chain through the array of all.
    int64_t sub_id
    int mode
    Py_ssize_t first
    Py_ssize_t last


# A chunk of one delivery; span: the message's bytes.
cdef bytes chunk_of_one(int64_t sub_id, const Span *span)


@cython.final
cdef class Lanes:
    # The arrays of structs live in buffers, which free themselves.
    cdef Py_ssize_t count
    cdef Buffer lanes  # Lane
    cdef Buffer items  # Item
    cdef Buffer order  # Py_ssize_t: lanes by their first item

    # A new lane; answers its position.
    cdef Py_ssize_t add(self, int64_t sub_id, int mode) except -1
    # (sub_id, count, chunk) of everything enqueued, limited as `fanout.split` says.
    cdef list pack(self, Py_ssize_t rows_max, Py_ssize_t bytes_max)

    cdef inline Lane *lane(self, Py_ssize_t at) noexcept:
        # Valid until the next lane is added.
        return <Lane *> self.lanes.data + at

    cdef inline int enqueue(self, Py_ssize_t lane_at, const Span *span) except -1:
        cdef Py_ssize_t at = self.items.size // <Py_ssize_t> sizeof(Item)
        cdef Lane *lane = self.lane(lane_at)
        cdef Item item
        item.message = span[0]
        item.following = -1
        self.items.put(<const char *> &item, sizeof(Item))
        if lane.first < 0:
            self.order.put(<const char *> &lane_at, sizeof(Py_ssize_t))
            lane.first = at
        else:
            (<Item *> self.items.data)[lane.last].following = at
        lane.last = at
        return 0
