"""Filters (GRIP.md 3; checklist 124 to 132)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.errors import FilterError
from control.grip.filters import (
    DIRECTIVE_MAX_BYTES,
    Subscriber,
    apply,
    content_filters,
    response_filter,
)

DANA = Subscriber({"user": "dana"})
TWO_IDS = Subscriber({"id_format": "%(a)s-%(b)s"}, {"a": "3", "b": "9"})


# -- delivery


@pytest.mark.parametrize(
    ("meta", "publish_meta", "delivered"),
    [
        ({"user": "dana"}, {"sender": "dana"}, False),
        ({"user": "dana"}, {"sender": "eve"}, True),
        ({"user": "dana"}, {}, True),
        ({}, {"sender": "dana"}, True),
        ({"user": ""}, {"sender": ""}, True),
    ],
)
def test_124_skip_self_drops_what_one_sent_oneself(
    meta: dict[str, str], publish_meta: dict[str, str], delivered: bool
) -> None:
    made = apply(["skip-self"], b"hi", publish_meta, Subscriber(meta))
    assert made == (b"hi" if delivered else None)


@pytest.mark.parametrize(
    ("skip_users", "delivered"),
    [("dana", False), ("eve, dana ,bob", False), ("eve,bob", True), ("dan", True), ("", True)],
)
def test_125_skip_users_honours_a_comma_list_with_blanks(skip_users: str, delivered: bool) -> None:
    made = apply(["skip-users"], b"hi", {"skip_users": skip_users}, DANA)
    assert made == (b"hi" if delivered else None)


@pytest.mark.parametrize(
    ("publish_meta", "delivered"),
    [
        ({"require_sub": "a"}, True),
        ({"require_sub": "z"}, False),
        ({"require_sub": ""}, True),
        ({}, True),
    ],
)
def test_126_require_sub_delivers_to_who_subscribes_to_another_channel_too(
    publish_meta: dict[str, str], delivered: bool
) -> None:
    subscriber = Subscriber(channel_ids={"a": None})
    made = apply(["require-sub"], b"hi", publish_meta, subscriber)
    assert made == (b"hi" if delivered else None)


def test_130_unknown_filters_have_no_effect() -> None:
    assert apply(["sparkle"], b"%", {}, DANA) == b"%"


def test_132_filters_run_in_order_and_stop_at_the_first_drop() -> None:
    publish_meta = {"sender": "dana"}
    assert apply(["skip-self", "var-subst"], b"%(nobody)s", publish_meta, DANA) is None
    with pytest.raises(FilterError):
        apply(["var-subst", "skip-self"], b"%(nobody)s", publish_meta, DANA)


# -- content


@pytest.mark.parametrize(
    ("content", "made"),
    [
        (b"hi %(user)s, 100%%", b"hi dana, 100%"),
        (b"%(us\\er)s", b"dana"),
        (b"no directive", b"no directive"),
        (b"%%(user)s", b"%(user)s"),
        (b"", b""),
    ],
)
def test_127_var_subst_substitutes(content: bytes, made: bytes) -> None:
    assert apply(["var-subst"], content, {}, DANA) == made


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"%(nobody)s", "no such variable 'nobody'"),
        (b"%(user)d", "invalid directive 'd'"),
        (b"%s", "invalid directive 's'"),
        (b"%1", "invalid directive"),
        (b"%(user)1", "invalid directive"),
        (b"%(user)%", "invalid directive"),
        (b"100%", "unterminated directive"),
        (b"%(user", "unterminated directive"),
        (b"%(user)", "unterminated directive"),
        (b"%(user\\)s", "unterminated directive"),
        (b"%(" + b"u" * DIRECTIVE_MAX_BYTES, "directive too long"),
    ],
)
def test_127_a_bad_template_suppresses_the_item(content: bytes, reason: str) -> None:
    with pytest.raises(FilterError) as caught:
        apply(["var-subst"], content, {}, DANA)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("encoding", "content", "made"),
    [
        ({}, b"id: %I\n", b"id: 3-9\n"),
        ({}, b"id: %(1-2)I 100%%", b"id: 1-2 100%"),
        ({"id_encoding": "hex"}, b"id: %I\n", b"id: 332d39\n"),
        ({"id_encoding": "hex"}, b"id: %(1)I\n", b"id: 31\n"),
    ],
)
def test_128_build_id_inserts_the_composed_id(
    encoding: dict[str, str], content: bytes, made: bytes
) -> None:
    subscriber = Subscriber({**TWO_IDS.meta, **encoding}, TWO_IDS.channel_ids)
    assert apply(["build-id"], content, {}, subscriber) == made


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({}, "no sub meta 'id_format'"),
        ({"id_format": "%(z)s"}, "no such variable 'z'"),
        ({"id_format": "%(b)s"}, "no such variable 'b'"),
        ({"id_format": "x%"}, "unterminated directive"),
        ({"id_format": "x", "id_encoding": "rot13"}, "unsupported encoding 'rot13'"),
    ],
)
def test_128_an_id_that_cannot_be_composed_suppresses_the_item(
    meta: dict[str, str], reason: str
) -> None:
    with pytest.raises(FilterError) as caught:
        apply(["build-id"], b"%I", {}, Subscriber(meta, {"a": "1", "b": None}))
    assert str(caught.value) == reason


@pytest.mark.parametrize("content", [b"%s", b"%(a)s"])
def test_128_build_id_knows_one_directive(content: bytes) -> None:
    with pytest.raises(FilterError, match="invalid directive 's'"):
        apply(["build-id"], content, {}, TWO_IDS)


# -- response content


def test_129_a_literal_id_works_in_response_content() -> None:
    expansion = response_filter(["skip-self", "build-id"], {"id_format": "%(a)s"})
    assert expansion is not None
    assert expansion.feed(b"id: %(7)I\n") == b"id: 7\n"
    expansion.finish()


def test_129_a_bare_id_is_an_error_in_response_content() -> None:
    expansion = response_filter(["build-id"], {"id_format": "%(a)s"})
    assert expansion is not None
    with pytest.raises(FilterError, match="no such variable 'a'"):
        expansion.feed(b"id: %I\n")


def test_129_other_filters_leave_response_content_alone() -> None:
    assert response_filter(["var-subst"], {}) is None


_CONTENT = b"a %(1\\)2)I b %% %(3)I"
_EXPANDED = b"a 1)2 b % 3"


@given(st.lists(st.integers(0, len(_CONTENT))))
def test_129_it_does_not_matter_how_response_content_is_split(cuts: list[int]) -> None:
    expansion = response_filter(["build-id"], {"id_format": ""})
    assert expansion is not None
    edges = [0, *sorted(cuts), len(_CONTENT)]
    pieces = [_CONTENT[a:b] for a, b in pairwise(edges)]
    assert b"".join(map(expansion.feed, pieces)) == _EXPANDED
    expansion.finish()


def test_131_the_content_filters_of_a_channel_keep_their_order() -> None:
    filters = ["var-subst", "skip-self", "build-id", "sparkle"]
    assert content_filters(filters) == ("var-subst", "build-id")


@given(st.text("%()sI\\ab").map(str.encode))
def test_any_template_is_expanded_or_refused(content: bytes) -> None:
    try:
        made = apply(["build-id"], content, {}, TWO_IDS)
    except FilterError:
        return
    assert b"%" in content or made == content
