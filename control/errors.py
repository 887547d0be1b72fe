"""The exception classes of the control plane, by whose fault it is.

Their texts are for logs and for debug answers; what a client reads otherwise comes from
`reasons.py`. Nothing here knows how an error is answered.
"""

from __future__ import annotations

from collections.abc import Iterable

# Of a child that would end the same way if it were started again (sysexits.h, EX_CONFIG).
EXIT_CANNOT_START = 78


class OriginError(Exception):
    """No target answered, or an answer broke off.

    `tried` names the targets that could not be connected to; empty if one was. `condition` is what
    GRIP.md 3.7 calls the failure. `is_forbidden` says that one is where an untrusted target may not
    be.
    """

    def __init__(
        self,
        why: str,
        *,
        tried: Iterable[str] = (),
        condition: str = "general error",
        is_forbidden: bool = False,
    ) -> None:
        self.tried = tuple(tried)
        self.condition = condition
        self.is_forbidden = is_forbidden
        super().__init__(why)


class LinkError(Exception):
    """A worker broke the rules of the link, or the link is lost."""


class ConfigError(Exception):
    """A setting cannot be used: its name, and what is wrong with it."""

    def __init__(self, setting: str, why: str) -> None:
        self.setting = setting
        super().__init__(f"{setting}: {why}")


class InstructError(Exception):
    """An origin's instruct cannot be followed. The text is that of GRIP.md 1.5 and 1.13."""


class ItemError(Exception):
    """A published item cannot be used. The text is that of GRIP.md 2.2, 2.4 and 2.5."""


class FilterError(Exception):
    """A filter cannot be applied. The text is the reason that GRIP.md 3.3 shows in debug mode."""
