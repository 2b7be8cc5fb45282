"""The documentation builds without a warning, and without a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for tool in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(tool)
    folder = tmp_path_factory.mktemp("docs")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-W",
            "-q",
            "-b",
            "html",
            "-d",
            folder / "trees",
            ROOT / "docs",
            folder,
        ],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_documentation_builds_without_a_warning(html: Path) -> None:
    assert (html / "index.html").is_file()


def test_the_reference_has_signatures_and_docstrings(html: Path) -> None:
    reference = (html / "reference.html").read_text(encoding="utf-8")
    for anchor in ("fetchline.run", "fetchline.Try", "fetchline.BatchFailed", "fetchline.injected"):
        assert f'id="{anchor}"' in reference, anchor
    assert "one result each, in input order" in reference
