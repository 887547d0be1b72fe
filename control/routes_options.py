"""What each option of a routes file may be: its name, and how its text is read (GRIP.md 7).

Pure: texts in, values out. What the values do is the business of whoever has the route.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from control.address import UnixAddress, ascii_host, parse_address
from control.routes_line import Section

PATH_REM_MAX_BYTES = 4096  # as long as the longest URI, GRIP.md 8.7
CHANNEL_MAX_BYTES = 4096  # as long as the longest that the workers hold
LOG_LEVELS = ("error", "warning", "info", "debug")  # what log_level=N counts from 0

# A check takes the text as written and raises ValueError with what is wrong. Flags are on
# whenever present, whatever their text.
Check = Callable[[str], Any]


def _flag(_text: str) -> bool:
    return True


def _one_of(*words: str) -> Check:
    def check(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be {' or '.join(words)}, not {text!r}")
        return text

    return check


def _yes_or_no(text: str) -> bool:
    return bool(_one_of("yes", "no")(text) == "yes")


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


def _path(text: str) -> str:
    # Requests are matched raw, so a path in UTF-8 is compared by its bytes.
    return _not_empty(text).encode().decode("latin-1")


def _absolute_path(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError(f"must begin with /, not be {text!r}")
    return _path(text)


def _base(text: str) -> str:
    base = _absolute_path(text).rstrip("/")
    if not base:
        raise ValueError("must be more than /")
    return base


def _new_path(text: str) -> str:
    return _path(text) if text else ""


def _byte_count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= PATH_REM_MAX_BYTES):
        raise ValueError(f"must be a number from 0 to {PATH_REM_MAX_BYTES}, not {text!r}")
    return int(text)


def _host_and_port(text: str) -> str:
    text = ascii_host(text)
    if text.startswith("[") and text.endswith("]"):
        parse_address(f"{text}:1")
    else:
        address = parse_address(text if ":" in text else f"{text}:1")
        if isinstance(address, UnixAddress):
            raise ValueError("must be HOST or HOST:PORT")
    return text


def _channel(text: str) -> str:
    if not text or len(text.encode()) > CHANNEL_MAX_BYTES:
        raise ValueError(f"must be 1 to {CHANNEL_MAX_BYTES} bytes")
    return text


def _method(text: str) -> bytes:
    if not _is_token(text):
        raise ValueError(f"{text!r} is not a method")
    return text.encode()


def _log_level(text: str) -> str:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"must be a number, from 0 ({LOG_LEVELS[0]}) up, not {text!r}")
    return LOG_LEVELS[min(int(text), len(LOG_LEVELS) - 1)]


def _header(text: str) -> tuple[bytes, bytes | None]:
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise ValueError(f"must be Name:value, not {text!r}")
    if not _is_token(name):
        raise ValueError(f"{name!r} is not the name of a header")
    value = value.lstrip(" \t")
    if any((c < " " and c != "\t") or c == "\x7f" for c in value):
        raise ValueError("the value has a control character")
    return name.encode(), value.encode() or None


def _is_token(text: str) -> bool:
    return text != "" and all(c.isascii() and (c.isalnum() or c in "!#$%&'*+-.^_`|~") for c in text)


CONDITION: dict[str, Check] = {
    "id": _not_empty,
    "path_beg": _path,
    "proto": _one_of("http", "ws"),
    "ssl": _yes_or_no,
    "prefix": str,
    "debug": _flag,
    "no_grip": _flag,
    "sig_iss": str,
    "sig_key": str,
    "as_host": _host_and_port,
    "path_rem": _byte_count,
    "replace_beg": _new_path,
    "header": _header,
    "orig_headers": _flag,
    "aco": _flag,
    "jsonp_mode": _one_of("extended", "basic"),
    "jsonp_cb": _not_empty,
    "jsonp_body": _not_empty,
    "jsonp_defcb": _not_empty,
    "jsonp_defmethod": _method,
    "sockjs": _base,
    "sockjs_as_path": _absolute_path,
    "aggregate": _flag,
    "log_level": _log_level,
}
TARGET: dict[str, Check] = {
    "ssl": _flag,
    "insecure": _flag,
    "host": _host_and_port,
    "untrusted": _flag,
    "trust_connect_host": _flag,
    "client_cert": _not_empty,
    "client_key": _not_empty,
    "over_http": _flag,
    "one_event": _flag,
    "sub": _channel,
}
REPEATABLE = frozenset({"header", "sub"})

# Words of Pushpin's that mean nothing here, with the reason.
WITHOUT_EFFECT = {
    "session": "sessions of old clients are not tracked",
    "ipc_file_mode": "it belongs to zhttp targets",
}


def read_options(section: Section, known: dict[str, Check], warnings: list[str]) -> dict[str, Any]:
    """Read the options of a section, by name. The last of a repeated one wins, or they add up.

    What is not used is added to `warnings`. Raises ValueError for a text that cannot be.
    """
    options: dict[str, Any] = {}
    for name, text in section.options:
        if name in WITHOUT_EFFECT:
            warnings.append(f"option {name!r} has no effect: {WITHOUT_EFFECT[name]}")
        elif name not in known:
            warnings.append(_why_ignored(name))
        else:
            try:
                value = known[name](text)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            options[name] = (*options.get(name, ()), value) if name in REPEATABLE else value
    return options


def _why_ignored(name: str) -> str:
    for place, options in (("condition", CONDITION), ("target", TARGET)):
        if name in options:
            return f"option {name!r} is one of a {place}, and ignored elsewhere"
    return f"unknown option {name!r} is ignored"


def together(options: Iterable[str], *wanted: str) -> None:
    """See that options which need each other are both there, or neither. Raises ValueError."""
    missing = [name for name in wanted if name not in options]
    if missing and len(missing) < len(wanted):
        raise ValueError(f"{' and '.join(wanted)} belong together")
