"""Fixtures: evidence and scripts, as the guarantees' tests have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lanes import Log, Script


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log")


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    """Start a program; whatever is left of it is killed in the end."""
    started: list[Script] = []

    def start(source: str, *args: Any) -> Script:
        started.append(Script(tmp_path, source, *args))
        return started[-1]

    yield start
    for each in started:
        each.kill()
