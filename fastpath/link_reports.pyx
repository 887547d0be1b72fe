"""The reports of the link, written (LINK.md, Reports; the twin is control/link/reports.py).

The writers measure, allocate once and fill. This module never keeps a byte, knows no session and
decides nothing.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastpath.limits cimport LINK_HEADER_SIZE, LINK_PAYLOAD_MAX, LINK_VERSION
from fastpath.link_wire cimport FLAG_MORE, Report
from fastpath.outcome cimport Outcome

cdef bytes MAGIC = b"FWLK"

cdef enum:
    U16_MAX = 0xFFFF
    REACHED_SIZE = 2 + 3 * 4 + 2 * 8


cdef bytes write_hello(uint32_t pid, uint16_t worker, bint resumed):
    cdef uint8_t* at
    out = packet(Report.HELLO, 0, 0, 4 + 2 + 4 + 2 + 1, &at)
    at = put_u16(put_run(at, MAGIC), LINK_VERSION)
    put_u8(put_u16(put_u32(at, pid), worker), resumed)
    return out


cdef bytes opened_head(
    int kind, int minor, bint tls, bytes peer, bytes method, bytes target, list headers
):
    cdef bytes name, value
    cdef Py_ssize_t size = 1 + 1 + 1 + size16(peer, "peer") + size16(method, "method")
    size += size32(target) + 2
    within(len(headers), "number of headers")
    for name, value in headers:
        size += size16(name, "header name") + size32(value)
    cdef bytes out = PyBytes_FromStringAndSize(NULL, size)
    cdef uint8_t* at = <uint8_t*> PyBytes_AS_STRING(out)
    at = put_u8(put_u8(put_u8(at, kind), minor), tls)
    at = put_u16(put_str32(put_str16(put_str16(at, peer), method), target), len(headers))
    for name, value in headers:
        at = put_str32(put_str16(at, name), value)
    return out


cdef bytes write_opened(
    uint64_t ref, bytes head, bint again, int64_t length, list lasts, bytes body, bint more
):
    cdef uint8_t* at
    cdef Py_ssize_t size = 1 + 8 + size_pairs(lasts) + size32(body) + len(head)
    out = packet(Report.OPENED, FLAG_MORE if more else 0, ref, size, &at)
    at = put_pairs(put_u64(put_u8(at, again), length), lasts)
    put_run(put_str32(at, body), head)
    return out


cdef bytes write_received(uint64_t ref, int kind, object body, bint more):
    cdef uint8_t* at
    cdef Py_buffer source
    PyObject_GetBuffer(body, &source, PyBUF_SIMPLE)
    try:
        out = packet(Report.RECEIVED, FLAG_MORE if more else 0, ref, 1 + source.len, &at)
        memcpy(put_u8(at, kind), source.buf, source.len)
    finally:
        PyBuffer_Release(&source)
    return out


cdef bytes write_granted(uint64_t ref, uint32_t count):
    cdef uint8_t* at
    out = packet(Report.GRANTED, 0, ref, 4, &at)
    put_u32(at, count)
    return out


cdef bytes write_held(bytes channel, int modes):
    cdef uint8_t* at
    out = packet(Report.HELD, 0, 0, size16(channel, "channel") + 1, &at)
    put_u8(put_str16(at, channel), modes)
    return out


cdef bytes write_freed(bytes channel, int modes, uint64_t orders):
    cdef uint8_t* at
    out = packet(Report.FREED, 0, 0, size16(channel, "channel") + 1 + 8, &at)
    put_u64(put_u8(put_str16(at, channel), modes), orders)
    return out


cdef bytes write_signalled(uint64_t ref, int what):
    cdef uint8_t* at
    out = packet(Report.SIGNALLED, 0, ref, 1, &at)
    put_u8(at, what)
    return out


cdef bytes write_closed(uint64_t ref, int reason, int code, bytes context):
    cdef uint8_t* at
    out = packet(Report.CLOSED, 0, ref, 2 + 2 + size32(context), &at)
    put_str32(put_u16(put_u16(at, reason), code), context)
    return out


cdef bytes write_met(
    uint32_t number, bytes channel, bytes item_id, bytes meta, list contents, list groups
):
    cdef uint8_t* at
    cdef Py_ssize_t size = 4 + size16(channel, "channel") + 1 + size32(meta) + 2 + 2
    size += 0 if item_id is None else size16(item_id, "id")
    within(len(groups), "number of groups")
    for _, content in contents:
        size += 1 + size32(content)
    for _, _, traits, ids in groups:
        size += 1 + 1 + size16(traits, "traits") + size_pairs(ids)
    out = packet(Report.MET, 0, 0, size, &at)
    at = put_u8(put_str16(put_u32(at, number), channel), item_id is not None)
    at = at if item_id is None else put_str16(at, item_id)
    at = put_u16(put_str32(at, meta), len(contents))
    for mode, content in contents:
        at = put_str32(put_u8(at, mode), content)
    at = put_u16(at, len(groups))
    for mode, action, traits, ids in groups:
        at = put_pairs(put_str16(put_u8(put_u8(at, mode), action), traits), ids)
    return out


cdef bytes write_lapsed(uint64_t ref, int why, list lasts, bytes context):
    cdef uint8_t* at
    out = packet(Report.LAPSED, 0, ref, 1 + size_pairs(lasts) + size32(context), &at)
    put_str32(put_pairs(put_u8(at, why), lasts), context)
    return out


cdef bytes write_json(int op, bytes json):
    cdef uint8_t* at
    out = packet(op, 0, 0, len(json), &at)
    put_run(at, json)
    return out


cdef bytes write_counted(bytes channel, uint32_t responses, uint32_t streams, uint32_t websockets):
    cdef uint8_t* at
    out = packet(Report.COUNTED, 0, 0, size16(channel, "channel") + 4 + 4 + 4, &at)
    put_u32(put_u32(put_u32(put_str16(at, channel), responses), streams), websockets)
    return out


cdef bytes write_delivered(bytes channel, bytes id, tuple sizes, list reached):
    cdef uint8_t* at
    cdef Py_ssize_t size = size16(channel, "channel") + 1 + 3 * 4 + 2 + len(reached) * REACHED_SIZE
    size += 0 if id is None else size16(id, "id")
    out = packet(Report.DELIVERED, 0, 0, size, &at)
    at = put_u8(put_str16(at, channel), id is not None)
    at = at if id is None else put_str16(at, id)
    for content_bytes in sizes:
        at = put_u32(at, content_bytes)
    at = put_u16(at, len(reached))
    for route, responses, streams, websockets, head_bytes, body_bytes in reached:
        at = put_u32(put_u32(put_u32(put_u16(at, route), responses), streams), websockets)
        at = put_u64(put_u64(at, head_bytes), body_bytes)
    return out


cdef bytes write_left(uint64_t ref):
    cdef uint8_t* at
    return packet(Report.LEFT, 0, ref, 0, &at)


cdef bytes write_bare(int op):
    cdef uint8_t* at
    return packet(op, 0, 0, 0, &at)


# -- fields of a report: what they measure, then where the next byte goes

cdef inline Outcome within(Py_ssize_t count, str field) except Outcome.FAIL:
    if count > U16_MAX:
        raise ValueError(f"{field} is {count}, more than a u16")
    return Outcome.DONE


cdef Py_ssize_t size_pairs(list pairs) except -1:
    # list<(str16 channel, str16 id)>
    cdef bytes channel, last
    cdef Py_ssize_t size = 2
    within(len(pairs), "number of lasts")
    for channel, last in pairs:
        size += size16(channel, "channel") + size16(last, "last id")
    return size


cdef inline Py_ssize_t size16(bytes run, str field) except -1:
    within(len(run), field)
    return 2 + PyBytes_GET_SIZE(run)


cdef inline Py_ssize_t size32(bytes run) except -1:
    return 4 + len(run)


cdef bytes packet(uint8_t op, uint8_t flags, uint64_t ref, Py_ssize_t size, uint8_t** payload):
    if size > LINK_PAYLOAD_MAX:
        raise ValueError(f"payload is {size} bytes, more than LINK_PAYLOAD_MAX")
    cdef bytes out = PyBytes_FromStringAndSize(NULL, LINK_HEADER_SIZE + size)
    cdef uint8_t* at = <uint8_t*> PyBytes_AS_STRING(out)
    at = put_u8(put_u8(put_u32(at, size), op), flags)
    payload[0] = put_u64(put_u16(at, 0), ref)
    return out


cdef inline uint8_t* put_u8(uint8_t* at, uint8_t x) noexcept nogil:
    at[0] = x
    return at + 1


cdef inline uint8_t* put_u16(uint8_t* at, uint16_t x) noexcept nogil:
    return put_u8(put_u8(at, x >> 8), <uint8_t> x)


cdef inline uint8_t* put_u32(uint8_t* at, uint32_t x) noexcept nogil:
    return put_u16(put_u16(at, x >> 16), <uint16_t> x)


cdef inline uint8_t* put_u64(uint8_t* at, uint64_t x) noexcept nogil:
    return put_u32(put_u32(at, x >> 32), <uint32_t> x)


cdef inline uint8_t* put_run(uint8_t* at, bytes run) except NULL:
    # The caller has measured `run`, which is therefore not None.
    memcpy(at, PyBytes_AS_STRING(run), PyBytes_GET_SIZE(run))
    return at + PyBytes_GET_SIZE(run)


cdef inline uint8_t* put_str16(uint8_t* at, bytes run) except NULL:
    return put_run(put_u16(at, PyBytes_GET_SIZE(run)), run)


cdef inline uint8_t* put_str32(uint8_t* at, bytes run) except NULL:
    return put_run(put_u32(at, PyBytes_GET_SIZE(run)), run)


cdef uint8_t* put_pairs(uint8_t* at, list pairs) except NULL:
    cdef bytes channel, last
    at = put_u16(at, len(pairs))
    for channel, last in pairs:
        at = put_str16(put_str16(at, channel), last)
    return at
