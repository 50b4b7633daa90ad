"""HMAC-SHA256 with a key that is used many times: the C side of `sign`.

Only for `cimport` by `sign`: it has no Python interface, and so neither a stub nor a pure twin.

It calls the OpenSSL that Python's own hashlib has loaded, found at run time: a build needs no
headers of it and a wheel no copy, and there is one OpenSSL in the process, the one that whoever
runs it keeps up to date. It takes half the time of hashlib (bench/EXPERIMENTS_CORE.md), which
stands in where Python was built without OpenSSL or hides its functions.
"""

import ctypes
import hashlib

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uintptr_t
from libc.string cimport memcpy

_BLOCK = 64
_INNER = bytes([b ^ 0x36 for b in range(256)])
_OUTER = bytes([b ^ 0x5C for b in range(256)])

# In OpenSSL 1.1.1 and 3 alike; contexts are opaque there.
ctypedef void *(*New)() noexcept
ctypedef void (*Free)(void *context) noexcept
ctypedef int (*Init)(void *context, const void *kind, void *engine) noexcept
ctypedef int (*Update)(void *context, const void *data, size_t size) noexcept
ctypedef int (*Copy)(void *to, const void *from_) noexcept
ctypedef int (*Final)(void *context, unsigned char *digest, unsigned int *size) noexcept

cdef New _kind = <New> _address("EVP_sha256")
cdef New _new = <New> _address("EVP_MD_CTX_new")
cdef Free _free = <Free> _address("EVP_MD_CTX_free")
cdef Init _init = <Init> _address("EVP_DigestInit_ex")
cdef Update _update = <Update> _address("EVP_DigestUpdate")
cdef Copy _copy = <Copy> _address("EVP_MD_CTX_copy_ex")
cdef Final _final = <Final> _address("EVP_DigestFinal_ex")
cdef bint _found = (
    _kind != NULL and _new != NULL and _free != NULL and _init != NULL and _update != NULL
    and _copy != NULL and _final != NULL
)


cdef uintptr_t _address(str function):
    # A function of the OpenSSL that _hashlib is linked with, 0 where there is none.
    try:
        import _hashlib
        library = ctypes.CDLL(getattr(_hashlib, "__file__", None))
        return ctypes.cast(getattr(library, function), ctypes.c_void_p).value
    except (ImportError, OSError, AttributeError):
        return 0


@cython.final
cdef class Keyed:
    """One key, whose two padded blocks are hashed once."""

    def __cinit__(self, bytes key not None):
        cdef bytes padded = key.ljust(_BLOCK, b"\0")
        if len(padded) > _BLOCK:
            padded = hashlib.sha256(key).digest().ljust(_BLOCK, b"\0")
        cdef bytes inner = padded.translate(_INNER)
        cdef bytes outer = padded.translate(_OUTER)
        if not _found:
            self.copy_inner = hashlib.sha256(inner).copy
            self.copy_outer = hashlib.sha256(outer).copy
            return
        self.inner, self.outer, self.work = _new(), _new(), _new()
        if self.inner == NULL or self.outer == NULL or self.work == NULL:
            raise MemoryError
        _check(_init(self.inner, _kind(), NULL))
        _check(_update(self.inner, PyBytes_AS_STRING(inner), _BLOCK))
        _check(_init(self.outer, _kind(), NULL))
        _check(_update(self.outer, PyBytes_AS_STRING(outer), _BLOCK))

    def __dealloc__(self):
        if _found:
            _free(self.inner)
            _free(self.outer)
            _free(self.work)

    cdef int sign(
        self, const char *head, Py_ssize_t head_size, bytes body, unsigned char *digest
    ) except -1:
        cdef unsigned int size = 0
        if not _found:
            return self.sign_by_hashlib(head, head_size, body, digest)
        _check(
            _copy(self.work, self.inner)
            and _update(self.work, head, head_size)
            and _update(self.work, PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
            and _final(self.work, digest, &size)
            and _copy(self.work, self.outer)
            and _update(self.work, digest, DIGEST_SIZE)
            and _final(self.work, digest, &size)
        )
        return 0

    cdef int sign_by_hashlib(
        self, const char *head, Py_ssize_t head_size, bytes body, unsigned char *digest
    ) except -1:
        cdef bytes made
        inner = self.copy_inner()
        inner.update(PyBytes_FromStringAndSize(head, head_size))
        inner.update(body)
        outer = self.copy_outer()
        outer.update(inner.digest())
        made = outer.digest()
        memcpy(digest, PyBytes_AS_STRING(made), DIGEST_SIZE)
        return 0


cdef inline int _check(int good) except -1:
    if not good:
        raise MemoryError("OpenSSL could not hash")
    return 0
