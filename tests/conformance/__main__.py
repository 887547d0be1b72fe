"""`make conformance`: run Autobahn's cases three ways, and write docs/conformance.md.

The exit code is 0 if every case has passed or is explained.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

from conformance import origins, report, suite
from support.fanway import Fanway
from support.serving import running

PAGE = suite.ROOT / "docs" / "conformance.md"
PAGES = suite.ROOT / "build" / "conformance"  # the suite's own
PLAIN = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*")
COMPRESSED = ("12.*", "13.*")  # Fanway's alone: no origin is offered compression


@contextmanager
def origin_alone() -> Iterator[int]:
    with running(origins.websocket_echo) as port:
        yield port


@contextmanager
def passthrough() -> Iterator[int]:
    with (
        running(origins.websocket_echo) as origin,
        Fanway("--allow-compression", routes=[f"* 127.0.0.1:{origin}"]) as fanway,
    ):
        yield int(fanway.address[1])


@contextmanager
def over_http() -> Iterator[int]:
    with (
        running(origins.events_echo) as origin,
        Fanway("--allow-compression", routes=[f"* 127.0.0.1:{origin},over_http"]) as fanway,
    ):
        yield int(fanway.address[1])


AGENTS = {"origin": origin_alone, "passthrough": passthrough, "over-http": over_http}


def main() -> int:
    """Run what is asked for. The exit code."""
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    parser.add_argument("cases", nargs="*", help="such as 1.* or 9.1.1; default: all")
    parser.add_argument("--agent", choices=AGENTS, action="append", help="default: all three")
    args = parser.parse_args()
    try:
        suite.prepare()
        results = {}
        for agent in args.agent or AGENTS:
            cases = args.cases or [*PLAIN, *(COMPRESSED if agent != "origin" else ())]
            with AGENTS[agent]() as port:
                results[agent] = suite.run(agent, port, cases, PAGES / agent)
            passed = sum(verdict.word in report.PASSED for verdict in results[agent])
            print(f"{agent}: {passed} of {len(results[agent])} passed", flush=True)
    except suite.SuiteError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 1
    page = PAGES / PAGE.name if args.cases or args.agent else PAGE  # a part is no report
    report.write(results, facts(), page)
    print(f"written to {page.relative_to(suite.ROOT)}")
    faults = report.unexplained(results)
    for agent, verdict in faults:
        print(f"{agent} {verdict.case}: {verdict.word}: {verdict.found}")
    return 1 if faults else 0


def facts() -> dict[str, str]:
    """What a stranger needs to repeat the run."""
    versions = (f"{name} {metadata.version(name)}" for name in ("fanway", "websockets", "aiohttp"))
    return {
        "suite": suite.SUITE.replace("==", " "),
        "versions": ", ".join(versions),
        "Python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
    }


if __name__ == "__main__":
    sys.exit(main())
