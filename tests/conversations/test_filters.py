"""What filters make of messages on their way to clients (GRIP.md 3)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from support.client import Client, Reply
from support.fanway import Fanway
from support.origin import Answer, Origin, Request, Wire
from support.spelling import answer, instruct
from support.wsspelling import control, event, events, opened

Ask = Callable[..., Client]
Settle = Callable[[], None]
Filtered = Callable[..., Reply]

MARK = "mark\n"


@pytest.fixture
def filtered(ask: Ask, origin: Origin, channel: str, settle: Settle) -> Filtered:
    """The reply to a client in a stream whose channel has these filters."""

    def filtered(
        *filters: str, meta: str = "", more: str = "", body: bytes = b"", target: str = "/"
    ) -> Reply:
        names = "".join(f"; filter={name}" for name in filters)
        headers = ["Grip-Hold: stream", f"Grip-Channel: {channel}{names}{more}"]
        headers += [f"Grip-Set-Meta: {meta}"] if meta else []
        origin.answers(answer(*headers, body=body))
        reply = ask(target).reply()
        settle()
        return reply

    return filtered


@pytest.fixture
def say(fanway: Fanway, channel: str) -> Callable[..., None]:
    """Publish to the test's channel."""

    def say(content: str, **meta: str) -> None:
        fanway.publish_stream(channel, content, **({"meta": meta} if meta else {}))

    return say


def test_124_skip_self(filtered: Filtered, say: Callable[..., None]) -> None:
    dana, nobody = filtered("skip-self", meta="user=dana"), filtered("skip-self")
    say("by dana\n", sender="dana")
    say("by eve\n", sender="eve")
    say("by nobody\n")
    dana.expect(b"by eve\nby nobody\n")
    nobody.expect(b"by dana\nby eve\nby nobody\n")


@pytest.mark.parametrize("action", ["close", "hint"])
def test_124_actions_are_filtered_as_well(
    filtered: Filtered, say: Callable[..., None], fanway: Fanway, channel: str, action: str
) -> None:
    dana, nobody = filtered("skip-self", meta="user=dana"), filtered("skip-self")
    fanway.publish(channel, {"http-stream": {"action": action}}, meta={"sender": "dana"})
    say(MARK)
    dana.expect(MARK.encode())
    if action == "close":
        nobody.expect_end()


def test_125_skip_users(filtered: Filtered, say: Callable[..., None]) -> None:
    dana, eve = (filtered("skip-users", meta=f"user={user}") for user in ("dana", "eve"))
    say("not for dana\n", skip_users="x, dana ,y")
    say(MARK)
    dana.expect(MARK.encode())
    eve.expect(b"not for dana\n" + MARK.encode())


def test_126_require_sub(filtered: Filtered, say: Callable[..., None], channel: str) -> None:
    both, one = filtered("require-sub", more=f", {channel}-too"), filtered("require-sub")
    say("for both\n", require_sub=f"{channel}-too")
    say(MARK)
    both.expect(b"for both\n" + MARK.encode())
    one.expect(MARK.encode())


def test_127_var_subst(filtered: Filtered, say: Callable[..., None]) -> None:
    dana, eve = (filtered("var-subst", meta=f"user={user}") for user in ("dana", "eve"))
    say("hi %(user)s, 100%%\n")
    say("%(nobody)s\n")
    say(MARK)
    dana.expect(b"hi dana, 100%\n" + MARK.encode())
    eve.expect(b"hi eve, 100%\n" + MARK.encode())


def test_128_build_id(
    ask: Ask, origin: Origin, fanway: Fanway, channel: str, settle: Settle
) -> None:
    other = f"{channel}-other"

    def first(encoding: str) -> bytes:
        return answer(
            "Grip-Hold: stream",
            f"Grip-Channel: {channel}; prev-id=1; filter=build-id, {other}; prev-id=9",
            "Grip-Link: </p>; rel=next",
            f'Grip-Set-Meta: id_format="%({channel})s-%({other})s"{encoding}',
        )

    origin.answers(first(""), first(", id_encoding=hex"))
    plain, hexed = ask().reply(), ask().reply()
    settle()
    fanway.publish_stream(channel, "id: %I %(a)I\n", id="2", prev_id="1")
    plain.expect(b"id: 2-9 a\n")
    hexed.expect(b"id: %b 61\n" % b"2-9".hex().encode())


