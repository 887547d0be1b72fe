"""From a client's request to an origin's: routes, trust, and what headers become of which."""

from __future__ import annotations

import base64
import time
from dataclasses import replace
from pathlib import Path

import pytest
from joserfc.jwk import ECKey, RSAKey

from control.config import Settings
from control.grip.sign import Key, Signer
from control.link.packets import Opened
from control.origin import Request
from control.rewrite import Lasts, Refused, Rewriter, home_of
from control.routes import Routes

SECRET = "a secret that is longer than thirty-two bytes"

Headers = list[tuple[bytes, bytes]]


def opened(
    *headers: tuple[bytes, bytes], target: bytes = b"/", ws: bool = False, tls: bool = False
) -> Opened:
    return Opened(
        ref=1,
        again=False,
        length=0,
        lasts=[],
        body=b"",
        websocket=ws,
        minor=1,
        tls=tls,
        peer=b"192.0.2.7",
        method=b"GET",
        target=target,
        headers=[(b"Host", b"a.test"), *headers],
        more=False,
    )


def rewriter(*lines: str, **settings: object) -> Rewriter:
    routes, _ = Routes.parse("\n".join(lines or ["* a:1"]), "routes")
    return Rewriter(Settings(**settings), routes)


def rewritten(made: Rewriter, asked: Opened, lasts: Lasts = ()) -> Request:
    matched = made.match(asked)
    return made.requests(matched, asked, lasts)(matched.route.targets[0])


def sent(made: Rewriter, asked: Opened) -> Headers:
    """The headers for the origin, without the proxy's own."""
    own = (b"Host", b"Grip-Feature")
    return [header for header in rewritten(made, asked).headers if header[0] not in own]


def token(key: str = SECRET, now: float | None = None) -> bytes:
    made = Key.from_setting(key, Path())
    assert made is not None
    return Signer("edge", made).token(time.time() if now is None else now)


# -- trust -----------------------------------------------------------------------------------------


def test_185_a_trusted_clients_grip_headers_go_to_the_origin_unchanged() -> None:
    made = rewriter(upstream_key=SECRET, sig_key="ours")
    theirs = [(b"Grip-Sig", token()), (b"Grip-Feature", b"x"), (b"Grip-Last", b"c; last-id=1")]
    headers = rewritten(made, opened(*theirs), [("c", "2")]).headers
    assert headers == [(b"Host", b"a.test"), *theirs]


@pytest.mark.parametrize(
    "sig",
    [b"", b"nonsense", token("another secret, also longer than 32 bytes"), token(now=1000.0)],
    ids=["none", "nonsense", "another key", "expired"],
)
def test_186_a_client_without_a_valid_token_is_an_ordinary_one(sig: bytes) -> None:
    made = rewriter(upstream_key=SECRET)
    asked = opened((b"Grip-Sig", sig), (b"Grip-Last", b"c; last-id=1"))
    assert not made.match(asked).is_trusted
    assert sent(made, asked) == []


def test_186_without_upstream_key_nobody_is_trusted() -> None:
    assert not rewriter().match(opened((b"Grip-Sig", token()))).is_trusted


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_185_a_public_key_trusts_whom_the_private_one_signed(tmp_path: Path, kind: str) -> None:
    pair = ECKey.generate_key("P-256") if kind == "ec" else RSAKey.generate_key(2048)
    (tmp_path / "private.pem").write_bytes(pair.as_pem(private=True))
    (tmp_path / "public.pem").write_bytes(pair.as_pem(private=False))
    made = rewriter(upstream_key=f"file:{tmp_path}/public.pem")
    assert made.problems == []
    signed = token(f"file:{tmp_path}/private.pem")
    assert made.match(opened((b"Grip-Sig", signed))).is_trusted
    assert not made.match(opened((b"Grip-Sig", token()))).is_trusted


def test_185_a_key_in_base64_is_decoded() -> None:
    made = rewriter(upstream_key="base64:" + base64.b64encode(SECRET.encode()).decode())
    assert made.match(opened((b"Grip-Sig", token()))).is_trusted


