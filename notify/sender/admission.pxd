"""Types of admission.py, for its compiled form."""


cdef class Admission:
    cdef long _max
    cdef dict _waiting
    cdef dict _lines
    cdef bint _waking
    cdef public long in_flight

    cpdef bint enter(self, guest)
    cpdef leave(self, guest)
    cpdef forget(self, guest)
