"""Messages and the bytes their variants become."""

import pytest

from fastpath import probe_floor2 as probe
from fastpath.frame import HeldResponse, ResponseFormat

KEPT = (1, True, False)


def held(headers=(), body=b"", status=200, reason=b"OK"):
    return HeldResponse(status, reason, list(headers), body)


def published(headers=(), body=b"hi", status=200, reason=b"OK", patch=False):
    return ResponseFormat(0, status, reason, list(headers), patch, body)


def frame(held, published, key=KEPT):
    return probe.response_frames(held, published, [key])[0]


def test_59_a_stream_frame_is_one_chunk():
    assert probe.stream_frame(b"data: x\n\n", probe.CHUNKED) == b"9\r\ndata: x\n\n\r\n"


def test_59_a_client_of_http_1_0_gets_the_bare_content():
    assert probe.stream_frame(b"data: x\n\n", probe.PLAIN) == b"data: x\n\n"


@pytest.mark.parametrize("variant", [probe.CHUNKED, probe.PLAIN])
def test_empty_content_never_ends_the_body(variant):
    assert probe.stream_frame(b"", variant) == b""


def test_46_a_published_response_is_complete():
    assert frame(held(), published()) == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def test_47_published_headers_replace_those_of_the_hold():
    bytes_ = frame(
        held([(b"Content-Type", b"text/plain"), (b"X-A", b"1"), (b"x-a", b"2")]),
        published([(b"X-a", b"3"), (b"X-B", b"4"), (b"X-B", b"5")]),
    )
    assert bytes_ == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-a: 3\r\nX-B: 4\r\nX-B: 5\r\n"
        b"Content-Length: 2\r\n\r\nhi"
    )


def test_48_grip_headers_of_a_publish_are_removed():
    assert b"rip" not in frame(held(), published([(b"Grip-Hold", b"x"), (b"gRIP-Foo", b"y")]))


def test_framing_headers_of_a_publish_are_never_taken():
    headers = [(b"Content-Length", b"99"), (b"connection", b"x"), (b"Transfer-Encoding", b"y")]
    assert frame(held(), published(headers)) == frame(held(), published())


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ((1, True, False), b""),
        ((1, False, False), b"Connection: close\r\n"),
        ((0, True, False), b"Connection: keep-alive\r\n"),
        ((0, False, False), b"Connection: close\r\n"),
    ],
)
def test_the_head_says_whether_the_connection_goes_on(key, line):
    minor = key[0]
    assert frame(held(), published(), key) == (
        b"HTTP/1.%d 200 OK\r\nContent-Length: 2\r\n%b\r\nhi" % (minor, line)
    )


def test_an_answer_to_head_has_the_length_and_no_body():
    assert frame(held(), published(), (1, True, True)) == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    )


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none(status):
    assert frame(held(), published(status=status, reason=b"R")) == b"HTTP/1.1 %d R\r\n\r\n" % status


def test_53_a_patch_changes_the_body_of_the_hold():
    patch = published(body=b'[{"op":"add","path":"/-","value":2}]', patch=True)
    assert frame(held(body=b"[1]\n"), patch).endswith(b"Content-Length: 6\r\n\r\n[1,2]\n")


def test_54_a_failing_patch_leaves_an_empty_body_and_the_published_status():
    patch = published(body=b"[7]", patch=True, status=201, reason=b"Created")
    assert frame(held(body=b"[1]"), patch) == (b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")


def test_a_frame_is_rendered_once_for_equal_sessions():
    one, two, other = probe.response_frames(held(), published(), [KEPT, KEPT, (1, False, False)])
    assert one is two
    assert other != one


def test_45_the_timeout_response_is_the_holds_own():
    assert probe.timeout_frame(held([(b"A", b"b")], b"[]", 404, b"Not Found"), 1, True, False) == (
        b"HTTP/1.1 404 Not Found\r\nA: b\r\nContent-Length: 2\r\n\r\n[]"
    )
