"""The routes file: which requests go where (GRIP.md section 7).

Pure: takes the text, answers questions. Reads no file, opens no connection, writes no log.
`routes_line.py` has the grammar of a line, `routes_options.py` what the words of one may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath

from control.address import Address, TcpAddress, UnixAddress, ascii_host, parse_address
from control.routes_line import Section, split_line
from control.routes_options import CONDITION, TARGET, read_options, together

ANY_HOST = "*"
FILE_KEY_PREFIX = "file:"
ZEROMQ_PREFIXES = ("zhttp/", "zhttpreq/")
SELECTING = frozenset({"path_beg", "proto", "ssl"})


class BuiltIn(Enum):
    """A target that is inside Fanway (GRIP.md 7.8)."""

    TEST = "test"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests of a route go (GRIP.md 7.4, 7.5)."""

    address: Address | BuiltIn
    ssl: bool = False
    insecure: bool = False  # do not verify the certificate
    host: str | None = None  # the Host it is sent, with its port if it has one
    trust_connect_host: bool = False  # the certificate must be for the address, not for the Host
    client_cert: str = ""  # files, PEM: what Fanway identifies itself with
    client_key: str = ""
    untrusted: bool = False  # must not be on a private network
    over_http: bool = False  # WebSocket clients are carried over HTTP
    one_event: bool = False  # ... one message a request
    sub: tuple[str, ...] = ()  # channels that all held here are on, without the route's prefix

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True)
class Route:
    """A condition, what it changes, and its targets in the order they are tried."""

    id: str
    host: str  # empty: chosen by its id only
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
    orig_headers: bool = False  # the client's headers are sent in a marked copy too
    aco: bool = False  # any page may use it: CORS headers (8.1) and JSON-P (8.2)
    jsonp_mode: str = "extended"  # or "basic"
    jsonp_cb: str = "callback"  # the parameter that names the callback
    jsonp_body: str = ""  # the parameter that is the body; empty: _body
    jsonp_defcb: str = ""  # the callback where none is named
    jsonp_defmethod: bytes = b""  # empty: GET if extended, POST if basic
    sockjs: str = ""  # where SockJS is served, bytes as latin-1, without a slash at its end
    sockjs_as_path: str = ""  # what the origin's WebSocket is asked for there
    aggregate: bool = False  # identical requests share one call to the origin
    log_level: str = "debug"  # the least important that is logged about its requests
    has_id: bool = False  # the id is one that the routes file gives it

    @property
    def rule(self) -> str:
        """What it selects by, in one text: no other route of its file has the same."""
        ssl = {None: "*", True: "yes", False: "no"}[self.ssl]
        return f"{self.host or f'id={self.id}'} {self.proto or '*'} {ssl} {self.path_beg}"

    def matches(self, path: str, is_ws: bool, is_tls: bool) -> bool:
        """Whether a request to this route's host is for it."""
        return (
            path.startswith(self.path_beg)
            and (self.proto is None or (self.proto == "ws") is is_ws)
            and (self.ssl is None or self.ssl is is_tls)
        )

    @property
    def given_id(self) -> str:
        """The id that the routes file gives it; empty if it gives none."""
        return self.id if self.has_id else ""

    @property
    def rewrites_path(self) -> bool:
        """Whether the origin sees another path than the client asked for."""
        return self.replace_beg is not None or self.path_rem > 0

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

    by_host: dict[str, tuple[Route, ...]]  # best first; those without host under ""
    by_id: dict[str, tuple[Route, ...]]  # those that were given an id, in the order of the file

    @classmethod
    def parse(
        cls, text: str, name: str, check: Callable[[Target], object] = lambda target: None
    ) -> tuple[Routes, list[RouteError]]:
        """Read a whole file. A bad line is reported and skipped; the others count.

        `name` is the path of the file: it stands in errors, and the files that lines name are
        relative to it. `check` raises ValueError for a target that cannot be used.
        """
        reading = _Reading(name, check)
        for number, line in enumerate(text.split("\n"), start=1):
            reading.line(number, line.removesuffix("\r"))
        by_host: dict[str, list[Route]] = {}
        for route in reading.routes:
            by_host.setdefault(route.host, []).append(route)
        ordered = {host: tuple(sorted(some, key=_rank)) for host, some in by_host.items()}
        by_id = {id_: tuple(some) for id_, some in reading.by_id.items()}
        return cls(ordered, by_id), reading.errors

    def match(
        self, host: str, path: str, is_ws: bool, is_tls: bool, wanted_id: str = ""
    ) -> Route | None:
        """The route of a request, or None (GRIP.md 7.3).

        `host` is lower-case and without port; `path` is raw, its bytes as latin-1. Rules for the
        exact host hide those for any host, even if none of them matches. A wanted id decides alone,
        unless several rules share it.
        """
        if wanted_id:
            named = self.by_id.get(wanted_id, ())
            if len(named) < 2:
                return next((one for one in named if path.startswith(one.path_beg)), None)
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


