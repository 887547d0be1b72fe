"""What filters make of a session, in bytes: what two sessions of a channel must have in common.

The worker groups by these bytes and control reads them again when a message is filtered: once a
group, not once a client. So they hold what the filters read and nothing else, and are the same
for the same content. Never filters anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from control.errors import InstructError
from control.grip.filters import FILTERS, NETWORK_FILTERS
from control.grip.packed import pack, pack_pairs, unpack, unpack_pairs

NEEDS_IDS = 1  # bit 0 of the first byte: the worker reads it (fastpath/LINK.md, Filters)
IS_DEBUG = 2
TRAITS_MAX_BYTES = 0xFFFF  # of one channel; a str16 on the link

# What filters read of a session's metadata; the others read all of it, or nothing.
META_READ: dict[str, tuple[str, ...]] = {
    "skip-self": ("user",),
    "skip-users": ("user",),
    "require-sub": (),
    "build-id": ("id_format", "id_encoding"),
}
IDS_READ = frozenset({"build-id", *NETWORK_FILTERS})


@dataclass(frozen=True, slots=True)
class Traits:
    """The filters of a channel, and what they read of a session."""

    filters: tuple[str, ...] = ()  # in order; those that nobody knows are left out
    meta: Mapping[str, str] = field(default_factory=dict)
    channels: tuple[str, ...] = ()  # all that it is on, without prefix; for require-sub
    prefix: str = ""  # of the names of channels whose ids are asked for
    origin: tuple[str, ...] = ()  # where network filters are asked: known to who asks them
    is_debug: bool = False

    def encode(self) -> bytes:
        """Make the bytes of it; empty without filters."""
        if not self.filters:
            return b""
        head = NEEDS_IDS if IDS_READ.intersection(self.filters) else 0
        head |= IS_DEBUG if self.is_debug else 0
        parts = self.filters, pack_pairs(self.meta), self.channels, (self.prefix,), self.origin
        counts = [str(len(part)) for part in parts]
        return bytes((head,)) + pack([*counts, *(text for part in parts for text in part)])

    @classmethod
    def decode(cls, run: bytes) -> Traits:
        """Read the bytes of traits. ValueError if they are none."""
        texts = unpack(run, 1)
        counts, at = texts[:5], 5
        parts = []
        for count in map(int, counts):
            parts.append(texts[at : at + count])
            at += count
        filters, meta, channels, (prefix,), origin = parts
        return cls(
            tuple(filters),
            unpack_pairs(meta),
            tuple(channels),
            prefix,
            tuple(origin),
            bool(run[0] & IS_DEBUG),
        )


def make_traits(
    filters: Sequence[str],
    meta: Mapping[str, str],
    channels: Iterable[str],
    *,
    prefix: str,
    origin: tuple[str, ...],
    is_debug: bool,
) -> bytes:
    """Make the traits of a session for one channel, with what these filters read.

    `channels` are all that it is on, without prefix. InstructError if it is too much to carry.
    """
    known = tuple(name for name in filters if name in FILTERS)
    reads_all = any(name not in META_READ for name in known)
    read = {key for name in known for key in META_READ.get(name, ())}
    has_ids = bool(IDS_READ.intersection(known))
    traits = Traits(
        known,
        {key: value for key, value in meta.items() if reads_all or key in read},
        tuple(sorted(channels)) if "require-sub" in known else (),
        prefix if has_ids else "",
        origin if NETWORK_FILTERS.intersection(known) else (),
        is_debug,
    ).encode()
    if len(traits) > TRAITS_MAX_BYTES:
        raise InstructError("too much metadata for filters")
    return traits
