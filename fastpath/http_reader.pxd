# Requests out of a client's bytes (floor 2): llhttp's callbacks take notes here, and nothing else
# happens. It decides nothing, answers nothing, raises nothing for what a client sent: what is
# wrong with a request is written down on the request.

from libc.stdint cimport int64_t, uint64_t
from fastpath.outcome cimport Outcome

cdef class Request:
    cdef:
        readonly bytes method
        readonly bytes target
        readonly list headers              # [(name, value)] as they came
        readonly int minor                 # HTTP/1.minor
        readonly bint keep_alive
        readonly bint expects_continue
        readonly bint upgrades             # asks for another protocol (RFC 9110, 7.8)
        readonly bytes websocket_key       # of a good handshake (RFC 6455), else None
        readonly int64_t length            # of the body; -1: chunked
        readonly uint64_t body_bytes       # received so far
        readonly bint complete             # the body has ended
        readonly int fault                 # a Reason, or 0
        readonly bytes fault_text          # what exactly, or None
        list body                          # pieces the session has not taken

cdef class HttpReader:
    cdef:
        # -- limits
        uint64_t _head_bytes_max
        uint64_t _body_bytes_max           # 0: none
        # -- the connection
        object _parser
        bint _primed                       # the parser is being told where an unread body begins
        bint _stopped                      # a fault, or the last request there will be
        # -- the request being read
        Request _request
        bint _in_head
        uint64_t _head_bytes               # of the unfinished head, or between two pieces of a body
        readonly bytes behind              # what came behind a handshake or too many heads, or None
        # -- out
        # Heads that are complete, oldest first. At most PIPELINE_MAX, and one more if the end of a
        # head came in two reads.
        readonly list requests

    # `data` is a bytes-like of exactly the bytes that arrived.
    cdef Outcome read(self, object data) except Outcome.FAIL
    cdef bint in_head(self) noexcept       # a head has begun and has not ended
    cdef bint full(self) noexcept          # no more is to be read from the client
    cdef bint at_rest(self) noexcept       # between two requests, and none is waiting
    cdef Outcome go_on(self) except Outcome.FAIL       # read what is behind, if anything
    # The parser and its callbacks refer to each other: without this, neither is freed by counting.
    cdef Outcome retire(self) except Outcome.FAIL
    # -- its own
    cdef bint _whole(self) noexcept        # no body is being read
    cdef Py_ssize_t _cut(self, object data) except -1
    cdef Outcome _keep(self, object data) except Outcome.FAIL
    cdef Outcome _fault(self, int reason, bytes text) except Outcome.FAIL
    cdef Outcome _go_on_after_upgrade(self) except Outcome.FAIL
