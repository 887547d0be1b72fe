"""What an origin has agreed to."""

from __future__ import annotations

import pytest

from control.grip.extension import as_written, message_prefix, names_another


def header(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"sec-websocket-extensions", value) for value in values]


@pytest.mark.parametrize(
    ("values", "prefix"),
    [
        ([], None),
        ([b"grip"], b"m:"),
        ([b'grip; message-prefix=""'], b""),
        ([b'grip; message-prefix="x y"'], b"x y"),
        ([b"grip;message-prefix=msg:"], b"msg:"),
        ([b"grip; message-prefix="], None),
        ([b"grip; message-prefix"], b"m:"),
        ([b'grip; message-prefix="'], None),
        ([b"gripe"], None),
        ([b"other; a=1, grip"], b"m:"),
        ([b"other", b"grip"], b"m:"),
    ],
)
def test_169_170_the_prefix_of_messages(values: list[bytes], prefix: bytes | None):
    assert message_prefix(header(*values)) == prefix


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], None),
        ([b"gripe, permessage-deflate"], None),
        ([b"grip"], b"grip"),
        ([b'other; a=1, grip ; message-prefix="a,b"'], b'grip ; message-prefix="a,b"'),
        ([b"grip; message-prefix="], b"grip; message-prefix="),
    ],
)
def test_185_the_extension_as_it_is_written(values: list[bytes], text: bytes | None):
    assert as_written(header(*values)) == text


def test_an_extension_that_was_not_offered_is_noticed():
    assert not names_another(header())
    assert not names_another(header(b"grip; a=1", b""))
    assert names_another(header(b"grip, permessage-deflate"))
