"""The executors of the matrix: its columns, and how a run is set on each."""

from __future__ import annotations

import contextlib
import inspect
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import fetchline as fl

__all__ = ["EXECUTORS", "FAR", "NEAR", "Executor", "named"]


@dataclass(frozen=True, slots=True)
class Executor:
    """One column.

    Attributes:
        name: at the head of the column, and in the ids of tests.
        what: what it is, in the words of the page.
        is_async: the fetch function is a coroutine function there.
        far: attempts are made in other processes.
    """

    name: str
    what: str
    is_async: bool = False
    far: bool = False

    @contextlib.contextmanager
    def options(self) -> Iterator[dict[str, Any]]:
        """What a run is told; a pool of the standard library's is shut down afterwards."""
        quiet: dict[str, Any] = {"progress": None}
        match self.name:
            case "serial":
                yield {"executor": "serial", **quiet}
            case "thread":
                yield {"executor": "thread", "workers": 4, **quiet}
            case "asyncio":
                yield {"executor": "asyncio", "concurrency": 4, **quiet}
            case "process":
                yield {"executor": "process", "workers": 2, **quiet}
            case "spawn":
                yield {"executor": fl.use("process", start="spawn"), "workers": 2, **quiet}
            case "coroutines":
                yield {"executor": "process", "workers": 2, "concurrency": 4, **quiet}
            case "threadpool":
                with ThreadPoolExecutor(4) as pool:
                    yield {"executor": pool, **quiet}
            case "processpool":
                # One worker, so that it is certain what had finished when the pool broke.
                yield {"executor": started_pool, "workers": 1, **quiet}

    def function(self, body: Callable[..., Any], async_body: Callable[..., Any] | None) -> Callable[..., Any]:
        """The fetch function: the body, or a coroutine function of it."""
        if not self.is_async:
            return body
        if async_body is not None:
            return async_body

        async def probe(*args: Any, **kwargs: Any) -> Any:
            return body(*args, **kwargs)

        # The body's own parameters count, such as the one that gets the session.
        probe.__signature__ = inspect.signature(body)  # type: ignore[attr-defined]
        return probe


EXECUTORS = (
    Executor("serial", '`executor="serial"`'),
    Executor("thread", '`executor="thread"`'),
    Executor("asyncio", '`executor="asyncio"`, a coroutine function', is_async=True),
    Executor("process", '`executor="process"`', far=True),
    Executor("spawn", '`executor=fl.use("process", start="spawn")`', far=True),
    Executor("coroutines", '`executor="process"`, a coroutine function', is_async=True, far=True),
    Executor("threadpool", "an object: a `ThreadPoolExecutor` of the standard library"),
    Executor("processpool", "a factory: of `ProcessPoolExecutor`, with the start method spawn", far=True),
)
NEAR = tuple(executor.name for executor in EXECUTORS if not executor.far)
FAR = tuple(executor.name for executor in EXECUTORS if executor.far)


def started_pool(max_workers: int) -> ProcessPoolExecutor:
    """Make a pool whose workers are there: the clock of a foreign pool starts at submission."""
    pool = ProcessPoolExecutor(max_workers, mp_context=multiprocessing.get_context("spawn"))
    for future in [pool.submit(_import) for _ in range(max_workers)]:
        future.result()
    return pool


def _import() -> None:
    import fetchline.worker.remote
    import fetchline.worker.transport  # noqa: F401


def named(name: str) -> Executor:
    return next(executor for executor in EXECUTORS if executor.name == name)
