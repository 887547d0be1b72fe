# The holding half of an HTTP session (floor 3): a response that waits for one message, a stream
# that takes every message, and a stream whose link control follows meanwhile. It reads nothing
# from a client.

from libc.stdint cimport uint32_t, uint64_t
from fastpath.frame cimport HeldResponse, KeepAlive
from fastpath.http_answer cimport HttpAnswer
from fastpath.link_orders cimport HoldOrder
from fastpath.outcome cimport Outcome
from fastpath.variants cimport Variant

cdef class Trail:
    # What few holds have: something that control wants back. Apart, so that the others do not pay.
    cdef:
        bytes context          # opaque, but for bit 0 of its first byte: there is a link to follow
        uint32_t link_ms       # after which the link is followed anyway; 0: never
        bint watched           # the end of the hold is reported
        bint followed          # control follows the link now; messages wait
        bint paged             # bytes of a page have been appended since
        bint hinted            # and it is to be followed once more
        list waiting           # the messages, at most QUEUE_MAX
        uint64_t since_ms      # when the hold began, or was last put off

    cdef bint leads_on(self) noexcept  # there is a link to follow

cdef class HttpHold(HttpAnswer):
    cdef:
        bytes _head            # of the request, as OPENED carries it; None: it is not asked again
        bytes _body            # of the request, whole, while a response is held
        HeldResponse _held
        KeepAlive _keep_alive
        Trail _trail           # None for most

    # -- beginning
    cdef Outcome _not_held(self, HoldOrder order) except Outcome.FAIL
    cdef Outcome _hold_response(self, HoldOrder order, HeldResponse response) except Outcome.FAIL
    cdef Outcome _hold_stream(
        self, HoldOrder order, HeldResponse response, KeepAlive keep_alive
    ) except Outcome.FAIL
    cdef Outcome _hold_on(self, HoldOrder order, KeepAlive keep_alive) except Outcome.FAIL
    cdef Outcome _hold_channels(self, list channels, Variant v) except Outcome.FAIL
    cdef Outcome _take_trail(self, HoldOrder order) except Outcome.FAIL
    cdef Variant _variant(self) noexcept
    cdef Outcome _report_lapse(self, int why) except Outcome.FAIL
    # -- ending
    cdef Outcome _answer_held(self, bytes frame, bint by_item) except Outcome.FAIL
    cdef Outcome answer_timeout(self) except Outcome.FAIL
    cdef Outcome forget_hold(self) except Outcome.FAIL
    cdef Outcome send_keep_alive(self, uint64_t now) except Outcome.FAIL
    # -- supplied by the reading half
    cdef Outcome rest(self) except Outcome.FAIL      # keep neither parser nor request
    cdef Outcome read_kept(self) except Outcome.FAIL  # what came during the hold