@dataclass(slots=True)
class _Reading:
    """One pass over a file: the routes and the errors so far."""

    name: str
    check: Callable[[Target], object]
    routes: list[Route] = field(default_factory=list)
    by_id: dict[str, list[Route]] = field(default_factory=dict)
    errors: list[RouteError] = field(default_factory=list)
    rules: set[str] = field(default_factory=set)

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
        if route.rule in self.rules:
            warnings = ["skipping duplicate condition"]
        else:
            self.rules.add(route.rule)
            self.routes.append(route)
            if route.has_id:
                self.by_id.setdefault(route.id, []).append(route)
        self.errors += [RouteError(self.name, number, why, is_warning=True) for why in warnings]

    def _route(self, sections: list[Section], warnings: list[str]) -> Route:
        condition, *targets = sections
        if not targets:
            raise ValueError("must specify condition and at least one target")
        options = read_options(condition, CONDITION, warnings)
        has_id = "id" in options
        if not condition.value and not has_id:
            raise ValueError("condition has no domain or id")
        host = _condition_host(condition.value)
        key = options.get("sig_key", "")
        if key.startswith(FILE_KEY_PREFIX):
            path = self._beside(key.removeprefix(FILE_KEY_PREFIX))
            options["sig_key"] = FILE_KEY_PREFIX + path
        options.setdefault("id", _id_of(host, condition))
        read_targets = tuple(self._target(section, warnings) for section in targets)
        return Route(host=host, targets=read_targets, has_id=has_id, **options)

    def _target(self, section: Section, warnings: list[str]) -> Target:
        options = read_options(section, TARGET, warnings)
        together(options, "client_cert", "client_key")
        for name in options.keys() & {"client_cert", "client_key"}:
            options[name] = self._beside(options[name])
        if section.value == BuiltIn.TEST.value:
            # Its WebSocket speaks as an origin does over HTTP (test_target.py).
            return Target(BuiltIn.TEST, **options | {"over_http": True})
        target = Target(_target_address(section.value), **options)
        if target.untrusted and isinstance(target.address, UnixAddress):
            raise ValueError("untrusted: a Unix socket is on this machine")
        self.check(target)
        return target

    def _beside(self, path: str) -> str:
        """A path that starts at the folder of the file."""
        return str(PurePath(self.name).parent / path)


def _condition_host(value: str) -> str:
    host = ascii_host(value.lower())
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1]
    if host != ANY_HOST and any(c in "*/:" for c in host):
        raise ValueError(f"{value!r} is neither a host without port nor *")
    return host


def _id_of(host: str, condition: Section) -> str:
    """The id of a rule that has none: the same as long as what it selects by is the same."""
    selecting = [f"{n}={text}" for n, text in condition.options if n in SELECTING]
    return ",".join([host, *sorted(selecting)])


def _target_address(value: str) -> Address:
    if value.startswith(ZEROMQ_PREFIXES):
        raise ValueError(f"target {value!r}: origins on ZeroMQ are not supported, only on HTTP")
    try:
        return parse_address(value)
    except ValueError as error:
        raise ValueError(f"target {error}") from None


def describe(route: Route) -> str:
    """One route in words, for `fanway check`."""
    words = ["any host" if route.host == ANY_HOST else route.host or f"by id {route.id}"]
    if route.path_beg:
        words.append(f"paths that begin with {route.path_beg}")
    if route.proto:
        words.append("WebSocket clients only" if route.proto == "ws" else "HTTP clients only")
    if route.ssl is not None:
        words.append("TLS only" if route.ssl else "plain only")
    return f"{', '.join(words)} -> {', then '.join(map(_describe_target, route.targets))}"


def _describe_target(target: Target) -> str:
    if isinstance(target.address, BuiltIn):
        return f"built-in {target}"
    scheme = "https" if target.ssl else "http"
    where = str(target) if isinstance(target.address, TcpAddress) else f"{target.address}:"
    words = {
        f"as {target.host}": target.host,
        "certificate not verified": target.insecure,
        "certificate for its address": target.trust_connect_host,
        f"identified by {target.client_cert}": target.client_cert,
        "not on private networks": target.untrusted,
        "WebSockets over HTTP": target.over_http,
        f"subscribed to {', '.join(target.sub)}": target.sub,
    }
    told = [text for text, is_so in words.items() if is_so]
    return f"{scheme}://{where} ({', '.join(told)})" if told else f"{scheme}://{where}"
