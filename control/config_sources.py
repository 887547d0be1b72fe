"""Where settings come from, the stronger first: flags, environment, a TOML file, defaults.

Merges what they say into the model of `config.py`, and turns whatever is wrong into sentences that
name the setting, the value, the place, and what is allowed.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from control import pushpin_conf
from control.config import ENV_PREFIX, Settings, SettingsError, allowed, why_unreadable
from control.pushpin_conf import PushpinConf

FILE_KEY_PREFIX = "file:"


def load(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    file: Path | None = None,
    *,
    instance: int = 0,
) -> Settings:
    """Settings from all sources. Raises SettingsError with every problem found.

    `flags` has only what was given on the command line, as text. `instance` moves the ports of a
    file of Pushpin's.
    """
    sources: dict[str, dict[str, Any]] = {
        f"in {file}": _from_file(file, instance) if file else {},
        "in the environment": _from_environment(environ),
        "on the command line": dict(flags),
    }
    merged = {name: value for values in sources.values() for name, value in values.items()}
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise SettingsError(_problems(error, sources)) from None


def pushpin_conf_of(file: Path, instance: int = 0) -> PushpinConf | None:
    """What a settings file says, if it is one of Pushpin's. Raises SettingsError."""
    if pushpin_conf.is_pushpin(_text(file)):
        return pushpin_conf.read(file, instance=instance)
    if instance:
        raise SettingsError([f"--id moves the ports of a pushpin.conf, and {file} is none"])
    return None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"cannot read {file}: {why_unreadable(error)}"]) from None


def _from_file(file: Path, instance: int) -> dict[str, Any]:
    """The settings of a file, TOML or Pushpin's; relative paths in it start at its folder."""
    conf = pushpin_conf_of(file, instance)
    if conf is not None:
        return conf.settings
    try:
        values = tomllib.loads(_text(file))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{file} is not TOML: {error}"]) from None
    _refuse_unknown(values, Settings.model_fields, f"in {file}")
    if isinstance(path := values.get("routes"), str):
        values["routes"] = str(file.parent / path)
    for name in ("sig_key", "upstream_key"):
        if isinstance(key := values.get(name), str) and key.startswith(FILE_KEY_PREFIX):
            path = file.parent / key.removeprefix(FILE_KEY_PREFIX)
            values[name] = f"{FILE_KEY_PREFIX}{path}"
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    ours = {name.upper(): text for name, text in environ.items()}
    ours = {name: text for name, text in ours.items() if name.startswith(ENV_PREFIX)}
    # The environment is shared: scripts around Fanway have variables of their own there. Only
    # what looks like a setting misspelt is refused.
    problems = [
        f"unknown setting {name} in the environment; did you mean {ENV_PREFIX}{near[0].upper()}?"
        for name in ours
        if (setting := name.removeprefix(ENV_PREFIX).lower()) not in Settings.model_fields
        and (near := difflib.get_close_matches(setting, Settings.model_fields, n=1))
    ]
    if problems:
        raise SettingsError(problems)
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): text for name, text in ours.items()}
    return source()


def _refuse_unknown(names: Iterable[str], known: Iterable[str], where: str) -> None:
    known = list(known)
    problems = [
        f"unknown setting {name} {where}{did_you_mean(name, known)}"
        for name in names
        if name not in known
    ]
    if problems:
        raise SettingsError(problems)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing if no known name is near."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _problems(error: ValidationError, sources: dict[str, dict[str, Any]]) -> list[str]:
    """One line a setting: its name, value, source, and what is allowed."""
    problems: dict[str, str] = {}
    for detail in error.errors():
        name = str(detail["loc"][0])
        where = next(where for where in reversed(sources) if name in sources[where])
        by_validator = detail["type"] == "value_error"
        why = str(detail["ctx"]["error"]) if by_validator else f"must be {allowed(name)}"
        problems[name] = f"{name} = {sources[where][name]!r} {where}: {why}"
    return list(problems.values())
