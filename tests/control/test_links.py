"""Links: where they lead, what a hold carries of them, and who shares an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.errors import InstructError
from control.grip.instruct import HoldMode, Instruct, NextLink, Response
from control.links import (
    Ask,
    Context,
    Home,
    decide_new_conflicts,
    decide_page,
    is_at_home,
    resolve,
)

HOME = Home("a * * /x", "https://a.test")
CURRENT = "https://a.test/feed/one?after=3"


def instruct(**more) -> Instruct:
    return Instruct(Response(200, b"OK", []), **more)


@pytest.mark.parametrize(
    ("link", "uri"),
    [
        ("/p?after=4", "https://a.test/p?after=4"),
        ("two", "https://a.test/feed/two"),
        ("?after=4", "https://a.test/feed/one?after=4"),
        ("../p", "https://a.test/p"),
        ("//b.test/p", "https://b.test/p"),
        ("http://b.test:81", "http://b.test:81/"),
        ("/p#part", "https://a.test/p"),
        ("/caf\u00e9/%20?q=\u00fc", "https://a.test/caf%C3%A9/%20?q=%C3%BC"),
        ("/raw\udcff", "https://a.test/raw%FF"),
    ],
)
def test_79_a_relative_link_starts_at_the_current_uri(link, uri):
    assert resolve(CURRENT, link) == uri


@pytest.mark.parametrize(
    "link",
    ["ftp://b.test/", "http://", "http://u@b.test/", "http://b.test:0/", "http://b.test:x/",
     "http://[::1/", "http://b\u00fc.test/"],
)  # fmt: skip
def test_a_link_that_leads_nowhere_is_an_error(link):
    with pytest.raises(InstructError, match="Grip-Link contains invalid link"):
        resolve(CURRENT, link)


@pytest.mark.parametrize(
    ("uri", "is_home"),
    [
        ("https://a.test/p", True),
        ("https://A.test:443/", True),
        ("http://a.test/p", False),
        ("https://a.test:444/p", False),
        ("https://b.test/p", False),
    ],
)
def test_a_link_is_at_home_by_scheme_host_and_effective_port(uri, is_home):
    assert is_at_home(HOME, uri) is is_home


def test_nothing_is_at_home_where_the_clients_host_was_none():
    assert not is_at_home(Home("a", "http://a:b:c"), "http://a.test/")


TEXTS = st.text(max_size=5)


@given(
    st.builds(Home, TEXTS, TEXTS, st.booleans()),
    st.none() | st.text(min_size=1, max_size=5),
    st.none() | st.text(min_size=1, max_size=5),
    st.lists(TEXTS, max_size=2).map(tuple),
)
def test_a_context_comes_back_as_it_went(home, next_uri, gone_uri, implicit):
    context = Context(home, next_uri, gone_uri, implicit)
    run = context.encode()
    if next_uri is None and gone_uri is None:
        assert run == b""
        return
    assert Context.decode(run) == context
    assert run[0] & 1 == (next_uri is not None)


@pytest.mark.parametrize("run", [b"", b"\x03", b"\x05", b"\x05\x00\x00\x00\x09a"])
def test_a_context_of_another_version_is_refused(run):
    with pytest.raises(ValueError, match=r".+"):
        Context.decode(run)


def test_99_the_gone_link_is_that_of_the_first_instruct():
    first = Context(HOME).going(instruct(gone_link="/bye"), CURRENT)
    later = first.linked(instruct(gone_link="/other", next_link=NextLink("/n")), CURRENT)
    assert (later.gone_uri, later.next_uri) == ("https://a.test/bye", "https://a.test/n")
    assert later.linked(instruct(), CURRENT).next_uri is None


LASTS = (("a", "1"), ("b", "2"))


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (("/p?u=1", LASTS), ("/p?u=2", LASTS), True),
        (("/p", LASTS), ("/p", LASTS[::-1]), True),
        (("/p", LASTS), ("/p", LASTS[:1]), False),
        (("/p", LASTS), ("/q", LASTS), False),
        (("/p?u=1", ()), ("/p?u=2", ()), False),
        (("/p?u=1", ()), ("/p?u=1", ()), True),
    ],
)
def test_81_who_shares_an_answer(one, other, shared):
    asks = [Ask.to(HOME, "https://a.test" + path, lasts) for path, lasts in (one, other)]
    assert (asks[0] == asks[1]) is shared


def test_what_goes_by_other_routes_is_never_shared():
    other = Home("a * * /y", "https://a.test")
    assert Ask.to(HOME, CURRENT, LASTS) != Ask.to(other, CURRENT, LASTS)


def test_76_a_page_with_a_response_hold_is_an_error():
    with pytest.raises(InstructError, match="Next link returned non-stream hold"):
        decide_page(instruct(mode=HoldMode.RESPONSE))


@pytest.mark.parametrize(
    ("prev_id", "last_id", "followed", "conflicts"),
    [
        ("1", "2", False, True),
        ("1", "2", True, False),
        ("1", "1", False, False),
        ("1", None, False, False),
        (None, "2", False, False),
    ],
)
def test_86_a_conflict_counts_where_nothing_has_waited(prev_id, last_id, followed, conflicts):
    there = frozenset({"c"}) if followed else frozenset()
    assert decide_new_conflicts([("c", prev_id)], there, {"c": last_id}.get) is conflicts
