"""Frames: what a held response and a published one become for each client (GRIP.md 2.6.1)."""

from __future__ import annotations

import zlib

import h11
import pytest

from fastpath import probe_floor2 as probe
from fastpath.frame import HeldResponse, Message, ResponseFormat
from fastpath.probe_floor2 import STREAM_CHUNKED, STREAM_PLAIN, WS, WS_DEFLATED

SEND = 0
Headers = list[tuple[bytes, bytes]]


def held(*headers: tuple[bytes, bytes], body: bytes = b"timed out", status: int = 200):
    return HeldResponse(status, b"OK", list(headers), body)


def published(
    *headers: tuple[bytes, bytes], body: bytes = b"news", status: int = 200, patch: bool = False
) -> Message:
    return probe.message(response=(SEND, status, b"Fine", list(headers), patch, body))


def answer(frame: bytes, method: str = "GET") -> tuple[h11.Response, bytes]:
    """What a client understands; it must be one whole response."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(frame)
    response, body = client.next_event(), b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        body += event.data
    assert isinstance(response, h11.Response)
    assert client.trailing_data[0] == b""
    return response, body


def headers_of(frame: bytes) -> Headers:
    lines = frame.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


# -- streams ---------------------------------------------------------------------------------------


def test_a_stream_of_http_1_1_gets_a_chunk() -> None:
    assert probe.stream_frame(probe.message(stream=(SEND, b"hello")), STREAM_CHUNKED) == (
        b"5\r\nhello\r\n"
    )


def test_a_stream_of_http_1_0_gets_the_bare_content() -> None:
    content = b"hello"
    assert probe.stream_frame(probe.message(stream=(SEND, content)), STREAM_PLAIN) is content


@pytest.mark.parametrize("variant", [STREAM_CHUNKED, STREAM_PLAIN])
def test_empty_content_is_no_frame_that_ends_the_body(variant: int) -> None:
    assert probe.stream_frame(probe.message(stream=(SEND, b"")), variant) == b""


@pytest.mark.parametrize("variant", [STREAM_CHUNKED, STREAM_PLAIN])
def test_a_stream_frame_is_rendered_once(variant: int) -> None:
    message = probe.message(stream=(SEND, b"hello"))
    assert probe.stream_frame(message, variant) is probe.stream_frame(message, variant)


# -- published responses ---------------------------------------------------------------------------


def test_46_a_published_response_has_its_own_status_reason_and_body() -> None:
    frame = probe.response_frame(published(status=201), held())
    assert frame == b"HTTP/1.1 201 Fine\r\nContent-Length: 4\r\n\r\nnews"


def test_47_published_headers_override_those_of_the_hold() -> None:
    hold = held((b"Content-Type", b"text/plain"), (b"X-A", b"1"), (b"x-a", b"2"), (b"X-B", b"3"))
    frame = probe.response_frame(published((b"x-A", b"4"), (b"X-A", b"5"), (b"X-C", b"6")), hold)
    assert headers_of(frame) == [
        (b"Content-Type", b"text/plain"),
        (b"X-B", b"3"),
        (b"x-A", b"4"),
        (b"X-A", b"5"),
        (b"X-C", b"6"),
        (b"Content-Length", b"4"),
    ]


def test_48_grip_headers_of_a_publish_do_not_reach_the_client() -> None:
    frame = probe.response_frame(published((b"Grip-Hold", b"stream"), (b"gRIP-x", b"1")), held())
    assert headers_of(frame) == [(b"Content-Length", b"4")]


@pytest.mark.parametrize("body", [b"", b"x", b"x" * 100_000])
def test_49_content_length_is_that_of_the_delivered_body(body: bytes) -> None:
    response, received = answer(probe.response_frame(published(body=body), held()))
    assert dict(response.headers)[b"content-length"] == b"%d" % len(body)
    assert received == body


@pytest.mark.parametrize("name", [b"Connection", b"Keep-Alive", b"Transfer-Encoding"])
def test_headers_of_the_connection_come_from_nobody_else(name: bytes) -> None:
    wrong = [(name, b"chunked"), (name.lower(), b"x"), (b"content-length", b"999")]
    for frame in (
        probe.response_frame(published(*wrong), held()),
        probe.response_frame(published(), held(*wrong)),
    ):
        assert headers_of(frame) == [(b"Content-Length", b"4")]
    assert headers_of(probe.held_frame(held(*wrong))) == [(b"Content-Length", b"9")]


def test_a_header_that_would_split_the_response_is_refused() -> None:
    with pytest.raises(ValueError, match="header b'X-A'"):
        probe.response_frame(published((b"X-A", b"1\r\nX-B: 2")), held())


@pytest.mark.parametrize(
    ("minor", "keep_alive", "connection"),
    [(1, True, []), (1, False, [b"close"]), (0, True, [b"keep-alive"]), (0, False, [b"close"])],
)
def test_the_client_is_told_whether_its_connection_goes_on(
    minor: int, keep_alive: bool, connection: list[bytes]
) -> None:
    for frame in (
        probe.response_frame(published(), held(), minor, keep_alive),
        probe.held_frame(held(), minor, keep_alive),
    ):
        assert frame.startswith(b"HTTP/1.%d " % minor)
        assert [value for name, value in headers_of(frame) if name == b"Connection"] == connection


def test_an_answer_to_head_has_the_length_and_not_the_body() -> None:
    frame = probe.response_frame(published(), held(), head_only=True)
    assert headers_of(frame) == [(b"Content-Length", b"4")]
    assert answer(frame, "HEAD")[1] == b""


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_neither_body_nor_length(status: int) -> None:
    for frame in (
        probe.response_frame(published(status=status), held()),
        probe.held_frame(held(status=status)),
    ):
        assert headers_of(frame) == []
        assert answer(frame)[1] == b""


def test_53_a_patch_is_applied_to_the_body_of_the_hold() -> None:
    message = published(body=b'[{"op":"add","path":"/b","value":2}]', patch=True)
    assert answer(probe.response_frame(message, held(body=b'{"a": 1}\n')))[1] == b'{"a":1,"b":2}\n'
    assert answer(probe.response_frame(message, held(body=b"{}")))[1] == b'{"b":2}'


def test_54_a_failing_patch_leaves_the_published_status_and_an_empty_body() -> None:
    message = published(body=b'[{"op":"remove","path":"/b"}]', patch=True, status=202)
    frame = probe.response_frame(message, held(body=b'{"a": 1}'))
    assert frame == b"HTTP/1.1 202 Fine\r\nContent-Length: 0\r\n\r\n"


# -- shared ----------------------------------------------------------------------------------------


def test_equal_clients_of_the_same_hold_share_one_frame() -> None:
    message, hold = published(), held()
    first = probe.response_frame(message, hold)
    assert probe.response_frame(message, hold, 1, True, False) is first


def test_whatever_changes_the_bytes_has_a_frame_of_its_own() -> None:
    message, hold, other = published(), held(), held((b"X-A", b"1"))
    frames = {
        probe.response_frame(message, which, minor, keep_alive, head_only)
        for which in (hold, other)
        for minor in (0, 1)
        for keep_alive in (False, True)
        for head_only in (False, True)
    }
    assert len(frames) == 16


def test_a_hold_is_known_by_itself_and_not_by_where_it_lay() -> None:
    message = published(body=b"[]", patch=True)
    for number in range(100):  # each may be made where the one before has just been freed
        frame = probe.response_frame(message, held((b"X-Number", b"%d" % number), body=b"[]"))
        assert (b"X-Number", b"%d" % number) in headers_of(frame)


# -- the timeout response --------------------------------------------------------------------------


def test_45_a_timeout_gives_the_status_headers_and_body_of_the_origin() -> None:
    hold = HeldResponse(404, b"Nothing yet", [(b"X-A", b"1"), (b"x-a", b"2")], b"wait")
    assert probe.held_frame(hold) == (
        b"HTTP/1.1 404 Nothing yet\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 4\r\n\r\nwait"
    )


def test_45_a_timeout_after_head_has_no_body() -> None:
    assert probe.held_frame(held(), head_only=True).endswith(b"\r\nContent-Length: 9\r\n\r\n")


def test_206_what_answers_a_poll_by_jsonp_is_wrapped() -> None:
    hold = held((b":jsonp", b"ecb"), (b"X-A", b"1"), (b"Content-Type", b"a/b"), body=b"wait")
    response, body = answer(probe.response_frame(published(status=404, body=b'"'), hold))
    assert (response.status_code, response.reason) == (200, b"OK")
    assert response.headers.raw_items()[:2] == [
        (b"X-A", b"1"),
        (b"Content-Type", b"application/javascript"),
    ]
    assert body == (
        b'/**/cb({"code": 404, "reason": "Fine", '
        b'"headers": {"X-A": "1", "Content-Type": "a/b"}, "body": "\\""});\n'
    )
    assert answer(probe.held_frame(hold))[1].endswith(b'"body": "wait"});\n')


def test_206_in_the_basic_form_it_is_the_bare_body() -> None:
    hold = held((b":jsonp", b"bcb"))
    assert answer(probe.response_frame(published(body=b"[1]\n"), hold))[1] == b"/**/cb([1]);\n"


def test_206_what_is_not_text_cannot_be_wrapped() -> None:
    message = published((b"X-A", b"1"), body=b"\xff")
    response, body = answer(probe.response_frame(message, held((b":jsonp", b"ecb"))))
    assert response.status_code == 500
    assert body == b"Upstream response could not be JSON-P encoded.\n"


def test_203_what_answers_a_poll_of_another_site_names_its_headers() -> None:
    hold = held((b":expose", b""), (b"X-A", b"1"), (b"Cache-Control", b"no-store"))
    frame = probe.response_frame(published((b"x-a", b"2"), (b"X-B", b"3"), (b"Grip-C", b"4")), hold)
    assert headers_of(frame) == [
        (b"Cache-Control", b"no-store"),
        (b"x-a", b"2"),
        (b"X-B", b"3"),
        (b"Access-Control-Expose-Headers", b"x-a, X-B"),
        (b"Content-Length", b"4"),
    ]
    assert dict(headers_of(probe.held_frame(hold)))[b"Access-Control-Expose-Headers"] == b"X-A"


@pytest.mark.parametrize("by", ["hold", "publish"])
def test_203_what_is_named_already_stays(by: str) -> None:
    own = (b"access-control-expose-headers", b"X-Own")
    hold = held((b":expose", b""), *[own][: by == "hold"], (b"X-A", b"1"))
    frame = probe.response_frame(published(*[own][: by == "publish"], (b"X-B", b"2")), hold)
    names = [name.lower() for name, _ in headers_of(frame)]
    assert names.count(own[0]) == 1
    assert own in headers_of(frame)


def test_203_where_there_is_nothing_to_name_nothing_is_named() -> None:
    frame = probe.response_frame(published((b"Pragma", b"x")), held((b":expose", b"")))
    assert headers_of(frame) == [(b"Pragma", b"x"), (b"Content-Length", b"4")]


def test_a_format_without_content_has_none() -> None:
    hint = ResponseFormat(1)
    assert (hint.status, hint.headers, hint.patch, hint.body) == (200, [], False, b"")


# -- WebSockets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "opcode"), [(1, 1), (2, 2), (3, 9), (4, 10)])
def test_a_websocket_gets_one_frame_of_the_kind(kind: int, opcode: int) -> None:
    frame = probe.ws_frame(probe.message(ws=(SEND, kind, b"news")), WS)
    assert frame == bytes((0x80 | opcode, 4)) + b"news"


@pytest.mark.parametrize("variant", [WS, WS_DEFLATED])
def test_a_websocket_frame_is_rendered_once(variant: int) -> None:
    message = probe.message(ws=(SEND, 1, b"news " * 100))
    assert probe.ws_frame(message, variant) is probe.ws_frame(message, variant)


def test_a_compressed_frame_says_so_and_is_smaller() -> None:
    message = probe.message(ws=(SEND, 1, b"news " * 100))
    frame = probe.ws_frame(message, WS_DEFLATED)
    assert frame[0] == 0xC1
    assert len(frame) < 50
    assert zlib.decompressobj(-15).decompress(frame[2:] + b"\0\0\xff\xff") == b"news " * 100


@pytest.mark.parametrize("content", [b"", b"short", bytes(range(256))])
def test_what_does_not_shrink_is_sent_as_it_is(content: bytes) -> None:
    message = probe.message(ws=(SEND, 2, content))
    assert probe.ws_frame(message, WS_DEFLATED) == probe.ws_frame(message, WS)


@pytest.mark.parametrize("variant", [WS, WS_DEFLATED])
def test_a_ping_is_never_compressed_and_has_125_bytes_at_most(variant: int) -> None:
    fits, not_ = (probe.message(ws=(SEND, 3, b"p" * size)) for size in (125, 126))
    assert probe.ws_frame(fits, variant) == b"\x89\x7d" + b"p" * 125
    assert probe.ws_frame(not_, variant) == b""
