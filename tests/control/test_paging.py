"""Streams that go on at their next links: between a worker and an origin (GRIP.md 1.9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control import pages, sharing
from support.fake_worker import Order, eventually
from support.scene import REF, WINDOW, Scene, answer, header, scene

GAP, HINT, TIMEOUT, RELEASE = 1, 2, 3, 4
NEXT = "Grip-Link: </p?after=1>; rel=next; timeout=30"
FIRST = answer("Grip-Hold: stream", "Grip-Channel: c; prev-id=1", NEXT, body=b"one\n")
LASTS = [(b"c", b"1")]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between two attempts, and hardly any for the limiter."""
    monkeypatch.setattr(pages, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(pages, "RETRY_JITTER_SECONDS", 0.0)
    monkeypatch.setattr("control.limiter.ACTION_SECONDS", 0.001)


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as made:
        yield made


def page(*headers: str, body: bytes = b"", status: str = "200 OK") -> bytes:
    return answer(*headers, body=body, status=status)


def held(prev_id: str, *more: str, body: bytes = b"") -> bytes:
    channel = f"Grip-Channel: c; prev-id={prev_id}"
    link = f"Grip-Link: </p?after={prev_id}>; rel=next"
    return page("Grip-Hold: stream", channel, link, *more, body=body)


async def hold(here: Scene, first: bytes = FIRST, ref: int = REF, **request) -> Order:
    order = await here.ask(first, ref=ref, **request)
    assert order.name == "HOLD", order
    return order


async def lapse(here: Scene, order: Order, *answers: bytes, why: int = GAP, lasts=LASTS) -> None:
    here.origin.answers += answers
    here.worker.lapsed(order.ref, why, lasts, order.context)


async def test_82_a_next_link_is_ordered_with_its_timeout(plain: Scene):
    order = await hold(plain)
    assert (order.channels, order.link_ms, order.watched) == ([(b"c", b"1", b"")], 30_000, 0)
    assert order.context[0] & 1


async def test_82_the_timeout_of_a_next_link_is_two_minutes(plain: Scene):
    assert (await hold(plain, held("1"))).link_ms == 120_000


async def test_a_timeout_of_0_is_one(plain: Scene):
    first = answer("Grip-Hold: stream", "Grip-Link: </p>; rel=next; timeout=0")
    assert (await hold(plain, first)).link_ms == 1


@pytest.mark.parametrize("why", [GAP, HINT, TIMEOUT, RELEASE])
async def test_84_a_lapsed_hold_is_given_its_page_and_held_again(plain: Scene, why: int):
    order = await hold(plain)
    await lapse(plain, order, held("2", body=b"two\n"), why=why)
    sent = await plain.worker.order("SEND")
    assert (sent.ref, sent.content, sent.more) == (REF, b"two\n", True)
    again = await plain.worker.order("HOLD")
    assert (again.ref, again.mode, again.answered) == (REF, 2, 1)
    assert again.channels == [(b"c", b"2", b"")]
    assert (again.status, again.headers, again.body) == (0, [], b"")


async def test_77_78_what_the_origin_is_asked(tmp_path: Path):
    async with scene(tmp_path, "*,prefix=p-,sig_key=k,header=X-Key:v") as here:
        request = [(b"Host", b"a.test"), (b"Cookie", b"sid=1"), (b"Authorization", b"Basic x")]
        order = await hold(here, headers=request)
        await lapse(here, order, held("2"), lasts=[(b"p-c", b"1"), (b"p-d", b"9")])
        await here.worker.order("HOLD")
        head = here.origin.heads[1]
        assert head.startswith(b"GET /p?after=1 HTTP/1.1\r\nHost: a.test\r\n")
        names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:-2]]
        assert sorted(names) == [
            b"grip-feature", b"grip-last", b"grip-last", b"grip-sig", b"host", b"x-key",
        ]  # fmt: skip
        lasts = [line for line in head.split(b"\r\n") if line.startswith(b"Grip-Last")]
        assert lasts == [b"Grip-Last: c; last-id=1", b"Grip-Last: d; last-id=9"]


