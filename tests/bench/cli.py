"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import compileall
import importlib.util
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .cases import OURS, cases
from .measure import measure
from .plot import number
from .report import absences, lines, table, write

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark, print its table, write its files; 1 when fetchline itself could not be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure fetchline beside its peers, round by round."
    )
    parser.add_argument("--rows", metavar="W1,W3", help="only these rows of the goals")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: shows that all of it runs, no verdict"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where bench.md, .json and .svg go (default: a new temporary directory)",
    )
    parser.add_argument("--peers", action="store_true", help="the peers alone, without fetchline")
    options = parser.parse_args(arguments)
    try:
        chosen = cases(options.rows.split(",") if options.rows else None, quick=options.quick)
    except ValueError as error:
        parser.error(str(error))
    _compile()
    # Leaving by an exception ends the subjects' processes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    results = []
    for nth, case in enumerate(chosen, 1):
        print(f"[{nth}/{len(chosen)}] {case.row} {case.name}", file=sys.stderr, flush=True)
        found = measure(
            case,
            quick=options.quick,
            wanted=lambda subject: not (options.peers and subject.startswith(OURS)),
        )
        results.append(found)
        figures = ", ".join(f"{name} {number(found.median(name))}" for name in found.rounds)
        print(f"  {figures or 'nobody could take part'}", file=sys.stderr, flush=True)
    print(table(line for measured in results for line in lines(measured)))
    for text in absences(results):
        print(f"did not take part: {text}")
    folder = options.out or Path(tempfile.mkdtemp(prefix="fetchline-bench-"))
    for path in write(folder, results, quick=options.quick):
        print(path)
    return int(any(name.startswith(OURS) for measured in results for name in measured.absent))


def _compile() -> None:
    """Byte-compile fetchline first, or its start-up would be charged for it."""
    found = importlib.util.find_spec("fetchline")
    for place in (found.submodule_search_locations or ()) if found else ():
        compileall.compile_dir(place, quiet=2)
