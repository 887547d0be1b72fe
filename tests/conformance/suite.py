"""Autobahn's test suite in an environment of its own: made when it is missing, run, and read.

The suite is a program for Python 2.7 that plays a difficult client. Nothing here judges what it
finds.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / "build" / "autobahn"
WSTEST = ENVIRONMENT / "python2" / "bin" / "wstest"
VIRTUALENV = "virtualenv==20.21.1"  # the last that makes environments for Python 2.7
SUITE = "autobahntestsuite==25.10.1"
PYENV_PYTHONS = ".pyenv/versions/2.7*/bin/python2.7"


class SuiteError(Exception):
    """Why the suite cannot be run, in a sentence."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the suite found in one case, by its own words."""

    case: str
    behavior: str  # OK, NON-STRICT, INFORMATIONAL, UNIMPLEMENTED, FAILED
    close: str  # the same of how the connection ended
    title: str
    found: str
    close_code: int | None  # that the server has sent

    @property
    def word(self) -> str:
        """The worse of the two: what the case counts as."""
        return self.behavior if self.behavior != "OK" else self.close


def prepare() -> None:
    """Make the environment if it is not there. SuiteError if there is no Python 2.7."""
    if WSTEST.exists():
        return
    python2 = _python2()
    maker = ENVIRONMENT / "maker"
    print(f"making an environment of {python2} in {ENVIRONMENT.relative_to(ROOT)}/", flush=True)
    _call(sys.executable, "-m", "venv", maker)
    _call(maker / "bin" / "pip", "install", "-q", VIRTUALENV)
    _call(maker / "bin" / "virtualenv", "-q", "-p", python2, WSTEST.parents[1])
    _call(WSTEST.with_name("pip"), "install", "-q", SUITE)


def _python2() -> str:
    """A Python 2.7 that works: one on the PATH, or one of pyenv's."""
    found = which("python2.7")
    for path in [*([found] if found else []), *Path.home().glob(PYENV_PYTHONS)]:
        asked = subprocess.run(
            [path, "-c", "import sys; print(sys.executable)"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0:
            return asked.stdout.strip()
    raise SuiteError("Autobahn's test suite needs Python 2.7, and there is no python2.7 here")


def _call(*argv: str | Path) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SuiteError(f"{Path(argv[0]).name} failed:\n{done.stderr.strip()}")


def run(agent: str, port: int, cases: Sequence[str], folder: Path) -> list[Verdict]:
    """Run cases (`1.*`, `9.1.1`) against a server. The suite's own pages go into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    server = {"agent": agent, "url": f"ws://127.0.0.1:{port}"}
    asked = {"outdir": str(folder), "servers": [server], "cases": list(cases)}
    spec = folder / "spec.json"
    spec.write_text(json.dumps(asked | {"exclude-cases": [], "exclude-agent-cases": {}}))
    with (folder / "log").open("w") as log:
        done = subprocess.run(
            [WSTEST, "-m", "fuzzingclient", "-s", spec],
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise SuiteError(f"wstest failed; its words are in {log.name}")
    index = json.loads((folder / "index.json").read_text())
    verdicts = [_read(folder / about["reportfile"]) for about in index.get(agent, {}).values()]
    return sorted(verdicts, key=lambda verdict: [int(part) for part in verdict.case.split(".")])


def _read(path: Path) -> Verdict:
    said = json.loads(path.read_text())
    return Verdict(
        case=said["id"],
        behavior=said["behavior"],
        close=said["behaviorClose"],
        title=_plain(said["description"]),
        found=_plain(said["result"] + " " + said["resultClose"]),
        close_code=said["remoteCloseCode"],
    )


def _plain(text: str) -> str:
    """Without the suite's HTML, on one line."""
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())
