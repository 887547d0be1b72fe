"""What filters read of a published item, in bytes that the worker carries (GRIP.md 3.2, 3.8).

Goes out with PUBLISH and comes back with MET, so that control need not keep an item for the
groups that will ask about it. Knows no packet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from control.grip.item import Action, HttpResponse, HttpStream, Item
from control.grip.packed import pack, pack_pairs, unpack, unpack_pairs

ASKS_ALL = 1  # bit 0 of the first byte: the worker reads it (fastpath/LINK.md, Filters)
KINDS = ("http-response", "http-stream", "ws-message")


@dataclass(frozen=True, slots=True)
class Published:
    """An item's metadata, and the content filters that its formats are meant for, by format."""

    meta: Mapping[str, str] = field(default_factory=dict)
    prev_id: str | None = None
    content_filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, item: Item) -> Published:
        """Take from an item what filters read."""
        wanted = {
            _kind(form): form.content_filters
            for form in item.formats
            if form.action is Action.SEND and form.content_filters is not None
        }
        return cls(item.meta or {}, item.prev_id, wanted)

    def encode(self) -> bytes:
        """Make the bytes of it; empty if there is nothing to read."""
        if not self.meta and self.prev_id is None and not self.content_filters:
            return b""
        # Who has no content filter has no traits: he is asked for if he must not be given it.
        head = ASKS_ALL if any(self.content_filters.values()) else 0
        prev_id = [] if self.prev_id is None else [self.prev_id]
        parts = [pack_pairs(self.meta), prev_id]
        for kind in KINDS:
            filters = self.content_filters.get(kind)
            parts.append([] if filters is None else ["", *filters])
        counts = [str(len(part)) for part in parts]
        return bytes((head,)) + pack([*counts, *(text for part in parts for text in part)])

    @classmethod
    def decode(cls, run: bytes) -> Published:
        """Read the bytes of it. ValueError if they are none."""
        if not run:
            return cls()
        texts = unpack(run, 1)
        at = 2 + len(KINDS)
        parts = []
        for count in map(int, texts[:at]):
            parts.append(texts[at : at + count])
            at += count
        meta, prev_id, *filters = parts
        wanted = {
            kind: tuple(names[1:]) for kind, names in zip(KINDS, filters, strict=True) if names
        }
        return cls(unpack_pairs(meta), prev_id[0] if prev_id else None, wanted)


def _kind(form: object) -> str:
    if isinstance(form, HttpResponse):
        return "http-response"
    return "http-stream" if isinstance(form, HttpStream) else "ws-message"
