# RFC 6455 section 5, both directions (floor 1): frame heads, masking, UTF-8, close codes. No
# policy, no buffer: what it needs between two reads is in the reader, payloads pass in pieces.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.view cimport View

cdef enum Opcode:
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA

cdef enum WsFault:             # what may be wrong, as the close code that says it
    FAULT_NONE = 0
    FAULT_PROTOCOL = 1002
    FAULT_TEXT = 1007
    FAULT_SIZE = 1009

cdef enum WsStep:
    WS_MORE                    # nothing to act on: the view is empty, or `piece_max` is 0
    WS_PIECE                   # the piece is to be acted on
    WS_BAD                     # reader.fault says why; nothing more can be read

cdef enum:
    WS_CONTROL_MAX = 125       # payload bytes of a control frame

cdef struct WsReader:
    uint64_t left              # payload bytes of the frame still to come
    uint64_t message_bytes     # of the message, as on the wire, the frame being read included
    uint32_t mask              # turned to the next byte
    uint16_t fault             # a WsFault
    uint8_t head[14]           # of the frame, as far as it has come
    uint8_t have               # how far; 0: none, or its payload is being read
    uint8_t in_frame           # the head is complete, the frame is not
    uint8_t opcode             # of the frame
    uint8_t fin                # of the frame
    uint8_t message            # opcode of the unfinished message; 0: none
    uint8_t compressed         # RSV1 of its first frame
    uint8_t masked             # what the peer must do: clients mask, servers do not
    uint8_t rsv1_allowed       # permessage-deflate was negotiated

cdef struct WsPiece:
    uint8_t* at                # borrowed from the view; unmasked in place
    Py_ssize_t size
    uint8_t opcode             # of the message, never CONTINUATION; or of the control frame
    uint8_t compressed
    uint8_t last               # of the message, or of the control frame

cdef void ws_begin(WsReader* r, bint masked, bint rsv1_allowed) noexcept nogil
# The view must be writable. A piece of a message has at most `piece_max` bytes; a message of more
# than `message_max` (0: any) is a fault as soon as a head says so, unless it is compressed.
cdef WsStep ws_read(
    WsReader* r, View* v, WsPiece* p, Py_ssize_t piece_max, uint64_t message_max) noexcept nogil
# XOR with the mask; the mask turned to the byte after the last.
cdef uint32_t ws_mask(uint8_t* at, Py_ssize_t size, uint32_t mask) noexcept nogil

# UTF-8 (RFC 3629) across pieces: the state to go on with; UTF8_OK between characters.
cdef enum:
    UTF8_OK = 0
    UTF8_BAD = 1
cdef uint32_t utf8_check(uint32_t state, const uint8_t* at, Py_ssize_t size) noexcept nogil

# A close code that may travel (RFC 6455 7.4, and the registry).
cdef bint close_code_ok(uint32_t code) noexcept nogil
# What is wrong with the payload of a close frame.
cdef WsFault close_fault(const uint8_t* at, Py_ssize_t size) noexcept nogil
# The payload of a whole unmasked frame of so many bytes.
cdef inline Py_ssize_t ws_payload_size(Py_ssize_t frame_size) noexcept nogil:
    return frame_size - (2 if frame_size <= 2 + 125 else 4 if frame_size <= 4 + 0xFFFF else 10)

# A whole unmasked frame. TypeError: the payload is None.
cdef bytes ws_frame(uint8_t opcode, bytes payload, bint fin, bint rsv1)
# Code 0 or 1005: 1000; another that may not travel: 1011. A text that does not fit is cut, one that
# is not UTF-8 left out.
cdef bytes close_frame(uint32_t code, bytes text)
