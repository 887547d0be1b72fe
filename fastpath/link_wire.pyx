"""The bytes of the link: orders read, reports written (LINK.md; the twin is control/link/codec.py).

The readers of fields bear the names of LINK.md's types, check before they read, and raise
ValueError with the field's name. The writers measure, allocate once and fill. This module never
keeps a byte, knows no session and decides nothing.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastpath.limits cimport LINK_HEADER_SIZE, LINK_PAYLOAD_MAX, LINK_VERSION
from fastpath.outcome cimport Outcome
from fastpath.view cimport View, has, take_u8, take_u16, take_u32, take_u64

cdef bytes MAGIC = b"FWLK"

cdef enum:
    U16_MAX = 0xFFFF
    HTTP_RESPONSE = 1      # kinds of a format
    HTTP_STREAM = 2
    WS_MESSAGE = 3
    ACTION_SEND = 0
    ACTION_CLOSE = 2
    ACTION_REFRESH = 3
    REACHED_SIZE = 2 + 3 * 4 + 2 * 8


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


# -- orders

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


cdef tuple read_hold(View payload):
    cdef View* v = &payload
    mode = choice(v, 1, 2, "mode")
    timeout_ms = u32(v, "timeout")
    keep_alive_mode = choice(v, 0, 2, "keep-alive mode")
    keep_alive_ms = u32(v, "keep-alive milliseconds")
    keep_alive = str32(v, "keep-alive bytes")
    cdef list channels = []
    for _ in range(u16(v, "channels")):
        channel = str16(v, "channel")
        prev_id = opt16(v, "prev-id")
        channels.append((channel, prev_id, str16(v, "traits")))
    answered = choice(v, 0, 1, "answered")
    status = u16(v, "status")
    reason = str16(v, "reason")
    block = headers(v, "headers")
    body = str32(v, "body")
    request_body = str32(v, "request body")
    link_ms = u32(v, "link milliseconds")
    watched = choice(v, 0, 1, "watched")
    context = str32(v, "context")
    route = u16(v, "route")
    end(v)
    return (mode, timeout_ms, keep_alive_mode, keep_alive_ms, keep_alive, channels, answered,
            status, reason, block, body, request_body, link_ms, watched, context, route)


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


# -- reports

cdef bytes write_hello(uint32_t pid, uint16_t worker, bint resumed):
    cdef uint8_t* at
    out = packet(HELLO, 0, 0, 4 + 2 + 4 + 2 + 1, &at)
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
    out = packet(OPENED, FLAG_MORE if more else 0, ref, size, &at)
    at = put_pairs(put_u64(put_u8(at, again), length), lasts)
    put_run(put_str32(at, body), head)
    return out


cdef bytes write_received(uint64_t ref, int kind, object body, bint more):
    cdef uint8_t* at
    cdef Py_buffer source
    PyObject_GetBuffer(body, &source, PyBUF_SIMPLE)
    try:
        out = packet(RECEIVED, FLAG_MORE if more else 0, ref, 1 + source.len, &at)
        memcpy(put_u8(at, kind), source.buf, source.len)
    finally:
        PyBuffer_Release(&source)
    return out


cdef bytes write_granted(uint64_t ref, uint32_t count):
    cdef uint8_t* at
    out = packet(GRANTED, 0, ref, 4, &at)
    put_u32(at, count)
    return out


cdef bytes write_held(bytes channel, int modes):
    cdef uint8_t* at
    out = packet(HELD, 0, 0, size16(channel, "channel") + 1, &at)
    put_u8(put_str16(at, channel), modes)
    return out


cdef bytes write_freed(bytes channel, int modes, uint64_t orders):
    cdef uint8_t* at
    out = packet(FREED, 0, 0, size16(channel, "channel") + 1 + 8, &at)
    put_u64(put_u8(put_str16(at, channel), modes), orders)
    return out


cdef bytes write_signalled(uint64_t ref, int what):
    cdef uint8_t* at
    out = packet(SIGNALLED, 0, ref, 1, &at)
    put_u8(at, what)
    return out


cdef bytes write_closed(uint64_t ref, int reason, int code, bytes context):
    cdef uint8_t* at
    out = packet(CLOSED, 0, ref, 2 + 2 + size32(context), &at)
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
    out = packet(MET, 0, 0, size, &at)
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
    out = packet(LAPSED, 0, ref, 1 + size_pairs(lasts) + size32(context), &at)
    put_str32(put_pairs(put_u8(at, why), lasts), context)
    return out


cdef bytes write_json(int op, bytes json):
    cdef uint8_t* at
    out = packet(op, 0, 0, len(json), &at)
    put_run(at, json)
    return out


cdef bytes write_counted(bytes channel, uint32_t responses, uint32_t streams, uint32_t websockets):
    cdef uint8_t* at
    out = packet(COUNTED, 0, 0, size16(channel, "channel") + 4 + 4 + 4, &at)
    put_u32(put_u32(put_u32(put_str16(at, channel), responses), streams), websockets)
    return out


cdef bytes write_delivered(bytes channel, bytes id, tuple sizes, list reached):
    cdef uint8_t* at
    cdef Py_ssize_t size = size16(channel, "channel") + 1 + 3 * 4 + 2 + len(reached) * REACHED_SIZE
    size += 0 if id is None else size16(id, "id")
    out = packet(DELIVERED, 0, 0, size, &at)
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
    return packet(LEFT, 0, ref, 0, &at)


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
