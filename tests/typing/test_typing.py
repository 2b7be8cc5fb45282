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


@pytest.fixture(scope="session")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    pytest.importorskip("mypy")
    folder = tmp_path_factory.mktemp("mypy")
    config = folder / "mypy.ini"
    config.write_text(
        "[mypy]\nstrict = True\nwarn_unused_ignores = True\nwarn_unreachable = True\n"
        "follow_imports_for_stubs = True\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(config), "--no-error-summary",
         "--cache-dir", str(folder / "cache"), *CASES],
        cwd=HERE, capture_output=True, text=True, timeout=110, check=False,
        env={**os.environ, "MYPYPATH": str(Path(fetchline.__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", CASES)
def test_a_type_checker_agrees_with(name: str, complaints: list[str]) -> None:
    assert [line for line in complaints if line.startswith(f"{name}:") and ": note:" not in line] == []


def test_there_is_something_to_check() -> None:
    assert len(CASES) >= 5
