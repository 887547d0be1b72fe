"""The lines of a routes file: what they may be, and which one is chosen (GRIP.md 7.1 to 7.3)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from support.client import Client, Reply
from support.fanway import Fanway
from support.origin import Hub, Origin
from support.spelling import answer, request
from support.wsspelling import event, opened

# Every target sends another Host: who is asked tells which line was chosen.
LINES = r"""
# a comment, and a blank line that has blanks

   *   {hub},host=any.chosen

quoted.test,header="X-A:a, b #\"c\" \\d","header=X-B:1" {hub},host="quoted.chosen"#behind
mixed."test",header=X-A:one" "two {hub},host=mixed.chosen   # behind, "it
id=only-id,header=X-C:1 {hub},host=id.chosen
unknown.test,colour=red {hub},host=unknown.chosen,shape=round
twice.test,prefix=a-,header=X-A:1,header=X-B:2,as_host=no.chosen,as_host=twice.chosen {hub}

unterminated.test "{hub}
unterminated.test,header="X:\
escaped.test,header="X:\n" {hub}
trailing.test, {hub}
nameless.test,=x {hub}
targetless.test
tab.test	{hub}
proto.test,proto=ftp {hub}
empty.test,path_beg= {hub}
,debug {hub}

best.test,path_beg=/long/er/ {hub},host=longer.chosen
best.test,path_beg=/long/ {hub},host=long.chosen
best.test,path_beg=/http/,proto=http {hub},host=http.chosen
best.test,path_beg=/http/longer/ {hub},host=unseen.chosen
best.test,path_beg=/ws/,proto=ws {hub},host=ws.chosen,over_http
best.test,path_beg=/ws/longer/ {hub},host=not-ws.chosen

tls.test {hub},host=plain.chosen
tls.test,ssl=yes {hub},host=tls.chosen
tls.test,path_beg=/path/ {hub},host=path.chosen
only-tls.test,ssl=yes {hub},host=tls.chosen
only-plain.test,ssl=no {hub},host=plain.chosen

doubled.test,path_beg=/a/,debug {hub},host=first.chosen
doubled.test,path_beg=/b/ {hub},host=other.chosen
DOUBLED.test,path_beg=/a/,id=never {hub},host=second.chosen