async def test_79_the_next_link_of_a_page_starts_at_the_page(plain: Scene):
    first = answer("Grip-Hold: stream", "Grip-Link: </deep/down/p>; rel=next")
    order = await hold(plain, first)
    page_ = page("Grip-Hold: stream", "Grip-Link: <q>; rel=next")
    await lapse(plain, order, page_, lasts=[])
    again = await plain.worker.order("HOLD")
    await lapse(plain, again, page_, lasts=[])
    await plain.worker.order("HOLD")
    assert plain.origin.heads[2].startswith(b"GET /deep/down/q ")


async def test_72_74_without_a_hold_pages_are_appended(plain: Scene):
    first = answer("X-One: 1", "Grip-Link: </p>; rel=next", body=b"one\n", status="201 Made")
    second = page("X-Two: 2", "Grip-Link: </q>; rel=next", body=b"two\n")
    third = page("X-Three: 3", body=b"three\n")
    order = await plain.ask(first, second, third)
    assert (order.name, order.status, order.more, order.length) == ("RESPOND", 201, True, -1)
    assert order.headers == [(b"X-One", b"1")]
    contents = [(await plain.worker.order("SEND")).content for _ in range(3)]
    assert contents == [b"one\n", b"two\n", b"three\n"]
    await plain.worker.order("FINISH")
    assert [head.split(b" ")[1] for head in plain.origin.heads] == [b"/", b"/p", b"/q"]


async def test_75_a_page_may_hold(plain: Scene):
    order = await plain.ask(answer("Grip-Link: </p>; rel=next", body=b"one\n"), held("2"))
    assert order.name == "RESPOND"
    await plain.worker.order("SEND")
    again = await plain.worker.order("HOLD")
    assert (again.answered, again.channels) == (1, [(b"c", b"2", b"")])


async def test_73_a_page_without_hold_and_link_ends_the_stream(plain: Scene):
    order = await hold(plain)
    await lapse(plain, order, page(body=b"the end\n"))
    assert (await plain.worker.order("SEND")).content == b"the end\n"
    await plain.worker.order("FINISH")


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (page("Grip-Hold: response"), b"Next link returned non-stream hold."),
        (page("Grip-Hold: what"), b"Grip-Hold must be set to either 'response' or 'stream'"),
        (page("Grip-Hold: stream", "Grip-Link: <ftp://a/>; rel=next"), b"contains invalid link"),
        (page("Content-Type: application/grip-instruct", body=b"{}"), b"as JSON"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("debug", [False, True])
async def test_76_an_instruct_that_cannot_be_followed_ends_the_stream(
    tmp_path: Path, bad: bytes, told: bytes, debug: bool
):
    async with scene(tmp_path, debug=debug) as here:
        await lapse(here, await hold(here), bad)
        if debug:
            order = await here.worker.order("SEND")
            assert not order.more
            assert told in order.content
        else:
            await here.worker.order("FINISH")


async def test_69_a_page_with_prev_id_and_without_link_ends_the_stream(plain: Scene):
    bad = page("Grip-Hold: stream", "Grip-Channel: c; prev-id=2", body=b"two\n")
    await lapse(plain, await hold(plain), bad)
    assert (await plain.worker.order("SEND")).content == b"two\n"
    await plain.worker.order("FINISH")


async def test_87_a_page_that_fails_is_asked_for_again_five_times(plain: Scene):
    bad = page(status="500 Oh")
    await lapse(plain, await hold(plain), *[bad] * 6)
    await plain.worker.order("FINISH")
    assert len(plain.origin.heads) == 7


async def test_87_and_what_comes_in_the_end_counts(plain: Scene):
    await lapse(plain, await hold(plain), *[page(status="500 Oh")] * 5, held("2", body=b"two\n"))
    assert (await plain.worker.order("SEND")).content == b"two\n"
    await plain.worker.order("HOLD")


def test_87_the_times_between_attempts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pages, "RETRY_SECONDS", 1.0)
    assert [pages.retry_seconds(count) for count in range(6)] == [1, 2, 4, 8, 16, 16]


