"""Texts in one run of bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.grip.packed import pack, pack_pairs, unpack, unpack_pairs

TEXTS = st.lists(st.text() | st.binary().map(lambda b: b.decode("utf-8", "surrogateescape")))


@given(TEXTS)
def test_texts_come_back_as_they_went(texts: list[str]):
    assert unpack(b"*" + pack(texts), 1) == texts


@given(st.dictionaries(st.text(), st.text()))
def test_so_do_mappings(values: dict[str, str]):
    assert unpack_pairs(pack_pairs(values)) == values


@pytest.mark.parametrize("run", [b"\x00\x00\x00\x02a", b"\x00\x00"])
def test_a_text_that_ends_too_early_is_refused(run: bytes):
    with pytest.raises(ValueError, match="too early"):
        unpack(run)
