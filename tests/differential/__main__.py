"""`make differential`: run the conversations with Pushpin, and write the record into docs/.

The exit code is 0 if every difference is explained, and nothing is explained that does not differ.
"""

from __future__ import annotations

import argparse
import platform
import sys
from importlib import metadata

from differential import pushpin, report
from differential.run import CONVERSATIONS, run


def main() -> int:
    """Run what is asked for. The exit code."""
    parser = argparse.ArgumentParser(prog="make differential", description=__doc__)
    parser.add_argument("--page", action="store_true", help="only write the page of the last run")
    parser.add_argument("tests", nargs="*", help="as pytest takes them; default: all conversations")
    args = parser.parse_args()
    known = report.differences()
    if not args.page:
        if not pushpin.is_installed():
            print("differential: Pushpin is not installed (Debian: pushpin)", file=sys.stderr)
            return 1
        outcomes = run(args.tests)
        if args.tests:  # a part is no record
            print("\n".join(f"{test}: {outcome}" for test, outcome in sorted(outcomes.items())))
            return 0
        if suspects := report.unexplained(outcomes, known):  # by chance, perhaps
            outcomes |= run([str(CONVERSATIONS / test) for test in suspects])
        report.Record(facts(), outcomes).write()
    record = report.Record.read()
    report.PAGE.write_text(report.page_with(record, known))
    print(f"written to {report.PAGE.relative_to(report.ROOT)}")
    faults = report.faults(record.tests, known)
    print("\n".join(faults))
    return 1 if faults else 0


def facts() -> dict[str, str]:
    """What a stranger needs to repeat the run."""
    return {
        **pushpin.versions(),
        "fanway": metadata.version("fanway"),
        "Python": platform.python_version(),
    }


if __name__ == "__main__":
    sys.exit(main())
