"""Requests out of a client's bytes (floor 2).

llhttp (httptools) understands HTTP/1 and refuses what RFC 9112 calls ambiguous; here its
callbacks take notes, and what llhttp leaves open is checked: the size of a head, the number of
fields, Host, the form of the target, what Transfer-Encoding says. Nothing here answers, waits,
or raises for what a client sent: a fault is written down on the request it belongs to. Behind
PIPELINE_MAX heads, what came stays bytes until it is asked for.
"""

cimport cython
import httptools

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport INT64_MAX

from fastpath.limits cimport HEADER_COUNT_MAX, PIPELINE_MAX
from fastpath.outcome cimport Outcome
from fastpath.reasons cimport Reason
from fastpath.ws_handshake cimport asks_for_websocket, handshake_key

cdef extern from "string.h" nogil:
    void* memmem(const void* at, size_t size, const void* needle, size_t needle_size)

_Upgrade = httptools.HttpParserUpgrade
_CallbackError = httptools.HttpParserCallbackError
_ParserError = httptools.HttpParserError

cdef str HTTP2_PREFACE = "Pause on PRI/Upgrade"    # what llhttp says of it


@cython.final
cdef class Request:
    """One request of a client: its head, and the pieces of its body that nobody has taken."""

    def __cinit__(self):
        self.method = b""
        self.target = b""
        self.headers = []
        self.minor = 1
        self.body = []


