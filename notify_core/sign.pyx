"""Standard Webhooks 1.0.0 signatures and the request head."""

import base64

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t

from notify_core.buffer cimport Buffer
from notify_core.hmac256 cimport DIGEST_SIZE, Keyed

from notify_core.ed25519 import PRIVATE_PREFIX as _PRIVATE_PREFIX
from notify_core.ed25519 import decode_base64, private_key
from notify_core.errors import SecretError

PREFIX = "whsec_"

cdef const char *_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
# The texts between the values of a request head, in wire order.
cdef bytes _TYPE = b"content-type: "
cdef bytes _LENGTH = b"\r\ncontent-length: "
cdef bytes _ID = b"\r\nwebhook-id: "
cdef bytes _TIMESTAMP = b"\r\nwebhook-timestamp: "
cdef bytes _SIGNATURE = b"\r\nwebhook-signature: "
cdef bytes _EVENT = b"\r\nnotify-event-type: "
cdef bytes _SUBSCRIPTION = b"\r\nnotify-subscription: "
cdef bytes _ATTEMPT = b"\r\nnotify-attempt: "
cdef bytes _CRLF = b"\r\n"


def decode_secret(text):
    """The key of a secret, for a Signer (Standard Webhooks 1.0.0).

    `whsec_` and the base64 of 24 to 64 bytes: these bytes, for v1. `whsk_` and the base64 of an
    ed25519 key: that key, for v1a. Raises SecretError, which says what it is not.
    """
    if text.startswith(_PRIVATE_PREFIX):
        return private_key(text)
    if not text.startswith(PREFIX):
        raise SecretError(f"a signing secret starts with {PREFIX} or {_PRIVATE_PREFIX}")
    key = decode_base64(text, PREFIX)
    _check_size(key)
    return key


def encode_secret(key):
    """The `whsec_` text of key bytes. Raises SecretError unless they are 24 to 64."""
    _check_size(key)
    return PREFIX + base64.b64encode(key).decode("ascii")


@cython.final
cdef class Signer:
    """Signs with one or several keys (several while a secret rotates), of either kind.

    Bytes are an HMAC key (v1): its padded states are computed once, a signature then costs two
    hash copies. What has a method `sign` is an ed25519 key (v1a).
    Raises SecretError where there is no key: nothing leaves unsigned by accident.
    """

    # For each key a Keyed, or the sign() of an ed25519 key.
    cdef list _keys

    def __cinit__(self):
        self._keys = []

    def __init__(self, keys):
        if not keys:
            raise SecretError("a signer needs at least one key")
        self._keys = [Keyed(key) if isinstance(key, bytes) else key.sign for key in keys]

    def signature(self, str message_id not None, timestamp_s, bytes body not None):
        """The `webhook-signature` value: one signature a key, space-separated.

        Each is of `{message_id}.{timestamp_s}.{body}` (Standard Webhooks 1.0.0): `v1,<base64>` its
        HMAC-SHA256, `v1a,<base64>` its ed25519 signature.
        """
        cdef bytes head = f"{message_id}.{timestamp_s}.".encode()
        cdef Buffer out = Buffer()
        _put_bytes(out, head)
        self._sign(out, body)
        return out.take()[len(head):].decode("ascii")

    cdef int _sign(self, Buffer out, bytes body) except -1:
        # The signatures of out's content and body are put behind that content.
        cdef Py_ssize_t head_size = out.size
        cdef unsigned char[DIGEST_SIZE] digest
        for key in self._keys:
            if out.size > head_size:
                out.put_byte(c' ')
            if type(key) is Keyed:
                (<Keyed> key).sign(out.data, head_size, body, digest)
                out.put("v1,", 3)
                _put_base64(out, digest)
            else:
                _put_bytes(out, b"v1a," + base64.b64encode(key(out.data[:head_size] + body)))
        return 0


def request_head(
    bytes prefix not None,
    Signer signer,
    str message_id not None,
    int64_t timestamp_s,
    str event_type not None,
    str content_type not None,
    int64_t sub_id,
    int64_t attempt,
    bytes extra not None,
    bytes body not None,
):
    r"""The whole HTTP/1.1 request head of one delivery, blank line included.

    prefix: request line and the endpoint's fixed header lines, each ended by CRLF.
    signer: None for a consumer that wants no `webhook-signature`. event_type: "" for no such line.
    content_type: "" stands for application/json, as in a MessageRecord.
    extra: further header lines, each ended by CRLF, or b"".
    Nothing is looked for in the texts: whoever accepted them kept CR and LF out. Raises
    UnicodeEncodeError where message_id, event_type or content_type is not ASCII.
    """
    # First what is signed of the head, then the signatures of it, then the head itself.
    cdef Buffer out = Buffer()
    cdef Py_ssize_t signed_end = 0, head_at
    if signer is not None:
        _put_ascii(out, message_id)
        out.put_byte(c'.')
        out.put_decimal(timestamp_s)
        out.put_byte(c'.')
        signed_end = out.size
        signer._sign(out, body)
    head_at = out.size
    _put_bytes(out, prefix)
    _put_bytes(out, _TYPE)
    _put_ascii(out, content_type or "application/json")
    _put_bytes(out, _LENGTH)
    out.put_decimal(PyBytes_GET_SIZE(body))
    _put_bytes(out, _ID)
    _put_ascii(out, message_id)
    _put_bytes(out, _TIMESTAMP)
    out.put_decimal(timestamp_s)
    if signer is not None:
        _put_bytes(out, _SIGNATURE)
        out.reserve(head_at - signed_end)  # the source may move, so it is taken afterwards
        out.put(out.data + signed_end, head_at - signed_end)
    if event_type:
        _put_bytes(out, _EVENT)
        _put_ascii(out, event_type)
    _put_bytes(out, _SUBSCRIPTION)
    out.put_decimal(sub_id)
    _put_bytes(out, _ATTEMPT)
    out.put_decimal(attempt)
    _put_bytes(out, _CRLF)
    _put_bytes(out, extra)
    _put_bytes(out, _CRLF)
    return PyBytes_FromStringAndSize(out.data + head_at, out.size - head_at)


cdef inline int _put_bytes(Buffer out, bytes text) except -1:
    return out.put(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef int _put_ascii(Buffer out, str text) except -1:
    cdef Py_ssize_t size = 0
    cdef const char *data = PyUnicode_AsUTF8AndSize(text, &size)
    if size != len(text):  # more bytes than characters: some are not ASCII
        text.encode("ascii")
    return out.put(data, size)


cdef int _put_base64(Buffer out, const unsigned char *at) except -1:
    # The DIGEST_SIZE bytes are ten groups of three and a rest of two: 43 letters and one `=`.
    cdef char *to
    cdef unsigned int group
    out.reserve(44)
    to = out.data + out.size
    for _ in range(10):
        group = at[0] << 16 | at[1] << 8 | at[2]
        to[0] = _BASE64[group >> 18]
        to[1] = _BASE64[group >> 12 & 63]
        to[2] = _BASE64[group >> 6 & 63]
        to[3] = _BASE64[group & 63]
        at += 3
        to += 4
    group = at[0] << 16 | at[1] << 8
    to[0] = _BASE64[group >> 18]
    to[1] = _BASE64[group >> 12 & 63]
    to[2] = _BASE64[group >> 6 & 63]
    to[3] = c'='
    out.size += 44
    return 0


cdef int _check_size(key) except -1:
    if not 24 <= len(key) <= 64:
        raise SecretError(f"a signing secret holds 24 to 64 bytes, this one {len(key)}")
    return 0
