"""Which events a request carries, and what is offered again."""

from __future__ import annotations

import pytest

from control.grip.wsbatch import REQUEST_MAX_BYTES, batch_count, size_of, unaccepted
from control.grip.wsevents import Event, EventType


def text(content: bytes) -> Event:
    return Event(EventType.TEXT, content)


FOO, BAR, EMPTY = text(b"foo"), text(b"barbar"), text(b"")
CLOSE = Event.close(1000)


def test_all_that_waits_goes_along():
    assert batch_count([], one_event=False) == 0
    assert batch_count([FOO, EMPTY, BAR, CLOSE], one_event=False) == 4


def test_149_or_one_event():
    assert batch_count([], one_event=True) == 0
    assert batch_count([EMPTY, FOO], one_event=True) == 1


def test_up_to_the_limit_but_one_at_least():
    half, whole = text(bytes(REQUEST_MAX_BYTES // 2)), text(bytes(REQUEST_MAX_BYTES + 1))
    assert batch_count([half, half, FOO], one_event=False) == 2
    assert batch_count([whole, FOO], one_event=False) == 1
    assert size_of([FOO, BAR, CLOSE]) == 11


@pytest.mark.parametrize(
    ("offered", "accepted", "rest"),
    [
        ([FOO, BAR], None, []),
        ([FOO, BAR], 9, []),
        ([FOO, BAR], 0, [FOO, BAR]),
        ([FOO, BAR], 1, [text(b"oo"), BAR]),
        ([FOO, BAR], 3, [BAR]),
        ([FOO, BAR], 5, [text(b"rbar")]),
        ([FOO, EMPTY, BAR], 3, [BAR]),
        ([FOO, EMPTY], 3, []),
        ([], 0, []),
        ([FOO, CLOSE], 5, []),
        ([FOO, CLOSE], 2, [text(b"o"), CLOSE]),
        ([FOO, Event.close()], 3, []),
    ],
)
def test_161_what_was_not_accepted_is_offered_again(offered, accepted, rest):
    assert unaccepted(offered, accepted) == rest


@pytest.mark.parametrize(
    ("offered", "accepted"),
    [([FOO], 4), ([FOO], -1), ([], 1), ([FOO, CLOSE], 3), ([FOO, CLOSE], 4)],
)
def test_162_more_than_offered_or_a_part_of_a_close_is_an_error(offered, accepted):
    with pytest.raises(ValueError, match="accepted of"):
        unaccepted(offered, accepted)
