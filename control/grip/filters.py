"""Filters on messages and on response content (GRIP.md 3), but for those that ask the network.

Bytes and metadata in; bytes, nothing, or an error out. Never knows a session: what a filter makes
of a message depends on the two sets of metadata and the ids alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from control.errors import FilterError
from control.grip.fields import to_bytes, to_text

DIRECTIVE_MAX_BYTES = 4096  # what is kept of a directive that goes on in the next piece

_DIRECTIVE = re.compile(rb"%(?:\((?P<name>(?:[^\\)]|\\.)*+)\))?(?P<letter>[A-Za-z%])", re.DOTALL)
_UNFINISHED = re.compile(rb"%(?:\((?:[^\\)]|\\.)*+[\\)]?)?", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)

Meaning = Callable[[bytes | None, bytes], bytes]
"""What a directive stands for: its name in parentheses, if any, and its letter."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """What filters know of who receives: its metadata, and its channels with their current ids.

    For `build-id` the id of the channel of a message is that of the message (GRIP.md 11, 7).
    """

    meta: Mapping[str, str] = field(default_factory=dict)
    channel_ids: Mapping[str, str | None] = field(default_factory=dict)


def apply(
    filters: Sequence[str], content: bytes, publish_meta: Mapping[str, str], subscriber: Subscriber
) -> bytes | None:
    """Filter one message, in the order declared; None if it is dropped. Raises FilterError.

    Names that are not known have no effect.
    """
    for name in filters:
        drops = _DELIVERY.get(name)
        if drops is not None and drops(publish_meta, subscriber):
            return None
        if name in _CONTENT:
            expansion = Expansion(_CONTENT[name](subscriber))
            content = expansion.feed(content)
            expansion.finish()
    return content


def response_filter(filters: Sequence[str], meta: Mapping[str, str]) -> Expansion | None:
    """The filter for a response's own content, which has no ids; None if there is none (3.6)."""
    if "build-id" not in filters:
        return None
    return Expansion(_build_id(Subscriber(meta)))


def content_filters(filters: Sequence[str]) -> tuple[str, ...]:
    """Those that change content: what a format's `content-filters` must equal (GRIP.md 3.8)."""
    return tuple(name for name in filters if name in _CONTENT or name == "http-modify")


class Expansion:
    """Replaces the directives in content that comes in pieces.

    A directive is `%`, a name in parentheses or none, and a letter; `%%` stands for `%`, and
    inside the parentheses `\\x` stands for x.
    """

    def __init__(self, meaning: Meaning) -> None:
        self._meaning = meaning
        self._unfinished = b""  # at most DIRECTIVE_MAX_BYTES

    def feed(self, piece: bytes) -> bytes:
        """Take a piece, and return what is finished so far. Raises FilterError."""
        content = self._unfinished + piece
        self._unfinished = b""
        expanded: list[bytes] = []
        at = 0
        while (found := content.find(b"%", at)) != -1:
            expanded.append(content[at:found])
            directive = _DIRECTIVE.match(content, found)
            if directive is None:
                self._keep(content[found:])
                return b"".join(expanded)
            expanded.append(self._expand(directive))
            at = directive.end()
        expanded.append(content[at:])
        return b"".join(expanded)

    def finish(self) -> None:
        """Say that no more comes. Raises FilterError inside a directive."""
        if self._unfinished:
            raise FilterError("unterminated directive")

    def _keep(self, rest: bytes) -> None:
        if not _UNFINISHED.fullmatch(rest):
            raise FilterError("invalid directive")
        if len(rest) > DIRECTIVE_MAX_BYTES:
            raise FilterError("directive too long")
        self._unfinished = rest

    def _expand(self, directive: re.Match[bytes]) -> bytes:
        name, letter = directive.group("name", "letter")
        if letter == b"%":
            if name is not None:
                raise FilterError("invalid directive")
            return b"%"
        return self._meaning(None if name is None else _ESCAPED.sub(rb"\1", name), letter)


def _skip_self(publish_meta: Mapping[str, str], subscriber: Subscriber) -> bool:
    user = subscriber.meta.get("user")
    return bool(user) and user == publish_meta.get("sender")


def _skip_users(publish_meta: Mapping[str, str], subscriber: Subscriber) -> bool:
    user = subscriber.meta.get("user")
    skipped = publish_meta.get("skip_users", "").split(",")
    return bool(user) and user in [name.strip() for name in skipped]


def _require_sub(publish_meta: Mapping[str, str], subscriber: Subscriber) -> bool:
    channel = publish_meta.get("require_sub")
    return bool(channel) and channel not in subscriber.channel_ids


def _var_subst(subscriber: Subscriber) -> Meaning:
    return _variables(subscriber.meta)


def _variables(values: Mapping[str, str | None]) -> Meaning:
    """`%(name)s` stands for a value."""

    def meaning(name: bytes | None, letter: bytes) -> bytes:
        if name is None or letter != b"s":
            raise FilterError(f"invalid directive '{letter.decode()}'")
        value = values.get(to_text(name))
        if value is None:
            raise FilterError(f"no such variable '{name.decode(errors='replace')}'")
        return to_bytes(value)

    return meaning


def _build_id(subscriber: Subscriber) -> Meaning:
    """`%I` stands for the id composed by the `id_format`, `%(literal)I` for the literal."""
    id_format = subscriber.meta.get("id_format")
    if id_format is None:
        raise FilterError("no sub meta 'id_format'")
    encoding = subscriber.meta.get("id_encoding")
    if encoding not in (None, "hex"):
        raise FilterError(f"unsupported encoding '{encoding}'")

    def meaning(name: bytes | None, letter: bytes) -> bytes:
        if letter != b"I":
            raise FilterError(f"invalid directive '{letter.decode()}'")
        raw = name
        if raw is None:
            composition = Expansion(_variables(subscriber.channel_ids))
            raw = composition.feed(to_bytes(id_format))
            composition.finish()
        return raw.hex().encode() if encoding else raw

    return meaning


_DELIVERY: dict[str, Callable[[Mapping[str, str], Subscriber], bool]] = {
    "skip-self": _skip_self,
    "skip-users": _skip_users,
    "require-sub": _require_sub,
}
_CONTENT: dict[str, Callable[[Subscriber], Meaning]] = {
    "build-id": _build_id,
    "var-subst": _var_subst,
}
NETWORK_FILTERS = frozenset({"http-check", "http-modify"})  # they ask an origin (GRIP.md 3.7)
FILTERS = frozenset({*_DELIVERY, *_CONTENT, *NETWORK_FILTERS})
