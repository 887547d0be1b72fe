"""`fanway convert`: a settings file of ours from one of Pushpin's."""

from __future__ import annotations

import argparse
from pathlib import Path

from control.config import SettingsError
from control.config_sources import load, pushpin_conf_of
from control.config_text import groups, toml


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a pushpin.conf")


def run(file: Path, instance: int) -> int:
    """Print the settings. The exit code is 0. Raises SettingsError."""
    conf = pushpin_conf_of(file, instance)
    if conf is None:
        raise SettingsError([f"{file} is no file of Pushpin's: it has none of its sections"])
    settings = load({}, {}, file, instance=instance)
    print(f"# What {file.name} means to Fanway. `fanway check --example` explains each setting.")
    for group, names in groups():
        lines = [f"{n} = {toml(getattr(settings, n))}" for n in names if n in conf.settings]
        if lines:
            print("", f"# ---- {group} ----", *lines, sep="\n")
    without = [meaning for meaning in conf.meanings if meaning.value and meaning.note]
    if without:
        print("", "# ---- without a meaning here, or with less ----", sep="\n")
    for meaning in without:
        print(f"# {meaning}")
    return 0
