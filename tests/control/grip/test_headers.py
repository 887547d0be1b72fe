"""Which headers cross the proxy (GRIP.md 1.2, 1.12, 8.4; checklist 7 to 11, 207 to 209)."""

from __future__ import annotations

import pytest

from control.grip.headers import (
    Forwarding,
    claims_tls,
    grip_feature,
    grip_last,
    to_client,
    to_origin,
)

Headers = list[tuple[bytes, bytes]]

PLAIN = Forwarding(protocol_names=())


def sent(
    *headers: tuple[bytes, bytes],
    tls_scheme: bytes = b"",
    forwarding: Forwarding = PLAIN,
    own: Headers | None = None,
) -> Headers:
    """What the origin gets besides Host, which is always first."""
    host, *rest = to_origin(
        headers,
        host=b"origin:80",
        peer="192.0.2.7",
        tls_scheme=tls_scheme,
        forwarding=forwarding,
        own=own or [],
    )
    assert host == (b"Host", b"origin:80")
    return rest


# -- towards the origin


def test_10_the_host_is_that_of_the_effective_uri() -> None:
    assert sent((b"host", b"elsewhere"), (b"X-A", b"1")) == [(b"X-A", b"1")]


def test_order_case_and_repetition_are_kept() -> None:
    block = [(b"X-b", b"1"), (b"x-A", b"\xff"), (b"X-B", b"2"), (b"Cookie", b"a=1")]
    assert sent(*block) == block


@pytest.mark.parametrize("name", [b"Grip-Sig", b"grip-last", b"GRIP-FOO"])
def test_7_a_clients_grip_headers_never_reach_the_origin(name: bytes) -> None:
    assert sent((name, b"1")) == []


def test_2_8_own_grip_headers_are_added() -> None:
    own = [(b"Grip-Sig", b"ours"), grip_feature(("status", "link:next"))]
    assert sent((b"Grip-Sig", b"theirs"), own=own) == [
        (b"Grip-Sig", b"ours"),
        (b"Grip-Feature", b"status, link:next"),
    ]


def test_78_a_last_id_is_told_in_bytes_as_they_came() -> None:
    assert grip_last("caf\udce9", "17") == (b"Grip-Last", b"caf\xe9; last-id=17")


@pytest.mark.parametrize(
    "name",
    [
        b"Accept-Encoding",
        b"Connection",
        b"Keep-Alive",
        b"Transfer-Encoding",
        b"Expect",
        b"TE",
        b"Upgrade",
        b"Proxy-Connection",
    ],
)
def test_9_headers_of_the_clients_hop_are_not_forwarded(name: bytes) -> None:
    assert sent((name, b"x"), (name.lower(), b"x")) == []


@pytest.mark.parametrize("name", [b"Content-Encoding", b"Content-Type"])
def test_headers_that_describe_the_body_are_forwarded(name: bytes) -> None:
    assert sent((name, b"x")) == [(name, b"x")]


def test_headers_named_by_connection_are_not_forwarded() -> None:
    block = [(b"X-Hop", b"1"), (b"Connection", b"close, x-hop"), (b"X-End", b"2")]
    assert sent(*block) == [(b"X-End", b"2")]


def test_the_length_of_the_body_is_for_whoever_sends_it_to_say() -> None:
    assert sent((b"Content-Length", b"3"), (b"X-A", b"1")) == [(b"X-A", b"1")]


# -- forwarding headers

PROTO = Forwarding(protocol_names=(b"X-Forwarded-Proto",))
BOTH = Forwarding(protocol_names=(b"X-Forwarded-Proto", b"X-Forwarded-Protocol"))


@pytest.mark.parametrize(
    ("forwarding", "tls_scheme", "expected"),
    [
        (PROTO, b"https", [(b"X-Forwarded-Proto", b"https")]),
        (PROTO, b"wss", [(b"X-Forwarded-Proto", b"wss")]),
        (PROTO, b"", []),
        (BOTH, b"https", [(b"X-Forwarded-Proto", b"https"), (b"X-Forwarded-Protocol", b"https")]),
        (PLAIN, b"https", []),
    ],
)
def test_207_the_scheme_is_told_of_tls_clients_only(
    forwarding: Forwarding, tls_scheme: bytes, expected: Headers
) -> None:
    assert sent(tls_scheme=tls_scheme, forwarding=forwarding) == expected


@pytest.mark.parametrize("name", [b"X-Forwarded-Proto", b"x-forwarded-protocol"])
@pytest.mark.parametrize(
    "forwarding", [PROTO, Forwarding(protocol_names=(), accepts_protocol=True)]
)
def test_207_a_clients_claim_is_removed(name: bytes, forwarding: Forwarding) -> None:
    assert sent((name, b"https"), forwarding=forwarding) == []


def test_a_clients_claim_stays_where_nobody_uses_it() -> None:
    assert sent((b"X-Forwarded-Proto", b"https")) == [(b"X-Forwarded-Proto", b"https")]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ([(b"X-Forwarded-Proto", b"https")], True),
        ([(b"x-forwarded-proto", b" wss ")], True),
        ([(b"X-Forwarded-Protocol", b"https")], True),
        ([(b"X-Forwarded-Proto", b""), (b"X-Forwarded-Protocol", b"https")], True),
        ([(b"X-Forwarded-Proto", b"http"), (b"X-Forwarded-Protocol", b"https")], False),
        ([(b"X-Forwarded-Proto", b"HTTPS")], False),
        ([], False),
    ],
)
def test_208_a_client_may_claim_tls(block: Headers, expected: bool) -> None:
    assert claims_tls(block) is expected


@pytest.mark.parametrize(
    ("values", "keep_max", "appends_peer", "expected"),
    [
        ([], None, False, None),
        ([b"a, b", b"c"], None, False, b"a, b, c"),
        ([b"a, b", b"c"], None, True, b"a, b, c, 192.0.2.7"),
        ([b"a, b", b"c"], 2, False, b"b, c"),
        ([b"a, b", b"c"], 4, False, b"a, b, c"),
        ([b"a,, b"], None, False, b"a, b"),
        ([b"a, b", b"c"], 0, True, b"192.0.2.7"),
        ([b"a, b", b"c"], 0, False, None),
        ([b""], None, False, None),
    ],
)
def test_209_addresses_are_truncated_and_appended(
    values: list[bytes], keep_max: int | None, appends_peer: bool, expected: bytes | None
) -> None:
    forwarding = Forwarding((), keep_max=keep_max, appends_peer=appends_peer)
    block = [(b"x-forwarded-for", value) for value in values]
    told = [] if expected is None else [(b"X-Forwarded-For", expected)]
    assert sent(*block, forwarding=forwarding) == told


# -- towards the client


@pytest.mark.parametrize(
    "name", [b"Connection", b"Keep-Alive", b"Content-Encoding", b"Transfer-Encoding"]
)
def test_11_headers_of_the_origins_hop_are_not_relayed(name: bytes) -> None:
    assert to_client([(name, b"x"), (name.lower(), b"x"), (b"X-A", b"1")]) == [(b"X-A", b"1")]


def test_11_headers_named_by_the_origins_connection_are_not_relayed() -> None:
    assert to_client([(b"Connection", b"X-Hop"), (b"x-hop", b"1"), (b"X-End", b"2")]) == [
        (b"X-End", b"2")
    ]


def test_all_other_headers_are_relayed_as_they_are() -> None:
    block = [(b"x-b", b"\xff"), (b"Content-Length", b"3"), (b"Set-Cookie", b"a"), (b"X-B", b"1")]
    assert to_client(block) == block
