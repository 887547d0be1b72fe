"""Traits: the same for sessions for which filters make the same, and different for all others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.errors import InstructError
from control.grip.traits import TRAITS_MAX_BYTES, Traits, make_traits

ORIGIN = ("a", "", "http://a.test", "", "http://a.test/check")
META = {"user": "dana", "lang": "en", "id_format": "%(news)s"}


def traits(*filters: str, meta=META, channels=("news", "chat"), is_debug=False) -> bytes:
    return make_traits(filters, meta, channels, prefix="p-", origin=ORIGIN, is_debug=is_debug)


TEXTS = st.text(max_size=5)
PARTS = st.lists(TEXTS, max_size=3).map(tuple)


@given(
    st.builds(
        Traits,
        filters=st.lists(TEXTS, min_size=1, max_size=3).map(tuple),
        meta=st.dictionaries(TEXTS, TEXTS, max_size=3),
        channels=PARTS,
        prefix=TEXTS,
        origin=PARTS,
        is_debug=st.booleans(),
    )
)
def test_traits_come_back_as_they_went(made: Traits):
    assert Traits.decode(made.encode()) == made


@pytest.mark.parametrize("filters", [(), ("no-such-filter",)])
def test_130_without_a_filter_that_is_known_there_are_no_traits(filters):
    assert traits(*filters) == b""


@pytest.mark.parametrize(
    ("filters", "other_meta", "is_same"),
    [
        (["skip-self"], META | {"lang": "de"}, True),
        (["skip-self"], META | {"user": "eve"}, False),
        (["skip-users"], META | {"lang": "de"}, True),
        (["require-sub"], {}, True),
        (["build-id"], META | {"user": "eve"}, True),
        (["build-id"], META | {"id_encoding": "hex"}, False),
        (["var-subst"], META | {"lang": "de"}, False),
        (["skip-self", "var-subst"], META | {"lang": "de"}, False),
        (["http-check"], META | {"lang": "de"}, False),
    ],
)
def test_sessions_that_agree_on_what_is_read_agree_on_their_traits(filters, other_meta, is_same):
    assert (traits(*filters) == traits(*filters, meta=other_meta)) is is_same


def test_the_order_of_metadata_and_channels_is_of_no_account():
    turned = dict(reversed(META.items()))
    assert traits("var-subst") == traits("var-subst", meta=turned)
    assert traits("require-sub") == traits("require-sub", channels=("chat", "news"))


def test_the_other_channels_count_only_where_they_are_read():
    assert traits("skip-self") == traits("skip-self", channels=())
    assert traits("require-sub") != traits("require-sub", channels=())


def test_the_order_of_filters_counts():
    assert traits("build-id", "var-subst") != traits("var-subst", "build-id")


@pytest.mark.parametrize(
    ("name", "needs_ids"),
    [("skip-self", 0), ("var-subst", 0), ("build-id", 1), ("http-check", 1), ("http-modify", 1)],
)
def test_the_worker_is_told_whether_ids_count(name, needs_ids):
    assert traits(name)[0] & 1 == needs_ids
    assert traits(name, is_debug=True)[0] & 1 == needs_ids


def test_metadata_that_is_too_long_to_carry_is_an_error():
    with pytest.raises(InstructError, match="too much metadata"):
        traits("var-subst", meta={"a": "x" * TRAITS_MAX_BYTES})


@pytest.mark.parametrize("run", [b"\x00", b"\x00\x00\x00\x00\x01", b"\x00\x00\x00\x00\x01a"])
def test_what_is_none_is_refused(run):
    with pytest.raises(ValueError, match=r".+"):
        Traits.decode(run)
