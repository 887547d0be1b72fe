"""Pushpin's own settings file: what each of its options becomes here (GRIP.md 9.4).

Understands the file and names settings; whether their values can be used is for the model to say.
Reads the file, and those that it includes, and nothing else.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control.address import TcpAddress, parse_address
from control.config import CLIENT_HOST, Settings, SettingsError, why_unreadable
from control.config_publishing import MESSAGE_HWM_MAX

SECTIONS = ("[global]", "[runner]", "[proxy]", "[handler]")
PORTS_PER_INSTANCE = 10  # how far --id moves each port
LOG_LEVELS = ("error", "warning", "info", "debug")
LIBDIR = "{libdir}"
NO_MEANING = "no meaning here"

# What holds for an option that the file does not have: Pushpin's file as it is shipped.
STOCK = {
    "global/rundir": "run",
    "global/ipc_prefix": "pushpin-",
    "global/port_offset": "0",
    "runner/http_port": "7999",
    "proxy/routesfile": "routes",
    "proxy/sig_iss": "pushpin",
    "handler/push_in_spec": "tcp://127.0.0.1:5560",
    "handler/push_in_sub_specs": "tcp://127.0.0.1:5562",
    "handler/push_in_http_addr": "127.0.0.1",
    "handler/push_in_http_port": "5561",
    "handler/stats_spec": "ipc://{rundir}/{ipc_prefix}stats",
    "handler/command_spec": "tcp://127.0.0.1:5563",
    "handler/update_on_first_subscription": "true",
}
# The name is that of a setting, and the meaning is another.
OTHERWISE = frozenset({"proxy/workers", "runner/log_level", "runner/listen", "proxy/route"})
# They help to read other options, and mean nothing themselves.
FOR_OTHERS = frozenset(
    {
        "global/include",
        "global/rundir",
        "global/ipc_prefix",
        "global/port_offset",
        "handler/push_in_http_port",
    }
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one option became."""

    option: str  # section/key
    value: str
    settings: dict[str, Any]  # empty: it means nothing here
    is_stock: bool  # the file does not have it
    note: str = ""  # why it means nothing, or less than it did

    def __str__(self) -> str:
        if self.option.endswith("_key"):
            return f"{self.option} -> {', '.join(self.settings)} (not shown)"
        became = ", ".join(f"{name} = {value!r}" for name, value in self.settings.items())
        why = "; ".join(part for part in (became, self.note) if part)
        return f"{self.option} = {self.value} -> {why}{' (default)' if self.is_stock else ''}"


@dataclass(frozen=True, slots=True)
class PushpinConf:
    """A file of Pushpin's, understood."""

    meanings: list[Meaning]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that it makes, as text or lists of text."""
        merged: dict[str, Any] = {}
        for meaning in self.meanings:
            for name, value in meaning.settings.items():
                # The listeners come from several options.
                is_list = isinstance(value, list)
                merged[name] = [*merged.get(name, []), *value] if is_list else value
        return merged

    @property
    def missed(self) -> list[Meaning]:
        """The options without which something would be missed."""
        return [m for m in self.meanings if m.value and m.note not in ("", NO_MEANING)]


def is_pushpin(text: str) -> bool:
    """Whether a settings file is one of Pushpin's: it begins with one of its sections."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and line[0] not in "#;"), "")
    return first in SECTIONS


def read(file: Path, *, instance: int = 0) -> PushpinConf:
    """Read a file of Pushpin's. Raises SettingsError if it cannot be read.

    `instance` moves all ports and names of sockets, as Pushpin's `--id` does.
    """
    options = _with_includes(file)
    return PushpinConf(_Reader(file.parent, options, instance).meanings())


# -- the file


def _with_includes(file: Path) -> dict[str, str]:
    """The options of a file, and those of the file it includes where it has none itself."""
    options = _options(file)
    include = options.get("global/include", "")
    # What is in libdir names sockets between Pushpin's own processes; it may be gone with them.
    if include and not include.startswith(LIBDIR) and Path(include).name != "internal.conf":
        options = _options(file.parent / include) | options
    return options


