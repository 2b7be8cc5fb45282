"""Measure: every subject in a process of its own, taking turns, round by round.

Processes keep the subjects from each other (heaps, threads, warm pools); turns keep the drift of the machine
from any one of them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from .cases import OURS, Case
from .figures import Measured
from .peers import NEEDS

__all__ = ["measure", "missing"]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180.0
"""Seconds for one round, after which a subject counts as hung."""


class _Failed(Exception):
    pass


class _Lane:
    """A child process that plays one subject."""

    def __init__(self, case: Case, subject: str, quick: bool, environment: Mapping[str, str]) -> None:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                f"{__package__}.child",
                case.row,
                case.name,
                subject,
                "quick" if quick else "full",
            ],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": path} | dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # so that a hung subject ends with all its workers
        )

    def round(self) -> float:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write("go\n")
            self._child.stdin.flush()
        if not select.select([self._child.stdout], [], [], PATIENCE)[0]:
            raise _Failed(f"hung for {PATIENCE:g} s")
        line = self._child.stdout.readline()
        if not line:
            raise _Failed(f"its process ended with {self._child.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise _Failed(reply["error"])
        return float(reply["figure"])

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self._child.communicate(timeout=5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()


def measure(
    case: Case, *, quick: bool = False, wanted: Callable[[str], bool] = lambda subject: True
) -> Measured:
    """Measure one case.

    Args:
        case: what to measure.
        quick: whether it comes from the quick list.
        wanted: says of each subject whether it takes part.
    """
    result = Measured.of(case)
    taking = []
    for subject in filter(wanted, case.subjects):
        module = missing(subject)
        if module:
            result.absent[subject] = f"{module} is not installed"
        else:
            taking.append(subject)
    with contextlib.ExitStack() as stack:
        environment = {} if case.beside is None else stack.enter_context(case.beside())
        lanes: dict[str, _Lane] = {}

        def lane(subject: str) -> _Lane:
            lanes[subject] = _Lane(case, subject, quick, environment)
            stack.callback(lanes[subject].close)
            return lanes[subject]

        def turns(count: bool) -> None:
            for subject in list(taking):
                player = lanes.get(subject) or lane(subject)
                try:
                    figure = player.round()
                except _Failed as error:
                    result.absent[subject] = str(error)
                    result.rounds.pop(subject, None)
                    taking.remove(subject)
                else:
                    if count:
                        result.rounds.setdefault(subject, []).append(figure)
                if case.fresh or subject not in taking:
                    player.close()
                    lanes.pop(subject)

        if not case.fresh:
            turns(count=False)
        for _ in range(case.rounds):
            turns(count=True)
            taking.reverse()  # nobody always runs after the same neighbour
    return result


@cache
def missing(subject: str) -> str | None:
    """Name the module that ``subject`` needs and this environment lacks."""
    module = "fetchline" if subject.startswith(OURS) else NEEDS.get(subject)
    return None if module is None or importlib.util.find_spec(module) else module