@cython.final
cdef class HttpReader:
    """The reading half of one connection, until a hold begins."""

    def __init__(self, uint64_t head_bytes_max, uint64_t body_bytes_max):
        self._head_bytes_max = head_bytes_max
        self._body_bytes_max = body_bytes_max
        self._parser = httptools.HttpRequestParser(self)
        self.requests = []

    cdef bint in_head(self) noexcept:
        return self._in_head

    cdef bint full(self) noexcept:
        return len(self.requests) >= PIPELINE_MAX or (
            self.behind is not None and self._request.websocket_key is None
        )

    cdef bint at_rest(self) noexcept:
        return not self.requests and self._whole() and self.behind is None

    cdef bint _whole(self) noexcept:
        return self._request is None or self._request.complete

    cdef Outcome retire(self) except Outcome.FAIL:
        self._parser = None
        return Outcome.DONE

    cdef Outcome read(self, object data) except Outcome.FAIL:
        cdef bint begins = not self._in_head and self.at_rest()
        cdef Py_ssize_t size = len(data)
        cdef Py_ssize_t cut
        if self._stopped:
            return Outcome.DONE
        if self.behind is not None:
            return self._keep(data)
        if self._in_head or not self._whole():
            self._head_bytes += <uint64_t> size
        while len(data) and not self._stopped:
            if len(self.requests) >= PIPELINE_MAX:
                self._keep(data)
                break
            cut = self._cut(data)
            try:
                self._parser.feed_data(memoryview(data)[:cut])
                data = memoryview(data)[cut:]
            except _Upgrade as stop:           # llhttp stops after any request that names one
                data = memoryview(data)[stop.args[0]:]
                self._go_on_after_upgrade()
                if self._request.websocket_key is not None:
                    self._keep(data)
                    break
            except _CallbackError:             # ours: a note could not be taken
                raise
            except _ParserError as wrong:
                self._fault(Reason.BAD_REQUEST, in_words(str(wrong)))
        if self._in_head and begins and not self.requests:     # nothing else was in this read
            self._head_bytes = <uint64_t> size
        # Trailers and the extensions of chunks are held to the limit of a head: nothing else does.
        if self._head_bytes > self._head_bytes_max and (self._in_head or not self._whole()):
            self._fault(Reason.HEAD_TOO_BIG, None)
        return Outcome.DONE

    cdef Py_ssize_t _cut(self, object data) except -1:
        # How much of it to feed: all, unless it has more heads than there is room for. Each ends
        # with an empty line; a body may have such lines too, and is then fed in parts.
        cdef Request r = self._request
        cdef Py_ssize_t size = len(data)
        cdef Py_buffer run
        if not self._whole() and r.length - <int64_t> r.body_bytes >= size:
            return size
        PyObject_GetBuffer(data, &run, PyBUF_SIMPLE)
        size = empty_line(<const char*> run.buf, size, PIPELINE_MAX - len(self.requests))
        PyBuffer_Release(&run)
        return size

    cdef Outcome _keep(self, object data) except Outcome.FAIL:
        # Behind a handshake the protocol may change: nothing is read until control has answered. A
        # client has nothing to say before that (RFC 6455, 4.1). Behind too many requests there is
        # what one read brought, and what came during a hold: the session reads nothing more.
        cdef Request r = self._request
        self.behind = (self.behind or b"") + bytes(data)
        if r.websocket_key is not None and <uint64_t> len(self.behind) > self._head_bytes_max:
            r.fault = Reason.BAD_REQUEST
            r.fault_text = b"too much behind a WebSocket handshake"
            self.behind = b""
            self._stopped = True
        return Outcome.DONE

    cdef Outcome go_on(self) except Outcome.FAIL:
        cdef bytes data = self.behind
        self.behind = None
        return self.read(data) if data is not None else Outcome.DONE

    cdef Outcome _fault(self, int reason, bytes text) except Outcome.FAIL:
        # The request being read is the one that is wrong. Behind a request that announced the end
        # of the connection there is none: such bytes are ignored (RFC 9112, 9.6).
        cdef Request r = self._request
        self._stopped = True
        if r is not None and r.complete:
            if not r.keep_alive:
                return Outcome.DONE
            r = None
        if r is None:
            r = Request()
            self._in_head = True
        if r.fault == 0:
            r.fault = reason
            r.fault_text = text
        if self._in_head:
            self._in_head = False
            self.requests.append(r)
        self._request = r
        return Outcome.DONE

    cdef Outcome _go_on_after_upgrade(self) except Outcome.FAIL:
        # The request is read as an ordinary one. Its body, if it has one, is still unread: a fresh
        # parser is told that it stands at the beginning of just such a body.
        cdef Request r = self._request
        self._parser = httptools.HttpRequestParser(self)
        if r.length == 0 or r.fault:
            return Outcome.DONE
        r.complete = False
        self._primed = True
        if r.length > 0:
            self._parser.feed_data(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % r.length)
        else:
            self._parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        self._primed = False
        return Outcome.DONE

    # -- llhttp's callbacks: notes, no decisions ---------------------------------------------------

    def on_message_begin(self):
        if self._primed:
            return
        self._request = Request()
        self._in_head = True
        self._head_bytes = 0

    def on_url(self, bytes piece):
        if not self._primed:
            self._request.target += piece      # a target split over reads comes in pieces

    def on_header(self, bytes name, bytes value):
        if self._in_head and not self._primed:  # afterwards: trailers, which are dropped
            # llhttp leaves blanks behind a value, which are no part of it (RFC 9112, 5.1).
            self._request.headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self):
        if self._primed:
            return
        cdef Request r = self._request
        self._in_head = False
        self._head_bytes = 0
        r.method = self._parser.get_method()
        r.keep_alive = self._parser.should_keep_alive()
        r.upgrades = self._parser.should_upgrade()
        check_head(r, self._parser.get_http_version(), self._head_bytes_max)
        if self._body_bytes_max and r.length > <int64_t> self._body_bytes_max and not r.fault:
            r.fault = Reason.BODY_TOO_BIG
        if r.fault:
            self._stopped = True
        self.requests.append(r)

    def on_body(self, bytes piece):
        cdef Request r = self._request
        self._head_bytes = 0
        if r.fault:
            return
        r.body_bytes += <uint64_t> len(piece)
        if self._body_bytes_max and r.body_bytes > self._body_bytes_max:
            r.fault = Reason.BODY_TOO_BIG
            r.body = []
            self._stopped = True
            return
        r.body.append(piece)

    def on_message_complete(self):
        self._request.complete = True


