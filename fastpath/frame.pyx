"""A message, and the bytes each variant of it becomes (floor 2). Rendered once, shared by all."""

cimport cython

from fastpath.cors import MARK as EXPOSE, exposing
from fastpath.http_wire cimport chunk, head
from fastpath.jsonp import MARK as JSONP, wrapped
from fastpath.link_wire cimport Kind
from fastpath.patch import patched
from fastpath.variants cimport Mode, Variant
from fastpath.ws_deflate cimport WINDOW_BITS_MAX, deflated
from fastpath.ws_wire cimport WS_CONTROL_MAX, Opcode, ws_frame as render_ws

cdef frozenset FRAMING = frozenset(
    (b"connection", b"keep-alive", b"transfer-encoding", b"content-length")
)


@cython.final
cdef class HeldResponse:
    """What a response hold was given; compared and hashed by identity."""

    def __init__(self, uint16_t status, bytes reason, list headers, bytes body):
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body


@cython.final
cdef class KeepAlive:
    """What an idle stream or WebSocket is sent, and when (GRIP.md 1.7, 5.4)."""

    def __init__(self, bytes content, uint32_t interval_ms, bint idle):
        self.content = content
        self.interval_ms = interval_ms
        self.idle = idle

    cdef bytes chunked(self):
        if self._chunk is None:
            self._chunk = chunk(self.content)
        return self._chunk


@cython.final
cdef class ResponseFormat:
    """The http-response rendition of an item (GRIP.md 2.5)."""

    def __init__(self, uint8_t action, uint16_t status=200, bytes reason=b"", list headers=None,
                 bint patch=False, bytes body=b""):
        self.action = action
        self.status = status
        self.reason = reason
        self.headers = headers if headers is not None else []
        self.patch = patch
        self.body = body


@cython.final
cdef class StreamFormat:
    """The http-stream rendition of an item (GRIP.md 2.5)."""

    def __init__(self, uint8_t action, bytes content=b""):
        self.action = action
        self.content = content


@cython.final
cdef class WsFormat:
    """The ws-message rendition of an item (GRIP.md 2.5)."""

    def __init__(self, uint8_t action, uint8_t kind=0, bytes content=b"", uint16_t code=0,
                 bytes text=b""):
        self.action = action
        self.kind = kind
        self.content = content
        self.code = code
        self.text = text


@cython.final
cdef class Message:
    """One item on its way to the sessions of a channel."""

    def __init__(self, bytes channel, bytes id=None, bytes prev_id=None):
        self.channel = channel
        self.id = id
        self.prev_id = prev_id
        self.meta = b""

    cdef int action(self, int mode) noexcept:
        if mode == Mode.MODE_RESPONSE:
            return self.response.action if self.response is not None else -1
        if mode == Mode.MODE_STREAM:
            return self.stream.action if self.stream is not None else -1
        return self.ws.action if self.ws is not None else -1

    cdef bytes content(self, int mode):
        if mode == Mode.MODE_RESPONSE:
            return self.response.body
        return self.stream.content if mode == Mode.MODE_STREAM else self.ws.content

    cdef Message with_content(self, int mode, bytes content):
        cdef Message m = Message(self.channel, self.id, self.prev_id)
        if mode == Mode.MODE_RESPONSE:
            m.response = ResponseFormat(
                Action.SEND, self.response.status, self.response.reason, self.response.headers,
                self.response.patch, content,
            )
        elif mode == Mode.MODE_STREAM:
            m.stream = StreamFormat(Action.SEND, content)
        else:
            m.ws = WsFormat(Action.SEND, self.ws.kind, content)
        return m

    cdef bytes frame(self, Variant v):
        return self.ws_frame(v) if v >= Variant.WS else self.stream_frame(v)

    cdef bytes stream_frame(self, Variant v):
        if v == Variant.STREAM_PLAIN:
            return self.stream.content
        if self._chunk is None:
            self._chunk = chunk(self.stream.content)
        return self._chunk

    cdef bytes _body(self, HeldResponse held):
        if self.response.patch:
            return patched(held.body, self.response.body)
        return self.response.body

    cdef bytes ws_frame(self, Variant v):
        if v == Variant.WS:
            if self._ws is None:
                self._ws = whole_frame(self.ws.kind, self.ws.content, 0)
            return self._ws
        if self._ws_deflated is None:
            self._ws_deflated = whole_frame(self.ws.kind, self.ws.content, WINDOW_BITS_MAX)
        return self._ws_deflated

    cdef bytes response_frame(self, HeldResponse held, int minor, bint keep_alive, bint head_only):
        cdef tuple key = (held, minor, keep_alive, head_only)
        cdef bytes frame
        if self._responses is None:
            self._responses = {}
        frame = self._responses.get(key)
        if frame is None:
            frame = render(
                self.response.status, self.response.reason,
                merged(held.headers, self.response.headers), self._body(held),
                minor, keep_alive, head_only,
            )
            self._responses[key] = frame
        return frame


cdef bytes whole_frame(int kind, bytes content, int window_bits):
    cdef bytes small = None
    if kind == Kind.KIND_PING or kind == Kind.KIND_PONG:
        if len(content) > WS_CONTROL_MAX:
            return b""
        return render_ws(
            Opcode.PING if kind == Kind.KIND_PING else Opcode.PONG, content, True, False
        )
    if window_bits:
        small = deflated(content, window_bits)
    return render_ws(
        Opcode.TEXT if kind == Kind.KIND_TEXT else Opcode.BINARY,
        content if small is None else small, True, small is not None,
    )


cdef bytes held_frame(HeldResponse held, int minor, bint keep_alive, bint head_only):
    return render(
        held.status, held.reason, merged(held.headers, []), held.body, minor, keep_alive, head_only
    )


cdef list merged(list held, list published):
    # GRIP.md 2.6.1: the publish's headers replace those of the same name. What frames the body
    # or concerns the connection is taken from neither.
    cdef list new = [
        (name, value) for name, value in published
        if not name.lower().startswith(b"grip-") and name.lower() not in FRAMING
    ]
    cdef set gone = {name.lower() for name, _ in published}
    gone |= FRAMING
    return [(name, value) for name, value in held if name.lower() not in gone] + new


cdef bytes render(int status, bytes reason, list headers, bytes body, int minor, bint keep_alive,
                  bint head_only):
    cdef bint bodiless
    if headers and headers[0][0] == EXPOSE:
        headers = exposing(headers[1:])
    elif headers and headers[0][0] == JSONP:
        status, reason, headers, body = wrapped(headers[0][1], status, reason, headers[1:], body)
    bodiless = status == 204 or status == 304
    cdef bytes framing = b"" if bodiless else b"Content-Length: %d\r\n" % len(body)
    if not keep_alive:
        framing += b"Connection: close\r\n"
    elif minor == 0:
        framing += b"Connection: keep-alive\r\n"
    return head(minor, status, reason, headers, framing) + (
        b"" if bodiless or head_only else body
    )
