"""Runs the conversations with Pushpin, and keeps the outcome of each.

The conversations import `Fanway` by name; during the run that name is Pushpin's. Whether a
difference is right is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import support.fanway
from differential.pushpin import Pushpin
from differential.report import APART, DIFFERS, SAME

CONVERSATIONS = Path(__file__).parents[1] / "conversations"

RANKS = (APART, SAME, DIFFERS)  # the cases of a test count as the worst of them


def _command(*_words: str, **_more: str) -> Any:
    pytest.skip("the test runs the command `fanway`")


@dataclass
class Recorder:
    """A plugin of pytest: what became of each test."""

    outcomes: dict[str, str] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed and report.when != "call":
            return
        outcome = APART if report.skipped else DIFFERS if report.failed else SAME
        name = report.nodeid.partition("[")[0].rpartition("/")[2]
        before = self.outcomes.get(name, APART)
        self.outcomes[name] = max(before, outcome, key=RANKS.index)


def run(arguments: list[str]) -> dict[str, str]:
    """Run the conversations, or what pytest is told in `arguments`: test -> outcome."""
    support.fanway.Fanway = Pushpin  # type: ignore[misc]
    support.fanway.command = support.fanway.run_command = _command
    recorder = Recorder()
    # What a test that failed has left open is no fault of the next one's. Python 3.11 cannot always
    # parse a source as deep in the stack as pytest does for its own tracebacks.
    options = ["-q", "--tb=native", "-p", "no:cacheprovider", "-p", "no:unraisableexception"]
    ended = pytest.main([*options, *(arguments or [str(CONVERSATIONS)])], plugins=[recorder])
    if ended not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(f"differential: pytest has ended with {ended!r}")
    return recorder.outcomes
