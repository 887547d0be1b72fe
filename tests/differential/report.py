"""The record of `make differential`, and the tables that docs/compatibility.md has of it.

What is not explained in differences.toml is a fault, and so is an explanation that nothing is left
of. Runs nothing.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "docs" / "compatibility.json"
PAGE = ROOT / "docs" / "compatibility.md"
DIFFERENCES = Path(__file__).with_name("differences.toml")
BEGIN, END = "<!-- make differential writes from here -->", "<!-- to here -->"

SAME = "same"
DIFFERS = "differs"
APART = "not comparable"

LINES = 225  # of GRIP.md's checklist
NUMBERS = re.compile(r"::test_(\d+(?:_(?:and_)?\d+)*)_")  # of lines, in the name of a test

Outcomes = Mapping[str, str]  # test, as file::function -> one of the three above


@dataclass(frozen=True, slots=True)
class Difference:
    """Tests in which Pushpin and Fanway part for one reason."""

    kind: str  # the heading it stands under
    pushpin: str
    fanway: str
    tests: tuple[str, ...]
    sometimes: bool = False  # not in every run


@dataclass(frozen=True, slots=True)
class Record:
    """One run: the programs it was made with, and what became of each test."""

    facts: dict[str, str]
    tests: dict[str, str]

    @classmethod
    def read(cls) -> Record:
        """The one in docs/."""
        return cls(**json.loads(RECORD.read_text()))

    def write(self) -> None:
        """Put it into docs/."""
        tests = dict(sorted(self.tests.items()))
        RECORD.write_text(json.dumps({"facts": self.facts, "tests": tests}, indent=1) + "\n")


def differences() -> list[Difference]:
    """All explanations."""
    read = tomllib.loads(DIFFERENCES.read_text())["difference"]
    return [Difference(**one | {"tests": tuple(one["tests"])}) for one in read]


def unexplained(outcomes: Outcomes, known: Sequence[Difference]) -> list[str]:
    """The tests that differ, and nobody says why."""
    explained = {test for one in known for test in one.tests}
    return [t for t, outcome in outcomes.items() if outcome == DIFFERS and t not in explained]


def faults(outcomes: Outcomes, known: Sequence[Difference]) -> list[str]:
    """What is not explained, and what is explained and does not differ; a sentence each."""
    found = [f"{test}: differs, and nothing says why" for test in unexplained(outcomes, known)]
    explained = [(test, one.sometimes) for one in known for test in one.tests]
    for test, sometimes in explained:
        outcome = outcomes.get(test, "no conversation")
        if outcome != DIFFERS and not (sometimes and outcome == SAME):
            found.append(f"{test}: {outcome}, and explained")
    twice = Counter(test for test, _ in explained)
    return [*found, *(f"{test}: explained twice" for test, count in twice.items() if count > 1)]


def page_with(record: Record, known: Sequence[Difference]) -> str:
    """The page as it is, but with the tables of this record."""
    page = PAGE.read_text()
    head, _, rest = page.partition(BEGIN)
    tables = "\n".join([*_differences(known), "", *_lines(record)])
    return f"{head}{BEGIN}\n\n{tables}\n\n{END}{rest.partition(END)[2]}"


def _differences(known: Sequence[Difference]) -> list[str]:
    """A table for each kind."""
    lines = []
    for kind, what in tomllib.loads(DIFFERENCES.read_text())["kinds"].items():
        lines += [f"### {kind}", "", what, ""]
        lines += ["| Pushpin | Fanway | lines |", "| --- | --- | --- |"]
        for one in known:
            if one.kind == kind:
                numbers = {n for test in one.tests for n in _numbers(test)}
                lines.append(f"| {one.pushpin} | {one.fanway} | {_ranges(numbers)} |")
        lines.append("")
    return lines


def _lines(record: Record) -> list[str]:
    """The checklist, line by line, and what it was gone through with."""
    found: dict[str, set[int]] = {SAME: set(), DIFFERS: set(), APART: set()}
    for test, outcome in record.tests.items():
        found[outcome].update(_numbers(test))
    rows = {
        "the same": found[SAME] - found[DIFFERS],
        "a difference in one test at least": found[DIFFERS],
        "only Fanway can be asked": found[APART] - found[SAME] - found[DIFFERS],
        "not asked by a conversation": set(range(1, LINES + 1)).difference(*found.values()),
    }
    count = Counter(record.tests.values())
    programs = ", ".join(f"{name} {version}" for name, version in record.facts.items())
    return [
        "### Line by line",
        "",
        f"Of the tests, {count[SAME]} pass with Pushpin too, {count[DIFFERS]} do not, and "
        f"{count[APART]} look at Fanway alone ({programs}).",
        "",
        "| lines of the checklist | |",
        "| --- | --- |",
        *(f"| {what} | {_ranges(numbers)} |" for what, numbers in rows.items()),
    ]


def _numbers(test: str) -> list[int]:
    """The lines of the checklist that a test is named after."""
    named = NUMBERS.search(test)
    return [n for n in map(int, re.findall(r"\d+", named[1])) if n <= LINES] if named else []


def _ranges(numbers: Iterable[int]) -> str:
    """Such as `1-3, 7`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
