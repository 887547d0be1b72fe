"""RFC 6455 section 5, both directions (floor 1): frame heads, masking, UTF-8, close codes.

Read in the order of the bytes, ending in one of three ways. Payloads pass through in pieces and
are unmasked where they lie, so a message of any size needs no memory here. What a fault means,
how large a message may be and who answers a ping is decided elsewhere.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy, memset

from fastpath.view cimport View

cdef extern from "utf8.h" nogil:
    uint32_t utf8_scan(uint32_t state, const uint8_t* at, size_t size)

cdef extern from "mask.h" nogil:
    uint32_t mask_run(uint8_t* at, size_t size, uint32_t mask)

cdef enum:
    CLOSE_NORMAL = 1000
    CLOSE_NO_CODE = 1005       # stands for an empty payload; never travels
    CLOSE_SERVER_ERROR = 1011


cdef void ws_begin(WsReader* r, bint masked, bint rsv1_allowed) noexcept nogil:
    memset(r, 0, sizeof(WsReader))
    r.masked = masked
    r.rsv1_allowed = rsv1_allowed


cdef WsStep ws_read(
    WsReader* r, View* v, WsPiece* p, Py_ssize_t piece_max, uint64_t message_max
) noexcept nogil:
    cdef bint control
    while not r.fault:
        if not r.in_frame and not read_head(r, v, message_max):
            return WsStep.WS_BAD if r.fault else WsStep.WS_MORE
        control = r.opcode >= Opcode.CLOSE
        p.size = v.left if <uint64_t> v.left < r.left else <Py_ssize_t> r.left
        if p.size > piece_max and not control:
            p.size = piece_max
        if p.size == 0 and r.left:
            return WsStep.WS_MORE
        p.at = <uint8_t*> v.at
        if r.masked:
            r.mask = ws_mask(p.at, p.size, r.mask)
        v.at += p.size
        v.left -= p.size
        r.left -= <uint64_t> p.size
        r.in_frame = r.left != 0
        p.opcode = r.opcode if control else r.message
        p.compressed = r.compressed and not control
        p.last = not r.in_frame and r.fin
        if p.last and not control:
            r.message = 0
            r.message_bytes = 0
        if p.size or p.last:                   # an empty frame in the middle says nothing
            return WsStep.WS_PIECE
    return WsStep.WS_BAD


cdef bint read_head(WsReader* r, View* v, uint64_t message_max) noexcept nogil:
    # False: more bytes are needed, or r.fault is set. A split head is gathered in r.head.
    if r.have < 2:
        if not gather(r, v, 2):
            return False
        if not check_start(r):                 # before the rest has come
            return fault(r, WsFault.FAULT_PROTOCOL)
    if not gather(r, v, head_size(r)):
        return False
    r.have = 0
    return take_length(r, message_max)


cdef inline bint gather(WsReader* r, View* v, int need) noexcept nogil:
    while r.have < need:
        if v.left == 0:
            return False
        r.head[r.have] = v.at[0]
        r.have += 1
        v.at += 1
        v.left -= 1
    return True


cdef inline bint fault(WsReader* r, WsFault code) noexcept nogil:
    r.fault = <uint16_t> code
    return False


cdef inline int head_size(WsReader* r) noexcept nogil:
    cdef int code = r.head[1] & 0x7F
    return 2 + (2 if code == 126 else 8 if code == 127 else 0) + (4 if r.masked else 0)


cdef bint check_start(WsReader* r) noexcept nogil:
    # Reserved bits, opcode, fragmentation, masking, the size of a control frame (5.2 to 5.5).
    cdef uint8_t opcode = r.head[0] & 0x0F
    cdef uint8_t rsv1 = (r.head[0] >> 6) & 1
    r.opcode = opcode
    r.fin = r.head[0] >> 7
    if r.head[0] & 0x30 or (r.head[1] >> 7) != r.masked:
        return False
    if opcode >= Opcode.CLOSE:
        return (
            opcode <= Opcode.PONG and r.fin and not rsv1
            and (r.head[1] & 0x7F) <= WS_CONTROL_MAX
        )
    if opcode == Opcode.CONTINUATION:
        return r.message != 0 and not rsv1
    if opcode > Opcode.BINARY or r.message != 0 or (rsv1 and not r.rsv1_allowed):
        return False
    r.message = opcode
    r.compressed = rsv1
    return True


cdef bint take_length(WsReader* r, uint64_t message_max) noexcept nogil:
    # The length, in its shortest form (5.2), and the mask.
    cdef int code = r.head[1] & 0x7F
    cdef int at = 2
    cdef int end = head_size(r) - (4 if r.masked else 0)
    cdef uint64_t size = 0 if code >= 126 else <uint64_t> code
    while at < end:
        size = (size << 8) | r.head[at]
        at += 1
    if (code == 126 and size < 126) or (code == 127 and (size < 0x10000 or size >> 63)):
        return fault(r, WsFault.FAULT_PROTOCOL)
    if r.opcode < Opcode.CLOSE:
        r.message_bytes += size
        if message_max and r.message_bytes > message_max and not r.compressed:
            return fault(r, WsFault.FAULT_SIZE)
    if r.masked:
        memcpy(&r.mask, &r.head[end], 4)
    r.left = size
    r.in_frame = True
    return True


cdef uint32_t ws_mask(uint8_t* at, Py_ssize_t size, uint32_t mask) noexcept nogil:
    return mask_run(at, <size_t> size, mask)


cdef uint32_t utf8_check(uint32_t state, const uint8_t* at, Py_ssize_t size) noexcept nogil:
    return utf8_scan(state, at, <size_t> size)


cdef bint close_code_ok(uint32_t code) noexcept nogil:
    if code >= 3000:
        return code <= 4999
    return 1000 <= code <= 1014 and not 1004 <= code <= 1006


cdef WsFault close_fault(const uint8_t* at, Py_ssize_t size) noexcept nogil:
    if size == 0:
        return WsFault.FAULT_NONE
    if size == 1 or not close_code_ok((<uint32_t> at[0] << 8) | at[1]):
        return WsFault.FAULT_PROTOCOL
    if utf8_check(UTF8_OK, at + 2, size - 2) != UTF8_OK:
        return WsFault.FAULT_TEXT
    return WsFault.FAULT_NONE


cdef bytes ws_frame(uint8_t opcode, bytes payload, bint fin, bint rsv1):
    cdef uint8_t head[10]
    cdef Py_ssize_t size = len(payload)
    cdef int head_size = 2
    cdef int shift
    head[0] = <uint8_t> (opcode | (fin << 7) | (rsv1 << 6))
    if size < 126:
        head[1] = <uint8_t> size
    else:
        head[1] = 126 if size < 0x10000 else 127
        shift = 8 if size < 0x10000 else 56
        while shift >= 0:
            head[head_size] = <uint8_t> (size >> shift)
            head_size += 1
            shift -= 8
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, head_size + size)
    memcpy(PyBytes_AS_STRING(frame), head, head_size)
    memcpy(PyBytes_AS_STRING(frame) + head_size, PyBytes_AS_STRING(payload), size)
    return frame


cdef bytes close_frame(uint32_t code, bytes text):
    if code == 0 or code == CLOSE_NO_CODE:
        code = CLOSE_NORMAL
    elif not close_code_ok(code):
        code = CLOSE_SERVER_ERROR
    text = fitting(text, WS_CONTROL_MAX - 2)
    return ws_frame(Opcode.CLOSE, code.to_bytes(2, "big") + text, True, False)


cdef bytes fitting(bytes text, Py_ssize_t size_max):
    # Cut between two characters.
    cdef const uint8_t* at = <const uint8_t*> PyBytes_AS_STRING(text)
    cdef Py_ssize_t size = len(text)
    if utf8_check(UTF8_OK, at, size) != UTF8_OK:
        return b""
    if size > size_max:
        size = size_max
        while at[size] & 0xC0 == 0x80:
            size -= 1
    return text[:size]
