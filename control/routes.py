"""The routes file: which requests go where (GRIP.md section 7).

Pure: takes the text, answers questions. Reads no file, opens no connection, writes no log.
`routes_line.py` has the grammar of a line; here is what its words mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from control.address import Address, TcpAddress, UnixAddress, parse_address
from control.routes_line import Section, split_line

ANY_HOST = "*"
FILE_KEY_PREFIX = "file:"
PATH_REM_MAX_BYTES = 4096  # as long as the longest URI, GRIP.md 8.7


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests of a route go (GRIP.md 7.4, 7.5)."""

    address: Address
    ssl: bool = False
    insecure: bool = False  # do not verify the certificate
    host: str | None = None  # the Host it is sent, with its port if it has one
    over_http: bool = False  # WebSocket clients are carried over HTTP

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True)
class Route:
    """A condition, what it changes, and its targets in the order they are tried."""

    id: str
    host: str
    targets: tuple[Target, ...]
    path_beg: str = ""  # a prefix of the raw path, bytes as latin-1
    proto: str | None = None  # "http" or "ws"
    ssl: bool | None = None
    prefix: str = ""  # of every channel that origins of this route name
    debug: bool = False
    no_grip: bool = False
    sig_iss: str | None = None
    sig_key: str | None = None
    as_host: str | None = None
    path_rem: int = 0
    replace_beg: str | None = None
    # Set on requests to the origin, in this order; None: remove.
    header: tuple[tuple[bytes, bytes | None], ...] = ()

    def matches(self, path: str, is_ws: bool, is_tls: bool) -> bool:
        """Whether a request to this route's host is for it."""
        return (
            path.startswith(self.path_beg)
            and (self.proto is None or (self.proto == "ws") is is_ws)
            and (self.ssl is None or self.ssl is is_tls)
        )

    def origin_path(self, path: str) -> str:
        """The path that the origin sees (GRIP.md 7.2). A query that follows stays as it is."""
        if self.replace_beg is not None:
            path = self.replace_beg + path[len(self.path_beg) :]
        elif self.path_rem:
            path = path[self.path_rem :]
        else:
            return path
        return path if path.startswith("/") else "/" + path


@dataclass(frozen=True, slots=True)
class RouteError:
    """What is wrong with a line: it was skipped, or (a warning) taken without a part of it."""

    name: str
    line_number: int
    why: str
    is_warning: bool = False

    def __str__(self) -> str:
        return f"{self.name}:{self.line_number}: {self.why}"


@dataclass(frozen=True, slots=True)
class Routes:
    """All routes of a file. Never changed: a reload makes another."""

    by_host: dict[str, tuple[Route, ...]]  # best first

    @classmethod
    def parse(cls, text: str, name: str) -> tuple[Routes, list[RouteError]]:
        """Read a whole file. A bad line is reported and skipped; the others count.

        `name` is the path of the file: it stands in errors, and `file:` keys are relative to it.
        """
        reading = _Reading(name)
        for number, line in enumerate(text.split("\n"), start=1):
            reading.line(number, line.removesuffix("\r"))
        by_host: dict[str, list[Route]] = {}
        for route in reading.routes:
            by_host.setdefault(route.host, []).append(route)
        ordered = {host: tuple(sorted(some, key=_rank)) for host, some in by_host.items()}
        return cls(ordered), reading.errors

    def match(self, host: str, path: str, is_ws: bool, is_tls: bool) -> Route | None:
        """The route of a request, or None (GRIP.md 7.3).

        `host` is lower-case and without port; `path` is raw, its bytes as latin-1. Rules for the
        exact host hide those for any host, even if none of them matches.
        """
        by_host = self.by_host
        for route in by_host.get(host) or by_host.get(ANY_HOST, ()):
            if route.matches(path, is_ws, is_tls):
                return route
        return None

    def __len__(self) -> int:
        return sum(map(len, self.by_host.values()))

    def __iter__(self) -> Iterator[Route]:
        for routes in self.by_host.values():
            yield from routes


def _rank(route: Route) -> tuple[bool, int, bool]:
    """Best first: `proto` beats a longer path, which beats `ssl`; then the order of the file.

    Unlike Pushpin's, a later rule with `ssl` never beats a longer path (GRIP.md 11, number 4).
    """
    return (route.proto is None, -len(route.path_beg), route.ssl is None)


# What each option of a condition or target means: its name -> how its value is read. A check
# takes the value as written and raises ValueError with what is wrong. Flags are on whenever
# present, whatever their value.
Check = Callable[[str], Any]


def _flag(_value: str) -> bool:
    return True


def _one_of(*words: str) -> Check:
    def check(value: str) -> str:
        if value not in words:
            raise ValueError(f"must be {' or '.join(words)}, not {value!r}")
        return value

    return check


def _yes_or_no(value: str) -> bool:
    return bool(_one_of("yes", "no")(value) == "yes")


def _not_empty(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return value


def _path(value: str) -> str:
    # Requests are matched raw, so a path in UTF-8 is compared by its bytes.
    return _not_empty(value).encode().decode("latin-1")


def _new_path(value: str) -> str:
    return _path(value) if value else ""


def _byte_count(value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) <= PATH_REM_MAX_BYTES):
        raise ValueError(f"must be a number from 0 to {PATH_REM_MAX_BYTES}, not {value!r}")
    return int(value)


def _host_and_port(value: str) -> str:
    if value.startswith("[") and value.endswith("]"):
        parse_address(f"{value}:1")
    else:
        address = parse_address(value if ":" in value else f"{value}:1")
        if isinstance(address, UnixAddress):
            raise ValueError("must be HOST or HOST:PORT")
    return value


