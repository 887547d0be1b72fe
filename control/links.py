"""What is decided about links before anybody asks anything (GRIP.md 1.9).

Where a link leads, what a hold has to carry so that it can be followed later, and which sessions
can share an answer. Pure: takes values, gives values; awaits nothing, and orders nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urldefrag, urljoin, urlsplit

from control.errors import InstructError
from control.grip.fields import to_bytes
from control.grip.instruct import HoldMode, Instruct
from control.grip.packed import pack, unpack

VERSION = 2  # of the bytes of a context
HAS_NEXT = 1  # bit 0 of a context's first byte: the worker reads it (fastpath/LINK.md, Links)
PORTS = {"http": 80, "https": 443}
# What a URI may hold as it is: the reserved characters and those that are escaped already.
_KEPT = "%:/?#[]@!$&'()*+,;="

Lasts = tuple[tuple[str, str], ...]
"""(name of a channel without its route's prefix, last id), in the order of the channels."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where a client's request went: what is asked on its behalf goes by the same route."""

    rule: str  # the route's: an id may be that of several
    base: str  # scheme and authority of the request, as rewritten for its origin
    is_untrusted: bool = False  # its target must not be on a private network

    def texts(self) -> tuple[str, str, str]:
        """Give it as texts, for `packed`."""
        untrusted = "untrusted" if self.is_untrusted else ""
        return self.rule, self.base, untrusted

    @classmethod
    def of_texts(cls, rule: str, base: str, untrusted: str) -> Home:
        """Read what `texts` gave."""
        return cls(rule, base, bool(untrusted))


@dataclass(frozen=True, slots=True)
class Context:
    """What a hold carries so that it can be taken up again. Its URIs are absolute."""

    home: Home
    next_uri: str | None = None
    gone_uri: str | None = None
    implicit: tuple[str, ...] = ()  # channels of the target, without prefix (GRIP.md 7.5)

    def encode(self) -> bytes:
        """Make the bytes of it; empty if there is no link, and so nothing to come back for."""
        if self.next_uri is None and self.gone_uri is None:
            return b""
        head = VERSION << 1 | (HAS_NEXT if self.next_uri is not None else 0)
        links = self.next_uri or "", self.gone_uri or ""
        return bytes((head,)) + pack([*self.home.texts(), *links, *self.implicit])

    @classmethod
    def decode(cls, run: bytes) -> Context:
        """Read the bytes of a context. ValueError if they are of another version."""
        if not run or run[0] >> 1 != VERSION:
            raise ValueError("a context of another version")
        rule, base, untrusted, next_uri, gone_uri, *implicit = unpack(run, 1)
        home = Home.of_texts(rule, base, untrusted)
        return cls(home, next_uri or None, gone_uri or None, tuple(implicit))

    def linked(self, instruct: Instruct, current_uri: str) -> Context:
        """Make the context of a hold whose instruct came from a URI. InstructError: a bad link.

        The gone link is that of the first instruct (GRIP.md 1.9.2).
        """
        link = instruct.next_link
        next_uri = None if link is None else resolve(current_uri, link.uri)
        return replace(self, next_uri=next_uri)

    def going(self, instruct: Instruct, current_uri: str) -> Context:
        """Take over the gone link of the first instruct. InstructError: a bad link."""
        link = instruct.gone_link
        return self if link is None else replace(self, gone_uri=resolve(current_uri, link))


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to a next link. Those that are equal can share an answer (GRIP.md 1.9.2).

    Equal are those with one `shared_uri`: without its query if there are last ids, which tell the
    origin more than a query that was fixed when the hold began (GRIP.md 11, 5).
    """

    home: Home
    shared_uri: str
    lasts: frozenset[tuple[str, str]]
    uri: str = field(compare=False)
    ordered: Lasts = field(compare=False)

    @classmethod
    def to(cls, home: Home, uri: str, lasts: Lasts) -> Ask:
        """Make the request for a session's link and its last ids."""
        return cls(home, without_query(uri) if lasts else uri, frozenset(lasts), uri, lasts)


def resolve(current_uri: str, link: str) -> str:
    """Give the absolute URI of a link, in ASCII. InstructError if it leads nowhere."""
    try:
        uri = urldefrag(urljoin(current_uri, link)).url
        parts = urlsplit(uri)
        is_usable = parts.scheme in PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or "@" in parts.netloc or not parts.netloc.isascii():
        raise InstructError("Grip-Link contains invalid link")
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return f"{parts.scheme}://{parts.netloc}{escaped(to_bytes(path))}"


def escaped(path: bytes) -> str:
    """Give a path with its query in ASCII; what is escaped already stays as it is."""
    return quote(path, safe=_KEPT)


def without_query(uri: str) -> str:
    """Give a URI up to its query."""
    return uri.partition("?")[0]


def address_of(uri: str) -> tuple[str, str, int]:
    """Give scheme, host and effective port of an absolute URI. ValueError if it has none."""
    parts = urlsplit(uri)
    return parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme]


def base_of(uri: str) -> str:
    """Give scheme and authority of an absolute URI, as they are written."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.partition('/')[0]}"


def is_at_home(home: Home, uri: str) -> bool:
    """Whether a URI has the scheme, host and effective port of the client's request."""
    try:
        return address_of(uri) == address_of(home.base)
    except ValueError:  # a client's Host may be anything
        return False


def decide_new_conflicts(
    channels: Sequence[tuple[str, str | None]],
    followed: frozenset[str],
    last_id: Callable[[str], str | None],
) -> bool:
    """Whether something has been published on a channel that the session has not been on so far.

    `followed` are the channels whose items have been waiting for it; what came on those, it has.
    """
    return any(
        prev_id is not None and name not in followed and last_id(name) not in (None, prev_id)
        for name, prev_id in channels
    )


def decide_page(instruct: Instruct) -> None:
    """Check that an answer can be a page of a stream. InstructError if it is an instruct for
    something else (GRIP.md 1.9.2).
    """
    if instruct.mode is HoldMode.RESPONSE:
        raise InstructError("Next link returned non-stream hold.")


def lasts_of(instruct: Instruct) -> Lasts:
    """Give the last ids that an instruct itself names."""
    return tuple((c.name, c.prev_id) for c in instruct.channels if c.prev_id is not None)
