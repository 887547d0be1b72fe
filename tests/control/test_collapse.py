"""Identical requests that wait for an origin at the same time share one call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control import sharing
from control.collapse import METHODS, Collapse, Key, decide_key, is_personal
from control.errors import OriginError
from control.origin import Response
from control.rewrite import NOBODY, Matched
from control.routes import Routes
from support.fake_worker import Order, eventually
from support.scene import REF, WINDOW, Scene, answer, header, scene

COUNT = 5
REFS = range(REF, REF + COUNT)
SENTINEL = REF + 1000

ROUTES, _ = Routes.parse("a.test,aggregate a:1\nb.test,id=b a:1", "routes")
MATCHED = Matched(ROUTES.by_host["a.test"][0], b"a.test", "/p", b"?q=1", is_tls=False)
ALONE = replace(MATCHED, route=ROUTES.by_host["b.test"][0])


# -- which requests are identical ------------------------------------------------------------------


def key(matched=MATCHED, *headers, method=b"GET", lasts=(), has_body=False, shares_all=False):
    opened = replace(NOBODY, method=method, headers=list(headers))
    return decide_key(matched, opened, lasts, has_body=has_body, shares_all=shares_all)


def test_the_same_request_twice_is_identical():
    cookie = (b"Cookie", b"a=1")
    assert key(MATCHED, cookie, lasts=[("c", "1")]) == key(MATCHED, cookie, lasts=[("c", "1")])


@pytest.mark.parametrize(
    "other",
    [
        key(replace(MATCHED, path="/other")),
        key(replace(MATCHED, query=b"?q=2")),
        key(replace(MATCHED, query=b"")),
        key(replace(MATCHED, authority=b"b.test")),
        key(replace(MATCHED, authority=b"a.test:81")),
        key(replace(MATCHED, is_tls=True)),
        key(replace(MATCHED, route=replace(MATCHED.route, id="other"))),
        key(method=b"HEAD"),
        key(lasts=[("c", "1")]),
        key(MATCHED, (b"Authorization", b"Bearer x")),
        key(MATCHED, (b"cookie", b"a=1")),
        key(MATCHED, (b"Accept", b"text/event-stream")),
        key(MATCHED, (b"ACCEPT-ENCODING", b"gzip")),
        key(MATCHED, (b"Accept-Language", b"de")),
        key(MATCHED, (b"Range", b"bytes=0-1")),
        key(MATCHED, (b"If-None-Match", b'"1"')),
        key(MATCHED, (b"Origin", b"https://b.test")),
        key(MATCHED, (b"Last-Event-ID", b"7")),
    ],
)
def test_requests_that_may_be_answered_differently_are_not_identical(other):
    assert other is not None
    assert other != key()


SHORT = st.text("ab?=", max_size=2)
RAW = SHORT.map(str.encode)
ASKED = st.fixed_dictionaries(
    {
        "matched": st.builds(
            Matched, st.just(MATCHED.route), RAW, SHORT, RAW, is_tls=st.booleans()
        ),
        "method": st.sampled_from(sorted(METHODS)),
        "lasts": st.lists(st.tuples(SHORT, SHORT), max_size=2),
        "headers": st.lists(st.tuples(st.sampled_from([b"cookie", b"range"]), RAW), max_size=2),
    }
)


def key_of(asked):
    return key(asked["matched"], *asked["headers"], method=asked["method"], lasts=asked["lasts"])


@given(ASKED, ASKED)
def test_no_two_different_requests_have_one_key(one, other):
    assert (key_of(one) == key_of(other)) is (one == other)


def test_two_headers_are_not_one_that_looks_like_them():
    two = key(MATCHED, (b"Cookie", b"a"), (b"Cookie", b"b"))
    assert two != key(MATCHED, (b"Cookie", b"a, b"))
    assert key(MATCHED, (b"Accept", b"a"), (b"Cookie", b"b")) != key(MATCHED, (b"Accept", b"ab"))


def test_what_says_nothing_of_the_answer_does_not_keep_requests_apart():
    assert key(MATCHED, (b"User-Agent", b"x"), (b"X-Forwarded-For", b"192.0.2.1")) == key()


@pytest.mark.parametrize(
    "alone",
    [
        key(ALONE),
        key(method=b"POST"),
        key(method=b"DELETE"),
        key(has_body=True),
        key(replace(MATCHED, is_trusted=True)),
        key(replace(MATCHED, is_trusted=True), shares_all=True),
    ],
)
def test_a_request_that_is_alone(alone):
    assert alone is None


def test_share_all_is_aggregate_for_every_route():
    assert key(ALONE, shares_all=True) is not None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], False),
        ([(b"Set-Cookie", b"a=1")], True),
        ([(b"cache-control", b"Private")], True),
        ([(b"Cache-Control", b'max-age=1, private="X-A"')], True),
        ([(b"Cache-Control", b"no-store, max-age=0")], False),
        ([(b"Cache-Control", b"x-private")], False),
    ],
)
def test_an_answer_with_a_cookie_or_marked_private_is_personal(headers, expected):
    assert is_personal(headers) is expected


# -- one call for those who wait -------------------------------------------------------------------


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path, "*,aggregate,aco,debug") as made:
        made.origin.before_answer = asyncio.Event()
        yield made


async def all_wait(here: Scene, count: int = 1, refs=REFS, **request) -> None:
    """All ask, and wait for the origin, which has been asked `count` times."""
    for ref in refs:
        here.worker.opened(ref, **request)
    await caught_up(here)
    await eventually(lambda: len(here.origin.heads) == count)


async def caught_up(here: Scene) -> None:
    """Control reads in order: with the answer to this one, it has acted on what came before."""
    here.worker.opened(SENTINEL, b"no target")
    order = await here.worker.order("RESPOND")
    assert (order.ref, order.status) == (SENTINEL, 400)


async def answered(here: Scene, *answers: bytes, count: int = COUNT) -> dict[int, Order]:
    """The orders by session, once the origin has given these answers."""
    here.origin.answers += answers
    here.origin.before_answer.set()
    orders = [await here.worker.order() for _ in range(count)]
    return {order.ref: order for order in orders}


async def test_identical_requests_make_one_call_and_all_are_answered(here: Scene):
    await all_wait(here)
    orders = await answered(here, answer("X-One: 1", body=b"hello"))
    assert sorted(orders) == list(REFS)
    for order in orders.values():
        assert (order.name, order.status, order.length, order.body) == ("RESPOND", 200, 5, b"hello")
        assert (b"X-One", b"1") in order.headers
    assert len(here.origin.heads) == 1


async def test_each_is_held_when_the_answer_says_so(here: Scene):
    await all_wait(here)
    grip = "Grip-Hold: stream", "Grip-Channel: c"
    orders = await answered(here, answer(*grip, body=b"first\n"))
    assert sorted(orders) == list(REFS)
    assert {(o.name, o.body, *o.channels) for o in orders.values()} == {
        ("HOLD", b"first\n", (b"c", None, b""))
    }
    here.publish({"channel": "c", "formats": {"http-stream": {"content": "x"}}})
    assert (await here.worker.order("PUBLISH")).channel == b"c"


async def test_nothing_is_kept_for_those_who_ask_later(here: Scene):
    await all_wait(here)
    await answered(here, answer(body=b"old"))
    order = await here.ask(answer(body=b"new"))
    assert order.body == b"new"


async def test_without_the_option_each_makes_its_own_call(tmp_path: Path):
    async with scene(tmp_path) as here:
        here.origin.answers += [answer()] * COUNT
        for ref in REFS:
            here.worker.opened(ref)
        for _ in REFS:
            await here.worker.order("RESPOND")
        assert len(here.origin.heads) == COUNT


async def test_share_all_shares_without_the_option(tmp_path: Path):
    async with scene(tmp_path, share_all=True) as here:
        here.origin.before_answer = asyncio.Event()
        await all_wait(here)
        assert sorted(await answered(here, answer())) == list(REFS)


async def test_each_has_its_own_dress(here: Scene):
    """Its own callback of JSON-P: the requests that they mean are the same."""
    callbacks = {ref: b"f%d" % ref for ref in REFS}
    for ref, name in callbacks.items():
        here.worker.opened(ref, b"/?callback=" + name)
    await caught_up(here)
    await eventually(lambda: len(here.origin.heads) == 1)
    orders = await answered(here, answer(body=b"x"))
    assert all(orders[ref].body.startswith(b"/**/%b(" % name) for ref, name in callbacks.items())


async def test_a_long_answer_reaches_all_in_pieces(here: Scene):
    await all_wait(here)
    body = bytes(range(256)) * 1024 * 4
    here.origin.answers.append(answer(body=body))
    here.origin.before_answer.set()
    got = dict.fromkeys(REFS, b"")
    while any(len(said) < len(body) for said in got.values()):
        order = await here.worker.order()
        if order.name == "SEND":
            got[order.ref] += order.content
            here.worker.granted(order.ref, len(order.content))
    assert set(got.values()) == {body}


async def test_an_endless_answer_reaches_all_as_it_comes(here: Scene):
    await all_wait(here)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    got: dict[int, list[str]] = {ref: [] for ref in REFS}
    orders = []
    here.origin.answers.append(head + b"4\r\none\n\r\n")
    here.origin.before_answer.set()
    while len(orders) < 2 * COUNT:
        orders.append(await here.worker.order())
    for order in orders:
        got[order.ref].append(order.name)
    assert set(map(tuple, got.values())) == {("RESPOND", "SEND")}


async def test_the_first_that_leaves_does_not_end_the_call_of_the_others(here: Scene):
    await all_wait(here)
    here.worker.closed(REF)
    await caught_up(here)
    orders = await answered(here, answer(body=b"hello"), count=COUNT - 1)
    assert sorted(orders) == list(REFS[1:])
    assert len(here.origin.heads) == 1


async def test_one_that_leaves_in_the_middle_does_not_end_the_answer_of_the_others(here: Scene):
    await all_wait(here)
    body = bytes(WINDOW * 3)
    here.origin.answers.append(answer(body=body))
    here.origin.before_answer.set()
    got = dict.fromkeys(REFS[1:], 0)
    while any(size < len(body) for size in got.values()):
        order = await here.worker.order()
        if order.name == "RESPOND" and order.ref == REF:
            here.worker.closed(REF)
        elif order.name == "SEND" and order.ref != REF:
            got[order.ref] += len(order.content)
            here.worker.granted(order.ref, len(order.content))


async def test_a_failure_reaches_all(here: Scene):
    await all_wait(here)
    orders = await answered(here, b"nonsense\r\n\r\n")
    assert sorted(orders) == list(REFS)
    assert {order.status for order in orders.values()} == {502}


async def test_a_bad_instruct_reaches_all(here: Scene):
    await all_wait(here)
    orders = await answered(here, answer("Grip-Hold: nonsense"))
    assert {order.status for order in orders.values()} == {502}
    assert len({order.body for order in orders.values()}) == 1


async def test_an_answer_that_breaks_off_is_cut_for_all(here: Scene):
    await all_wait(here)
    here.origin.hangs_up = True
    here.origin.answers.append(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    here.origin.before_answer.set()
    cut = set()
    while len(cut) < COUNT:
        order = await here.worker.order()
        if order.name == "CLOSE":
            cut.add(order.ref)
    assert cut == set(REFS)


@pytest.mark.parametrize("mark", ["Set-Cookie: a=1", "Cache-Control: private"])
async def test_a_personal_answer_is_given_to_one_and_the_others_ask_alone(here: Scene, mark: str):
    await all_wait(here)
    answers = [answer(mark, body=b"%d" % number) for number in range(COUNT)]
    orders = await answered(here, *answers)
    assert {order.body for order in orders.values()} == {b"%d" % n for n in range(COUNT)}
    assert orders[REF].body == b"0"
    assert len(here.origin.heads) == COUNT


async def test_holds_that_ask_again_share_a_call_if_they_have_seen_the_same(here: Scene):
    lasts = [(b"c", b"1")]
    await all_wait(here, again=True, lasts=lasts)
    assert header(here.origin.heads[0], b"grip-last") == b"c; last-id=1"
    here.worker.opened(REF + 50, again=True, lasts=[(b"c", b"2")])
    await eventually(lambda: len(here.origin.heads) == 2)
    orders = await answered(here, answer(), answer(), count=COUNT + 1)
    assert sorted(orders) == [*REFS, REF + 50]


async def test_more_than_may_ask_again_at_once_still_share_one_call(here: Scene):
    many = range(REF, REF + 150)
    await all_wait(here, refs=many, again=True)
    assert sorted(await answered(here, answer(), count=150)) == list(many)
    assert len(here.origin.heads) == 1


async def test_one_that_does_not_read_is_cut_off_and_the_others_have_all(
    here: Scene, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sharing, "SLOW_SECONDS", 0.05)
    await all_wait(here, refs=REFS[:2])
    slow, quick = REFS[:2]
    size = WINDOW * 4
    here.origin.answers.append(answer(body=bytes(size)))
    here.origin.before_answer.set()
    sent = {slow: 0, quick: 0}
    while (order := await here.worker.order()).name != "FINISH":
        if order.name == "SEND":
            sent[order.ref] += len(order.content)
            if order.ref == quick:
                here.worker.granted(quick, len(order.content))
    assert (order.ref, sent) == (quick, {slow: WINDOW, quick: size})
    here.worker.granted(slow, size)
    while (order := await here.worker.order()).name == "SEND":
        pass
    assert (order.name, order.ref, order.reason) == ("CLOSE", slow, 30)


# -- calls that are given up -----------------------------------------------------------------------


class Origin:
    """Calls that the test answers, and whether their answers have been given up."""

    def __init__(self) -> None:
        self.calls: list[asyncio.Future[Response]] = []

    async def call(self) -> Response:
        """One call."""
        self.calls.append(asyncio.get_running_loop().create_future())
        return await self.calls[-1]


class Body(Response):
    """An answer whose body never comes."""

    is_closed = False

    def __init__(self) -> None:
        super().__init__(target=MATCHED.route.targets[0], status=200, reason=b"OK", headers=[])

    def all_here(self) -> bytes | None:
        return None

    async def read(self) -> bytes:
        return await asyncio.get_running_loop().create_future()

    def close(self) -> None:
        self.is_closed = True


def wanted() -> Key:
    """What they all ask for."""
    made = key()
    assert made is not None
    return made


def tasks(collapse: Collapse, call: Callable[[], Awaitable[Response]], count: int = 2):
    """So many that want the same."""
    return [asyncio.create_task(collapse.get(wanted(), call)) for _ in range(count)]


async def rest() -> None:
    """Let whatever can run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_when_all_have_left_the_call_is_given_up_and_the_next_makes_its_own():
    collapse, origin = Collapse(), Origin()
    asking = tasks(collapse, origin.call)
    await rest()
    for task in asking:
        task.cancel()
    await rest()
    assert origin.calls[0].cancelled()
    (late,) = tasks(collapse, origin.call, 1)
    await rest()
    origin.calls[1].set_result(Body())
    assert (await late).status == 200


