# permessage-deflate (RFC 7692, floor 1): what is agreed, messages compressed, messages decompressed
# within bounds. No context is kept from one message to the next, in either direction.

from libc.stdint cimport uint8_t, uint64_t
from fastpath.outcome cimport Outcome

cdef enum:
    WINDOW_BITS_MAX = 15       # of what is shared by subscribers

# What to answer to the values of Sec-WebSocket-Extensions, and the window that our side may use.
# (None, 0): nothing that is offered can be taken.
cdef tuple negotiated(list offers)
# The payload of a compressed message; None: it would not be smaller.
cdef bytes deflated(bytes content, int window_bits)

cdef class Inflater:
    # One compressed message, from its first piece to its last.
    cdef:
        object _inflate
        bytes _input               # that has not been decompressed
        bint _full                 # the last output was: there may be more without input
        uint64_t in_bytes
        uint64_t out_bytes

    cdef Outcome feed(self, bytes piece, bint last) except Outcome.FAIL
    cdef bint pending(self) noexcept       # take() has more to give
    # The next output, of at most `size_max` bytes; None: the message is not compressed data, or
    # too big. `message_max`: 0, any size.
    cdef bytes take(self, Py_ssize_t size_max)
    cdef bint too_big(self, uint64_t message_max) noexcept
