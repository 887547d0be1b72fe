"""The packets of the link (LINK.md, Header): cut out of the stream, one at a time.

What is in a packet is understood by link_orders and written by link_reports. This module never
keeps a byte and decides nothing.
"""

from libc.stdint cimport uint16_t, uint32_t

from fastpath.limits cimport LINK_HEADER_SIZE, LINK_PAYLOAD_MAX
from fastpath.view cimport View, has, take_u8, take_u16, take_u32, take_u64

cdef LinkStep link_read(Packet* p, View* v) noexcept nogil:
    # The view moves only past a whole packet: a bad one is left in front, to be logged.
    cdef View ahead = v[0]
    if not has(&ahead, LINK_HEADER_SIZE):
        return LINK_MORE
    cdef uint32_t size = take_u32(&ahead)
    p.op = take_u8(&ahead)
    p.flags = take_u8(&ahead)
    cdef uint16_t reserved = take_u16(&ahead)
    p.ref = take_u64(&ahead)
    if p.op < WELCOME or p.op > VERDICT or p.flags & ~FLAG_MORE or reserved:
        return LINK_BAD
    if size > LINK_PAYLOAD_MAX:
        return LINK_BAD
    if not has(&ahead, size):
        return LINK_MORE
    p.payload.at = ahead.at
    p.payload.left = size
    v.at = ahead.at + size
    v.left = ahead.left - size
    return LINK_PACKET