def _header(value: str) -> tuple[bytes, bytes | None]:
    name, colon, text = value.partition(":")
    if not colon or not name:
        raise ValueError(f"must be Name:value, not {value!r}")
    if not all(c.isascii() and (c.isalnum() or c in "!#$%&'*+-.^_`|~") for c in name):
        raise ValueError(f"{name!r} is not the name of a header")
    text = text.lstrip(" \t")
    if any((c < " " and c != "\t") or c == "\x7f" for c in text):
        raise ValueError("the value has a control character")
    return name.encode(), text.encode() or None


CONDITION_OPTIONS: dict[str, Check] = {
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
}
TARGET_OPTIONS: dict[str, Check] = {
    "ssl": _flag,
    "insecure": _flag,
    "host": _host_and_port,
    "over_http": _flag,
}
SELECTING = frozenset({"path_beg", "proto", "ssl"})
REPEATABLE = frozenset({"header"})

# Words of Pushpin's whose feature does not exist here yet.
# fmt: off
NOT_YET_CONDITION = frozenset({
    "orig_headers", "aco", "jsonp_mode", "jsonp_cb", "jsonp_body", "jsonp_defcb",
    "jsonp_defmethod", "sockjs", "sockjs_as_path", "session", "log_level",
})
NOT_YET_TARGET = frozenset({
    "untrusted", "trust_connect_host", "client_cert", "client_key", "one_event", "sub",
    "ipc_file_mode",
})
# fmt: on
NOT_YET_TARGET_KINDS = ("zhttp/", "zhttpreq/")


@dataclass(slots=True)
class _Reading:
    """One pass over a file: the routes and the errors so far."""

    name: str
    routes: list[Route] = field(default_factory=list)
    errors: list[RouteError] = field(default_factory=list)
    conditions: set[tuple[Any, ...]] = field(default_factory=set)

    def line(self, number: int, line: str) -> None:
        warnings: list[str] = []
        try:
            sections = split_line(line)
            if not sections:
                return
            route = self._route(sections, warnings)
        except ValueError as error:
            self.errors.append(RouteError(self.name, number, str(error)))
            return
        condition = (route.host, route.proto, route.ssl, route.path_beg)
        if condition in self.conditions:
            warnings = ["skipping duplicate condition"]
        else:
            self.conditions.add(condition)
            self.routes.append(route)
        self.errors += [RouteError(self.name, number, why, is_warning=True) for why in warnings]

    def _route(self, sections: list[Section], warnings: list[str]) -> Route:
        condition, *targets = sections
        if not targets:
            raise ValueError("must specify condition and at least one target")
        options = _read_options(condition, CONDITION_OPTIONS, NOT_YET_CONDITION, warnings)
        if not condition.value and "id" not in options:
            raise ValueError("condition has no domain or id")
        host = _condition_host(condition.value)
        if "sig_key" in options:
            options["sig_key"] = self._key(options["sig_key"])
        options.setdefault("id", _id_of(host, condition))
        read_targets = tuple(_target(section, warnings) for section in targets)
        return Route(host=host, targets=read_targets, **options)

    def _key(self, key: str) -> str:
        path = key.removeprefix(FILE_KEY_PREFIX)
        return key if path == key else f"{FILE_KEY_PREFIX}{PurePath(self.name).parent / path}"


def _condition_host(value: str) -> str:
    if not value:
        raise ValueError("a route that is chosen by id only is not supported yet")
    host = value.lower()
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1]
    if host != ANY_HOST and any(c in "*/:" for c in host):
        raise ValueError(f"{value!r} is neither a host without port nor *")
    return host


def _id_of(host: str, condition: Section) -> str:
    """The id of a rule that has none: the same as long as what it selects by is the same."""
    selecting = [f"{n}={text}" for n, text in condition.options if n in SELECTING]
    return ",".join([host, *sorted(selecting)])


def _target(section: Section, warnings: list[str]) -> Target:
    value = section.value
    if value == "test" or value.startswith(NOT_YET_TARGET_KINDS):
        raise ValueError(f"target {value!r} is not supported yet")
    try:
        address = parse_address(value)
    except ValueError as error:
        raise ValueError(f"target {error}") from None
    options = _read_options(section, TARGET_OPTIONS, NOT_YET_TARGET, warnings)
    return Target(address, **options)


def _read_options(
    section: Section, known: dict[str, Check], not_yet: frozenset[str], warnings: list[str]
) -> dict[str, Any]:
    """The options of a section by name. The last of a repeated one wins, or they add up."""
    options: dict[str, Any] = {}
    for name, text in section.options:
        if name in not_yet:
            warnings.append(f"option {name!r} is not supported yet")
        elif name not in known:
            warnings.append(f"unknown option {name!r} is ignored")
        else:
            try:
                value = known[name](text)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            options[name] = (*options.get(name, ()), value) if name in REPEATABLE else value
    return options


def describe(route: Route) -> str:
    """One route in words, for `fanway check`."""
    words = ["any host" if route.host == ANY_HOST else route.host]
    if route.path_beg:
        words.append(f"paths that begin with {route.path_beg}")
    if route.proto:
        words.append("WebSocket clients only" if route.proto == "ws" else "HTTP clients only")
    if route.ssl is not None:
        words.append("TLS only" if route.ssl else "plain only")
    return f"{', '.join(words)} -> {', then '.join(map(_describe_target, route.targets))}"


def _describe_target(target: Target) -> str:
    scheme = "https" if target.ssl else "http"
    where = str(target) if isinstance(target.address, TcpAddress) else f"{target.address}:"
    words = [f"{scheme}://{where}"]
    if target.host:
        words.append(f"as {target.host}")
    if target.insecure:
        words.append("certificate not verified")
    return words[0] if len(words) == 1 else f"{words[0]} ({', '.join(words[1:])})"