def test_128_without_an_id_format_the_item_is_suppressed(
    filtered: Filtered, ask: Ask, origin: Origin, say: Callable[..., None], channel: str
) -> None:
    other = filtered()
    origin.answers(answer("Grip-Hold: stream", f"Grip-Channel: {channel}; filter=build-id"))
    client = ask()
    assert client.reply().status == 200
    say("id: %I\n")
    say(MARK)
    other.expect(b"id: %I\n" + MARK.encode())
    assert client.is_silent()


def test_129_literal_ids_are_built_in_the_initial_body(filtered: Filtered) -> None:
    reply = filtered("build-id", meta='id_format="x"', body=b"id: %(7)I\n")
    reply.expect(b"id: 7\n")


def test_129_a_bare_id_is_an_error_there(ask: Ask, origin: Origin, channel: str) -> None:
    id_format = f'Grip-Set-Meta: id_format="%({channel})s"'
    grip = (f"Grip-Channel: {channel}; filter=build-id", id_format)
    origin.answers(answer(*grip, body=b"id: %I\n"))
    assert ask().response().status == 502
    origin.answers(answer("Grip-Hold: stream", *grip, body=b"id: %I\n"))
    reply = ask().reply()
    assert (reply.status, reply.read_to_end()) == (200, b"")


def test_130_unknown_filters_are_ignored(filtered: Filtered, say: Callable[..., None]) -> None:
    reply = filtered("no-such-filter")
    say("as it is %(x)s\n")
    reply.expect(b"as it is %(x)s\n")


def test_131_content_filters(filtered: Filtered, fanway: Fanway, channel: str) -> None:
    with_one = filtered("skip-self", "var-subst", meta="user=dana")
    without = filtered()

    def say(content: str, *filters: str) -> None:
        form = {"content": content, "content-filters": list(filters)}
        fanway.publish(channel, {"http-stream": form})

    say("%(user)s\n", "var-subst")
    say("plain\n")
    say("other\n", "build-id")
    fanway.publish_stream(channel, "all\n")
    with_one.expect(b"dana\nall\n")
    without.expect(b"plain\nall\n")


def test_132_filters_run_in_order_and_stop_at_the_first_drop(
    filtered: Filtered, say: Callable[..., None]
) -> None:
    reply = filtered("skip-self", "var-subst", meta="user=dana", target="/debug/")
    say("%(nobody)s", sender="dana")  # its error would end the session
    say(MARK)
    reply.expect(MARK.encode())


def test_132_those_that_come_first_run_first_whatever_they_are(
    filtered: Filtered, say: Callable[..., None]
) -> None:
    reply = filtered("var-subst", "skip-self", meta="user=dana", target="/debug/")
    say("%(nobody)s", sender="dana")
    assert reply.read_to_end() == b"\n\nfilter error: no such variable 'nobody'\n"


def test_133_metadata_of_every_form_is_the_same(
    filtered: Filtered,
    ask: Ask,
    ws: Callable[..., Any],
    origin: Origin,
    channel: str,
    fanway: Fanway,
    ws_fanway: Fanway,
    settle: Settle,
) -> None:
    by_headers = filtered("var-subst", meta='user="dana", a=b')
    channels = [{"name": channel, "filters": ["var-subst"]}]
    hold = {"mode": "stream", "channels": channels, "meta": {"user": "dana", "a": "b"}}
    origin.answers(instruct({"hold": hold}))
    by_json = ask().reply()
    settle()
    meta = [control("set-meta", name=name, value=value) for name, value in (("user", "dana"), "ab")]
    subscribe = control("subscribe", channel=channel, filters=["var-subst"])
    origin.answers(opened(*meta, subscribe, event("TEXT", "m:mark")))
    by_control = ws()
    assert by_control.recv(5) == "mark"
    content = {"content": "hi %(user)s %(a)s\n"}
    for proxy in (fanway, ws_fanway):
        proxy.publish(channel, {"http-stream": content, "ws-message": content})
    for reply in (by_headers, by_json):
        reply.expect(b"hi dana b\n")
    assert by_control.recv(5) == "hi dana b\n"


def test_127_a_long_poll_is_filtered_as_well(
    ask: Ask, origin: Origin, channel: str, fanway: Fanway, settle: Settle
) -> None:
    grip = ("Grip-Hold: response", f"Grip-Channel: {channel}; filter=var-subst; filter=skip-self")
    origin.answers(answer(*grip, "Grip-Set-Meta: user=dana"))
    client = ask()
    origin.wait_until_answered()
    settle()
    fanway.publish_response(channel, "not for dana", meta={"sender": "dana"})
    fanway.publish_response(channel, "hi %(user)s")
    assert client.response().body == b"hi dana"


