"""Settings: one model, from which everything about a setting is derived.

Names are flat, and Pushpin's own where it has the same thing. `config_sources.py` finds the values,
`config_text.py` renders the pages that people read. Nothing here prints; the only file it reads is
the routes file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from control.address import Address, parse_address
from control.config_field import TextList, setting
from control.config_publishing import PublishingSettings
from control.config_zeromq import ZeroMqSettings
from control.log import LogFormat, LogLevel
from control.reasons import worker_table

ENV_PREFIX = "FANWAY_"
CLIENT_HOST = "0.0.0.0"  # of a listener that is only a port
CONTROL_HOST = "127.0.0.1"
ROUTES_FILE = "routes"
# Lists whose parts may be separated by commas even where the list is made of flags.
COMMA_LISTS = ("x_forwarded_for", "x_forwarded_for_trusted", "orig_headers_need_mark")


class SettingsError(Exception):
    """One sentence for each thing that is wrong with the settings."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


class Settings(PublishingSettings, ZeroMqSettings):
    """Every choice of the operator: name, type, default, bounds, unit, and a sentence."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    listen: TextList = setting(
        ["0.0.0.0:7999"],
        "Listening",
        "Where clients connect. A lone PORT means all IPv4 addresses; port 0 takes a free one.",
        metavar="ADDR:PORT, [V6]:PORT, PORT or unix:PATH",
    )
    control_listen: TextList = setting(
        ["127.0.0.1:5561"],
        "Listening",
        "Where publishers, /metrics and /healthz are served. It asks nobody who they are: keep it "
        "private. A lone PORT means 127.0.0.1.",
        metavar="ADDR:PORT, [V6]:PORT, PORT or unix:PATH",
    )
    workers: int = setting(
        0,
        "Listening",
        "Processes that carry client connections. 0: one for each core this process may use.",
        unit="processes",
        ge=0,
        le=1024,
    )
    client_maxconn: int = setting(
        50_000,
        "Listening",
        "Client connections at once, shared evenly among the workers; more are refused.",
        unit="connections",
        ge=1,
        le=10_000_000,
    )

    routes: str = setting(
        ROUTES_FILE,
        "Routes and origins",
        "The routes file. A relative path starts at the folder of the settings file that names "
        "it, else at the current one. It is read again when it changes, and on SIGHUP.",
        metavar="FILE",
    )
    route: TextList = setting(
        [],
        "Routes and origins",
        'One line of a routes file, such as "* localhost:8000". Replaces the file.',
        metavar='"COND TARGET"',
    )
    auto_cross_origin: bool = setting(
        False,
        "Routes and origins",
        "Let pages of any site use every route: CORS headers where an answer lacks them, and "
        "JSON-P. The route option aco does so for one route.",
    )
    sockjs_url: str = setting(
        "https://cdn.jsdelivr.net/npm/sockjs-client@1/dist/sockjs.min.js",
        "Routes and origins",
        "The script that the iframe of SockJS loads, on routes with sockjs.",
        metavar="URL",
    )
    accept_pushpin_route: bool = setting(
        False,
        "Routes and origins",
        "Let a request choose its route by Pushpin-Route: ID. For a proxy in front that sets it, "
        "or takes it away.",
    )
    share_all: bool = setting(
        False,
        "Routes and origins",
        "Let identical GET and HEAD requests that wait for an origin at the same time share one "
        "call and its answer, on every route. The route option aggregate does so for one route.",
    )
    origin_connect_timeout_seconds: int = setting(
        10,
        "Routes and origins",
        "How long connecting to a target may take before the next one is tried.",
        unit="seconds",
        ge=1,
        le=600,
    )
    origin_timeout_seconds: int = setting(
        1800,
        "Routes and origins",
        "How long an origin may send nothing before the request is given up.",
        unit="seconds",
        ge=1,
        le=86_400,
    )
    debug: bool = setting(
        False,
        "Routes and origins",
        "Tell clients why an origin's answer could not be used. For development.",
    )

    sig_key: str = setting(
        "",
        "Signing",
        "Signs requests to origins with Grip-Sig. Text, base64:TEXT, or file:PATH. "
        "Empty: requests are not signed.",
        metavar="KEY",
    )
    sig_iss: str = setting(
        "pushpin",
        "Signing",
        "The issuer in Grip-Sig. Empty: requests are not signed.",
        metavar="NAME",
    )
    upstream_key: str = setting(
        "",
        "Signing",
        "Clients whose Grip-Sig is signed with this key are GRIP proxies: they get an origin's "
        "instructs, and hold. Written like sig_key; for a file in PEM, the public key.",
        metavar="KEY",
    )

    set_x_forwarded_protocol: Literal["proto-only", "true", "false"] = setting(
        "proto-only",
        "Forwarding headers",
        "Tell origins of TLS clients by X-Forwarded-Proto; with true, by X-Forwarded-Protocol too.",
    )
    accept_x_forwarded_protocol: bool = setting(
        False,
        "Forwarding headers",
        "Believe a client's X-Forwarded-Proto. For a proxy in front that sets it.",
    )
    x_forwarded_for: TextList = setting(
        [],
        "Forwarding headers",
        "What happens to X-Forwarded-For: truncate:N keeps the last N addresses, append adds the "
        "client's. Empty: left as it is.",
        metavar="truncate:N,append",
    )
    x_forwarded_for_trusted: TextList = setting(
        [],
        "Forwarding headers",
        "The same for clients that are trusted by upstream_key.",
        metavar="truncate:N,append",
    )
    cdn_loop: str = setting(
        "",
        "Forwarding headers",
        "Added to CDN-Loop, so that origins and others can tell a loop. Empty: nothing.",
        metavar="TOKEN",
    )
    orig_headers_need_mark: TextList = setting(
        [],
        "Forwarding headers",
        "On routes with orig_headers: headers that are the original client's only if they come "
        "with the mark eb9bf0f5-.",
        metavar="NAME",
    )

    client_buffer_size: int = setting(
        8192,
        "Limits for clients",
        "The longest request head; a longer one is answered 431.",
        unit="bytes",
        ge=1024,
        le=131_072,
    )
    head_timeout_seconds: int = setting(
        30,
        "Limits for clients",
        "How long a request head may take from its first byte; then 408.",
        unit="seconds",
        ge=1,
        le=3600,
    )
    idle_timeout_seconds: int = setting(
        75,
        "Limits for clients",
        "How long a connection may wait for its next request. Holds are not idle.",
        unit="seconds",
        ge=1,
        le=86_400,
    )
    stall_timeout_seconds: int = setting(
        60,
        "Limits for clients",
        "How long a client may take nothing of what waits for it; then it is disconnected.",
        unit="seconds",
        ge=1,
        le=86_400,
    )
    request_body_max_bytes: int = setting(
        0,
        "Limits for clients",
        "The longest request body; a longer one is answered 413. 0: no limit, since bodies are "
        "passed on as they come.",
        unit="bytes",
        ge=0,
        le=2**50,
    )
    connection_subscription_max: int = setting(
        20,
        "Limits for clients",
        "Channels of one held connection; further ones are ignored.",
        unit="channels",
        ge=1,
        le=10_000,
    )

    allow_compression: bool = setting(
        False,
        "Limits for clients",
        "Let WebSocket clients negotiate permessage-deflate. A published message is compressed "
        "once, not once a client.",
    )
    ws_message_max_bytes: int = setting(
        0,
        "Limits for clients",
        "The longest message of a WebSocket client, decompressed; a longer one closes with 1009. "
        "0: no limit, since messages are passed on as they come.",
        unit="bytes",
        ge=0,
        le=2**50,
    )

    stop_timeout_seconds: int = setting(
        10,
        "Stopping and logs",
        "How long ordinary requests may take to finish when Fanway stops. Holds are closed.",
        unit="seconds",
        ge=0,
        le=3600,
    )
    log_level: LogLevel = setting(
        "info",
        "Stopping and logs",
        "What is logged: info is start, stop and problems; debug is every request.",
    )
    log_format: LogFormat = setting(
        "logfmt", "Stopping and logs", "How a line of the log is written: key=value, or JSON."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what is given: `config_sources.py` knows which source said what."""
        return (init_settings,)

    # -- reading the shapes that people write

    @field_validator("listen", "control_listen", "route", *COMMA_LISTS, mode="before")
    @classmethod
    def _split(cls, value: Any, info: Any) -> Any:
        if info.field_name in COMMA_LISTS and isinstance(value, list):
            value = ",".join(map(str, value))  # flags: all words in one, or one in each of two
        if not isinstance(value, str):
            return value
        parts = value.splitlines() if info.field_name == "route" else re.split(r"[,\s]+", value)
        return [part for part in parts if part.strip()]

    @field_validator("set_x_forwarded_protocol", mode="before")
    @classmethod
    def _word_for_bool(cls, value: Any) -> Any:
        return str(value).lower() if isinstance(value, bool) else value

    @field_validator("listen", "control_listen")
    @classmethod
    def _addresses(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError("needs at least one address")
        for text in value:
            parse_address(text, default_host=CLIENT_HOST, port_min=0)
        return value

    @field_validator("cdn_loop")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not (value.isascii() and (value.isprintable() or not value)):
            raise ValueError("must be printable ASCII")
        return value

    @field_validator("x_forwarded_for", "x_forwarded_for_trusted")
    @classmethod
    def _forwarded_words(cls, value: list[str]) -> list[str]:
        for word in value:
            if not re.fullmatch(r"append|truncate:[0-9]{1,4}", word):
                raise ValueError(f"{word!r} is neither truncate:N nor append")
        return value

    # -- what the settings mean

    @property
    def worker_count(self) -> int:
        """How many workers run."""
        return self.workers or len(os.sched_getaffinity(0))

    @property
    def client_addresses(self) -> list[Address]:
        """`listen`, parsed."""
        return [parse_address(t, default_host=CLIENT_HOST, port_min=0) for t in self.listen]

    @property
    def control_addresses(self) -> list[Address]:
        """`control_listen`, parsed."""
        return [
            parse_address(t, default_host=CONTROL_HOST, port_min=0) for t in self.control_listen
        ]

    @property
    def client_max_per_worker(self) -> int:
        """The share of `client_maxconn` that one worker takes."""
        return -(-self.client_maxconn // self.worker_count)

    def for_worker(self) -> dict[str, Any]:
        """What WELCOME carries (fastpath/LINK.md): a JSON object."""
        return {
            "head_bytes_max": self.client_buffer_size,
            "head_timeout_ms": self.head_timeout_seconds * 1000,
            "idle_timeout_ms": self.idle_timeout_seconds * 1000,
            "client_max": self.client_max_per_worker,
            "request_body_max_bytes": self.request_body_max_bytes,
            "stall_timeout_ms": self.stall_timeout_seconds * 1000,
            "allow_compression": self.allow_compression,
            "ws_message_max_bytes": self.ws_message_max_bytes,
            "accounts": bool(self.stats_spec),
            "message_rate": self.message_rate,
            "message_hwm": self.message_hwm,
            "message_block_size": self.message_block_size,
            "worker_count": self.worker_count,
            "stop_timeout_ms": self.stop_timeout_seconds * 1000,
            "reasons": worker_table(head_bytes_max=self.client_buffer_size),
        }

    def routes_stamp(self) -> tuple[int, ...]:
        """What changes when the routes file does. Empty: there is none, or `route` replaces it."""
        if self.route:
            return ()
        try:
            status = Path(self.routes).stat()
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_size, status.st_ino

    def routes_text(self) -> tuple[str, str]:
        """The routes as they stand now: text, and the name that errors about them give.

        Reads the file each time. Raises SettingsError if there is none, or it cannot be read.
        """
        if self.route:
            return "\n".join(self.route), "--route"
        try:
            return Path(self.routes).read_text(encoding="utf-8-sig"), self.routes
        except FileNotFoundError:
            why = 'give --route "* localhost:8000", or --routes FILE'
            raise SettingsError([f"no route: there is no file {self.routes}; {why}"]) from None
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                [f"routes: cannot read {self.routes}: {why_unreadable(error)}"]
            ) from None


def allowed(name: str) -> str:
    """What a setting may be, in words that follow `must be`."""
    if metavar := about(name, "metavar"):
        return metavar
    field = Settings.model_fields[name]
    if field.annotation is bool:
        return "true or false"
    if field.annotation is int:
        bounds = {k: getattr(m, k) for m in field.metadata for k in ("ge", "le") if hasattr(m, k)}
        return f"{bounds['ge']} to {bounds['le']} {about(name, 'unit')}"
    *some, last = words(name)
    return f"{', '.join(some)} or {last}"


def words(name: str) -> tuple[str, ...]:
    """The words between which a setting is a choice."""
    return get_args(Settings.model_fields[name].annotation)


def about(name: str, key: Literal["group", "unit", "metavar"]) -> str:
    """What the model says about a setting; empty if it says nothing."""
    extra = Settings.model_fields[name].json_schema_extra
    return str(extra[key]) if isinstance(extra, dict) else ""


def why_unreadable(error: Exception) -> str:
    """Why a file could not be read as text, in few words."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "not UTF-8"
