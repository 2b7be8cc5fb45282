"""The hooks a plugin may implement: mark them with ``fetchline.hookimpl``.

Registering hooks are asked once and on demand, observers are told on the host thread of a run. An observer
that raises is logged, counted and isolated; it never hurts a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pluggy

from fetchline.interfaces import (
    AttemptInfo,
    ExecutorSpec,
    ProgressSpec,
    RunInfo,
    SessionSpec,
    StoreSpec,
)
from fetchline.results import Result

__all__ = ["hookimpl"]

PROJECT = "fetchline"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Mark a function of your plugin as an implementation of the hook of its name."""


@hookspec
def fetchline_register_executors() -> Sequence[ExecutorSpec]:  # type: ignore[empty-body]
    """Provide executors."""


@hookspec
def fetchline_register_sessions() -> Sequence[SessionSpec]:  # type: ignore[empty-body]
    """Provide sessions."""


@hookspec
def fetchline_register_progress() -> Sequence[ProgressSpec]:  # type: ignore[empty-body]
    """Provide progress displays."""


@hookspec
def fetchline_register_stores() -> Sequence[StoreSpec]:  # type: ignore[empty-body]
    """Provide stores."""


@hookspec
def fetchline_register_fetchers() -> Iterable[Any]:  # type: ignore[empty-body]
    """Provide fetchers, or modules whose fetchers are meant."""


@hookspec
def fetchline_worker_middleware(run: RunInfo) -> Sequence[Callable[[], AbstractContextManager[Any]]]:  # type: ignore[empty-body]
    """Provide picklable factories of context managers that surround each attempt, in the worker."""


@hookspec
def fetchline_run_started(run: RunInfo) -> None:
    """A run starts."""


@hookspec
def fetchline_attempt_finished(run: RunInfo, attempt: AttemptInfo) -> None:
    """An attempt ended, well or not."""


@hookspec
def fetchline_item_finished(run: RunInfo, result: Result[Any]) -> None:
    """An item has its result; in completion order."""


@hookspec
def fetchline_run_finished(run: RunInfo, summary: Any) -> None:
    """A run ended, in whatever way; ``summary`` is its ``fetchline.Summary``."""
