"""The asyncio executor: one event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any

from fetchline.hookspecs import hookimpl
from fetchline.interfaces import ExecutorSpec, LoopWorker, Source

__all__ = ["LoopPool"]


class LoopPool(Executor):
    """An event loop in a daemon thread that runs coroutine functions, and plain ones in its threads.

    An honest ``concurrent.futures.Executor``; ``work`` sets its tasks to a run.

    Args:
        max_workers: coroutines at once, at the most.

    >>> async def double(n: int) -> int:
    ...     return 2 * n
    >>> with LoopPool(max_workers=2) as pool:
    ...     pool.submit(double, 4).result()
    8
    """

    def __init__(self, max_workers: int = 10) -> None:
        if isinstance(max_workers, bool) or not isinstance(max_workers, int) or max_workers < 1:
            raise ValueError(f"max_workers must be a whole number of at least 1, not {max_workers!r}")
        self.max_workers = max_workers
        self._lock = threading.Lock()
        self._closed = False
        self._futures: set[Future[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._places = asyncio.Semaphore(max_workers)
        self._leave = asyncio.Event()
        self._worker = LoopWorker()
        self._thread = threading.Thread(target=self._main, name="fetchline-loop", daemon=True)
        self._thread.start()

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        async with self._worker as worker:
            await self._leave.wait()
            for task in worker.tasks:
                task.cancel()
            if worker.tasks:
                # A coroutine that swallows its cancellation must not keep the loop.
                await asyncio.wait(worker.tasks, timeout=1.0)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        async def call() -> Any:
            async with self._places:
                if inspect.iscoroutinefunction(fn):
                    return await fn(*args, **kwargs)
                return await asyncio.to_thread(fn, *args, **kwargs)

        with self._lock:
            if self._closed:
                raise RuntimeError("this asyncio executor has been shut down")
            future = asyncio.run_coroutine_threadsafe(call(), self._loop)
            self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def work(self, source: Source, workers: int) -> None:
        with self._lock:
            if self._closed:
                raise RuntimeError("this asyncio executor has been shut down")
            self._loop.call_soon_threadsafe(source.aserve, self._worker, workers)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            futures = set(self._futures)
            if cancel_futures:
                for future in futures:
                    future.cancel()
            leave = threading.Thread(target=self._leave_after, args=(futures,), daemon=True)
            leave.start()
            if wait:
                leave.join()
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()

    def _leave_after(self, futures: set[Future[Any]]) -> None:
        for future in futures:
            if not future.cancelled():
                future.exception()
        self._loop.call_soon_threadsafe(self._leave.set)


@hookimpl
def fetchline_register_executors() -> Sequence[ExecutorSpec]:
    return [
        ExecutorSpec(
            name="asyncio",
            factory=LoopPool,
            runs_coroutines=True,
            can_kill=True,
            summary="coroutines on one event loop",
        )
    ]
