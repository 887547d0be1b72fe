"""The reader against h11: what one accepts the other accepts, and both understand the same.

Where they differ the difference is listed here, with its reason.
"""

from __future__ import annotations

from typing import Any

import h11
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastpath import probe_session as probe
from fastpath.http_reader import HttpReader

HEAD_MAX = 65536

# What h11 accepts and we refuse, by our text: what a proxy passes on must have one meaning.
ONLY_H11 = {
    b"Invalid method encountered": "llhttp knows the methods that are registered",
    b"not a valid WebSocket request": "h11 leaves the handshake to others",
    b"CONNECT is not supported": "there is no tunnel through a push proxy",
    b"Invalid characters in url": "h11 does not look at the form of a target",
    b"Unexpected char in url schema": "the same",
    b"invalid request target": "the same",
    b"Invalid HTTP version": "h11 takes any digits",
    b"unsupported HTTP version": "the same",
    b"invalid Host": "h11 does not look at the value",
    b"Invalid header value char": "h11 lets DEL pass",
    b"Transfer-Encoding on HTTP/1.0": "RFC 9112, 6.1: to be treated as faulty framing",
    b"Transfer-Encoding can't be present with Content-Length": "RFC 9112, 6.3",
    b"Content-Length can't be present with Transfer-Encoding": "the same",
    b"Duplicate Content-Length": "RFC 9110, 8.6 permits either; h11 joins equal values",
    b"Invalid character in Content-Length": "the same, in one line",
    b"Unexpected whitespace after header value": "h11 unfolds folded lines (RFC 9112, 5.2)",
    b"Missing expected CR after header value": "h11 takes a bare LF as the end of a line",
    b"Expected CRLF after version": "the same",
    b"Missing expected CR after chunk size": "the same",
    b"Chunk size overflow": "h11 takes sizes of twenty digits",
    b"Invalid character in chunk size": "h11 lets blanks stand behind the size of a chunk",
}
# What we accept and h11 refuses, by its text.
ONLY_US = {
    "no request line received": "RFC 9112, 2.2: empty lines in front of a request are skipped",
}

Seen = list[tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes, bool]]


def seen_by_us(run: bytes) -> tuple[Seen, bytes | None]:
    """The requests, and the text of the fault that ended them."""
    reader = HttpReader(HEAD_MAX, 0)
    seen: Seen = []
    for r in probe.read_requests(reader, run):
        if r["fault"]:
            return seen, r["fault_text"]
        headers = [(name, plain(name, value)) for name, value in r["headers"]]
        seen.append((r["method"], r["target"], headers, r["body"], r["complete"]))
    return seen, None


def plain(name: bytes, value: bytes) -> bytes:
    """A value as h11 gives it: `chunked` in lower case."""
    return value.lower() if name.lower() == b"transfer-encoding" else value


def seen_by_h11(run: bytes) -> tuple[Seen, str | None]:
    """The same, from h11."""
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX)
    server.receive_data(run)
    seen: Seen = []
    request: Any = None
    body = b""
    try:
        while True:
            event = server.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                seen.append((*head_of(request), body, True))
                request = None
                if not next_cycle(server):
                    return seen, None
            else:
                if request is not None:
                    seen.append((*head_of(request), body, False))
                return seen, None
    except h11.RemoteProtocolError as error:
        return seen, str(error)


def head_of(request: Any) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]]:
    return request.method, request.target, [(n, v) for n, v in request.headers.raw_items()]


def next_cycle(server: h11.Connection) -> bool:
    server.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
    server.send(h11.EndOfMessage())
    if server.our_state is not h11.DONE or server.their_state is not h11.DONE:
        return False
    server.start_next_cycle()
    return True


METHODS = st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"PURGE", b"FOO", b"CONNECT"])
TARGETS = st.sampled_from(
    [b"/", b"/a?b=c", b"*", b"http://a/", b"a:80", b"foo", b"/\xc3\xa9", b"/a b", b"//x", b"/#f"]
)
VERSIONS = st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1"])
ENDS = st.sampled_from([b"\r\n"] * 30 + [b"\n", b"\r", b"\r\n ", b" \r\n"])
FIELDS = st.sampled_from(
    [
        *(b"Host: a", b"host:a:80", b"Host: a b", b"Host:", b"X: 1", b"X:\t 1 \t", b"X:"),
        *(b"X : 1", b" X: 1", b"X", b": 1", b"X: \x80\xff", b"X: a\0b", b"X: a\x01b", b"X: a\x7fb"),
        *(b"Content-Length: 0", b"Content-Length: 3", b"content-length: 03", b"Content-Length: x"),
        *(
            b"Content-Length: -1",
            b"Content-Length: 3, 3",
            b"Content-Length:",
            b"X(: 1",
            b"X\xe9: 1",
        ),
        *(b"Transfer-Encoding: chunked", b"transfer-encoding: CHUNKED", b"Transfer-Encoding: gzip"),
        *(b"Transfer-Encoding: gzip, chunked", b"Connection: close", b"Connection: keep-alive"),
        *(b"Connection: Upgrade", b"Upgrade: foo", b"Expect: 100-continue", b"Cookie: a=b; c"),
    ]
)
BODIES = st.sampled_from(
    [
        *(
            b"",
            b"",
            b"abc",
            b"abcdef",
            b"3\r\nabc\r\n0\r\n\r\n",
            b"3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n",
        ),
        *(
            b"3\r\nabcd\r\n",
            b"0\r\n\r\n",
            b"g\r\n",
            b"-3\r\nabc",
            b"3\nabc\n0\n\n",
            b"\r\n",
            b"\x00",
        ),
        *(b"FFFFFFFFFFFFFFFFF\r\n", b"0003\r\nabc\r\n0\r\n\r\n", b"3 \r\nabc\r\n0\r\n\r\n"),
    ]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    out = b"%b %b %b" % (draw(METHODS), draw(TARGETS), draw(VERSIONS)) + draw(ENDS)
    if draw(st.integers(0, 9)):
        out += b"Host: a\r\n"
    for field in draw(st.lists(FIELDS, max_size=4)):
        out += field + draw(ENDS)
    return out + b"\r\n" + draw(BODIES)


@settings(max_examples=1000, deadline=None)
@given(run=st.lists(requests(), min_size=1, max_size=2).map(b"".join))
@example(run=b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
def test_both_accept_the_same_requests_and_understand_the_same(run: bytes) -> None:
    ours, fault = seen_by_us(run)
    theirs, error = seen_by_h11(run)
    common = min(len(ours), len(theirs))
    assert ours[:common] == theirs[:common]
    if len(theirs) > common:
        assert fault in ONLY_H11, (fault, theirs[common])
    elif len(ours) > common and error is not None:
        assert error in ONLY_US, (error, ours[common])