cdef Py_ssize_t empty_line(const char* at, Py_ssize_t size, Py_ssize_t count) noexcept nogil:
    # Where the empty line of this count ends; `size` if there are fewer.
    cdef const char* end = at + size
    cdef const char* found = at
    while count > 0:
        found = <const char*> memmem(found, end - found, b"\r\n\r\n", 4)
        if found is NULL:
            return size
        found += 4
        count -= 1
    return found - at


cdef Outcome check_head(Request r, str version, uint64_t size_max) except Outcome.FAIL:
    # What llhttp leaves open. Sets r.length, r.minor, r.expects_continue; or the fault.
    cdef uint64_t size = <uint64_t> (len(r.method) + len(r.target) + 14)
    cdef int hosts = 0
    cdef bint upgrades = False
    cdef bytes name, value, host = b"", coding = b""
    r.minor = 0 if version == "1.0" else 1
    for name, value in r.headers:
        size += <uint64_t> (len(name) + len(value) + 4)
        name = name.lower()
        if name == b"host":
            hosts += 1
            host = value
        elif name == b"content-length":
            r.length = min(int(value), INT64_MAX)      # llhttp took up to 2**64 - 1
        elif name == b"transfer-encoding":
            r.length = -1
            coding += value.lower()
        elif name == b"upgrade":
            upgrades = True
        elif name == b"expect":
            r.expects_continue = value.lower() == b"100-continue"
    if size > size_max:
        r.fault = Reason.HEAD_TOO_BIG
        return Outcome.DONE
    r.fault_text = what_is_wrong(r, version, hosts, host, coding)
    if r.fault_text is not None:
        r.fault = Reason.BAD_REQUEST
    elif upgrades and asks_for_websocket(r.headers):
        r.websocket_key = handshake_key(r.method, r.minor, r.length != 0, r.headers)
        if r.websocket_key is None:
            r.fault = Reason.BAD_UPGRADE
            r.fault_text = b"not a valid WebSocket request"
    return Outcome.DONE


cdef bytes what_is_wrong(Request r, str version, int hosts, bytes host, bytes coding):
    # The first reason to refuse a head, or None.
    if version not in ("1.0", "1.1"):
        return b"unsupported HTTP version"
    if len(r.headers) > HEADER_COUNT_MAX:
        return b"more than %d header fields" % HEADER_COUNT_MAX
    if hosts > 1:
        return b"more than one Host"
    if hosts == 0 and r.minor == 1:
        return b"no Host"
    if not is_authority(host):
        return b"invalid Host"
    if r.length == -1 and r.minor == 0:
        return b"Transfer-Encoding on HTTP/1.0"
    if r.length == -1 and coding != b"chunked":
        return b"unsupported Transfer-Encoding"
    if r.method == b"CONNECT":
        return b"CONNECT is not supported"
    if r.target[:1] == b"/" or (r.target == b"*" and r.method == b"OPTIONS"):
        return None
    # The authority of the absolute form takes the place of Host (RFC 9112, 3.2.2).
    host = authority_of(r.target)
    return None if host and is_authority(host) else b"invalid request target"


cdef bytes authority_of(bytes target):
    # Of a target in absolute form; empty if it has none, or the target is in no such form.
    cdef bytes scheme, separator, rest
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        return b""
    return rest.partition(b"/")[0].partition(b"?")[0]


cdef bint is_authority(bytes text) except -1:
    # Whether it can be taken for one host and port only. Empty: Host of a target without any.
    return text.isascii() and not any(mark in text for mark in b" \t/@,?#\\")


cdef bytes in_words(str wrong):
    # llhttp's reason, for the client.
    if wrong == HTTP2_PREFACE:
        return b"HTTP/2 is not supported"
    return wrong.encode("utf-8", "replace")
