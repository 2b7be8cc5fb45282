"""Fixtures for traffic: real servers, and the executors that are tried against them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import nginx
import pytest

# Evidence and executors are those of the guarantees' tests.
sys.path.append(str(Path(__file__).resolve().parents[1] / "guarantees"))

from lanes import Lane, Log, lane_of
from nginx import Nginx
from servers import Behave, Server, polite

LOCAL = ("serial", "thread", "process", "asyncio")


@pytest.fixture(params=LOCAL)
def lane(request: pytest.FixtureRequest) -> Iterator[Lane]:
    """Each local executor in turn."""
    with lane_of(request.param) as made:
        yield made


@pytest.fixture(params=[name for name in LOCAL if name != "serial"])
def wide(request: pytest.FixtureRequest) -> Iterator[Lane]:
    """Each local executor that makes several attempts at once."""
    with lane_of(request.param) as made:
        yield made


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log")


@pytest.fixture
def serving() -> Iterator[Callable[..., Server]]:
    """Start a server; it ends with the test."""
    with ExitStack() as stack:

        def start(behave: Behave = polite) -> Server:
            return stack.enter_context(Server(behave))

        yield start


@pytest.fixture
def nginx_limiting(tmp_path: Path) -> Iterator[Callable[[bool], Nginx]]:
    """Start nginx with a limit of 20 requests a second; ``nodelay`` is the argument."""
    if reason := nginx.missing():
        pytest.skip(reason)
    with ExitStack() as stack:

        def start(nodelay: bool) -> Nginx:
            folder = tmp_path / f"nginx-{nodelay}"
            folder.mkdir()
            return stack.enter_context(nginx.serve(folder, nodelay=nodelay))

        yield start


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests come first, so that two workers end together; see ``lasting``."""
    here = Path(__file__).parent

    def seconds(item: pytest.Item) -> float:
        found: float = getattr(getattr(item, "function", None), "lasting", 0.0)
        return found if item.path.parent == here else 0.0

    items.sort(key=seconds, reverse=True)
