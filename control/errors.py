"""The exception classes of the control plane."""

from __future__ import annotations

from collections.abc import Sequence


class LinkError(Exception):
    """A worker broke the rules of the link, or the link is lost."""


class OriginError(Exception):
    """An origin gave no answer, or not all of it. The text is for the log.

    `tried` names the targets when none of them could be connected to.
    """

    def __init__(self, why: str, *, tried: Sequence[str] = ()) -> None:
        super().__init__(why)
        self.tried = tried
