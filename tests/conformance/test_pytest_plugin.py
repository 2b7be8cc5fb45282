"""The pytest plugin is silent until one of its fixtures is asked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PLAIN = """
    import sys

    def test_nothing_of_fetchline_is_imported():
        ours = {name for name in sys.modules if name.startswith("fetchline")}
        assert ours <= {"fetchline", "fetchline.testing", "fetchline.testing.plugin"}
        assert not {"polars", "tqdm", "tenacity", "cloudpickle", "asyncio"} & set(sys.modules)
"""

FIXTURES = """
    import time
    import pytest
    import fetchline as fl
    from fetchline.waiting import waits

    @fl.fetcher("app.quote", retry=fl.Try(retry=3, sleep=60))
    def quote(symbol):
        if fl.attempt().number < 3:
            raise ConnectionError
        return symbol

    def test_waits(): assert waits()

    def test_does_not_wait(fetchline_no_waiting):
        assert fl.run("app.quote", ["F"], progress=None).values == quote.run(["F"], progress=None).values == ["F"]

    def test_waits_again(): assert waits()

    @pytest.mark.parametrize("answer", [1, 2])
    def test_takes_the_place_of_a_fetcher(fetchline_registry, answer):
        fetchline_registry.unregister("app.quote")

        @fl.fetcher("app.quote")
        def fake(symbol): return answer

        @fl.fetcher("app.other")
        def other(symbol): return symbol

        assert fl.run("app.quote", ["F"], progress=None).values == [answer]

    def test_is_put_back():
        from fetchline.registry import default
        assert default["app.quote"] is quote
        assert "app.other" not in default
"""


class Site:
    """A folder with tests, and fetchline found by pytest as if it were installed there."""

    def __init__(self, folder: Path, installed: int = 1) -> None:
        self.folder = folder
        self.paths = []
        for number in range(installed):
            site = folder / f"site{number}"
            about = site / f"fetchline_{number}-0.1.0.dist-info"
            about.mkdir(parents=True)
            (about / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: fetchline-{number}\nVersion: 0.1.0\n"
            )
            (about / "entry_points.txt").write_text("[pytest11]\nfetchline = fetchline.testing.plugin\n")
            self.paths.append(str(site))

    def run(self, source: str, *options: str) -> str:
        """Run a file of tests; what pytest says."""
        (self.folder / "test_it.py").write_text(textwrap.dedent(source))
        done = subprocess.run(
            [
                *(
                    sys.executable,
                    "-W",
                    "error",
                    "-m",
                    "pytest",
                    "-c",
                    os.devnull,
                    f"--rootdir={self.folder}",
                ),
                # These import fetchline, or asyncio, by themselves.
                *("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "no:xdist"),
                *(*options, str(self.folder / "test_it.py")),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [*self.paths, *sys.path]))},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        return re.sub(r"\d+\.\d+s", "", done.stdout)


def test_the_plugin_costs_nothing_and_says_nothing_until_it_is_used(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert "fetchline_no_waiting" in site.run(PLAIN, "--fixtures")
    said = site.run(PLAIN, "-q")
    assert said == site.run(PLAIN, "-q", "-p", "no:fetchline")
    assert "1 passed" in said


@pytest.mark.parametrize("installed", [1, 2])
def test_its_fixtures_do_what_they_say_and_undo_it(tmp_path: Path, installed: int) -> None:
    """Twice: two installations of fetchline that are both found are one plugin."""
    assert "6 passed" in Site(tmp_path, installed).run(FIXTURES)


def test_importing_fetchline_testing_imports_no_pytest_until_a_suite_is_named() -> None:
    code = """
        import sys
        from fetchline.testing import FakeSession, Log, flaky, no_waiting, until
        import fetchline.testing
        assert "pytest" not in sys.modules
        assert "ExecutorSuite" in dir(fetchline.testing)
        from fetchline.testing import ExecutorSuite, ProgressSuite, SessionSuite
        assert "pytest" in sys.modules
        for name in fetchline.testing.__all__:
            getattr(fetchline.testing, name)
        try:
            fetchline.testing.Suite
        except AttributeError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.stdout == "module 'fetchline.testing' has no attribute 'Suite'\n", done.stderr


def test_the_project_declares_the_plugin() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"fetchline": "fetchline.testing.plugin"}
