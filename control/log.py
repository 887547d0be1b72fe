"""Logs: one line an event, `key=value` or JSON, on standard error.

The name of an event is a short word (`started`, `origin_failed`); everything else is a key.
Whatever a stranger sent is escaped, so that nobody can write a line of their own.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["logfmt", "json"]

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


def configure(level: LogLevel, form: LogFormat, *, role: str) -> None:
    """Send events of `level` and above to standard error; `role` names the kind of process."""

    def add_role(
        _logger: Any, _method: str, line: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        line["role"] = role
        return line

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            add_role,
            structlog.processors.format_exc_info,
            *_renderers(form),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    # What the libraries have to say goes the same way. Their chatter does not.
    logging.basicConfig(handlers=[_FromLibraries()], level=logging.WARNING, force=True)


def _renderers(form: LogFormat) -> list[structlog.typing.Processor]:
    if form == "json":
        return [structlog.processors.JSONRenderer()]
    order = ["time", "level", "role", "event"]
    return [_escape, structlog.processors.LogfmtRenderer(key_order=order, bool_as_flag=False)]


def _escape(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in line.items():
        text = value if isinstance(value, str) else str(value)
        if not text.isprintable():
            line[key] = "".join(
                c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
            )
    return line


class _FromLibraries(logging.Handler):
    """Turns a record of the standard library's logging into an event of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        say = log.error if record.levelno >= logging.ERROR else log.warning
        say("library", source=record.name, text=record.getMessage(), exc_info=record.exc_info)