async def test_a_page_that_breaks_off_cuts_the_client(plain: Scene):
    order = await hold(plain)
    plain.origin.hangs_up = True
    short = b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\nGrip-Hold: stream\r\n\r\nhalf"
    await lapse(plain, order, short)
    assert (await plain.worker.order("SEND")).content == b"half"
    assert (await plain.worker.order("CLOSE")).reason == 50


async def test_81_sessions_that_have_seen_the_same_share_an_answer(plain: Scene):
    orders = [await hold(plain, ref=REF + number) for number in range(3)]
    plain.origin.answers.append(held("2", body=b"two\n"))
    for order in orders:
        plain.worker.lapsed(order.ref, GAP, LASTS, order.context)
    got = [await plain.worker.order() for _ in range(6)]
    assert sorted((o.ref, o.name) for o in got) == sorted(
        (order.ref, name) for order in orders for name in ("SEND", "HOLD")
    )
    assert len(plain.origin.heads) == 4


async def test_who_comes_while_the_origin_answers_is_given_the_next_answer(plain: Scene):
    one, two = [await hold(plain, ref=REF + number) for number in range(2)]
    plain.origin.before_answer = asyncio.Event()
    await lapse(plain, one, held("2", body=b"old\n"), held("3", body=b"new\n"), why=HINT)
    await eventually(lambda: len(plain.origin.heads) == 3)
    plain.worker.lapsed(two.ref, HINT, LASTS, two.context)
    await asyncio.sleep(0.02)
    assert len(plain.origin.heads) == 3
    plain.origin.before_answer.set()
    got = [await plain.worker.order() for _ in range(4)]
    sent = {order.ref: order.content for order in got if order.name == "SEND"}
    assert sent == {one.ref: b"old\n", two.ref: b"new\n"}


async def test_a_reader_that_is_slow_is_cut_off_and_the_others_go_on(
    plain: Scene, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sharing, "SLOW_SECONDS", 0.05)
    slow, quick = [await hold(plain, ref=REF + number) for number in range(2)]
    size = WINDOW * 4
    plain.origin.answers.append(held("2", body=bytes(size)))
    for order in (slow, quick):
        plain.worker.lapsed(order.ref, GAP, LASTS, order.context)
    sent = {slow.ref: 0, quick.ref: 0}
    while (order := await plain.worker.order()).name == "SEND":
        sent[order.ref] += len(order.content)
        if order.ref == quick.ref:
            plain.worker.granted(order.ref, len(order.content))
    assert (order.name, order.ref) == ("HOLD", quick.ref)
    assert sent == {slow.ref: WINDOW, quick.ref: size}
    plain.worker.granted(slow.ref, size)
    while (order := await plain.worker.order()).name == "SEND":
        pass
    assert (order.name, order.ref, order.reason) == ("CLOSE", slow.ref, 30)


async def test_a_slow_client_alone_is_waited_for(plain: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sharing, "SLOW_SECONDS", 0.0)
    order = await hold(plain)
    size = WINDOW * 4
    await lapse(plain, order, held("2", body=bytes(size)))
    sent = 0
    while sent < WINDOW:
        sent += len((await plain.worker.order("SEND")).content)
    await asyncio.sleep(0.05)
    plain.worker.granted(REF, size)
    while (got := await plain.worker.order()).name == "SEND":
        sent += len(got.content)
    assert (got.name, sent) == ("HOLD", size)


async def test_a_client_that_leaves_is_not_asked_for(plain: Scene):
    one, two = [await hold(plain, ref=REF + number) for number in range(2)]
    plain.origin.before_answer = asyncio.Event()
    await lapse(plain, one, held("2"), why=HINT)
    await eventually(lambda: len(plain.origin.heads) == 3)
    plain.worker.closed(one.ref)
    plain.origin.before_answer.set()
    await lapse(plain, two, held("3"), why=HINT)
    order = await plain.worker.order("HOLD")
    assert order.ref == two.ref