id=only-path,path_beg=/only/ {hub},host=id.chosen
id=shared,header=X:1 {hub},host=shared-1.chosen
shared.test,id=shared {hub},host=shared-2.chosen
"""

SKIPPED = {
    '"{hub}': "unterminated quoted section",
    'header="X:\\': "unterminated escape sequence",
    '"X:\\n"': "unexpected escape character: n",
    "trailing.test,": "expecting prop",
    "=x": "empty prop name",
    "targetless.test": "must specify condition and at least one target",
    "tab.test": "must specify condition and at least one target",
    "proto=ftp": "proto: must be http or ws, not 'ftp'",
    "path_beg= ": "path_beg: must not be empty",
    ",debug {hub}\n\nbest": "condition has no domain or id",
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("routes") / "routes"


@pytest.fixture(scope="module")
def chooser(hub: Hub, file: Path) -> Iterator[Fanway]:
    """A Fanway with these routes, which believes clients that claim to have come by TLS."""
    file.write_text(LINES.format(hub=hub.target))
    flags = ("--accept-x-forwarded-protocol", "--accept-pushpin-route")
    with Fanway(*flags, routes_file=file) as fanway:
        yield fanway
        fanway.assert_no_bug()


@pytest.fixture
def chosen(hub: Hub) -> Callable[[str], Origin]:
    """The origin of a target, by its name."""

    def chosen(name: str) -> Origin:
        origin = hub.origin(f"{name}.chosen")
        origin.answers(answer(body=name.encode()))
        return origin

    return chosen


@pytest.fixture
def get(chooser: Fanway) -> Callable[..., Reply]:
    def get(host: str, target: str = "/", *headers: str) -> Reply:
        with closing(Client(chooser.address)) as client:
            return client.send(request(host, target, *headers)).response()

    return get


def number_of(part: str) -> int:
    """The line of the file in which a text begins."""
    return LINES[: LINES.index(part)].count("\n") + 1


# -- the grammar


@pytest.mark.parametrize(("part", "why"), SKIPPED.items())
def test_192_a_malformed_line_is_named_and_skipped(
    chooser: Fanway, file: Path, part: str, why: str
) -> None:
    skipped = [line["why"] for line in chooser.events("route_skipped")]
    assert f"{file}:{number_of(part)}: {why}" in skipped
    assert len(skipped) == len(SKIPPED)


@pytest.mark.parametrize("host", ["unterminated", "escaped", "trailing", "targetless", "tab"])
def test_192_what_a_skipped_line_was_for_goes_elsewhere(
    get: Callable[..., Reply], chosen: Callable[[str], Origin], host: str
) -> None:
    chosen("any")
    assert get(f"{host}.test").body == b"any"


def test_192_quotes_keep_commas_blanks_and_hashes(
    get: Callable[..., Reply], chosen: Callable[[str], Origin]
) -> None:
    quoted, mixed = chosen("quoted"), chosen("mixed")
    assert get("quoted.test").body == b"quoted"
    assert quoted.requests[0].one("X-A") == r'a, b #"c" \d'
    assert quoted.requests[0].one("X-B") == "1"
    assert get("mixed.test").body == b"mixed"
    assert mixed.requests[0].one("X-A") == "one two"


def test_192_a_condition_may_be_options_only(
    get: Callable[..., Reply], chosen: Callable[[str], Origin]
) -> None:
    origin = chosen("id")
    assert get("what.test", "/", "Pushpin-Route: only-id").body == b"id"
    assert origin.requests[0].one("X-C") == "1"


def test_192_unknown_options_are_ignored_with_a_warning(
    get: Callable[..., Reply], chosen: Callable[[str], Origin], chooser: Fanway
) -> None:
    chosen("unknown")
    assert get("unknown.test").body == b"unknown"
    warnings = [line["why"] for line in chooser.events("route_warning")]
    assert [w.partition(": ")[2] for w in warnings if "unknown" in w] == [
        "unknown option 'colour' is ignored",
        "unknown option 'shape' is ignored",
    ]


def test_192_of_a_repeated_option_the_last_counts_and_headers_add_up(
    get: Callable[..., Reply], chosen: Callable[[str], Origin]
) -> None:
    origin = chosen("twice")
    assert get("twice.test").body == b"twice"
    assert (origin.requests[0].one("X-A"), origin.requests[0].one("X-B")) == ("1", "2")


# -- the choice


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/long/", "long"),
        ("/long/er/", "longer"),
        ("/long/er", "long"),
        ("/http/", "http"),
        ("/http/longer/", "http"),  # proto beats a longer path
        ("/ws/longer/", "not-ws"),
    ],
)
def test_191_proto_beats_the_longest_path(
    get: Callable[..., Reply], chosen: Callable[[str], Origin], path: str, name: str
) -> None:
    chosen(name)
    assert get("best.test", path).body == name.encode()


def first_message(fanway: Fanway, path: str) -> str | bytes:
    """What a WebSocket client hears there."""
    with (
        socket.create_connection(fanway.addresses[0]) as sock,
        connect(f"ws://best.test{path}", sock=sock) as client,
    ):
        return client.recv(5)


def test_191_websockets_are_of_a_proto_of_their_own(
    chooser: Fanway, get: Callable[..., Reply], chosen: Callable[[str], Origin]
) -> None:
    assert get("best.test", "/ws/").body == b"Route not found\n"
    chosen("ws").answers(opened(event("TEXT", "m:chosen"), event("CLOSE")))
    assert first_message(chooser, "/ws/longer/") == "chosen"
    with pytest.raises(InvalidStatus) as refused:
        first_message(chooser, "/http/")
    assert refused.value.response.body == b"Route not found\n"


CLAIM = "X-Forwarded-Proto: https"


@pytest.mark.parametrize(
    ("host", "path", "headers", "name"),
    [
        ("tls.test", "/", (), "plain"),
        ("tls.test", "/", (CLAIM,), "tls"),
        ("tls.test", "/path/", (CLAIM,), "path"),  # unlike Pushpin: GRIP.md 11, 4
        ("only-tls.test", "/", (), None),
        ("only-tls.test", "/", (CLAIM,), "tls"),
        ("only-plain.test", "/", (), "plain"),
        ("only-plain.test", "/", (CLAIM,), None),
    ],
)
def test_191_208_ssl_breaks_ties(
    get: Callable[..., Reply],
    chosen: Callable[[str], Origin],
    host: str,
    path: str,
    headers: tuple[str, ...],
    name: str | None,
) -> None:
    if name:
        chosen(name)
    assert get(host, path, *headers).body == (name.encode() if name else b"Route not found\n")


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        (("X-Forwarded-Proto: wss",), "tls"),
        (("X-Forwarded-Protocol: https",), "tls"),
        (("X-Forwarded-Proto:", "X-Forwarded-Protocol: https"), "tls"),
        (("X-Forwarded-Proto: http", "X-Forwarded-Protocol: https"), "plain"),
        (("X-Forwarded-Proto: ftp",), "plain"),
    ],
)
def test_208_a_claim_of_tls_is_believed(
    get: Callable[..., Reply],
    chosen: Callable[[str], Origin],
    headers: tuple[str, ...],
    name: str,
) -> None:
    chosen(name)
    assert get("tls.test", "/", *headers).body == name.encode()


def test_208_unless_it_is_not_to_be(hub: Hub, chosen: Callable[[str], Origin]) -> None:
    routes = [f"* {hub.target},host=plain.chosen", f"*,ssl=yes {hub.target},host=tls.chosen"]
    origin = chosen("plain")
    with Fanway(routes=routes) as fanway, closing(Client(fanway.address)) as client:
        assert client.send(request("a.test", "/", CLAIM)).response().body == b"plain"
    assert origin.requests[0].all("X-Forwarded-Proto") == []


def test_193_a_duplicate_condition_is_skipped(
    get: Callable[..., Reply], chosen: Callable[[str], Origin], chooser: Fanway, file: Path
) -> None:
    chosen("first")
    assert get("doubled.test", "/a/").body == b"first"
    assert get("doubled.test", "/a/", "Pushpin-Route: never").status == 502
    chosen("other")
    assert get("doubled.test", "/b/").body == b"other"
    warnings = [line["why"] for line in chooser.events("route_warning")]
    assert f"{file}:{number_of('DOUBLED')}: skipping duplicate condition" in warnings


def test_199_an_id_that_rules_share_chooses_by_host(
    get: Callable[..., Reply], chosen: Callable[[str], Origin]
) -> None:
    chosen("shared-2"), chosen("any")
    assert get("shared.test", "/", "Pushpin-Route: shared").body == b"shared-2"
    assert get("elsewhere.test", "/", "Pushpin-Route: shared").body == b"any"


def test_199_what_an_id_chooses_must_fit_the_path(get: Callable[..., Reply]) -> None:
    reply = get("what.test", "/", "Pushpin-Route: only-path")
    assert (reply.status, reply.body) == (502, b"Route not found\n")
