# A WebSocket client (floor 3): what it says, on its way up. Frames are understood in ws_wire,
# compression in ws_deflate; what it is sent is the business of ws_sender. It never joins a message
# and answers no ping unless it is released.

from libc.stdint cimport int64_t, uint8_t, uint32_t
from fastpath.outcome cimport Outcome
from fastpath.view cimport View
from fastpath.ws_deflate cimport Inflater
from fastpath.ws_sender cimport WsSender
from fastpath.ws_wire cimport WsFault, WsPiece, WsReader

cdef class WsSession(WsSender):
    cdef:
        WsReader _reader
        bytes _kept                    # what has come and may not be reported yet, or None
        bytes _piece                   # of an unfinished frame, too small to be reported, or None
        bytes _control                 # payload of an unfinished control frame, or None
        Inflater _inflater             # None but in the middle of a compressed message
        int64_t _credit                # bytes that may still be reported
        uint32_t _text                 # UTF-8 state of the message that is being read
        uint8_t _inflated_kind         # opcode of the compressed message
        uint8_t _inflated_last         # all of it has been fed
        uint8_t _paused                # not reading from the client

    cdef Outcome _read(self, View* v) except Outcome.FAIL
    cdef Outcome _read_again(self, bytes run) except Outcome.FAIL
    cdef bint _hears(self) noexcept            # frames are understood
    cdef bint _discards(self) noexcept         # and not reported
    cdef bint _stuck(self) noexcept            # a compressed message waits for credit
    cdef Outcome _take(
        self, int opcode, const uint8_t* at, Py_ssize_t size, bint last) except Outcome.FAIL
    cdef Outcome _take_compressed(self, WsPiece* p) except Outcome.FAIL
    cdef Outcome _inflate(self) except Outcome.FAIL
    cdef Outcome _take_control(self, WsPiece* p) except Outcome.FAIL
    cdef Outcome _take_close(self, bytes payload) except Outcome.FAIL
    cdef Outcome _fail(self, WsFault fault) except Outcome.FAIL
