"""HMAC-SHA256 with a key that is used many times (see hmac256.pyx)."""

cimport cython

cdef enum:
    DIGEST_SIZE = 32


@cython.final
cdef class Keyed:
    # OpenSSL's contexts: the key's inner and outer state, and the one that works.
    cdef void *inner
    cdef void *outer
    cdef void *work
    # Where its functions are not to be had: the bound copy() of hashlib's two states.
    cdef object copy_inner
    cdef object copy_outer

    # Writes the DIGEST_SIZE bytes of the HMAC of head and body.
    cdef int sign(
        self, const char *head, Py_ssize_t head_size, bytes body, unsigned char *digest
    ) except -1
    cdef int sign_by_hashlib(
        self, const char *head, Py_ssize_t head_size, bytes body, unsigned char *digest
    ) except -1