def test_a_key_that_cannot_be_read_trusts_nobody_and_is_a_problem() -> None:
    made = rewriter(upstream_key="file:missing.pem")
    assert made.problems == [
        "upstream_key: cannot read file:missing.pem: No such file or directory"
        " (no client is trusted)"
    ]
    assert not made.match(opened((b"Grip-Sig", token()))).is_trusted


def test_188_trusted_requests_have_a_rule_of_their_own_for_x_forwarded_for() -> None:
    made = rewriter(
        upstream_key=SECRET, x_forwarded_for=["truncate:0"], x_forwarded_for_trusted=["append"]
    )
    there = (b"X-Forwarded-For", b"10.0.0.1")
    assert sent(made, opened(there)) == []
    sig = (b"Grip-Sig", token())
    assert sent(made, opened(there, sig)) == [
        sig,
        (b"X-Forwarded-For", b"10.0.0.1, 192.0.2.7"),
    ]


# -- routes ----------------------------------------------------------------------------------------


def test_199_pushpin_route_chooses_by_id_and_is_not_forwarded() -> None:
    made = rewriter("* a:1", "id=other b:1", accept_pushpin_route=True)
    asked = opened((b"pushpin-route", b"other"), (b"X-Kept", b"1"))
    assert made.match(asked).route.id == "other"
    assert sent(made, asked) == [(b"X-Kept", b"1")]


def test_199_an_unknown_id_is_no_route() -> None:
    made = rewriter("* a:1", accept_pushpin_route=True)
    with pytest.raises(Refused):
        made.match(opened((b"Pushpin-Route", b"other")))
    assert made.match(opened((b"Pushpin-Route", b""))).route.host == "*"


def test_199_pushpin_route_means_nothing_unless_enabled() -> None:
    made = rewriter("* a:1", "id=other b:1")
    header = (b"Pushpin-Route", b"other")
    assert made.match(opened(header)).route.host == "*"
    assert sent(made, opened(header)) == [header]


@pytest.mark.parametrize(
    ("options", "name"),
    [("", "a.test"), (",host=b.test:81", "b.test"), (",trust_connect_host", "origin.test")],
)
def test_the_certificate_is_for_the_host_or_for_where_one_connects(options: str, name: str) -> None:
    made = rewriter(f"* origin.test:443,ssl{options}")
    assert rewritten(made, opened()).tls_name == name


@pytest.mark.parametrize(
    ("condition", "target", "path"),
    [
        ("*", b"/response?channel=a", b"/response?channel=a"),
        ("*,path_beg=/t/", b"/t/response", b"/response"),
        ("*,path_beg=/t", b"/t/response", b"/response"),
        ("*,path_beg=/t/,replace_beg=/x", b"/t/", b"/"),
    ],
)
def test_201_the_test_target_sees_the_path_behind_path_beg(
    condition: str, target: bytes, path: bytes
) -> None:
    assert rewritten(rewriter(f"{condition} test"), opened(target=target)).target == path


# -- headers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "result"),
    [([], b"fanway"), ([b"a, b"], b"a, b, fanway"), ([b"a", b"b"], b"a, b, fanway")],
)
def test_210_the_token_is_added_to_cdn_loop(there: list[bytes], result: bytes) -> None:
    made = rewriter(cdn_loop="fanway")
    headers = [(b"CDN-loop", value) for value in there]
    assert sent(made, opened(*headers)) == [(b"CDN-Loop", result)]


def test_210_without_a_token_cdn_loop_is_left_alone() -> None:
    assert sent(rewriter(), opened((b"CDN-Loop", b"a"))) == [(b"CDN-Loop", b"a")]


def test_211_client_headers_are_copied_under_a_mark() -> None:
    made = rewriter("*,orig_headers,header=X-A:2 a:1", orig_headers_need_mark=["X-Need"])
    asked = opened((b"X-A", b"1"), (b"X-Need", b"n"), (b"eb9bf0f5-X-B", b"b"), (b"X-B", b"own"))
    headers = sent(made, asked)
    assert [h for h in headers if not h[0].startswith(b"eb9bf0f5-")] == [
        (b"X-Need", b"n"),
        (b"X-B", b"own"),
        (b"X-A", b"2"),
    ]
    assert [h for h in headers if h[0].startswith(b"eb9bf0f5-")] == [
        (b"eb9bf0f5-X-B", b"b"),
        (b"eb9bf0f5-Host", b"a.test"),
        (b"eb9bf0f5-X-A", b"1"),
    ]


