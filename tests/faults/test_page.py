"""The page of faults says what the tests check, and names tests that exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .endings import ANYWHERE, ENDINGS, FUTURES
from .executors import EXECUTORS
from .matrix import faults
from .page import PAGE, render
from .promises import PROMISES
from .record import Never

ROOT = PAGE.parents[1]


def test_the_page_is_what_the_rows_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "write it again: python -m tests.faults"


def test_every_cell_has_a_test_and_every_test_that_is_named_exists() -> None:
    collected = _collected()
    for fault in faults().values():
        for executor in EXECUTORS:
            test = f"tests/faults/test_faults.py::test_fault[{fault.name}-{executor.name}]"
            assert (test in collected) != isinstance(fault.cells[executor.name], Never), test
    assert {test for ending in ENDINGS for tests in ending.tests.values() for test in tests} <= collected
    functions = {test.partition("[")[0] for test in collected}
    assert {test for proof in (*ANYWHERE, *FUTURES) for test in proof.tests} <= functions


def _collected() -> set[str]:
    """Every test there is, by its id."""
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return {line for line in done.stdout.splitlines() if "::" in line}


def test_every_promise_has_its_file_and_every_such_file_is_a_promise() -> None:
    folder = ROOT / "tests" / "guarantees"
    files = {path.stem.removeprefix("test_") for path in folder.glob("test_*.py") if _is_of_a_guarantee(path)}
    assert {promise.name for promise in PROMISES} == files


def _is_of_a_guarantee(path: Path) -> bool:
    return path.read_text(encoding="utf-8").startswith('"""Guarantee ')
