"""What a type checker makes of the public names: the other files of this folder, under mypy --strict."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fetchline

HERE = Path(__file__).parent
CASES = sorted(path.name for path in HERE.glob("*.py") if not path.name.startswith("test_"))


def test_a_type_checker_agrees_with_every_file(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    assert len(CASES) >= 5
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\nstrict = True\nwarn_unreachable = True\n")
    arguments = ["--config-file", str(config), "--cache-dir", str(tmp_path / "cache"), "--hide-error-context"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *arguments, *CASES],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**os.environ, "MYPYPATH": str(Path(fetchline.__file__).parents[1])},
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    own = [line for line in done.stdout.splitlines() if line.startswith(tuple(CASES))]
    assert [line for line in own if ": note:" not in line] == []
