"""The orders of the link, read (LINK.md, Orders; the twin is control/link/codec.py).

The readers of fields bear the names of LINK.md's types, check before they read, and raise
ValueError with the field's name. This module never keeps a byte, knows no session and decides
nothing.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t

from fastpath.link_wire cimport Kind, Verdict
from fastpath.outcome cimport Outcome
from fastpath.view cimport View, has, take_u8, take_u16, take_u32, take_u64

cdef enum:
    HTTP_RESPONSE = 1      # kinds of a format
    HTTP_STREAM = 2
    WS_MESSAGE = 3
    ACTION_SEND = 0
    ACTION_CLOSE = 2
    ACTION_REFRESH = 3


@cython.final
cdef class HoldOrder:
    """A HOLD as it was read; a value."""


cdef bytes read_welcome(View payload):
    return rest(&payload)


cdef tuple read_respond(View payload):
    cdef View* v = &payload
    status = u16(v, "status")
    reason = str16(v, "reason")
    block = headers(v, "headers")
    length = i64(v, "length")
    if length < -1:
        raise ValueError(f"length is {length}")
    body = str32(v, "body")
    end(v)
    return status, reason, block, length, body


cdef tuple read_send(View payload):
    cdef View* v = &payload
    kind = choice(v, Kind.KIND_BODY, Kind.KIND_CLOSE, "kind")
    return kind, rest(v)


cdef tuple read_accept(View payload):
    block = headers(&payload, "headers")
    route = u16(&payload, "route")
    end(&payload)
    return block, route


cdef HoldOrder read_hold(View payload):
    cdef View* v = &payload
    cdef HoldOrder order = HoldOrder.__new__(HoldOrder)
    order.mode = choice(v, 1, 2, "mode")
    order.timeout_ms = u32(v, "timeout")
    order.keep_alive_mode = choice(v, 0, 2, "keep-alive mode")
    order.keep_alive_ms = u32(v, "keep-alive milliseconds")
    order.keep_alive = str32(v, "keep-alive bytes")
    order.channels = []
    for _ in range(u16(v, "channels")):
        channel = str16(v, "channel")
        prev_id = opt16(v, "prev-id")
        order.channels.append((channel, prev_id, str16(v, "traits")))
    order.answered = choice(v, 0, 1, "answered")
    order.status = u16(v, "status")
    order.reason = str16(v, "reason")
    order.headers = headers(v, "headers")
    order.body = str32(v, "body")
    order.request_body = str32(v, "request body")
    order.link_ms = u32(v, "link milliseconds")
    order.watched = choice(v, 0, 1, "watched")
    order.context = str32(v, "context")
    order.route = u16(v, "route")
    end(v)
    return order


cdef tuple read_subscribe(View payload):
    cdef View* v = &payload
    channel = str16(v, "channel")
    traits = str16(v, "traits")
    end(v)
    return channel, traits


cdef tuple read_verdict(View payload):
    cdef View* v = &payload
    cdef list verdicts = []
    number = u32(v, "number")
    for _ in range(u16(v, "verdicts")):
        verdict = choice(v, Verdict.DROP, Verdict.FAILED, "verdict")
        verdicts.append((verdict, str32(v, "content") if verdict >= Verdict.INSTEAD else b""))
    end(v)
    return number, verdicts


cdef bytes read_channel(View payload):
    channel = str16(&payload, "channel")
    end(&payload)
    return channel


cdef tuple read_publish(View payload):
    cdef View* v = &payload
    channel = str16(v, "channel")
    item_id = opt16(v, "id")
    prev_id = opt16(v, "prev-id")
    meta = str32(v, "meta")
    cdef list formats = []
    for _ in range(u16(v, "formats")):
        formats.append(item_format(v))
    end(v)
    return channel, item_id, prev_id, meta, formats


cdef tuple item_format(View* v):
    cdef int kind = choice(v, HTTP_RESPONSE, WS_MESSAGE, "format kind")
    cdef int action = choice(v, ACTION_SEND, ACTION_REFRESH, "action")
    if action == ACTION_CLOSE and kind == WS_MESSAGE:
        code = u16(v, "close code")
        return kind, action, code, str16(v, "close text")
    if action != ACTION_SEND:
        return kind, action
    if kind == HTTP_STREAM:
        return kind, action, str32(v, "content")
    if kind == WS_MESSAGE:
        ws_kind = choice(v, Kind.KIND_TEXT, Kind.KIND_PONG, "message kind")
        return kind, action, ws_kind, str32(v, "content")
    status = u16(v, "status")
    reason = str16(v, "reason")
    block = headers(v, "headers")
    patch = choice(v, 0, 1, "patch")
    return kind, action, status, reason, block, patch, str32(v, "body")


cdef tuple read_close(View payload):
    cdef View* v = &payload
    reason = u16(v, "reason")
    code = u16(v, "close code")
    text = str16(v, "text")
    end(v)
    return reason, code, text


cdef uint32_t read_grant(View payload) except? 0xFFFFFFFF:
    cdef uint32_t count = u32(&payload, "bytes")
    end(&payload)
    return count


cdef tuple read_keep_alive(View payload):
    cdef View* v = &payload
    mode = choice(v, 0, 2, "mode")
    interval_ms = u32(v, "milliseconds")
    kind = choice(v, Kind.KIND_TEXT, Kind.KIND_PONG, "kind")
    content = str32(v, "content")
    end(v)
    return mode, interval_ms, kind, content


cdef Outcome read_bare(View payload) except Outcome.FAIL:
    return end(&payload)


# -- fields of an order

cdef inline Outcome need(View* v, Py_ssize_t size, str field) except Outcome.FAIL:
    if not has(v, size):
        raise ValueError(f"{field}: the payload is too short")
    return Outcome.DONE


cdef inline Outcome end(View* v) except Outcome.FAIL:
    if v.left:
        raise ValueError(f"the payload has {v.left} bytes left over")
    return Outcome.DONE


cdef inline int choice(View* v, int least, int most, str field) except -1:
    need(v, 1, field)
    cdef int x = take_u8(v)
    if not least <= x <= most:
        raise ValueError(f"{field} is {x}, not from {least} to {most}")
    return x


cdef inline int u16(View* v, str field) except -1:
    need(v, 2, field)
    return take_u16(v)


cdef inline int64_t u32(View* v, str field) except -1:
    need(v, 4, field)
    return take_u32(v)


cdef inline int64_t i64(View* v, str field) except? -1:
    need(v, 8, field)
    return <int64_t> take_u64(v)


cdef inline bytes run(View* v, Py_ssize_t size, str field):
    need(v, size, field)
    cdef const uint8_t* at = v.at
    v.at += size
    v.left -= size
    return PyBytes_FromStringAndSize(<const char*> at, size)


cdef inline bytes str16(View* v, str field):
    return run(v, u16(v, field), field)


cdef inline bytes str32(View* v, str field):
    return run(v, u32(v, field), field)


cdef inline bytes opt16(View* v, str field):
    return str16(v, field) if choice(v, 0, 1, field) else None


cdef inline bytes rest(View* v):
    return run(v, v.left, "rest")


cdef list headers(View* v, str field):
    cdef list block = []
    for _ in range(u16(v, field)):
        name = str16(v, field)
        block.append((name, str32(v, field)))
    return block
