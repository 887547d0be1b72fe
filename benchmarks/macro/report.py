"""A result is a folder: what it was measured on, every repetition, and the medians."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.macro.build import FLAGS, compiler
from benchmarks.macro.load import FAULTS
from benchmarks.macro.scenarios import SCENARIOS, Bound, Figures
from benchmarks.macro.targets import Cores

ROOT = Path(__file__).parents[2]
PACKAGES = ("fanway", "cython", "uvloop", "httptools", "aiohttp", "orjson")
OURS = "fanway"
FOLDERS_MAX = 1000  # of one name

Row = dict[str, Any]
"""One repetition: scenario, target, repetition, and its figures or its error."""


def make_folder(parent: Path, name: str) -> Path:
    """A new folder that bears the date and the name, and a number if it is not the first."""
    stem = f"{datetime.date.today()}-{name}"
    for number in range(1, FOLDERS_MAX):
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{FOLDERS_MAX} folders {stem}")


def append(folder: Path, row: Row) -> None:
    """Write down one repetition, at once."""
    with (folder / "raw.jsonl").open("a") as raw:
        raw.write(json.dumps(row) + "\n")


def write_setup(folder: Path, arguments: Sequence[str], cores: Cores) -> None:
    """What a stranger needs to repeat the run, or to doubt it."""
    memory_kilobytes = int(_lines("/proc/meminfo")[0].split()[1])
    models = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    processor = models[0].partition(":")[2].strip() if models else platform.machine()
    changed = _output("git", "status", "--short", "-uno").splitlines()
    compiler_version = _output(*compiler(), "--version").partition("\n")[0]
    facts = {
        "command": shlex.join(["python", "-m", "benchmarks.macro", *arguments]),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _output("git", "rev-parse", "HEAD") or "unknown",
        "changed since": ", ".join(changed) or "nothing",
        "processor": f"{processor}, {os.cpu_count()} cores",
        "pinned to": f"server: core {cores.server}; load client and origin: core {cores.load}",
        "memory": f"{memory_kilobytes / 2**20:.1f} GiB",
        "kernel": platform.release(),
        "load average at the start": f"{os.getloadavg()[0]:.2f}",
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "C compiler": f"{compiler_version}, {' '.join(FLAGS)}",
        "Pushpin": _output("dpkg-query", "--showformat=${Version}", "--show", "pushpin") or "none",
    }
    lines = ["# Setup", "", "| what | value |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in facts.items()]
    (folder / "setup.md").write_text("\n".join(lines) + "\n")


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _output(*argv: str) -> str:
    """What a program prints; nothing if it is missing or fails."""
    try:
        done = subprocess.run(
            argv, cwd=ROOT, capture_output=True, text=True, timeout=10, check=False
        )
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def summary(rows: Sequence[Row], *, judged: bool) -> str:
    """Medians, side by side; with `judged`, also what must be and whether it is."""
    parts = ["# Summary", "", "Medians; the ratio is the median of the ratios within a repetition."]
    for name in dict.fromkeys(row["scenario"] for row in rows):
        mine = [row for row in rows if row["scenario"] == name]
        parts += ["", f"## {name}", "", f"{SCENARIOS[name].question}. {_sizes(mine)}", ""]
        parts += _table(mine)
        parts += ["", _faults(mine)]
        if judged:
            parts += [_verdict(mine, bound) for bound in SCENARIOS[name].bounds]
        parts += [f"{row['target']}: {row['error']}" for row in mine if "error" in row]
    return "\n".join(parts) + "\n"


def _sizes(rows: Sequence[Row]) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in rows[0]["size"].items()) + "."


def _figures(rows: Sequence[Row], target: str) -> list[Figures]:
    return [row["figures"] for row in rows if row["target"] == target and "figures" in row]


def _ratio(rows: Sequence[Row], figure: str, other: str) -> float | None:
    """Fanway's figure in units of another target's, median over the repetitions that have both."""
    by_target = {
        target: {
            row["repetition"]: row["figures"][figure]
            for row in rows
            if row["target"] == target and figure in row.get("figures", ())
        }
        for target in (OURS, other)
    }
    both = by_target[OURS].keys() & by_target[other].keys()
    ratios = [by_target[OURS][n] / by_target[other][n] for n in both if by_target[other][n]]
    return median(ratios) if ratios else None


def _table(rows: Sequence[Row]) -> list[str]:
    targets = [t for t in dict.fromkeys(row["target"] for row in rows) if _figures(rows, t)]
    targets.sort(key=lambda target: target != OURS)
    others = [target for target in targets if target != OURS]
    heads = ["figure", *targets, *(f"ratio to {other}" for other in others)]
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    names = [n for t in targets for n in _figures(rows, t)[0] if n not in FAULTS]
    for name in dict.fromkeys(names):
        cells = [_number(median(f[name] for f in _figures(rows, target))) for target in targets]
        cells += [_number(_ratio(rows, name, other)) for other in others]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return lines


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _faults(rows: Sequence[Row]) -> str:
    sums = {name: sum(int(figures[name]) for figures in _figures(rows, OURS)) for name in FAULTS}
    return "Faults of Fanway: " + ", ".join(f"{value} {name}" for name, value in sums.items()) + "."


def _verdict(rows: Sequence[Row], bound: Bound) -> str:
    measured = [figures[bound.figure] for figures in _figures(rows, OURS)]
    value = median(measured) if measured else None
    if bound.times:
        value = _ratio(rows, bound.figure, bound.times)
    if value is None:
        return f"**{bound.figure} {bound}: not measured.**"
    word = "met" if value <= bound.limit else "missed"
    return f"**{bound.figure} {bound}: {word} ({_number(value)}).**"
