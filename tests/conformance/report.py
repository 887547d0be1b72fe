"""The report of `make conformance`: counts, and one explanation for each case that did not pass.

What is not explained here is a fault of Fanway, and the run has failed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from conformance.suite import Verdict

PASSED = ("OK", "INFORMATIONAL")
TOO_BIG = 1009
OVER_HTTP_MAX_BYTES = 200_000  # of a client's message, when it is to fit into one request

Results = Mapping[str, Sequence[Verdict]]  # by agent

AGENTS = {
    "origin": "the echo origin alone, by the `websockets` library",
    "passthrough": "the same origin behind Fanway",
    "over-http": "an origin that answers WebSocket-over-HTTP, behind Fanway",
}
GROUPS = {
    "1": "framing", "2": "pings and pongs", "3": "reserved bits", "4": "opcodes",
    "5": "fragmentation", "6": "UTF-8", "7": "close handshake", "9": "large messages",
    "10": "automatic fragmentation", "12": "compression", "13": "compression, with parameters",
}  # fmt: skip
LARGE = re.compile(r"9\.([12]\.[2-6]|[3-6]\.\d)")  # their messages exceed OVER_HTTP_MAX_BYTES
EARLY = {"3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"}


def explanation(agent: str, verdict: Verdict, results: Results) -> str | None:
    """Why a case that did not pass is right as it is; None if it is not."""
    origin = {alone.case: alone for alone in results.get("origin", ())}
    if agent == "origin":
        return "The origin's own; Fanway has no part in it."
    if agent == "over-http" and LARGE.fullmatch(verdict.case) and verdict.close_code == TOO_BIG:
        return (
            f"The message is over {OVER_HTTP_MAX_BYTES:,} bytes, the limit of what is kept for an "
            "origin that answers requests: it is refused with close code 1009."
        )
    if verdict.word == "NON-STRICT" and verdict.case in EARLY:
        return (
            "A malformed frame follows a good message at once. Fanway ends the connection where it "
            "sees the fault (RFC 6455 7.1.7), before the origin's echo of that message is there."
        )
    alone = origin.get(verdict.case)
    if agent == "passthrough" and alone and alone.word == verdict.word != "OK":
        return "The origin does the same without Fanway."
    return None


def unexplained(results: Results) -> list[tuple[str, Verdict]]:
    """The faults of Fanway: agent and case."""
    return [
        (agent, verdict)
        for agent, verdicts in results.items()
        for verdict in verdicts
        if verdict.word not in PASSED and explanation(agent, verdict, results) is None
    ]


def write(results: Results, facts: Mapping[str, str], page: Path) -> None:
    """Write the page, and beside it the same for programs (`.json`)."""
    page.write_text("\n".join(_page(results, facts)) + "\n")
    summary = {
        "facts": dict(facts),
        "agents": {
            agent: {verdict.case: verdict.word for verdict in verdicts}
            for agent, verdicts in results.items()
        },
    }
    page.with_suffix(".json").write_text(json.dumps(summary, indent=1) + "\n")


def _page(results: Results, facts: Mapping[str, str]) -> list[str]:
    lines = [
        "# Conformance",
        "",
        "Autobahn's WebSocket test suite plays a difficult client; `make conformance` writes this",
        "page. Compression is on (`allow_compression`). Each cell counts the cases that passed and",
        "those there are; what did not pass is listed below, with the reason.",
        "",
        "| what | value |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in facts.items()),
        "",
        "| cases | " + " | ".join(results) + " |",
        "| --- " * (len(results) + 1) + "|",
    ]
    for group, name in GROUPS.items():
        cells = [_counts(v for v in results[agent] if _group(v) == group) for agent in results]
        if any(cells):
            lines.append(f"| {group}: {name} | " + " | ".join(cells) + " |")
    lines += ["", *(f"- **{agent}**: {AGENTS[agent]}." for agent in results)]
    for agent, verdicts in results.items():
        lines += _exceptions(agent, verdicts, results)
    return lines


def _group(verdict: Verdict) -> str:
    return verdict.case.partition(".")[0]


def _counts(verdicts: Iterable[Verdict]) -> str:
    words = Counter(verdict.word in PASSED for verdict in verdicts)
    return f"{words[True]} of {words.total()}" if words else ""


def _exceptions(agent: str, verdicts: Sequence[Verdict], results: Results) -> list[str]:
    """What did not pass, the cases of one reason together."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        if verdict.word not in PASSED:
            why = explanation(agent, verdict, results) or f"**Unexplained.** {verdict.found}"
            reasons.setdefault((verdict.word, why), []).append(verdict.case)
    lines = ["", f"## {agent}: what did not pass", ""]
    if not reasons:
        return [*lines, "Nothing."]
    lines += ["| cases | verdict | why |", "| --- | --- | --- |"]
    lines += [f"| {', '.join(cases)} | {word} | {why} |" for (word, why), cases in reasons.items()]
    return lines
