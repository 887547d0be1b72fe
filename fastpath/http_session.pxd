# An HTTP/1.1 client (floor 3): reads requests, asks control, holds. The bytes of a request are
# understood in http_reader; answers are given by http_answer.

from libc.stdint cimport uint8_t, uint32_t
from fastpath.http_hold cimport HttpHold
from fastpath.http_reader cimport HttpReader, Request
from fastpath.outcome cimport Outcome

cdef class HttpSession(HttpHold):
    cdef:
        # -- the request in hand
        HttpReader _reader             # None while a hold rests
        Request _request               # None when there is none, and while a hold rests
        bytes _kept                    # what the client sent during a hold, or None
        uint32_t _credit               # body bytes that may still be reported
        uint8_t _head_begun            # bytes of a head have come, and head_timeout runs

    # -- reading
    cdef Outcome _read(self, Py_ssize_t count) except Outcome.FAIL
    cdef HttpReader _open_reader(self)
    cdef Outcome _expect_head(self) except Outcome.FAIL
    cdef Outcome _act(self) except Outcome.FAIL
    cdef Outcome _ask(self) except Outcome.FAIL
    cdef Outcome _report_body(self) except Outcome.FAIL
    cdef bytes _take_body(self)
    cdef Outcome _pace(self) except Outcome.FAIL
    cdef Outcome _next(self) except Outcome.FAIL
    cdef Outcome _retire_reader(self) except Outcome.FAIL
