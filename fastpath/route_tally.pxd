# What was delivered, by route (floor 2): one C array, indexed by the numbers that control gives
# routes. Kept only while control wants to know. Knows no session; of bytes, only how many.

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from fastpath.outcome cimport Outcome

cdef struct RouteCounts:
    # -- of the item at hand
    uint32_t responses
    uint32_t streams
    uint32_t websockets
    uint64_t response_head_bytes
    uint64_t response_body_bytes
    # -- sent by the worker on its own, since it was taken last
    uint32_t stream_keep_alives
    uint32_t ws_keep_alives
    uint64_t head_bytes
    uint64_t content_bytes

cdef class RouteTally:
    cdef:
        RouteCounts* _counts           # owned; [route]
        uint32_t _room
        list _reached                  # routes that the item at hand has reached
        set _served                    # routes of which something is to be taken

    # -- counting
    cdef Outcome begin_item(self) except Outcome.FAIL
    cdef Outcome reached(self, uint16_t route, bint is_ws) except Outcome.FAIL
    cdef Outcome answered(self, uint16_t route, bytes answer, bint by_item) except Outcome.FAIL
    cdef Outcome kept_alive(
        self, uint16_t route, Py_ssize_t content_bytes, bint is_ws
    ) except Outcome.FAIL
    # -- taking: rows of numbers, the route first, in the order of the struct
    cdef list take_item(self)
    cdef list take_served(self)
    # -- its own
    cdef RouteCounts* _of(self, uint16_t route) except NULL
    cdef RouteCounts* _of_item(self, uint16_t route) except NULL