async def test_80_another_host_is_asked_directly_and_signed(tmp_path: Path):
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(page(body=b"elsewhere"))
        writer.close()

    other = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    async with other, scene(tmp_path, "*,sig_key=k") as here:
        link = f"Grip-Link: <http://127.0.0.1:{port}/p>; rel=next"
        order = await hold(here, answer("Grip-Hold: stream", link))
        here.worker.lapsed(REF, HINT, [], order.context)
        assert (await here.worker.order("SEND")).content == b"elsewhere"
        assert header(heads[0], b"host") == b"127.0.0.1:%d" % port
        assert header(heads[0], b"grip-sig")


async def test_the_same_route_is_used_for_the_same_authority(tmp_path: Path):
    async with scene(tmp_path, "*,path_beg=/feed,replace_beg=/in") as here:
        order = await hold(here, answer("Grip-Hold: stream", "Grip-Link: </feed/p>; rel=next"),
                           target=b"/feed/x")  # fmt: skip
        await lapse(here, order, page(), lasts=[])
        await here.worker.order("FINISH")
        assert [head.split(b" ")[1] for head in here.origin.heads] == [b"/in/x", b"/in/p"]


async def test_a_link_relative_to_a_rewritten_path_is_not_rewritten_again(tmp_path: Path):
    async with scene(tmp_path, "*,path_beg=/feed,replace_beg=/in") as here:
        order = await hold(here, answer("Grip-Hold: stream", "Grip-Link: <p>; rel=next"),
                           target=b"/feed/x")  # fmt: skip
        await lapse(here, order, page(), lasts=[])
        await here.worker.order("FINISH")
        assert [head.split(b" ")[1] for head in here.origin.heads] == [b"/in/x", b"/in/p"]


async def test_a_route_that_is_gone_ends_the_stream(plain: Scene):
    order = await hold(plain)
    here = order.context.replace(b"* * * ", b"x * * ")
    assert here != order.context
    plain.worker.lapsed(REF, HINT, LASTS, here)
    await plain.worker.order("FINISH")


async def test_a_context_of_another_version_ends_the_stream(plain: Scene):
    await hold(plain)
    plain.worker.lapsed(REF, HINT, LASTS, b"\x55what")
    await plain.worker.order("FINISH")


async def test_86_what_was_published_meanwhile_is_fetched_at_once(plain: Scene):
    plain.publish({"channel": "c", "id": "0", "http-stream": {"content": "x"}})
    await hold(plain, ref=REF + 1)
    plain.publish({"channel": "c", "id": "2", "http-stream": {"content": "x"}})
    await plain.worker.order("PUBLISH")
    order = await hold(plain)
    assert (await plain.worker.order("RELEASE")).ref == order.ref


async def test_86_not_for_what_has_waited_for_it(plain: Scene):
    order = await hold(plain)
    plain.publish({"channel": "c", "id": "2", "http-stream": {"content": "x"}})
    plain.publish({"channel": "c", "id": "3", "prev-id": "2", "http-stream": {"content": "x"}})
    await plain.worker.order("PUBLISH")
    await plain.worker.order("PUBLISH")
    await lapse(plain, order, held("2"), page(), why=HINT)
    again = await plain.worker.order("HOLD")
    await lapse(plain, again, why=HINT)
    await plain.worker.order("FINISH")  # and no RELEASE in between


# -- gone


GONE = "Grip-Link: </bye>; rel=gone"


async def test_98_the_end_of_a_watched_hold_is_told_by_one_post(plain: Scene):
    order = await hold(plain, answer("Grip-Hold: response", GONE), target=b"/a/b")
    assert (order.watched, order.context[0] & 1) == (1, 0)
    plain.origin.answers.append(answer())
    plain.worker.closed(REF, context=order.context)
    await eventually(lambda: len(plain.origin.heads) == 2)
    head = plain.origin.heads[1]
    assert head.startswith(b"POST /bye HTTP/1.1\r\n")
    assert header(head, b"content-length") == b"0"