def _options(file: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser(
        delimiters=("=",), comment_prefixes=("#", ";"), strict=False, empty_lines_in_values=False
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    try:
        parser.read_string(file.read_text(encoding="utf-8"), str(file))
    except configparser.Error as error:
        why = " ".join(str(error).split())
        raise SettingsError([f"{file} cannot be understood: {why}"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"cannot read {file}: {why_unreadable(error)}"]) from None
    return {
        f"{section}/{key}": _unquoted(value.strip())
        for section in parser.sections()
        for key, value in parser.items(section)
    }


def _unquoted(value: str) -> str:
    is_quoted = len(value) >= 2 and value[0] == value[-1] == '"'
    return value[1:-1] if is_quoted else value


# -- the options


class _Reader:
    """Reads options in the light of the others."""

    def __init__(self, folder: Path, options: Mapping[str, str], instance: int) -> None:
        self._folder = folder.absolute()
        self._options = options
        self._client_offset = instance * PORTS_PER_INSTANCE
        text = self._get("global/port_offset")
        if not re.fullmatch(r"\d{1,5}", text):
            raise SettingsError([f"global/port_offset = {text}: must be a number"])
        self._offset = self._client_offset or int(text)
        self._ipc_prefix = f"{instance}-" if instance else self._get("global/ipc_prefix")
        self._special: dict[str, Callable[[str, str], Meaning]] = {
            "runner/http_port": self._http_port,
            "runner/https_ports": self._https_ports,
            "runner/local_ports": self._local_ports,
            "runner/log_level": self._log_level,
            "proxy/routesfile": self._path_to("routes"),
            "proxy/sig_key": self._key,
            "proxy/upstream_key": self._key,
            "proxy/prometheus_port": self._prometheus_port,
            "handler/prometheus_port": self._prometheus_port,
            "handler/message_rate": self._unless_negative("0"),
            "handler/message_hwm": self._unless_negative(str(MESSAGE_HWM_MAX)),
            "handler/message_block_size": self._unless_negative("0"),
            "handler/push_in_http_addr": self._http_addr,
            "handler/push_in_spec": self._spec,
            "handler/push_in_sub_specs": self._spec,
            "handler/command_spec": self._spec,
            "handler/stats_spec": self._spec,
        }

    def meanings(self) -> list[Meaning]:
        """One for each option, and for each that holds without being written."""
        unsaid = [option for option in STOCK if option not in self._options]
        return [
            self._meaning(option, self._get(option))
            for option in [*self._options, *unsaid]
            if option not in FOR_OTHERS
        ]

    def _get(self, option: str) -> str:
        return self._options.get(option, STOCK.get(option, ""))

    def _meaning(self, option: str, value: str) -> Meaning:
        if option in self._special:
            return self._special[option](option, value)
        name = option.partition("/")[2]
        if name not in Settings.model_fields or option in OTHERWISE:
            return self._nothing(option, value)
        if not value and Settings.model_fields[name].annotation not in (str, list[str]):
            return self._nothing(option, value)  # empty: its default
        return self._becomes(option, value, {name: value})

    def _becomes(
        self, option: str, value: str, settings: dict[str, Any], note: str = ""
    ) -> Meaning:
        return Meaning(option, value, settings, option not in self._options, note)

    def _nothing(self, option: str, value: str, why: str = NO_MEANING) -> Meaning:
        return self._becomes(option, value, {}, why)

    # -- those whose value is written otherwise

    def _http_port(self, option: str, value: str) -> Meaning:
        addresses = [
            self._moved(option, text, self._client_offset, CLIENT_HOST) for text in _split(value)
        ]
        return self._becomes(option, value, {"listen": addresses})

    def _local_ports(self, option: str, value: str) -> Meaning:
        paths = [text.partition("?")[0] for text in _split(value)]
        note = "mode, user and group are not set" if "?" in value else ""
        listen = [f"unix:{self._folder / path}" for path in paths]
        return self._becomes(option, value, {"listen": listen}, note)

    def _https_ports(self, option: str, value: str) -> Meaning:
        return self._nothing(option, value, "not listened on: TLS is for a proxy in front")

    def _log_level(self, option: str, value: str) -> Meaning:
        for word in _split(value):
            if word.isascii() and word.isdigit():
                level = LOG_LEVELS[min(int(word), len(LOG_LEVELS) - 1)]
                return self._becomes(option, value, {"log_level": level})
        return self._nothing(option, value)

    def _path_to(self, name: str) -> Callable[[str, str], Meaning]:
        return lambda option, value: self._becomes(
            option, value, {name: str(self._folder / self._filled(value))}
        )

    def _unless_negative(self, unlimited: str) -> Callable[[str, str], Meaning]:
        """The same number; Pushpin has no limit where it is negative."""

        def meaning(option: str, value: str) -> Meaning:
            name = option.partition("/")[2]
            if not value:
                return self._nothing(option, value)
            said = unlimited if re.fullmatch(r"-\d+", value) else value
            return self._becomes(option, value, {name: said})

        return meaning

    def _key(self, option: str, value: str) -> Meaning:
        name = option.partition("/")[2]
        if value.startswith("file:"):
            path = self._folder / self._filled(value.removeprefix("file:"))
            return self._becomes(option, value, {name: f"file:{path}"})
        return self._becomes(option, value, {name: value})

    def _http_addr(self, option: str, value: str) -> Meaning:
        port = self._get("handler/push_in_http_port")
        address = self._moved(option, f"{_bracketed(value)}:{port}", self._offset)
        return self._becomes(option, value, {"control_listen": [address]})

    def _prometheus_port(self, option: str, value: str) -> Meaning:
        if not value:
            return self._nothing(option, value)
        if value.startswith("ipc://") or "/" in value:
            path = self._folder / self._filled(value.removeprefix("ipc://"))
            return self._becomes(option, value, {"prometheus_port": f"unix:{path}"})
        address = self._moved(option, value, self._client_offset, CLIENT_HOST)
        return self._becomes(option, value, {"prometheus_port": address})

    def _spec(self, option: str, value: str) -> Meaning:
        name = option.partition("/")[2]
        specs = [self._moved_spec(self._filled(text)) for text in _split(value)]
        is_list = Settings.model_fields[name].annotation == list[str]
        return self._becomes(option, value, {name: specs if is_list else " ".join(specs)})

    # -- parts of values

    def _filled(self, value: str) -> str:
        rundir = str(self._folder / self._get("global/rundir"))
        return value.replace("{rundir}", rundir).replace("{ipc_prefix}", self._ipc_prefix)

    def _moved_spec(self, spec: str) -> str:
        scheme, _, address = spec.partition("://")
        if scheme == "ipc":
            return f"ipc://{self._folder / address}"
        host, colon, port = address.rpartition(":")
        if scheme == "tcp" and colon and port.isascii() and port.isdigit():
            return f"tcp://{host}:{int(port) + self._offset}"
        return spec

    def _moved(self, option: str, text: str, offset: int, default_host: str | None = None) -> str:
        try:
            address = parse_address(text, default_host=default_host)
        except ValueError as error:
            raise SettingsError([f"{option}: {error}"]) from None
        assert isinstance(address, TcpAddress), "no option of Pushpin's says unix:"
        return str(TcpAddress(address.host, address.port + offset))


def _split(value: str) -> list[str]:
    return [part for part in re.split(r"[,\s]+", value) if part]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
