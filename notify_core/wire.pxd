"""Chunks as C structs, for the modules that scan them without making records (see wire.pyx)."""

from libc.stdint cimport int64_t

from notify_core.buffer cimport Buffer, Reader, Span

cdef enum:
    WIRE_VERSION = 1


cdef enum Kind:
    KIND_MESSAGES = 1
    KIND_DELIVERIES = 2
    KIND_OUTCOMES = 3


# Fields and order of notify_core.records; spans point into the chunk.
cdef struct Message:
    int64_t id
    int64_t biz_id
    Span type
    Span content_type
    Span headers
    Span ordering_key
    int64_t deliver_ms
    int64_t expires_ms
    Span payload


cdef struct Outcome:
    int64_t msg_id
    int64_t sub_id
    int64_t status
    int64_t attempts
    int64_t at_ms
    int64_t due_ms
    int64_t latency_ms
    int64_t code
    int64_t reason
    Span error
    Span response


# All raise ChunkError. read_open answers the number of items, which is never more than bytes
# are left; ref may be NULL. The chunk must outlive what was read from it.
cdef Py_ssize_t read_open(Reader *reader, bytes chunk, Kind kind, int64_t *ref) except -1
cdef int read_message(Reader *reader, Message *message) except -1
cdef int read_outcome(Reader *reader, Outcome *outcome) except -1
cdef int read_close(Reader *reader) except -1

# The begin of a chunk, up to its first item.
cdef int pack_open(Buffer out, Kind kind, int64_t ref, Py_ssize_t items) except -1
