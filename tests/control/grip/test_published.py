"""What of an item goes out with it for filters, and comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.grip.item import Item
from control.grip.published import KINDS, Published


def item(**fields) -> Item:
    return Item.from_json({"channel": "a", "http-stream": {"content": "x"}, **fields})


def test_an_item_without_metadata_has_nothing_to_carry():
    assert Published.of(item()).encode() == b""
    assert Published.decode(b"") == Published()


def test_metadata_and_the_id_before_come_back():
    published = Published.of(item(**{"meta": {"sender": "eve"}, "prev-id": "4"}))
    assert published == Published({"sender": "eve"}, "4")
    assert Published.decode(published.encode()) == published


@pytest.mark.parametrize(("filters", "asks_all"), [(["var-subst"], 1), ([], 0)])
def test_131_who_has_no_filter_is_asked_for_where_he_must_have_one(filters, asks_all):
    published = Published.of(item(**{"http-stream": {"content": "", "content-filters": filters}}))
    assert published.content_filters == {"http-stream": tuple(filters)}
    assert published.encode()[0] & 1 == asks_all


def test_only_what_is_sent_is_meant_for_content_filters():
    hint = {"action": "hint", "content-filters": ["var-subst"]}
    assert Published.of(item(**{"http-stream": hint})).content_filters == {}


TEXTS = st.text(max_size=5)


@given(
    st.builds(
        Published,
        st.dictionaries(TEXTS, TEXTS, max_size=3),
        st.none() | TEXTS,
        st.dictionaries(st.sampled_from(KINDS), st.lists(TEXTS, max_size=3).map(tuple)),
    )
)
def test_it_comes_back_as_it_went(published: Published):
    assert Published.decode(published.encode()) == published