URL = 'url="/debug/check", user=dana'


def test_134_http_check(filtered: Filtered, say: Callable[..., None], origin: Origin) -> None:
    reply = filtered("http-check", meta=URL)
    origin.answers(answer(), answer("Action: drop"), answer(status="500 Oh"), answer())
    for number in range(3):
        say(f"{number}\n")
    say(MARK)
    reply.expect(b"0\n" + MARK.encode())


@pytest.mark.parametrize(
    ("meta", "filters", "said", "why"),
    [
        ("user=dana", "http-check", answer(), "missing url value"),
        ('url=""', "http-check", answer(), "missing url value"),
        (URL, "http-check", answer(status="500 Oh"), "unexpected network request status: code=500"),
        (URL, "http-check", answer(status="201 Oh"), "unexpected network request status: code=201"),
        (URL, "http-check", lambda wire, _: None, "network request failed: disconnected"),
        (
            'url="http://127.0.0.1:1/"',
            "http-check",
            answer(),
            "network request failed: connection refused",
        ),
        (
            'url="http://nowhere.invalid/"',
            "http-check",
            answer(),
            "network request failed: general error",
        ),
        (
            URL,
            "http-modify",
            answer(body=bytes(100_001)),
            "network response exceeded 100000 bytes",
        ),
    ],
)
def test_137_in_debug_mode_it_is_told_why_nothing_came_of_a_request(
    filtered: Filtered,
    say: Callable[..., None],
    origin: Origin,
    meta: str,
    filters: str,
    said: Answer,
    why: str,
) -> None:
    reply = filtered(filters, meta=meta, target="/debug/")
    origin.answers(said)
    say("x")
    assert reply.read_to_end() == f"\n\nfilter error: {why}\n".encode()


def test_134_items_wait_for_the_answer_to_one_before_them(
    filtered: Filtered, say: Callable[..., None], origin: Origin, settle: Settle
) -> None:
    is_second_published = threading.Event()

    def answers_late(wire: Wire, _: Request) -> None:
        assert is_second_published.wait(10)
        wire.send(answer())

    reply = filtered("http-check", meta=URL)
    origin.answers(answers_late, answer())
    say("first\n")
    origin.wait_for_requests(2)
    say("second\n")
    settle()
    assert reply.client.is_silent()
    is_second_published.set()
    reply.expect(b"first\nsecond\n")


def test_135_http_modify(filtered: Filtered, say: Callable[..., None], origin: Origin) -> None:
    reply = filtered("http-modify", meta=URL)
    kept = b"HTTP/1.1 204 Kept\r\n\r\n"
    origin.answers(answer(body=b"new\n"), kept, answer(body=bytes(100_001)), kept)
    for number in range(3):
        say(f"{number}\n")
    say(MARK)
    reply.expect(b"new\n1\n" + MARK.encode())
    assert [asked.body for asked in origin.requests[1:]] == [b"0\n", b"1\n", b"2\n", b"mark\n"]


def test_136_what_the_origin_is_asked(
    ask: Ask, origin: Origin, channel: str, fanway: Fanway, settle: Settle
) -> None:
    grip = (
        "Grip-Hold: stream",
        f"Grip-Channel: {channel}; prev-id=17; filter=http-check",
        "Grip-Link: </p>; rel=next",
        f"Grip-Set-Meta: {URL}",
    )
    origin.answers(answer(*grip), answer())
    reply = ask().reply()
    settle()
    fanway.publish_stream(channel, "x\n", id="18", prev_id="17", meta={"sender": "eve"})
    reply.expect(b"x\n")
    asked = origin.requests[1]
    assert (asked.method, asked.target, asked.body) == ("POST", "/debug/check", b"")
    assert json.loads(asked.one("Sub-Meta") or "") == {"url": "/debug/check", "user": "dana"}
    assert json.loads(asked.one("Pub-Meta") or "") == {"sender": "eve"}
    assert asked.one("Grip-Last") == f"{channel}; last-id=17"
    assert asked.one("Grip-Sig")
    assert "filter:http-check" in (asked.one("Grip-Feature") or "")
    assert asked.all("Content-Type") == []


def test_137_in_debug_mode_an_error_ends_the_stream_with_a_message(
    filtered: Filtered, say: Callable[..., None]
) -> None:
    reply = filtered("var-subst", target="/debug/")
    say("%(nobody)s")
    assert reply.read_to_end() == b"\n\nfilter error: no such variable 'nobody'\n"


