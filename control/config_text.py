"""The settings as people read them: the commented example file and the reference page.

Renders the model of `config.py`, and knows no setting by name. `python -m control.config_text`
prints the reference page.
"""

from __future__ import annotations

import json
import textwrap
from itertools import groupby
from typing import Any

from control.config import ENV_PREFIX, Settings, about, allowed

WIDTH = 96
TABLE_HEAD = ["| setting | default | may be | meaning |", "| --- | --- | --- | --- |"]


def groups() -> list[tuple[str, list[str]]]:
    """The names of settings by group, in the order of the model."""
    inherited = [n for n in Settings.model_fields if n not in Settings.__annotations__]
    names = groupby([*Settings.__annotations__, *inherited], key=lambda n: about(n, "group"))
    return [(group, list(some)) for group, some in names]


def flag(name: str) -> str:
    """The flag of a setting."""
    return "--" + name.replace("_", "-")


def explained(name: str) -> str:
    """What a setting is for, in a sentence or two."""
    return Settings.model_fields[name].description or ""


def example() -> str:
    """A settings file with every setting, commented out, at its default."""
    lines = [
        "# Settings of Fanway. Each line that is commented out shows the default.",
        f"# Stronger than this file: {ENV_PREFIX}* environment variables, then flags.",
    ]
    for group, names in groups():
        lines += ["", "", f"# ---- {group} ----"]
        for name in names:
            note = f"{explained(name)} ({allowed(name)})"
            lines += ["", *textwrap.wrap(note, WIDTH, initial_indent="# ", subsequent_indent="# ")]
            lines.append(f"#{name} = {toml(Settings.model_fields[name].default)}")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The reference page, docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "<!-- Made by `python -m control.config_text > docs/settings.md`; a test compares. -->",
        "",
        "A setting has one name everywhere: `sig_key` in the settings file (TOML,",
        "`--config FILE`), `FANWAY_SIG_KEY` in the environment, `--sig-key` on the command line.",
        "Flags are stronger than the environment, which is stronger than the file. Where Pushpin",
        "has the same setting, it has the same name. `fanway check` says what was understood;",
        "`fanway check --example` prints a settings file to begin with.",
        "",
        "A list is a list in the file, a repeated flag on the command line, and separated by",
        "commas or blanks (`route`: by line ends) in the environment.",
    ]
    for group, names in groups():
        lines += ["", f"## {group}", "", *TABLE_HEAD]
        for name in names:
            default = toml(Settings.model_fields[name].default)
            lines.append(f"| `{name}` | `{default}` | {allowed(name)} | {explained(name)} |")
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """A value as it is written in a settings file."""
    # For the kinds of values that settings have, TOML is written like JSON.
    return json.dumps(value)


if __name__ == "__main__":
    print(page(), end="")
