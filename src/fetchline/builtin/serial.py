"""The serial executor: everything in the caller's own thread, one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any

from fetchline.hookspecs import hookimpl
from fetchline.interfaces import ExecutorSpec

__all__ = ["Serial"]


class Serial(Executor):
    """An executor that runs what is submitted at once; a run makes its attempts on its host thread.

    >>> with Serial() as executor:
    ...     executor.submit(abs, -3).result()
    3
    """

    def __init__(self, max_workers: int = 1) -> None:
        if max_workers != 1:
            raise ValueError(f"the serial executor has one worker, not {max_workers!r}")
        self.max_workers = 1
        self.closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.closed:
            raise RuntimeError("this serial executor has been shut down")
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.closed = True


@hookimpl
def fetchline_register_executors() -> Sequence[ExecutorSpec]:
    return [
        ExecutorSpec(
            name="serial", factory=Serial, inline=True, summary="the caller's own thread, one by one"
        )
    ]
