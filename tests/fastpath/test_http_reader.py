"""Requests out of bytes: each case whole, byte by byte, and at random; and every limit."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fastpath import probe_session as probe
from fastpath.http_reader import HttpReader
from support.stage import request

HEAD_MAX = 8192

Read = Callable[..., list[dict[str, Any]]]


def pieces(run: bytes, split: str) -> Iterator[bytes]:
    if split == "whole":
        yield run
        return
    chance = random.Random(len(run))
    at = 0
    while at < len(run):
        size = 1 if split == "bytes" else chance.randint(1, 40)
        yield run[at : at + size]
        at += size


@pytest.fixture(params=["whole", "bytes", "random"])
def read(request: pytest.FixtureRequest) -> Read:
    """Reads bytes with a fresh reader, split in one of three ways."""

    def read(run: bytes, head_max: int = HEAD_MAX, body_max: int = 0) -> list[dict[str, Any]]:
        reader = HttpReader(head_max, body_max)
        requests: list[dict[str, Any]] = []
        for piece in pieces(run, request.param):
            requests = probe.read_requests(reader, piece)
        return requests

    return read


def fault_of(requests: list[dict[str, Any]]) -> tuple[int, bytes | None]:
    """The fault of the last request; those before it have none."""
    assert all(not r["fault"] for r in requests[:-1])
    return requests[-1]["fault"], requests[-1]["fault_text"]


# -- heads


def test_a_request_has_method_target_and_headers_as_they_came(read: Read) -> None:
    [r] = read(b"GET /a?b=c HTTP/1.1\r\nHost: a.test\r\nX-Mixed: One \r\nx-mixed:two\r\n\r\n")
    assert (r["method"], r["target"], r["minor"]) == (b"GET", b"/a?b=c", 1)
    assert r["headers"] == [
        (b"Host", b"a.test"),
        (b"X-Mixed", b"One"),
        (b"x-mixed", b"two"),
    ]
    assert (r["length"], r["complete"], r["fault"], r["upgrades"]) == (0, True, 0, False)


def test_an_empty_header_value_stays_with_its_name(read: Read) -> None:
    [r] = read(request("/", "X-Empty:", "X-Next: 1"))
    assert r["headers"][1:] == [(b"X-Empty", b""), (b"X-Next", b"1")]


@pytest.mark.parametrize("blank", [" ", "\t", " \t "])
def test_blanks_around_a_value_are_no_part_of_it(read: Read, blank: str) -> None:
    # RFC 9112, 5.1.
    head = request("/", f"X: {blank}a b{blank}", "Transfer-Encoding:  chunked ", method="POST")
    [r] = read(head.replace(b"a.test", b"a.test" + blank.encode()))
    assert (r["headers"][:2], r["fault"]) == ([(b"Host", b"a.test"), (b"X", b"a b")], 0)


def test_bytes_beyond_ascii_stay_as_they_are(read: Read) -> None:
    [r] = read(request("/", "X-Name: caf\xe9"))
    assert r["headers"][1] == (b"X-Name", b"caf\xe9")


def test_empty_lines_in_front_of_a_request_are_skipped(read: Read) -> None:
    # RFC 9112, 2.2.
    [r] = read(b"\r\n\r\n" + request("/a"))
    assert (r["target"], r["fault"]) == (b"/a", 0)


def test_pipelined_requests_are_all_read_in_order(read: Read) -> None:
    requests = read(request("/1") + request("/2", "Content-Length: 2") + b"hi" + request("/3"))
    assert [r["target"] for r in requests] == [b"/1", b"/2", b"/3"]
    assert [r["body"] for r in requests] == [b"", b"hi", b""]
    assert all(r["complete"] and not r["fault"] for r in requests)


@pytest.mark.parametrize("split", ["whole", "random"])
def test_of_many_pipelined_requests_few_are_read_ahead(split: str) -> None:
    bodies = [b"", b"hi", b"\r\n\r\n" * 40, b"x" * 3000]
    run = b"".join(
        request(f"/{n}", f"Content-Length: {len(body)}", method="POST") + body
        for n, body in enumerate(bodies * 100)
    )
    reader = HttpReader(HEAD_MAX, 0)
    for piece in pieces(run, split):
        assert len(probe.read_requests(reader, piece)) <= probe.PIPELINE + 1
    taken = []
    while (r := probe.take_request(reader)) is not None:
        assert len(reader.requests) <= probe.PIPELINE
        taken.append(r)
    assert [r["target"] for r in taken] == [b"/%d" % n for n in range(400)]
    assert [r["body"] for r in taken] == bodies * 100
    assert all(r["complete"] and not r["fault"] for r in taken)


@pytest.mark.parametrize(
    ("minor", "headers", "keeps"),
    [
        (1, [], True),
        (1, ["Connection: close"], False),
        (1, ["Connection: Close, x"], False),
        (1, ["Connection: keep-alive"], True),
        (0, [], False),
        (0, ["Connection: keep-alive"], True),
        (0, ["Connection: close"], False),
    ],
)
def test_whether_the_connection_is_kept(
    read: Read, minor: int, headers: list[str], keeps: bool
) -> None:
    # RFC 9112, 9.3.
    [r] = read(request("/", *headers, minor=minor))
    assert r["keep_alive"] is keeps


@pytest.mark.parametrize("target", ["/", "/a%20b?c#d", "*", "http://b.test/x", "HTTPS://b.test/"])
def test_targets_of_origin_absolute_and_asterisk_form(read: Read, target: str) -> None:
    [r] = read(request(target, method="OPTIONS"))
    assert (r["target"], r["fault"]) == (target.encode(), 0)


@pytest.mark.parametrize("value", ["100-continue", "100-Continue"])
def test_a_request_may_expect_100_continue(read: Read, value: str) -> None:
    [r] = read(request("/", f"Expect: {value}", "Content-Length: 1", method="POST"))
    assert r["expects_continue"] is True


# -- bodies


def test_a_body_of_announced_length(read: Read) -> None:
    [r] = read(request("/", "Content-Length: 5", method="POST") + b"hello")
    assert (r["length"], r["body"], r["complete"]) == (5, b"hello", True)


def test_a_body_is_incomplete_until_its_last_byte(read: Read) -> None:
    [r] = read(request("/", "Content-Length: 5", method="POST") + b"hell")
    assert (r["body"], r["complete"]) == (b"hell", False)


def test_a_chunked_body_loses_its_chunks_extensions_and_trailers(read: Read) -> None:
    body = b"5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: 1\r\n\r\n"
    requests = read(request("/", "Transfer-Encoding: Chunked", method="POST") + body + request())
    assert (requests[0]["length"], requests[0]["body"]) == (-1, b"hello!")
    assert requests[0]["headers"] == [(b"Host", b"a.test"), (b"Transfer-Encoding", b"Chunked")]
    assert [r["complete"] for r in requests] == [True, True]


def test_a_chunked_body_is_incomplete_until_its_last_chunk(read: Read) -> None:
    [r] = read(request("/", "Transfer-Encoding: chunked", method="POST") + b"1\r\na\r\n0\r\n")
    assert (r["body"], r["complete"]) == (b"a", False)


# -- upgrades: read as ordinary requests (RFC 9110, 7.8: a server may ignore Upgrade)

UPGRADE = ("Upgrade: foo", "Connection: Upgrade")


def test_a_request_that_names_an_upgrade_is_read_and_so_is_the_next(read: Read) -> None:
    requests = read(request("/1", *UPGRADE) + request("/2"))
    assert [(r["target"], r["upgrades"], r["complete"]) for r in requests] == [
        (b"/1", True, True),
        (b"/2", False, True),
    ]


def test_an_upgrade_with_a_sized_body(read: Read) -> None:
    first = request("/1", *UPGRADE, "Content-Length: 14", method="POST") + b"GET / HTTP/1.1"
    requests = read(first + request("/2"))
    assert [r["target"] for r in requests] == [b"/1", b"/2"]
    assert (requests[0]["body"], requests[0]["complete"]) == (b"GET / HTTP/1.1", True)


def test_an_upgrade_with_a_chunked_body(read: Read) -> None:
    first = request("/1", *UPGRADE, "Transfer-Encoding: chunked", method="POST")
    requests = read(first + b"3\r\nabc\r\n0\r\n\r\n" + request("/2"))
    assert [(r["target"], r["body"]) for r in requests] == [(b"/1", b"abc"), (b"/2", b"")]


def test_the_body_behind_an_upgrade_is_incomplete_until_it_is_there(read: Read) -> None:
    [r] = read(request("/", *UPGRADE, "Content-Length: 3", method="POST") + b"ab")
    assert (r["body"], r["complete"]) == (b"ab", False)


def test_one_upgrade_behind_another(read: Read) -> None:
    requests = read(request("/1", *UPGRADE) * 3)
    assert [r["upgrades"] for r in requests] == [True] * 3


# -- what is refused


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"no Host"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", b"more than one Host"),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", b"invalid Host"),
        (b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", b"invalid Host"),
        (b"GET / HTTP/1.1\r\nHost: a\xff\r\n\r\n", b"invalid Host"),
        (b"GET foo HTTP/1.1\r\nHost: a\r\n\r\n", None),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", b"invalid request target"),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", b"invalid request target"),
        (b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n", b"invalid request target"),
        (b"GET http://a,b/ HTTP/1.1\r\nHost: a\r\n\r\n", b"invalid request target"),
        (b"GET http:///path HTTP/1.1\r\nHost: a\r\n\r\n", None),
        (b"GET http://?query HTTP/1.1\r\nHost: a\r\n\r\n", None),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", b"CONNECT is not supported"),
        (
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"Transfer-Encoding on HTTP/1.0",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"unsupported Transfer-Encoding",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n",
            None,
        ),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", None),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", None),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", None),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HTTP/2 is not supported"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", None),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n",
            None,
        ),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", None),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\n\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\x002\r\n\r\n", None),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", None),
    ],
)
def test_a_malformed_request_is_a_bad_request(read: Read, head: bytes, why: bytes | None) -> None:
    reason, text = fault_of(read(head))
    assert reason == 10
    assert text, "the fault says what is wrong"
    assert why in (None, text)


def test_bad_chunks_are_a_fault_of_the_request_they_belong_to(read: Read) -> None:
    [r] = read(request("/", "Transfer-Encoding: chunked", method="POST") + b"xyz\r\n")
    assert (r["target"], r["fault"], r["complete"]) == (b"/", 10, False)


def test_garbage_behind_a_request_is_a_request_of_its_own(read: Read) -> None:
    requests = read(request("/1") + b"\x00\x01\x02\x03")
    assert requests[0]["target"] == b"/1"
    assert fault_of(requests)[0] == 10


def test_what_follows_an_announced_end_is_ignored(read: Read) -> None:
    # RFC 9112, 9.6.
    [r] = read(request("/1", "Connection: close") + request("/2"))
    assert (r["target"], r["fault"]) == (b"/1", 0)


def test_after_a_fault_nothing_more_is_read(read: Read) -> None:
    reader = HttpReader(HEAD_MAX, 0)
    probe.read_requests(reader, b"nonsense\r\n\r\n")
    before = len(reader.requests)
    assert len(probe.read_requests(reader, request())) == before


# -- limits


def padded(size: int) -> bytes:
    """A head of exactly so many bytes."""
    bare = request("/", "X-Pad: ")
    return bare[:-4] + b"x" * (size - len(bare)) + b"\r\n\r\n"


def test_a_head_of_exactly_the_limit_is_read(read: Read) -> None:
    [r] = read(padded(500), head_max=500)
    assert (r["fault"], r["complete"]) == (0, True)


def test_a_head_one_byte_over_the_limit_is_too_big(read: Read) -> None:
    [r] = read(padded(501), head_max=500)
    assert r["fault"] == 11


def test_an_endless_head_is_too_big_before_it_ends(read: Read) -> None:
    [r] = read(b"GET / HTTP/1.1\r\nX: " + b"x" * 600, head_max=500)
    assert r["fault"] == 11


def test_an_endless_target_is_too_big_before_it_ends(read: Read) -> None:
    [r] = read(b"GET /" + b"x" * 600, head_max=500)
    assert r["fault"] == 11


def test_the_limit_counts_each_head_anew(read: Read) -> None:
    assert fault_of(read(padded(500) * 3, head_max=500)) == (0, None)


def test_64_header_fields_are_read_and_65_are_not(read: Read) -> None:
    # GRIP.md 8.7.
    fields = [f"X-{number}: 1" for number in range(63)]
    assert fault_of(read(request("/", *fields))) == (0, None)
    assert fault_of(read(request("/", *fields, "X: 1"))) == (10, b"more than 64 header fields")


def test_a_sized_body_over_the_limit_is_refused_by_its_head(read: Read) -> None:
    [r] = read(request("/", "Content-Length: 11", method="POST"), body_max=10)
    assert r["fault"] == 12


def test_a_chunked_body_over_the_limit_is_refused_when_it_is(read: Read) -> None:
    head = request("/", "Transfer-Encoding: chunked", method="POST")
    [r] = read(head + b"a\r\n0123456789\r\n", body_max=10)
    assert (r["fault"], r["body"]) == (0, b"0123456789")
    [r] = read(head + b"a\r\n0123456789\r\n1\r\nx\r\n", body_max=10)
    assert (r["fault"], r["body"]) == (12, b"")


def test_a_length_beyond_64_bits_with_sign_is_too_big(read: Read) -> None:
    [r] = read(request("/", f"Content-Length: {2**64 - 1}", method="POST"), body_max=10)
    assert r["fault"] == 12


@pytest.mark.parametrize("start", [b"1;", b"1\r\na\r\n0\r\nX: "], ids=["extension", "trailer"])
def test_what_stands_around_chunks_is_held_to_the_limit_of_a_head(start: bytes) -> None:
    reader = HttpReader(500, 0)
    head = request("/", "Transfer-Encoding: chunked", method="POST")
    probe.read_requests(reader, head + start)
    for _ in range(5):
        [r] = probe.read_requests(reader, b"x" * 100)
        assert r["fault"] == 0
    [r] = probe.read_requests(reader, b"x" * 100)
    assert (r["fault"], r["complete"]) == (11, False)


def test_a_long_body_is_not_held_to_the_limit_of_a_head(read: Read) -> None:
    [r] = read(request("/", "Content-Length: 2000", method="POST") + b"x" * 2000, head_max=500)
    assert (r["fault"], r["complete"]) == (0, True)