def test_137_and_a_long_poll_with_502(
    ask: Ask, origin: Origin, channel: str, fanway: Fanway, settle: Settle
) -> None:
    origin.answers(answer("Grip-Hold: response", f"Grip-Channel: {channel}; filter=var-subst"))
    client = ask("/debug/")
    origin.wait_until_answered()
    settle()
    fanway.publish_response(channel, "%(nobody)s")
    response = client.response()
    assert (response.status, response.body) == (502, b"filter error: no such variable 'nobody'\n")


# -- WebSockets


@pytest.mark.parametrize(
    ("content", "filters", "reason"),
    [
        ("%(nobody)s", None, "filter error: no such variable 'nobody'"),
        ("x", ["build-id"], "content filter mismatch: subscription=var-subst message=build-id"),
    ],
)
def test_137_in_debug_mode_an_error_closes_a_websocket_with_1011(
    ws: Callable[..., Any],
    ws_fanway: Fanway,
    origin: Origin,
    channel: str,
    content: str,
    filters: list[str] | None,
    reason: str,
) -> None:
    subscribe = control("subscribe", channel=channel, filters=["var-subst"])
    first = opened(subscribe, event("TEXT", "m:mark"))
    origin.answers(first, first, events())
    message = {"content": content} | ({"content-filters": filters} if filters else {})
    debugged, other = ws("/debug/"), ws()
    assert debugged.recv(5) == other.recv(5) == "mark"
    ws_fanway.publish(channel, {"ws-message": message})
    with pytest.raises(ConnectionClosed) as closed:
        debugged.recv(5)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1011, reason)
    ws_fanway.publish(channel, {"ws-message": {"content": "next"}})
    assert other.recv(5) == "next"


def test_124_127_180_filters_go_by_what_a_websocket_has_set(
    ws: Callable[..., Any], ws_fanway: Fanway, origin: Origin, channel: str
) -> None:
    filters = ["skip-self", "var-subst"]
    mark = event("TEXT", "m:mark")
    set_to = {user: control("set-meta", name="user", value=user) for user in ("dana", "eve")}
    subscribe = control("subscribe", channel=channel, filters=filters)
    origin.answers(
        opened(set_to["dana"], subscribe, mark), events(set_to["eve"], mark), events(mark)
    )
    client = ws()

    def say(content: str, **meta: str) -> None:
        ws_fanway.publish(channel, {"ws-message": {"content": content}}, meta=meta)

    assert client.recv(5) == "mark"
    say("hi %(user)s", sender="dana")
    say("hi %(user)s", sender="eve")
    assert client.recv(5) == "hi dana"
    client.send("change")
    assert client.recv(5) == "mark"
    say("hi %(user)s", sender="eve")
    say("hi %(user)s", sender="dana")
    assert client.recv(5) == "hi eve"


def test_134_136_a_websocket_has_its_origin_asked_by_http(
    ws: Callable[..., Any], ws_fanway: Fanway, origin: Origin, channel: str
) -> None:
    meta = control("set-meta", name="url", value="check?a")
    subscribe = control("subscribe", channel=channel, filters=["http-modify"])
    origin.answers(opened(meta, subscribe, event("TEXT", "m:mark")), answer(body=b"new"))
    client = ws("/folder/ws")
    assert client.recv(5) == "mark"
    ws_fanway.publish(channel, {"ws-message": {"content": "old"}}, meta={"sender": "eve"})
    assert client.recv(5) == "new"
    asked = origin.requests[1]
    assert (asked.method, asked.target, asked.body) == ("POST", "/folder/check?a", b"old")
    assert json.loads(asked.one("Sub-Meta") or "") == {"url": "check?a"}
    assert json.loads(asked.one("Pub-Meta") or "") == {"sender": "eve"}


def test_126_the_channels_of_a_websocket_are_those_it_is_on_now(
    ws: Callable[..., Any], ws_fanway: Fanway, origin: Origin, channel: str
) -> None:
    mark = event("TEXT", "m:mark")
    first = control("subscribe", channel=channel, filters=["require-sub"])
    second = control("subscribe", channel=f"{channel}-too")
    origin.answers(opened(first, mark), events(second, mark), events(mark))
    client = ws()
    assert client.recv(5) == "mark"
    for number in ("1", "2"):
        meta = {"require_sub": f"{channel}-too"}
        ws_fanway.publish(channel, {"ws-message": {"content": number}}, meta=meta)
        client.send("next")
        assert client.recv(5) == ("mark" if number == "1" else "2")
