"""A suite that cannot fail proves nothing: who does not keep what he claims goes red, in the test of that name."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("kind", ["executors", "sessions", "progress", "stores", "http"])
def test_a_promise_that_is_not_kept_makes_the_test_of_its_name_red(kind: str, tmp_path: Path) -> None:
    red: dict[str, dict[str, str]] = importlib.import_module(f"liars.{kind}").RED
    wanted = [(liar, test, why) for liar, tests in red.items() for test, why in tests.items()]
    asked = [(liar, test.partition("[")[0]) for liar, test, _ in wanted]
    tests = [*asked, *(("TestHonest", test) for _, test in asked)]
    outcomes = run(kind, [f"{liar}::{test}" for liar, test in dict.fromkeys(tests)], tmp_path)
    honest = {test: said for (liar, test), said in outcomes.items() if liar == "TestHonest"}
    assert honest
    assert {test: said for test, said in honest.items() if said and not said.startswith("skipped")} == {}
    for liar, test, why in wanted:
        told = [
            said
            for (other, name), said in outcomes.items()
            if other == liar and (name == test or name.startswith(f"{test}["))
        ]
        bad = [said for said in told if said.startswith(("failure", "error"))]
        assert bad, f"{liar}::{test} is not red: {told}"
        assert any(why in said for said in bad), (
            f"{liar}::{test} is red for another reason than {why!r}: {bad}"
        )


def run(kind: str, tests: list[str], folder: Path) -> dict[tuple[str, str], str]:
    """What became of these tests; nothing said is a success."""
    path, report = HERE / "liars" / f"{kind}.py", folder / "report.xml"
    subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "pytest", "-q", "-c", os.devnull, f"--rootdir={HERE}"),
            *("-p", "no:cacheprovider", f"--junitxml={report}", "-o", "junit_duration_report=call"),
            *(f"{path}::{test}" for test in tests),
        ],
        capture_output=True,
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        said = [part for part in case if part.tag in ("failure", "error", "skipped")]
        key = (case.attrib["classname"].rpartition(".")[2], case.attrib["name"])
        found[key] = "".join(f"{part.tag}: {part.attrib.get('message', '')}\n{part.text}" for part in said)
    return found
