"""The benchmark runs and reports; what it measures is nobody's promise here."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from .cases import OURS, Goal, cases
from .child import short
from .cli import main
from .figures import Measured, Run, load, save
from .plot import plot
from .report import table, write
from .server import ADDRESS, LINES, served
from .verdicts import verdicts

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def test_a_quick_run_of_two_rows_writes_the_table_the_figures_and_the_plot(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench", "--quick", "--rows", "W1,W6", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    head, _, *rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in head.split("|")[1:4]] == ["row", "case", "unit"]
    assert {row.split("|")[1].strip() for row in rows} == {"W1", "W6"}
    assert head in (tmp_path / "bench.md").read_text(encoding="utf-8")
    told = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert [case["row"] for case in told["cases"]] == ["W1", "W1", "W6", "W6"]
    assert not any(subject.startswith(OURS) for case in told["cases"] for subject in case["absent"])
    assert ElementTree.parse(tmp_path / "bench.svg").getroot().tag.endswith("svg")


def _measured() -> Measured:
    goals = (Goal(0.5, ("slow", "fast")), Goal(3.0), Goal(2.0, ("slow",), f"{OURS}, threads"))
    rounds = {OURS: [2.0, 9.0, 1.0], "slow": [9.0], "fast": [3.0, 4.0, 3.9], f"{OURS}, threads": [4.5]}
    return Measured("W0", "nothing", "us", "lower", goals, rounds, {"lost": "lost is not installed"})


def test_a_goal_is_judged_by_medians_against_the_best_of_its_peers() -> None:
    ratio, plain, variant = verdicts(_measured())
    assert (ratio.against, ratio.figure, ratio.met) == ("fast", 2.0, False)
    assert ratio.ratio == pytest.approx(2.0 / 3.9)
    assert (plain.ratio, plain.met) == (None, True)
    assert (variant.case, variant.ratio, variant.met) == ("nothing, threads", 0.5, True)


def test_a_line_of_the_table_states_the_peer_the_ratio_and_the_goal() -> None:
    head, _, line, *_ = table(Run("here", False, [_measured()])).splitlines()
    told = dict(zip(_cells(head), _cells(line), strict=True))
    assert (told["the peer"], told["ratio"], told["goal"]) == ("fast 3.9", "0.513", "<= 0.5x slow / fast")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_plot_has_a_dot_of_ours_for_each_ratio_and_tells_met_from_missed() -> None:
    drawn = plot(verdicts(_measured()))
    dots = [each.get("class") for each in ElementTree.fromstring(drawn).iter() if each.get("r") == "5"]
    legend, lines = dots[:3], dots[3:]
    assert legend == ["met", "missed", "peer"]
    assert lines == ["missed", "met"]


@pytest.mark.parametrize("figure", [0.0, 1e-9, 1e9])
def test_who_is_far_ahead_or_behind_is_drawn_at_the_edge(figure: float) -> None:
    measured = Measured("W0", "nothing", "us", "lower", (Goal(1.0, ("peer",)),))
    measured.rounds = {OURS: [figure], "peer": [1.0]}
    drawn = ElementTree.fromstring(plot(verdicts(measured)))
    places = [float(each.get("cx", "0")) for each in drawn.iter() if each.get("class") in ("met", "missed")]
    assert all(0 <= place <= float(drawn.get("width", "0")) for place in places)


def test_a_run_that_is_read_again_is_the_run_that_was_kept(tmp_path: Path) -> None:
    run = Run("here", True, [_measured()])
    save(run, tmp_path)
    assert load(tmp_path) == run


def test_the_table_and_the_plot_of_the_documentation_are_those_of_its_figures(tmp_path: Path) -> None:
    for drawn in write(load(DOCS / "bench"), tmp_path):
        kept = (DOCS / "bench" / drawn.name).read_text(encoding="utf-8")
        assert kept == drawn.read_text(encoding="utf-8"), "run python -m tests.bench --redraw docs/bench"
        assert f"bench/{drawn.name}" in (DOCS / "benchmarks.md").read_text(encoding="utf-8")


def test_a_redraw_without_figures_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--redraw", str(tmp_path)])
    assert caught.value.code == 2
    assert "bench.json" in capsys.readouterr().err


def test_what_goes_wrong_is_told_without_the_paths_of_the_machine() -> None:
    error = FileNotFoundError(2, "No such file", "/home/somebody/some-where/lib.so")
    assert short(error) == "FileNotFoundError: [Errno 2] No such file: 'lib.so'"
    assert short(ValueError()) == "ValueError: "


def test_the_server_answers_with_a_table_and_is_gone_after_the_case() -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with served() as environment:
        address = environment[ADDRESS]
        for _ in range(2):
            with opener.open(f"{address}/daily/1.csv") as reply:
                assert len(reply.read().splitlines()) == 1 + LINES
    with pytest.raises(OSError):
        opener.open(address)


def test_every_goal_names_subjects_of_its_case() -> None:
    for case in cases() + cases(quick=True):
        for goal in case.goals:
            assert {goal.ours, *goal.of} <= set(case.subjects), case.name