def test_211_a_marked_copy_makes_a_header_original() -> None:
    made = rewriter("*,orig_headers a:1", orig_headers_need_mark=["x-need,host"])
    asked = opened((b"X-Need", b"now"), (b"eb9bf0f5-X-Need", b"before"))
    assert sent(made, asked) == [(b"X-Need", b"now"), (b"eb9bf0f5-X-Need", b"before")]


def test_211_other_routes_take_the_marks_away() -> None:
    asked = opened((b"EB9BF0F5-X-A", b"1"), (b"X-A", b"2"))
    assert sent(rewriter(), asked) == [(b"X-A", b"2")]


def test_211_what_a_trusted_client_marked_is_not_marked_again() -> None:
    made = rewriter("*,orig_headers a:1", upstream_key=SECRET)
    theirs = [(b"Grip-Sig", token()), (b"eb9bf0f5-X-A", b"1"), (b"X-B", b"2")]
    assert sent(made, opened(*theirs)) == theirs


@pytest.mark.parametrize(("ws", "scheme"), [(False, b"https"), (True, b"wss")])
def test_207_origins_are_told_of_tls_clients(ws: bool, scheme: bytes) -> None:
    asked = opened((b"X-Forwarded-Proto", b"http"), ws=ws, tls=True)
    assert sent(rewriter(), asked) == [(b"X-Forwarded-Proto", scheme)]


def test_208_a_clients_claim_to_have_come_by_tls_chooses_the_route_if_believed() -> None:
    lines = ["*,ssl=yes,id=tls a:1", "*,id=plain b:1"]
    asked = opened((b"X-Forwarded-Protocol", b"https"))
    assert rewriter(*lines).match(asked).route.id == "plain"
    believing = rewriter(*lines, accept_x_forwarded_protocol=True)
    assert believing.match(asked).route.id == "tls"


def test_195_header_options_set_replace_and_delete_before_grip_is_treated() -> None:
    made = rewriter("*,header=X-A:new,header=X-B:,header=Grip-Foo:x,header=X-C:c a:1")
    asked = opened((b"x-a", b"1"), (b"X-A", b"2"), (b"x-b", b"3"), (b"X-D", b"4"))
    assert sent(made, asked) == [(b"X-D", b"4"), (b"X-A", b"new"), (b"X-C", b"c")]


def test_189_a_no_grip_route_sends_nothing_of_ours() -> None:
    made = rewriter("*,no_grip a:1", sig_key=SECRET)
    asked = opened((b"Grip-Foo", b"1"))
    assert rewritten(made, asked).headers == [(b"Host", b"a.test")]


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Host", "Connection"])
def test_196_a_route_cannot_set_what_frames_a_request(name: str) -> None:
    assert sent(rewriter(f"*,header={name}:7 a:1"), opened((b"X-A", b"1"))) == [(b"X-A", b"1")]


# -- on behalf of a client, later ------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        ("a.test,id=x {}", "b.test,id=x {}"),
        ("*,id=x,ssl=yes {}", "*,id=x {}"),
        ("*,id=x,proto=ws {}", "*,id=x {}"),
        ("*,id=x,path_beg=/p {}", "*,id=x {}"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_78_what_is_asked_later_goes_where_the_client_went_though_rules_share_an_id(
    lines: tuple[str, str], order: int
) -> None:
    first, second = lines[::order]
    made = rewriter(first.format("one:1"), second.format("two:1"))
    host = b"b.test" if "b.test" in lines[1] else b"a.test"
    matched = made.match(replace(opened(), headers=[(b"Host", host)]))
    (target,) = matched.route.targets
    uri = f"http://{host.decode()}/next"
    targets, _ = made.subrequests(home_of(matched, target), uri, b"GET")
    assert targets == (target,)
