"""The C side of `chunk`: heads and items of chunks as structs, without making records.

Only for `cimport` by the other compiled modules: it has no Python interface, and so neither a
stub nor a pure twin; what is a valid chunk is fixed by `pure.chunk`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from notify_core.buffer cimport damaged, read_array, read_bin, read_bin_or_nil, read_int, read_str

from notify_core.errors import ChunkError

cdef dict _kinds = {
    KIND_MESSAGES: "messages", KIND_DELIVERIES: "deliveries", KIND_OUTCOMES: "outcomes"
}


cdef int pack_open(Buffer out, Kind kind, int64_t ref, Py_ssize_t items) except -1:
    out.pack_array_header(4)
    out.pack_int(WIRE_VERSION)
    out.pack_int(kind)
    out.pack_int(ref)
    return out.pack_array_header(items)


cdef Py_ssize_t read_open(Reader *reader, bytes chunk, Kind kind, int64_t *ref) except -1:
    cdef Py_ssize_t fields
    cdef int64_t version, found, value
    reader.at = <const unsigned char *> PyBytes_AS_STRING(chunk)
    reader.end = reader.at + PyBytes_GET_SIZE(chunk)
    fields = read_array(reader)
    # The version comes first: another one may have another number of fields.
    version = read_int(reader)
    if version != WIRE_VERSION:
        raise ChunkError(f"chunk version {version}: this release reads version {WIRE_VERSION}")
    if fields != 4:
        damaged("expected an array of 4")
    found = read_int(reader)
    if found != kind:
        raise ChunkError(f"a chunk of {_kinds.get(found, found)}, expected {_kinds[<int> kind]}")
    value = read_int(reader)
    if ref != NULL:
        ref[0] = value
    return read_array(reader)


cdef int read_close(Reader *reader) except -1:
    if reader.at != reader.end:
        damaged("there are bytes behind its end")
    return 0


cdef int read_message(Reader *reader, Message *message) except -1:
    if read_array(reader) != 9:
        damaged("expected an array of 9")
    message.id = read_int(reader)
    message.biz_id = read_int(reader)
    read_str(reader, &message.type)
    read_str(reader, &message.content_type)
    read_bin(reader, &message.headers)
    read_str(reader, &message.ordering_key)
    message.deliver_ms = read_int(reader)
    message.expires_ms = read_int(reader)
    return read_bin_or_nil(reader, &message.payload)


cdef int read_outcome(Reader *reader, Outcome *outcome) except -1:
    if read_array(reader) != 11:
        damaged("expected an array of 11")
    outcome.msg_id = read_int(reader)
    outcome.sub_id = read_int(reader)
    outcome.status = read_int(reader)
    outcome.attempts = read_int(reader)
    outcome.at_ms = read_int(reader)
    outcome.due_ms = read_int(reader)
    outcome.latency_ms = read_int(reader)
    outcome.code = read_int(reader)
    outcome.reason = read_int(reader)
    read_str(reader, &outcome.error)
    return read_bin(reader, &outcome.response)
