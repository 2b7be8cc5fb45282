"""The asyncio executor: one event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextvars import copy_context
from typing import Any

from fetchline.builtin.thread import ThreadPool
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
        self._waiting: set[Future[Any]] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._threads: ThreadPool | None = None
        self._loop = asyncio.new_event_loop()
        self._places = asyncio.Semaphore(max_workers)
        self._leave = asyncio.Event()
        self._worker = LoopWorker()
        self._thread = threading.Thread(target=self._main, name="fetchline-loop", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether it has been shut down."""
        return self._closed

    def _main(self) -> None:
        # Not asyncio.Runner: it waits for ever for a coroutine that swallows its cancellation.
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()
        if self._threads is not None:
            self._threads.shutdown()

    async def _live(self) -> None:
        async with self._worker as worker:
            await self._leave.wait()
            while self._calls:
                await asyncio.wait(self._calls)
            for task in worker.tasks:
                task.cancel()
            if worker.tasks:
                # A coroutine that swallows its cancellation must not keep the loop.
                await asyncio.wait(worker.tasks, timeout=1.0)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        # It stays "pending" while it runs, so that cancel() ends a coroutine that has begun.
        future: Future[Any] = Future()
        context = copy_context()

        async def call() -> None:
            async with self._places:
                self._waiting.discard(future)
                try:
                    if inspect.iscoroutinefunction(fn):
                        value = await fn(*args, **kwargs)
                    else:
                        value = await asyncio.wrap_future(self._in_thread(fn, *args, **kwargs))
                except BaseException as error:  # a future carries whatever was raised
                    if future.set_running_or_notify_cancel():
                        future.set_exception(error)
                else:
                    if future.set_running_or_notify_cancel():
                        future.set_result(value)

        def start() -> None:
            task = self._loop.create_task(call(), context=context)
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
            future.add_done_callback(lambda _: self._on_loop(task.cancel))

        with self._lock:
            if self._closed:
                raise RuntimeError("this asyncio executor has been shut down")
            self._waiting.add(future)
            self._on_loop(start)
        return future

    def _on_loop(self, function: Callable[..., object], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            pass  # the loop is closed: there is nothing left to end

    def _in_thread(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self._threads is None:
            self._threads = ThreadPool(self.max_workers)
        return self._threads.submit(fn, *args, **kwargs)

    def work(self, source: Source, workers: int) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "this run was started by a coroutine of the loop it wants to run on, and would wait for itself; use "
                "arun there, or give it another executor, by name"
            )
        with self._lock:
            if self._closed:
                raise RuntimeError("this asyncio executor has been shut down")
            self._on_loop(source.aserve, self._worker, workers)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            first, self._closed = not self._closed, True
            if cancel_futures:
                for future in list(self._waiting):
                    future.cancel()
            if first:
                self._on_loop(self._leave.set)
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()


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
