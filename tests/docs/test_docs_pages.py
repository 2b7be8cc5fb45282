"""What a page shows is what happens: its code runs, and prints what stands below it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNNER = Path(__file__).with_name("page.py")
PAGES = sorted(
    page
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    if "_build" not in page.parts and "bench" not in page.parts
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_the_page_runs_and_prints_what_it_shows(page: Path, tmp_path: Path) -> None:
    done = run(page, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_page_that_shows_something_else_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    assert "page.md:6: prints something else" in run(page, tmp_path).stderr


def test_a_page_whose_code_raises_is_found_with_the_line_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Some text.\n\n```python\nx = 1\nx.nothing\n```\n")
    done = run(page, tmp_path)
    assert done.returncode == 1
    assert 'page.md", line 5' in done.stderr


def run(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    spared = dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")
    # pytest tells its subprocesses that they have a terminal of 80 columns.
    clean = {n: text for n, text in os.environ.items() if not n.startswith(("FETCHLINE_", "COLUMNS"))}
    return subprocess.run(
        [sys.executable, "-W", "error", str(RUNNER), str(page)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        env={**clean, **spared, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
