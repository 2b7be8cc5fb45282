"""The distributions as a user gets them: built, installed side by side, found and not imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = ("rich", "httpx", "aiohttp")

LISTED = """
    import sys
    from fetchline.catalog import catalog
    for info in catalog().plugins():
        if info.provider.startswith("fetchline-"):
            print(info.name, info.kind, info.provider, info.version, info.status)
    theirs = ("rich", "httpx", "aiohttp")
    assert not {*theirs, *(f"fetchline_{name}" for name in theirs)} & set(sys.modules)
"""

USED = """
    import sys
    from fetchline.catalog import catalog
    from fetchline.interfaces import Progress
    display = catalog().progress("rich").factory()
    display.start(2, "ohlcv")
    display.update(Progress(total=2, done=2))
    display.close()
    assert "fetchline_httpx" not in sys.modules
    with catalog().session("httpx").factory() as session:
        assert isinstance(session, sys.modules["httpx"].Client)
    assert "aiohttp" not in sys.modules
    assert catalog().session("aiohttp").async_factory().__aenter__
    assert "aiohttp" in sys.modules
"""

BUILT_IN = """
    from fetchline.catalog import catalog
    for name in ("auto", "none", "tqdm", "log", "jsonl"):
        display = catalog().progress(name).factory()
        display.start(1, name)
        display.close()
"""

TYPED = """
    from importlib.resources import files
    for name in ("fetchline", "fetchline_rich", "fetchline_httpx", "fetchline_aiohttp"):
        assert files(name).joinpath("py.typed").is_file(), name
"""


TESTED = """
    import fetchline as fl
    from fetchline.testing import ProgressSuite

    @fl.fetcher(retry=fl.Try(retry=2, sleep=600))
    def once(n):
        if fl.attempt().number == 1:
            raise ConnectionError
        return n

    def test_no_waiting(fetchline_no_waiting):
        assert once(1) == 1

    class TestRich(ProgressSuite):
        progress = "rich"
"""


# One test: a fresh environment takes a while, and parallel workers would make one each.
@pytest.mark.timeout(300)
def test_installed_plugins_are_listed_unimported_and_work_by_name(tmp_path: Path) -> None:
    python = install(tmp_path)
    assert sorted(execute(python, LISTED).splitlines()) == [
        "aiohttp plugin fetchline-aiohttp 0.1.0 installed",
        "httpx plugin fetchline-httpx 0.1.0 installed",
        "rich plugin fetchline-rich 0.1.0 installed",
    ]
    for code in (USED, BUILT_IN, TYPED):
        execute(python, code)
    (tmp_path / "test_it.py").write_text(textwrap.dedent(TESTED))
    said = run(python, "-W", "error", "-m", "pytest", "-q", "-c", os.devnull, tmp_path / "test_it.py")
    assert " passed in " in said
    assert "warning" not in said


def install(folder: Path) -> Path:
    """Give the interpreter of a fresh environment with fetchline and its plugins in it."""
    # Building leaves files in the tree it builds, so it gets a copy.
    core = folder / "core"
    litter = shutil.ignore_patterns("__pycache__", "dist", "build", "*.egg-info")
    shutil.copytree(ROOT / "src", core / "src", ignore=litter)
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, core)
    for name in PLUGINS:
        shutil.copytree(ROOT / "plugins" / f"fetchline-{name}", folder / name, ignore=litter)
    run(sys.executable, "-m", "venv", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    # All at once, so that the plugins' need of fetchline is met by this copy.
    run(python, "-m", "pip", "install", "-q", "pytest", core, *(folder / name for name in PLUGINS))
    return python


def execute(python: Path, code: str) -> str:
    return run(python, "-W", "error", "-c", textwrap.dedent(code))


def run(*command: str | Path) -> str:
    ours = ("PYTHONPATH", "FETCHLINE_BLOCK")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
