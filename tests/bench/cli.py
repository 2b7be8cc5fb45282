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
from .figures import Run, load, save, where
from .measure import measure
from .report import absences, number, table, write

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
    parser.add_argument(
        "--redraw",
        type=Path,
        metavar="DIR",
        help="measure nothing; draw table and plot again, from the bench.json that is in DIR",
    )
    options = parser.parse_args(arguments)
    if options.redraw is not None:
        try:
            return _tell(load(options.redraw), options.redraw)
        except OSError as error:
            parser.error(f"there are no figures to draw: {error}")
    try:
        chosen = cases(options.rows.split(",") if options.rows else None, quick=options.quick)
    except ValueError as error:
        parser.error(str(error))
    _compile()
    # Leaving by an exception ends the subjects' processes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    run = Run(where(), options.quick, [])
    for nth, case in enumerate(chosen, 1):
        print(f"[{nth}/{len(chosen)}] {case.row} {case.name}", file=sys.stderr, flush=True)
        found = measure(
            case,
            quick=options.quick,
            wanted=lambda subject: not (options.peers and subject.startswith(OURS)),
        )
        run.cases.append(found)
        figures = ", ".join(f"{name} {number(figure)}" for name, figure in found.medians().items())
        print(f"  {figures or 'nobody could take part'}", file=sys.stderr, flush=True)
    folder = options.out or Path(tempfile.mkdtemp(prefix="fetchline-bench-"))
    print(save(run, folder), file=sys.stderr)
    return _tell(load(folder), folder)


def _tell(run: Run, folder: Path) -> int:
    print(table(run))
    for text in absences(run):
        print(f"did not take part: {text}")
    for path in write(run, folder):
        print(path)
    return int(any(name.startswith(OURS) for case in run.cases for name in case.absent))


def _compile() -> None:
    """Byte-compile fetchline first, or its start-up would be charged for it."""
    found = importlib.util.find_spec("fetchline")
    for place in (found.submodule_search_locations or ()) if found else ():
        compileall.compile_dir(place, quiet=2)
