"""Response heads and chunks, as bytes and as somebody else's parser (h11) understands them."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import probe_wire

HEADERS = [(b"Content-Type", b"text/plain"), (b"x-Empty", b"")]


def test_a_head_is_status_line_headers_framing_and_an_empty_line() -> None:
    assert probe_wire.head(1, 200, b"OK", HEADERS, b"Content-Length: 5\r\n") == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nx-Empty: \r\nContent-Length: 5\r\n\r\n"
    )


def test_a_client_of_http_1_0_is_answered_in_its_own_version() -> None:
    assert probe_wire.head(0, 200, b"OK", [], b"") == b"HTTP/1.0 200 OK\r\n\r\n"


def test_an_empty_reason_keeps_its_space() -> None:
    # RFC 9112, 4: the space stands even when the phrase is absent.
    assert probe_wire.head(1, 299, b"", [], b"") == b"HTTP/1.1 299 \r\n\r\n"


def test_names_keep_their_case_and_headers_their_order() -> None:
    head = probe_wire.head(1, 200, b"OK", [(b"b", b"1"), (b"A", b"2"), (b"b", b"3")], b"")
    assert head == b"HTTP/1.1 200 OK\r\nb: 1\r\nA: 2\r\nb: 3\r\n\r\n"


@pytest.mark.parametrize("wrong", [b"\r", b"\n", b"\x00", b"\r\nSet-Cookie: a=b"])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_response_cannot_be_split(wrong: bytes, place: str) -> None:
    run = {"first": wrong + b"a", "middle": b"a" + wrong + b"b", "last": b"a" + wrong}[place]
    with pytest.raises(ValueError, match="reason phrase"):
        probe_wire.head(1, 200, run, HEADERS, b"")
    with pytest.raises(ValueError, match="header b'X-Bad'"):
        probe_wire.head(1, 200, b"OK", [*HEADERS, (b"X-Bad", run)], b"")
    with pytest.raises(ValueError, match="header b'"):
        probe_wire.head(1, 200, b"OK", [(run, b"value"), *HEADERS], b"")


@pytest.mark.parametrize("status", [-1, 0, 99, 1000, 65535])
def test_a_status_has_three_digits(status: int) -> None:
    with pytest.raises(ValueError, match=f"status {status}"):
        probe_wire.head(1, status, b"OK", [], b"")


@pytest.mark.parametrize("size", [1, 9, 10, 15, 16, 17, 255, 256, 4095, 4096, 65536, 1_000_003])
def test_a_chunk_has_its_size_in_hex(size: int) -> None:
    content = b"x" * size
    assert probe_wire.chunk(content) == b"%x\r\n%b\r\n" % (size, content)


def test_empty_content_gives_no_chunk_because_that_would_end_the_body() -> None:
    assert probe_wire.chunk(b"") == b""
    assert probe_wire.last_chunk() == b"0\r\n\r\n"


TOKENS = st.from_regex(rb"\AX-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}\Z")
VALUES = st.from_regex(rb"\A([!-~\x80-\xff]([!-~\x80-\xff \t]{0,12}[!-~\x80-\xff])?)?\Z")


@given(
    status=st.integers(200, 599).filter(lambda status: status not in (204, 304)),
    reason=st.from_regex(rb"\A[!-~]{0,12}\Z"),
    headers=st.lists(st.tuples(TOKENS, VALUES), max_size=5),
    contents=st.lists(st.binary(max_size=40), max_size=4),
)
def test_h11_understands_a_chunked_response(
    status: int, reason: bytes, headers: list[tuple[bytes, bytes]], contents: list[bytes]
) -> None:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(
        probe_wire.head(1, status, reason, headers, b"Transfer-Encoding: chunked\r\n")
        + b"".join(map(probe_wire.chunk, contents))
        + probe_wire.last_chunk()
    )
    response = client.next_event()
    assert isinstance(response, h11.Response)
    assert (response.http_version, response.status_code, response.reason) == (
        *(b"1.1", status, reason),
    )
    assert response.headers.raw_items()[:-1] == headers
    body = b""
    while isinstance(part := client.next_event(), h11.Data):
        body += part.data
    assert isinstance(part, h11.EndOfMessage)
    assert body == b"".join(contents)