async def test_who_comes_while_a_call_is_being_given_up_does_not_join_it():
    collapse, origin = Collapse(), Origin()
    (first,) = tasks(collapse, origin.call, 1)
    await rest()
    first.cancel()
    (late,) = tasks(collapse, origin.call, 1)
    await rest()
    origin.calls[1].set_result(Body())
    assert (await late).status == 200


@pytest.mark.parametrize("count", [1, 2])
async def test_an_answer_that_comes_just_when_all_leave_is_given_up(count: int):
    collapse, origin, body = Collapse(), Origin(), Body()
    asking = tasks(collapse, origin.call, count)
    await rest()
    origin.calls[0].set_result(body)
    while collapse.is_asked(wanted()):  # noqa: ASYNC110 - not a turn of the loop later
        await asyncio.sleep(0)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    await rest()
    assert body.is_closed


async def test_an_answer_that_nobody_reads_any_more_is_given_up():
    collapse, origin, body = Collapse(), Origin(), Body()
    asking = tasks(collapse, origin.call)
    await rest()
    origin.calls[0].set_result(body)
    readers = await asyncio.gather(*asking)
    readers[0].close()
    await rest()
    assert not body.is_closed
    readers[1].close()
    assert body.is_closed


async def test_the_error_of_a_call_is_that_of_all():
    collapse, origin = Collapse(), Origin()
    asking = tasks(collapse, origin.call)
    await rest()
    origin.calls[0].set_exception(OriginError("no", tried=["a:1"]))
    errors = await asyncio.gather(*asking, return_exceptions=True)
    assert [error.tried for error in errors] == [("a:1",), ("a:1",)]