async def test_99_the_gone_link_of_a_page_is_ignored(plain: Scene):
    first = answer("Grip-Hold: stream", GONE, NEXT)
    order = await hold(plain, first)
    await lapse(plain, order, held("2", "Grip-Link: </other>; rel=gone"))
    again = await plain.worker.order("HOLD")
    assert again.watched
    plain.origin.answers.append(answer())
    plain.worker.closed(REF, context=again.context)
    await eventually(lambda: len(plain.origin.heads) == 3)
    assert plain.origin.heads[2].startswith(b"POST /bye ")


async def test_98_pages_that_end_without_a_hold_are_told_of(plain: Scene):
    first = answer(GONE, "Grip-Link: </p>; rel=next", body=b"one\n")
    await plain.ask(first, page(), answer())
    await plain.worker.order("SEND")
    await plain.worker.order("FINISH")
    await eventually(lambda: len(plain.origin.heads) == 3)
    assert plain.origin.heads[2].startswith(b"POST /bye ")


async def test_98_a_request_is_made_again_when_the_origin_knows_that_it_was_gone(plain: Scene):
    order = await hold(plain, answer("Grip-Hold: response", GONE))
    plain.origin.before_answer = asyncio.Event()
    plain.origin.answers.append(answer(status="500 Oh"))
    plain.worker.closed(REF, context=order.context)
    plain.worker.opened(REF, again=True)
    plain.origin.answers.append(answer(body=b"again"))
    await eventually(lambda: len(plain.origin.heads) == 2)
    await asyncio.sleep(0.02)
    assert len(plain.origin.heads) == 2
    plain.origin.before_answer.set()
    assert (await plain.worker.order("RESPOND")).body == b"again"
    assert [head.split(b" ")[0] for head in plain.origin.heads] == [b"GET", b"POST", b"GET"]


async def test_100_a_link_without_brackets_is_an_error(plain: Scene):
    assert (await plain.ask(answer("Grip-Link: /p; rel=next"))).status == 502


async def test_100_a_link_that_leads_nowhere_is_an_error(plain: Scene):
    assert (await plain.ask(answer("Grip-Link: <ftp://a/>; rel=gone"))).status == 502


# -- content of answers


BUILD = "Grip-Channel: c; filter=build-id"
ID_FORMAT = 'Grip-Set-Meta: id_format="%(c)s"'


async def test_129_literal_ids_are_built_in_the_first_answer(plain: Scene):
    first = answer("Grip-Hold: stream", BUILD, ID_FORMAT, body=b"id: %(7)I 100%%\n")
    assert (await hold(plain, first)).body == b"id: 7 100%\n"


async def test_129_without_a_hold_a_bare_id_is_an_error(tmp_path: Path):
    async with scene(tmp_path, debug=True) as here:
        order = await here.ask(answer(BUILD, ID_FORMAT, body=b"id: %I"))
        assert (order.name, order.status) == ("RESPOND", 502)
        assert order.body.startswith(
            b"Failed to parse accept instructions: filter error: build-id: "
        )


async def test_129_with_a_stream_hold_a_bare_id_ends_it_without_a_body(plain: Scene):
    order = await plain.ask(answer("Grip-Hold: stream", BUILD, ID_FORMAT, body=b"id: %I"))
    assert (order.name, order.status, order.body, order.more) == ("RESPOND", 200, b"", False)


async def test_129_a_page_is_filtered_and_a_bare_id_ends_it(plain: Scene):
    order = await hold(plain)
    good = page("Grip-Hold: stream", BUILD, ID_FORMAT, NEXT, body=b"id: %(8)I\n")
    bad = page("Grip-Hold: stream", BUILD, ID_FORMAT, NEXT, body=b"id: %I\n")
    await lapse(plain, order, good, bad)
    assert (await plain.worker.order("SEND")).content == b"id: 8\n"
    await lapse(plain, await plain.worker.order("HOLD"))
    await plain.worker.order("FINISH")
