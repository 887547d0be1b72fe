"""Streams that lose nothing, and requests that are made on behalf of clients (GRIP.md 1.8, 1.9)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.client import Client, Reply
from support.fanway import Fanway
from support.keys import HEX_SECRET, SIG_KEY, read_token, secret
from support.origin import Hub, Origin, Request, Wire
from support.spelling import answer, instruct, request
from support.waiting import until

Ask = Callable[..., Client]
Hold = Callable[..., Client]
Settle = Callable[[], None]


def held(
    channel: str, prev_id: str, *more: str, path: str = "/p", body: bytes = b"", timeout: int = 60
) -> bytes:
    """An answer that holds a stream at an id."""
    return answer(
        "Grip-Hold: stream",
        f"Grip-Channel: {channel}; prev-id={prev_id}",
        f"Grip-Link: <{path}>; rel=next; timeout={timeout}",
        *more,
        body=body,
    )


@pytest.fixture
def follow(ask: Ask, origin: Origin, settle: Settle) -> Callable[..., Reply]:
    """The reply to a client in a stream with a next link, its initial body already taken."""

    def follow(first: bytes, *more: bytes, body: bytes = b"one\n", target: str = "/") -> Reply:
        origin.answers(first, *more)
        reply = ask(target).reply()
        reply.expect(body)
        settle()
        return reply

    return follow


def lasts(asked: Request) -> list[str]:
    return sorted(asked.all("Grip-Last"))


def test_72_73_74_pages_are_appended_until_one_has_neither_hold_nor_link(
    ask: Ask, origin: Origin
) -> None:
    first = answer("X-One: 1", "Grip-Link: </p>; rel=next", body=b"one\n")
    second = answer("X-Two: 2", "Grip-Link: </q>; rel=next", body=b"two\n", status="202 Later")
    origin.answers(first, second, answer(body=b"three\n"))
    reply = ask().reply()
    assert (reply.status, reply.one("X-One"), reply.all("X-Two")) == (200, "1", [])
    assert reply.read_to_end() == b"one\ntwo\nthree\n"
    assert [asked.target for asked in origin.requests] == ["/", "/p", "/q"]


def test_75_a_page_may_hold(
    ask: Ask, origin: Origin, fanway: Fanway, channel: str, settle: Settle
) -> None:
    first = answer("Grip-Link: </p>; rel=next", body=b"one\n")
    origin.answers(first, held(channel, "2", body=b"two\n"))
    reply = ask().reply()
    reply.expect(b"one\ntwo\n")
    settle()
    fanway.publish_stream(channel, "three\n", id="3", prev_id="2")
    reply.expect(b"three\n")


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (answer("Grip-Hold: response", body=b"two\n"), "Next link returned non-stream hold."),
        (answer("Grip-Status: x", body=b"two\n"), "Grip-Status contains invalid status code"),
        (instruct({}), "failed to parse application/grip-instruct content as JSON"),
    ],
    ids=["a response hold", "a bad header", "JSON"],
)
def test_76_a_page_that_cannot_be_followed_ends_the_stream(
    ask: Ask, origin: Origin, page: bytes, why: str
) -> None:
    for path, told in (("/", ""), ("/debug/", f"\n\n{why}\n")):
        origin.answers(answer(f"Grip-Link: <{path}p>; rel=next", body=b"one\n"), page)
        assert ask(path).reply().read_to_end() == f"one\n{told}".encode()


def test_75_a_page_that_names_an_id_and_no_link_ends_the_stream(
    ask: Ask, origin: Origin, channel: str
) -> None:
    grip = ("Grip-Hold: stream", f"Grip-Channel: {channel}; prev-id=2")
    origin.answers(answer("Grip-Link: </debug/p>; rel=next"), answer(*grip, body=b"two\n"))
    told = f"two\n\n\nchannel '{channel}' specifies prev-id, but no next link found\n"
    assert ask("/debug/").reply().read_to_end() == told.encode()


def test_77_78_what_the_origin_is_asked(
    ask: Ask, origin: Origin, fanway: Fanway, channel: str, settle: Settle
) -> None:
    first = held(channel, "1", path="/prefixed/p", body=b"one\n")
    origin.answers(first, answer(body=b"two\n"))
    private = ("Cookie: sid=1", "Authorization: Basic eDp5", "X-Mine: 1")
    reply = ask("/prefixed/", *private).reply()
    reply.expect(b"one\n")
    settle()
    fanway.publish(f"p-{channel}", {"http-stream": {"action": "hint"}})
    assert reply.read_to_end() == b"one\ntwo\n"
    asked = origin.requests[1]
    assert (asked.method, asked.target, asked.body) == ("GET", "/prefixed/p", b"")
    assert lasts(asked) == [f"{channel}; last-id=1"]
    names = sorted(name.lower() for name, _ in asked.headers)
    assert names == [b"grip-feature", b"grip-last", b"grip-sig", b"host"]
    assert asked.one("Host") == origin.host
    read_token(asked.one("Grip-Sig") or "", secret(SIG_KEY))


def test_78_every_channel_that_is_tracked_is_named_with_what_was_seen_last(
    ask: Ask, origin: Origin, fanway: Fanway, channel: str, settle: Settle
) -> None:
    names = f"{channel}-a; prev-id=1, {channel}-b, {channel}-c; prev-id=x9, {channel}-d; prev-id=5"
    grip = ("Grip-Hold: stream", f"Grip-Channel: {names}", "Grip-Link: </p>; rel=next")
    origin.answers(answer(*grip, body=b"one\n"), answer(body=b"two\n"))
    reply = ask().reply()
    reply.expect(b"one\n")
    settle()
    fanway.publish_stream(f"{channel}-a", "-", id="2", prev_id="1")  # is followed from now on
    fanway.publish_stream(f"{channel}-d", "-", prev_id="5")  # has no id: is tracked no longer
    reply.expect(b"--")
    fanway.publish(f"{channel}-b", {"http-stream": {"action": "hint"}})
    assert reply.read_to_end() == b"one\n--two\n"
    assert lasts(origin.requests[1]) == [f"{channel}-a; last-id=2", f"{channel}-c; last-id=x9"]


def test_79_relative_links_start_at_the_page(ask: Ask, origin: Origin) -> None:
    first = answer("Grip-Link: <a/p?x#part>; rel=next")
    origin.answers(first, answer("Grip-Link: <q>; rel=next"), answer())
    ask("/deep/").reply().read_to_end()
    assert [asked.target for asked in origin.requests] == ["/deep/", "/deep/a/p?x", "/deep/a/q"]


def test_80_another_host_is_asked_directly_and_signed_with_the_key_of_the_route(
    connect: Ask, hub: Hub
) -> None:
    origin, other = hub.origin("hex.test"), hub.origin("127.0.0.1")
    other.answers(answer(body=b"elsewhere"))
    origin.answers(answer(f"Grip-Link: <http://{hub.target}/p>; rel=next"))
    assert connect().send(request(origin.host)).reply().read_to_end() == b"elsewhere"
    asked = other.requests[0]
    assert asked.one("Host") == hub.target
    read_token(asked.one("Grip-Sig") or "", secret(HEX_SECRET))


def test_81_sessions_that_have_seen_the_same_share_one_request(
    ask: Ask, origin: Origin, fanway: Fanway, channel: str, settle: Settle
) -> None:
    def first(number: int) -> bytes:
        return held(channel, "1", path=f"/p?client={number}", body=b"one\n")

    origin.answers(*map(first, range(3)), held(channel, "3", body=b"two\nthree\n"))
    replies = []
    for _ in range(3):
        reply = ask().reply()
        reply.expect(b"one\n")
        replies.append(reply)
    settle()
    fanway.publish_stream(channel, "three\n", id="3", prev_id="2", no_seq=True)
    for reply in replies:
        reply.expect(b"two\nthree\n")
    assert len(origin.requests) == 4


def test_81_without_last_ids_the_query_tells_pages_apart(
    ask: Ask, origin: Origin, fanway: Fanway, channel: str, settle: Settle
) -> None:
    """Pushpin would give both the same page; GRIP.md 11, number 5."""

    def page(wire: Wire, asked: Request) -> None:
        wire.send(answer(body=asked.target.encode()))

    grip = ("Grip-Hold: stream", f"Grip-Channel: {channel}")
    links = [f"Grip-Link: </p?client={number}>; rel=next" for number in range(2)]
    origin.answers(*(answer(*grip, link, body=b"one\n") for link in links), page)
    replies = []
    for _ in links:
        replies.append(ask().reply())
        replies[-1].expect(b"one\n")
    settle()
    fanway.publish(channel, {"http-stream": {"action": "hint"}})
    for number, reply in enumerate(replies):
        assert reply.read_to_end() == f"one\n/p?client={number}".encode()


def test_82_a_timeout_of_0_is_followed_again_and_again(
    follow: Callable[..., Reply], origin: Origin, channel: str
) -> None:
    again = [held(channel, "1", body=b"more\n", timeout=0)] * 2
    reply = follow(held(channel, "1", body=b"one\n", timeout=0), *again, answer(body=b"end\n"))
    assert reply.read_to_end() == b"one\nmore\nmore\nend\n"


def test_84_85_a_gap_is_closed_by_the_page_and_nothing_comes_twice(
    follow: Callable[..., Reply], origin: Origin, fanway: Fanway, channel: str, settle: Settle
) -> None:
    said: list[str] = []

    def page(wire: Wire, _request: Request) -> None:
        for number in ("4", "5"):
            fanway.publish_stream(channel, f"{number}\n", id=number, prev_id=str(int(number) - 1))
        said.append("page")
        wire.send(held(channel, "4", body=b"2\n3\n4\n"))

    reply = follow(held(channel, "1", body=b"one\n"), page, held(channel, "9"))
    fanway.publish_stream(channel, "3\n", id="3", prev_id="2", no_seq=True)
    reply.expect(b"2\n3\n4\n5\n")
    assert said == ["page"]
    assert lasts(origin.requests[1]) == [f"{channel}; last-id=1"]
    fanway.publish_stream(channel, "6\n", id="6", prev_id="5")
    reply.expect(b"6\n")


def test_84_what_a_filter_drops_is_no_gap_and_what_it_fails_on_is(
    ask: Ask, origin: Origin, fanway: Fanway, channel: str, settle: Settle
) -> None:
    names = f"{channel}; prev-id=1; filter=skip-self; filter=var-subst"
    grip = ("Grip-Hold: stream", f"Grip-Channel: {names}", "Grip-Link: </p>; rel=next")
    origin.answers(answer(*grip, "Grip-Set-Meta: user=u", body=b"one\n"), answer(body=b"3\n4\n"))
    reply = ask().reply()
    reply.expect(b"one\n")
    settle()
    fanway.publish_stream(channel, "own\n", id="2", prev_id="1", meta={"sender": "u"})
    fanway.publish_stream(channel, "%(nothing)s\n", id="3", prev_id="2")
    fanway.publish_stream(channel, "4\n", id="4", prev_id="3")
    assert reply.read_to_end() == b"one\n3\n4\n"
    assert lasts(origin.requests[1]) == [f"{channel}; last-id=2"]


@pytest.mark.parametrize("third", ["3\n", "%(nothing)s\n"], ids=["3 is good", "3 is bad"])
def test_84_what_comes_close_behind_an_item_that_failed_does_not_hide_it(
    ask: Ask, origin: Origin, fanway: Fanway, channel: str, settle: Settle, third: str
) -> None:
    names = f"{channel}; prev-id=1; filter=var-subst"
    grip = ("Grip-Hold: stream", f"Grip-Channel: {names}", "Grip-Link: </p>; rel=next")
    origin.answers(answer(*grip, body=b"one\n"), answer(body=b"2\n3\n4\n"))
    reply = ask().reply()
    reply.expect(b"one\n")
    settle()
    fanway.publish_items(
        *(
            {"channel": channel, "id": id_, "prev-id": before, "http-stream": {"content": content}}
            for id_, before, content in (
                ("2", "1", "%(nothing)s\n"),
                ("3", "2", third),
                ("4", "3", "4\n"),
            )
        )
    )
    assert reply.read_to_end() == b"one\n2\n3\n4\n"
    assert lasts(origin.requests[1]) == [f"{channel}; last-id=1"]


def test_86_what_was_published_before_the_hold_is_fetched_at_once(
    follow: Callable[..., Reply], ask: Ask, origin: Origin, fanway: Fanway, channel: str,
    settle: Settle,
) -> None:  # fmt: skip
    follow(held(channel, "1", body=b"one\n"))  # so that the channel has a subscriber
    fanway.publish_stream(channel, "two\n", id="2", prev_id="1")
    origin.answers(held(channel, "1", body=b"one\n"), held(channel, "2", body=b"two\n"))
    ask().reply().expect(b"one\ntwo\n")


def test_a_response_hold_takes_no_notice_of_a_next_link(
    hold: Hold, fanway: Fanway, origin: Origin, channel: str
) -> None:
    link = "Grip-Link: </p>; rel=next; timeout=0"
    client = hold(answer("Grip-Hold: response", f"Grip-Channel: {channel}", link))
    fanway.publish_response(channel, "answered")
    assert client.response().body == b"answered"
    assert len(origin.requests) == 1


def test_87_a_page_that_fails_is_asked_for_again(
    follow: Callable[..., Reply], origin: Origin, fanway: Fanway, channel: str
) -> None:
    bad = answer(status="500 Oh")
    reply = follow(held(channel, "1", body=b"one\n"), bad, answer(body=b"two\n"))
    fanway.publish(channel, {"http-stream": {"action": "hint"}})
    assert reply.read_to_end() == b"one\ntwo\n"
    assert len(origin.requests) == 3


def test_88_a_hint_is_followed_at_once(
    follow: Callable[..., Reply], fanway: Fanway, channel: str
) -> None:
    reply = follow(held(channel, "1", body=b"one\n"), answer(body=b"two\n"))
    fanway.publish(channel, {"http-stream": {"action": "hint"}})
    assert reply.read_to_end() == b"one\ntwo\n"


def test_88_one_that_comes_while_a_page_does_is_followed_after_it(
    follow: Callable[..., Reply], origin: Origin, fanway: Fanway, channel: str, settle: Settle
) -> None:
    hint = {"http-stream": {"action": "hint"}}

    def page(wire: Wire, _request: Request) -> None:
        fanway.publish(channel, hint)
        settle()
        wire.send(held(channel, "2", body=b"two\n"))

    reply = follow(held(channel, "1", body=b"one\n"), page, answer(body=b"three\n"))
    fanway.publish(channel, hint)
    assert reply.read_to_end() == b"one\ntwo\nthree\n"
    assert lasts(origin.requests[2]) == [f"{channel}; last-id=2"]


def test_89_a_page_replaces_the_channels(
    follow: Callable[..., Reply], fanway: Fanway, channel: str, settle: Settle
) -> None:
    other = f"{channel}-other"
    reply = follow(held(channel, "1", body=b"one\n"), held(other, "2", body=b"two\n"))
    fanway.publish(channel, {"http-stream": {"action": "hint"}})
    reply.expect(b"two\n")
    settle()
    fanway.publish_stream(channel, "lost\n")
    fanway.publish_stream(other, "three\n", id="3", prev_id="2")
    reply.expect(b"three\n")


def test_90_a_long_poll_that_comes_too_late_is_asked_again(
    hold: Hold, ask: Ask, origin: Origin, fanway: Fanway, channel: str, settle: Settle
) -> None:
    poll = ("Grip-Hold: response", f"Grip-Channel: {channel}; prev-id=1")
    hold(answer(*poll))
    fanway.publish_response(channel, "two", id="2", prev_id="1")
    settle()
    origin.answers(answer(*poll), answer(body=b"again"))
    assert ask().response().body == b"again"
    assert lasts(origin.requests[-1]) == [f"{channel}; last-id=1"]


def test_93_94_what_fits_is_delivered(hold: Hold, fanway: Fanway, channel: str) -> None:
    client = hold(answer("Grip-Hold: response", f"Grip-Channel: {channel}; prev-id=1"))
    fanway.publish_response(channel, "two", id="2", prev_id="1")
    assert client.response().body == b"two"
    client = hold(answer("Grip-Hold: response", f"Grip-Channel: {channel}"))
    fanway.publish_response(channel, "nine", id="9", prev_id="8", no_seq=True)
    assert client.response().body == b"nine"


def test_95_a_first_subscription_asks_long_polls_again_a_second_later_and_not_while_it_lingers(
    hub: Hub, channel: str
) -> None:
    origin, other = (hub.origin(f"{kind}-{channel}.test") for kind in ("first", "other"))
    poll = answer("Grip-Hold: response", f"Grip-Channel: {channel}")
    origin.answers(poll)
    other.answers(answer("Grip-Hold: response", f"Grip-Channel: {channel}-other"), answer())
    with Fanway("--update-on-first-subscription", routes=[f"* {hub.target}"]) as fanway:
        client = Client(fanway.address).send(request(origin.host))
        first, again = origin.wait_for_requests(1), origin.wait_for_requests(2)
        assert 1 <= again.arrived_seconds - first.arrived_seconds <= 2
        assert again.all("Grip-Last") == []
        origin.wait_until_answered(2)
        until(lambda: fanway.metric("fanway_holds") == 1, "held again")
        fanway.publish_response(channel, "one")
        assert client.response().body == b"one"
        client.send(request(origin.host))
        origin.wait_until_answered(3)
        clock = Client(fanway.address).send(request(other.host))
        assert clock.response().status == 200  # its channel is new, and a second has passed
        assert len(origin.requests) == 3
        client.close()
        clock.close()


def test_97_recover_asks_for_everything(hub: Hub, channel: str) -> None:
    with Fanway(routes=[f"* {hub.target}"]) as fanway:
        stream, poll = (hub.origin(f"{kind}-{channel}.test") for kind in ("stream", "poll"))
        stream.answers(held(channel, "1", body=b"one\n"), answer(body=b"two\n"))
        poll.answers(answer("Grip-Hold: response", f"Grip-Channel: {channel}"), answer(body=b"2"))
        streaming = Client(fanway.address).send(request(stream.host))
        reply = streaming.reply()
        reply.expect(b"one\n")
        polling = Client(fanway.address).send(request(poll.host))

        until(lambda: fanway.metric("fanway_holds") == 2, "held")
        assert fanway.control("POST", "/recover/").body == "Updated\n"
        assert polling.response().body == b"2"
        assert reply.read_to_end() == b"one\ntwo\n"
        assert lasts(stream.requests[1]) == [f"{channel}; last-id=1"]
        assert lasts(poll.requests[1]) == []
        streaming.close()
        polling.close()


GONE = "Grip-Link: </bye>; rel=gone"


def posts(origin: Origin) -> list[Request]:
    return [asked for asked in origin.requests if asked.method == "POST"]


def test_98_an_origin_is_told_when_a_client_leaves(
    follow: Callable[..., Reply], ask: Ask, origin: Origin, channel: str, settle: Settle
) -> None:
    origin.answers(held(channel, "1", GONE, body=b"one\n"), answer())
    client = ask()
    client.reply().expect(b"one\n")
    settle()
    client.close()
    until(lambda: posts(origin), "told")
    settle()
    [told] = posts(origin)
    assert (told.target, told.body, told.one("Content-Length")) == ("/bye", b"", "0")


def test_98_and_when_a_hold_is_answered(
    hold: Hold, origin: Origin, fanway: Fanway, channel: str, settle: Settle
) -> None:
    client = hold(answer("Grip-Hold: response", f"Grip-Channel: {channel}", GONE), answer())
    fanway.publish_response(channel, "done")
    assert client.response().body == b"done"
    until(lambda: posts(origin), "told")


def test_98_and_before_a_request_is_made_again(
    hold: Hold, origin: Origin, fanway: Fanway, channel: str, settle: Settle
) -> None:
    counts: list[int] = []

    def take_time(wire: Wire, _request: Request) -> None:
        settle()
        counts.append(len(origin.requests))
        wire.send(answer())

    grip = ("Grip-Hold: response", f"Grip-Channel: {channel}", GONE)
    client = hold(answer(*grip), take_time, answer(body=b"again"))
    fanway.publish(channel, {"http-response": {"action": "hint"}})
    assert client.response().body == b"again"
    assert [asked.method for asked in origin.requests] == ["GET", "POST", "GET"]
    assert counts == [2], "nothing was asked before the gone link was answered"


def test_98_a_failure_is_logged_without_the_query(
    hold: Hold, origin: Origin, fanway: Fanway, channel: str
) -> None:
    since = len(fanway.lines)
    link = "Grip-Link: </bye?token=secret>; rel=gone"
    grip = ("Grip-Hold: response", f"Grip-Channel: {channel}", link)
    client = hold(answer(*grip), answer(status="500 No"))
    fanway.publish_response(channel, "done")
    client.response()
    line = fanway.wait_for_log("gone_link_failed", since)
    assert line["uri"].endswith("/bye")
    assert "secret" not in str(line)


def test_99_the_gone_link_of_a_page_is_ignored(
    ask: Ask, origin: Origin, channel: str, settle: Settle
) -> None:
    first = answer("Grip-Link: </p>; rel=next", GONE, body=b"one\n")
    other = "Grip-Link: </other>; rel=gone"
    origin.answers(first, held(channel, "2", other, body=b"two\n"), answer())
    client = ask()
    client.reply().expect(b"one\ntwo\n")
    settle()
    client.close()
    until(lambda: posts(origin), "told")
    assert [told.target for told in posts(origin)] == ["/bye"]


def test_100_a_link_without_brackets_is_an_error_and_other_rels_are_ignored(
    ask: Ask, origin: Origin
) -> None:
    origin.answers(answer("Grip-Link: /p; rel=next"))
    reply = ask().response()
    assert (reply.status, reply.body) == (502, b"Error while proxying to origin.\n")
    told = b"Failed to parse accept instructions: failed to parse Grip-Link value\n"
    assert ask("/debug/").response().body == told
    origin.answers(answer("Grip-Link: </p>; rel=last", body=b"all"))
    assert ask().response().body == b"all"
    assert len(origin.requests) == 3
