"""Fixtures for the guarantees: ``lane`` is each local executor in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lanes import LANES, Lane, Log, Script, lane_of


@pytest.fixture(params=LANES)
def lane(request: pytest.FixtureRequest) -> Iterator[Lane]:
    with lane_of(request.param) as made:
        yield made


@pytest.fixture(params=[name for name in LANES if name != "serial"])
def wide(request: pytest.FixtureRequest) -> Iterator[Lane]:
    """A lane that makes several attempts at once."""
    with lane_of(request.param) as made:
        yield made


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log")


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    """Start a program; whatever is left of it is killed in the end."""
    started: list[Script] = []

    def start(source: str, *args: Any, name: str = "script.py") -> Script:
        started.append(Script(tmp_path, source, *args, name=name))
        return started[-1]

    yield start
    for each in started:
        each.kill()
