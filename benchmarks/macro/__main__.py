"""`python -m benchmarks.macro [SCENARIO ...]`: measure, and write a folder of bench_results/.

Targets alternate inside each repetition, so that what disturbs the machine disturbs all of them.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from benchmarks.macro import report
from benchmarks.macro.build import build
from benchmarks.macro.errors import BenchError
from benchmarks.macro.load import FAULTS, load
from benchmarks.macro.scenarios import SCENARIOS, Scenario
from benchmarks.macro.targets import TARGETS, Cores, pushpin_is_installed

RESULTS = report.ROOT / "bench_results"
QUICK_RESULTS = report.ROOT / "build" / "bench"  # figures of a smoke check are no result


def main() -> int:
    """The exit code: 0 if everything was measured and nothing was lost, doubled or disordered."""
    args = _arguments()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))  # so that what was started is ended
    names = args.scenario or list(SCENARIOS)
    try:
        build()
    except BenchError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    cores = Cores.of_this_machine()
    label = "all" if names == list(SCENARIOS) else "+".join(names)
    folder = report.make_folder(QUICK_RESULTS if args.quick else RESULTS, label)
    report.write_setup(folder, sys.argv[1:], cores)
    rows: list[report.Row] = []
    for name in names:
        targets = _installed(SCENARIOS[name])
        for repetition in range(1, args.reps + 1):
            for target in targets if repetition % 2 else reversed(targets):
                row = _measure(name, target, repetition, cores, quick=args.quick)
                report.append(folder, row)
                rows.append(row)
    text = report.summary(rows, judged=not args.quick)
    (folder / "summary.md").write_text(text)
    print(f"\n{text}\nwritten to {folder.relative_to(report.ROOT)}/")
    return 0 if all(map(_is_clean, rows)) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.macro",
        description="Measure Fanway beside its floor.",
        epilog="scenarios:\n"
        + "\n".join(f"  {name:<12} {row.question}" for name, row in SCENARIOS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help="default: all of them")
    parser.add_argument("--reps", type=int, metavar="N", help="repetitions (3; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="small sizes, once: a smoke check")
    args = parser.parse_args()
    for name in args.scenario:
        if name not in SCENARIOS:
            parser.error(f"no scenario {name!r}; there are {', '.join(SCENARIOS)}")
    args.reps = args.reps if args.reps is not None else 1 if args.quick else 3
    if args.reps < 1:
        parser.error("--reps must be at least 1")
    return args


def _installed(scenario: Scenario) -> Sequence[str]:
    """The targets of a scenario that this machine has."""
    if "pushpin" not in scenario.targets or pushpin_is_installed():
        return scenario.targets
    print("pushpin: skipped, Debian's `pushpin` is not installed", flush=True)
    return [target for target in scenario.targets if target != "pushpin"]


def _measure(name: str, target: str, repetition: int, cores: Cores, *, quick: bool) -> report.Row:
    """One repetition of one target, from its start to its end."""
    scenario = SCENARIOS[name]
    size = scenario.quick if quick else scenario.full
    row: report.Row = {
        "scenario": name,
        "target": target,
        "repetition": repetition,
        "size": dict(size),
    }
    began = time.monotonic()
    try:
        with (
            TARGETS[target](cores) as running,
            load(running, core=cores.load, websockets=name.startswith("ws-")) as client,
        ):
            row["figures"] = scenario.measure(running, client, size)
    except (BenchError, OSError) as error:
        row["error"] = str(error)
    row["seconds"] = round(time.monotonic() - began, 1)
    print(f"{name} {repetition} {target:<8} {row['seconds']:5.1f} s  {_brief(row)}", flush=True)
    return row


def _brief(row: report.Row) -> str:
    if "error" in row:
        return f"FAILED: {row['error'].splitlines()[0]}"
    figures = {n: v for n, v in row["figures"].items() if n not in FAULTS or v}
    return "  ".join(f"{name} {value:.4g}" for name, value in list(figures.items())[:4])


def _is_clean(row: report.Row) -> bool:
    return "figures" in row and not any(row["figures"].get(name) for name in FAULTS)


if __name__ == "__main__":
    sys.exit(main())
