"""Filters at work: between a worker that has met an item and the origin that some of them ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control import filtering
from control.grip.published import Published
from support.fake_worker import eventually
from support.scene import REF, Scene, answer, header, scene

RESPONSE, STREAM, WS = 1, 2, 4
SEND, HINT = 0, 1
DROP, AS_PUBLISHED, INSTEAD, FAULT = 0, 1, 2, 3


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path, "*,prefix=p-") as made:
        yield made


async def traits_of(here: Scene, *filters: str, meta: str = "", channels: str = "") -> bytes:
    """What control makes of a stream with these filters."""
    names = "".join(f"; filter={name}" for name in filters)
    headers = [f"Grip-Channel: c{names}{channels}", "Grip-Hold: stream"]
    headers += [f"Grip-Set-Meta: {meta}"] if meta else []
    order = await here.ask(answer(*headers))
    return order.channels[0][2]


async def verdict(here: Scene, traits: bytes, *, content=b"x", mode=STREAM, ids=(), **more):
    """What control says of an item for one group."""
    meta = Published(more.pop("meta", {}), *more.pop("rest", ())).encode()
    group = mode, more.pop("action", SEND), traits, list(ids)
    here.worker.met(9, b"p-c", group, meta=meta, contents={mode: content}, **more)
    order = await here.worker.order("VERDICT")
    assert order.number == 9
    [said] = order.verdicts
    return said


@pytest.mark.parametrize(
    ("sender", "said"), [("dana", DROP), ("eve", AS_PUBLISHED), (None, AS_PUBLISHED)]
)
async def test_124_skip_self(plain: Scene, sender: str | None, said: int):
    traits = await traits_of(plain, "skip-self", meta='user="dana"')
    meta = {} if sender is None else {"sender": sender}
    assert await verdict(plain, traits, meta=meta) == (said, b"")


@pytest.mark.parametrize(("users", "said"), [("eve, dana ,x", DROP), ("eve", AS_PUBLISHED)])
async def test_125_skip_users(plain: Scene, users: str, said: int):
    traits = await traits_of(plain, "skip-users", meta="user=dana")
    assert (await verdict(plain, traits, meta={"skip_users": users}))[0] == said


@pytest.mark.parametrize(("name", "said"), [("d", AS_PUBLISHED), ("e", DROP)])
async def test_126_require_sub_knows_channels_without_their_prefix(
    plain: Scene, name: str, said: int
):
    traits = await traits_of(plain, "require-sub", channels=", d")
    assert (await verdict(plain, traits, meta={"require_sub": name}))[0] == said


async def test_127_var_subst(plain: Scene):
    traits = await traits_of(plain, "var-subst", meta="user=dana")
    said = await verdict(plain, traits, content=b"hi %(user)s, 100%%")
    assert said == (INSTEAD, b"hi dana, 100%")
    assert await verdict(plain, traits, content=b"hi") == (AS_PUBLISHED, b"")
    assert await verdict(plain, traits, content=b"%(who)s") == (FAULT, b"")


async def test_128_build_id(plain: Scene):
    traits = await traits_of(plain, "build-id", meta='id_format="%(c)s-%(d)s"')
    ids = [(b"p-c", b"3"), (b"p-d", b"9")]
    assert await verdict(plain, traits, content=b"id: %I\n", ids=ids) == (INSTEAD, b"id: 3-9\n")
    assert await verdict(plain, traits, content=b"id: %I\n") == (FAULT, b"")


async def test_128_without_an_id_format_the_item_is_suppressed(plain: Scene):
    assert await verdict(plain, await traits_of(plain, "build-id")) == (FAULT, b"")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (("var-subst", "build-id"), INSTEAD),
        (("build-id", "var-subst"), FAULT),
        (("var-subst",), FAULT),
        ((), FAULT),
        (None, INSTEAD),
    ],
)
async def test_131_content_filters_must_be_the_same(plain: Scene, wanted, said: int):
    traits = await traits_of(plain, "var-subst", "skip-self", "build-id", meta='id_format="%(c)s"')
    rest = () if wanted is None else (None, {"http-stream": wanted})
    assert (await verdict(plain, traits, content=b"%%%%", rest=rest))[0] == said


async def test_131_who_has_no_filter_has_no_content_filter(plain: Scene):
    assert (await verdict(plain, b"", rest=(None, {"http-stream": ("var-subst",)})))[0] == FAULT
    assert (await verdict(plain, b"", rest=(None, {"http-stream": ()})))[0] == AS_PUBLISHED


async def test_132_filters_stop_at_the_first_drop(plain: Scene):
    traits = await traits_of(plain, "skip-self", "var-subst", meta="user=dana")
    said = await verdict(plain, traits, content=b"%(who)s", meta={"sender": "dana"})
    assert said == (DROP, b"")


async def test_each_group_has_its_verdict(plain: Scene):
    dana = await traits_of(plain, "var-subst", meta="user=dana")
    eve = await traits_of(plain, "var-subst", meta="user=eve")
    groups = [(STREAM, SEND, dana, []), (RESPONSE, SEND, eve, []), (STREAM, HINT, eve, [])]
    contents = {STREAM: b"s %(user)s", RESPONSE: b"r %(user)s"}
    plain.worker.met(3, b"p-c", *groups, contents=contents)
    order = await plain.worker.order("VERDICT")
    assert order.verdicts == [(INSTEAD, b"s dana"), (INSTEAD, b"r eve"), (AS_PUBLISHED, b"")]


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (RESPONSE, b"filter error: no such variable 'who'\n"),
        (STREAM, b"\n\nfilter error: no such variable 'who'\n"),
        (WS, b"filter error: no such variable 'who'"),
    ],
)
async def test_137_in_debug_mode_a_filter_error_ends_the_session(
    tmp_path: Path, mode: int, text: bytes
):
    async with scene(tmp_path, "*,debug,prefix=p-") as here:
        traits = await traits_of(here, "var-subst")
        assert await verdict(here, traits, mode=mode, content=b"%(who)s") == (FAULT, text)


async def test_137_so_does_a_mismatch_of_content_filters(tmp_path: Path):
    async with scene(tmp_path, "*,debug,prefix=p-") as here:
        traits = await traits_of(here, "var-subst")
        said = await verdict(here, traits, rest=(None, {"http-stream": ("build-id",)}))
        text = b"\n\ncontent filter mismatch: subscription=var-subst message=build-id\n"
        assert said == (FAULT, text)


async def test_traits_of_another_version_are_a_fault(plain: Scene):
    assert await verdict(plain, b"\x00what") == (FAULT, b"")


# -- filters that ask an origin

URL = 'url="/check?a", user=dana'


@pytest.mark.parametrize(
    ("said_by_origin", "said"),
    [
        (answer(), (AS_PUBLISHED, b"")),
        (answer(body=b"ignored"), (AS_PUBLISHED, b"")),
        (answer("Action: drop"), (DROP, b"")),
        (answer("Action: Drop"), (AS_PUBLISHED, b"")),
        (answer(status="500 Oh"), (FAULT, b"")),
    ],
)
async def test_134_http_check(plain: Scene, said_by_origin: bytes, said: tuple[int, bytes]):
    traits = await traits_of(plain, "http-check", meta=URL)
    plain.origin.answers.append(said_by_origin)
    assert await verdict(plain, traits) == said
    assert plain.origin.bodies[-1] == b""


@pytest.mark.parametrize(
    ("said_by_origin", "said"),
    [
        (answer(body=b"new"), (INSTEAD, b"new")),
        (answer(), (INSTEAD, b"")),
        (b"HTTP/1.1 204 No\r\n\r\n", (AS_PUBLISHED, b"")),
        (answer("Action: drop", body=b"new"), (DROP, b"")),
        (answer(body=bytes(100_000)), (INSTEAD, bytes(100_000))),
        (answer(body=bytes(100_001)), (FAULT, b"")),
    ],
)
async def test_135_http_modify(plain: Scene, said_by_origin: bytes, said: tuple[int, bytes]):
    traits = await traits_of(plain, "http-modify", meta=URL)
    plain.origin.answers.append(said_by_origin)
    assert await verdict(plain, traits, content=b"old") == said
    assert plain.origin.bodies[-1] == b"old"


async def test_136_what_the_origin_is_asked(plain: Scene):
    traits = await traits_of(plain, "http-check", meta=URL)
    plain.origin.answers.append(answer())
    ids = [(b"p-c", b"18"), (b"p-d", b"9")]
    meta = {"sender": "\u00e9ve\n"}
    await verdict(plain, traits, ids=ids, item_id=b"18", meta=meta, rest=("17",))
    head = plain.origin.heads[-1]
    assert head.startswith(b"POST /check?a HTTP/1.1\r\nHost: a.test\r\n")
    assert json.loads(header(head, b"sub-meta") or b"") == {"url": "/check?a", "user": "dana"}
    assert json.loads(header(head, b"pub-meta") or b"") == meta
    lasts = [line for line in head.split(b"\r\n") if line.startswith(b"Grip-Last")]
    assert lasts == [b"Grip-Last: c; last-id=17", b"Grip-Last: d; last-id=9"]


@pytest.mark.parametrize("meta", ["user=dana", "url=", 'url="ftp://a/"'])
async def test_without_a_url_it_is_a_fault(plain: Scene, meta: str):
    traits = await traits_of(plain, "http-check", meta=meta)
    assert await verdict(plain, traits) == (FAULT, b"")


async def test_an_origin_that_hangs_up_is_a_fault(plain: Scene):
    plain.origin.hangs_up = True
    traits = await traits_of(plain, "http-check", meta=URL)
    plain.origin.answers.append(b"")
    assert await verdict(plain, traits) == (FAULT, b"")


async def test_an_origin_that_is_silent_is_a_fault(plain: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("control.filter_calls.CALL_SECONDS", 0.01)
    traits = await traits_of(plain, "http-check", meta=URL)
    plain.origin.before_answer = asyncio.Event()
    plain.origin.answers.append(answer())
    assert await verdict(plain, traits) == (FAULT, b"")
    plain.origin.before_answer.set()


async def test_132_filters_of_both_kinds_run_in_order(plain: Scene):
    traits = await traits_of(plain, "var-subst", "http-modify", "skip-self", meta=URL)
    plain.origin.answers.append(answer(body=b"new"))
    assert await verdict(plain, traits, content=b"%(user)s") == (INSTEAD, b"new")
    assert plain.origin.bodies[-1] == b"dana"


async def test_verdicts_of_a_channel_keep_their_order(plain: Scene):
    asking = await traits_of(plain, "http-check", meta=URL)
    quick = await traits_of(plain, "skip-self")
    plain.origin.before_answer = asyncio.Event()
    plain.origin.answers.append(answer())
    plain.worker.met(1, b"p-c", (STREAM, SEND, asking, []))
    plain.worker.met(2, b"p-c", (STREAM, SEND, quick, []))
    plain.worker.met(3, b"p-d", (STREAM, SEND, quick, []))
    assert (await plain.worker.order("VERDICT")).number == 3
    plain.origin.before_answer.set()
    assert [(await plain.worker.order("VERDICT")).number for _ in range(2)] == [1, 2]


async def test_what_waits_for_too_much_is_a_fault(plain: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(filtering, "WAITING_MAX", 2)
    asking = await traits_of(plain, "http-check", meta=URL)
    quick = await traits_of(plain, "skip-self")
    plain.origin.before_answer = asyncio.Event()
    plain.origin.answers.append(answer())
    plain.worker.met(1, b"p-c", (STREAM, SEND, asking, []))
    plain.worker.met(2, b"p-c", (STREAM, SEND, quick, []))
    plain.worker.met(3, b"p-c", (STREAM, SEND, quick, []))
    await eventually(lambda: len(plain.origin.heads) == 3)
    await asyncio.sleep(0.01)
    plain.origin.before_answer.set()
    said = [(await plain.worker.order("VERDICT")).verdicts[0][0] for _ in range(3)]
    assert said == [AS_PUBLISHED, AS_PUBLISHED, FAULT]


async def test_133_json_metadata_is_the_same_as_that_of_headers(plain: Scene):
    by_header = await traits_of(plain, "skip-self", meta="user=dana")
    instruct = {
        "hold": {
            "mode": "stream",
            "channels": [{"name": "c", "filters": ["skip-self"]}],
            "meta": {"user": "dana"},
        }
    }
    body = json.dumps(instruct).encode()
    order = await plain.ask(answer("Content-Type: application/grip-instruct", body=body), ref=REF)
    assert order.channels == [(b"p-c", None, by_header)]
