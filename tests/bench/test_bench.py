"""The benchmark runs and reports; what it measures is nobody's promise here."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from .cases import Case, Goal, cases
from .gauges import per_item
from .measure import Measured
from .report import lines

ROOT = Path(__file__).resolve().parents[2]


def test_a_quick_run_of_two_rows_writes_the_table_the_figures_and_the_plot(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench", "--quick", "--rows", "W1,W6", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    head, _, *rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in head.split("|")[1:4]] == ["row", "case", "unit"]
    assert {row.split("|")[1].strip() for row in rows} == {"W1", "W6"}
    assert head in (tmp_path / "bench.md").read_text(encoding="utf-8")
    told = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert all(line["figure"] is not None and line["met"] is not None for line in told["lines"])
    assert ElementTree.parse(tmp_path / "bench.svg").getroot().tag.endswith("svg")


def test_a_goal_is_judged_by_medians_against_the_best_of_its_peers() -> None:
    goals = (Goal(0.5, ("slow", "fast")), Goal(3.0))
    case = Case("W0", "nothing", "us", per_item(1), dict.fromkeys(("fetchline", "slow", "fast"), int), goals)
    measured = Measured(case, {"fetchline": [2.0, 9.0, 1.0], "slow": [9.0], "fast": [3.0, 4.0, 3.9]})
    ratio, plain = lines(measured)
    assert (ratio.against, ratio.figure, ratio.met) == ("fast", 2.0, False)
    assert ratio.ratio == pytest.approx(2.0 / 3.9)
    assert (plain.ratio, plain.met) == (None, True)


def test_every_goal_names_subjects_of_its_case() -> None:
    for case in cases() + cases(quick=True):
        for goal in case.goals:
            assert {goal.ours, *goal.of} <= set(case.subjects), case.name
