"""The thread executor: daemon threads that pull attempts from a run, or take submitted futures."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any
from weakref import WeakSet

from fetchline.hookspecs import hookimpl
from fetchline.interfaces import ExecutorSpec, Source, Worker

__all__ = ["ThreadPool"]

_log = logging.getLogger("fetchline.session")
_LOOK_S = 0.1
_LEAVE_S = 6.0  # a logout that hangs is not waited for any longer; one in a process is left before that
_numbers = itertools.count(1)
_Task = Callable[[Worker], None]


class ThreadPool(Executor):
    """Threads that never keep the interpreter from exiting, and can be replaced while stuck.

    An honest ``concurrent.futures.Executor``; ``work`` sets its threads to a run.

    Args:
        max_workers: threads at the most; they are started on demand.

    >>> with ThreadPool(max_workers=2) as pool:
    ...     list(pool.map(abs, [-1, -2]))
    [1, 2]
    """

    def __init__(self, max_workers: int = 10) -> None:
        if isinstance(max_workers, bool) or not isinstance(max_workers, int) or max_workers < 1:
            raise ValueError(f"max_workers must be a whole number of at least 1, not {max_workers!r}")
        self.max_workers = max_workers
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._stuck: WeakSet[threading.Thread] = WeakSet()
        self._threads: dict[threading.Thread, _Task | None] = {}
        self._leaving: dict[threading.Thread, float] = {}  # since when they close their sessions
        self._workers: set[Worker] = set()
        # Both go down together when a thread has taken a task, so their difference is always true.
        self._idle = 0
        self._queued = 0
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it has been shut down."""
        return self._closed

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        context = copy_context()

        def task(_: Worker) -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(context.run(fn, *args, **kwargs))
            except BaseException as error:  # a future carries whatever was raised
                future.set_exception(error)

        task.future = future  # type: ignore[attr-defined]  # for shutdown(cancel_futures=True)
        self._add(task)
        return future

    def work(self, source: Source, workers: int) -> None:
        if threading.current_thread() in self._threads:
            raise RuntimeError(
                "this run was started by a worker of the pool it wants to run on, and would wait for itself; give it "
                "another executor, by name"
            )
        for _ in range(workers):
            self._add(source.serve)

    def _add(self, task: _Task) -> None:
        with self._lock:
            if self._closed:
                raise RuntimeError("this pool has been shut down; start another with fetchline.get_executor")
            self._put(task)

    def _put(self, task: _Task) -> None:
        """With the lock held: whoever shuts down finds no thread that has not started."""
        if self._queued >= self._idle and len(self._threads) < self.max_workers:
            self._start_thread(task)
            return
        self._tasks.put(task)
        self._queued += 1
        if self._wanted():
            for worker in self._workers:
                worker.call()

    def _queue(self, task: _Task) -> None:
        with self._lock:
            if not self._closed:
                self._put(task)

    def _wanted(self) -> bool:
        return self._queued > self._idle

    def _start_thread(self, first: _Task) -> None:
        # It has its first task with it: the lock is held again and again while many threads are started, and one
        # that wanted it would begin when all of them are there.
        worker = self._new_worker(lambda task: self._replace(thread, task))
        thread = threading.Thread(
            target=self._main, args=(worker, first), name=f"fetchline-thread-{next(_numbers)}", daemon=True
        )
        self._threads[thread] = first
        self._workers.add(worker)
        try:
            thread.start()
        except BaseException:
            del self._threads[thread]
            self._workers.discard(worker)
            raise

    def _new_worker(self, replace: Callable[[_Task], None]) -> Worker:
        return Worker(replace, self._queue, self._wanted)

    def _main(self, worker: Worker, task: _Task | None) -> None:
        me = threading.current_thread()
        with worker:
            while (task := task or self._next(me)) is not None:
                task(worker)
                worker.call = _nothing
                with self._lock:
                    if me not in self._threads:
                        self._workers.discard(worker)
                        return  # it was stuck, and another has its place
                    self._threads[me] = task = None
            with self._lock:
                self._workers.discard(worker)
                self._leaving[me] = time.monotonic()
        with self._lock:
            self._threads.pop(me, None)
            self._leaving.pop(me, None)

    def _next(self, me: threading.Thread) -> _Task | None:
        with self._lock:
            self._idle += 1
        task = self._tasks.get()
        with self._lock:
            self._idle -= 1
            if task is not None:
                self._queued -= 1
            self._threads[me] = task
        return task

    def _replace(self, stuck: threading.Thread, task: _Task) -> None:
        """Put another thread at the task of a stuck one, which may have come back from it just now."""
        with self._lock:
            if self._threads.get(stuck) == task:
                del self._threads[stuck]
                self._stuck.add(stuck)
                self._start_thread(task)
            elif not self._closed:
                self._put(task)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            first, self._closed = not self._closed, True
            threads = list(self._threads)
            if cancel_futures:
                self._cancel_queued()
            if first:
                for _ in threads:
                    self._tasks.put(None)
        if wait:
            for thread in threads:
                while (
                    thread.is_alive()
                    and thread is not threading.current_thread()
                    and not self._is_left(thread)
                ):
                    thread.join(_LOOK_S)

    def _is_left(self, thread: threading.Thread) -> bool:
        """Whether it is not waited for any longer: it is stuck, or a session of its does not close."""
        since = self._leaving.get(thread)
        if since is not None and time.monotonic() - since > _LEAVE_S:
            _log.warning("a session of a thread did not close within %g s, and is left", _LEAVE_S)
            return True
        return thread in self._stuck

    def _cancel_queued(self) -> None:
        kept: list[_Task | None] = []
        while not self._tasks.empty():
            task = self._tasks.get()
            future = getattr(task, "future", None)
            if future is None:
                kept.append(task)  # a run's, or the sign to leave
            else:
                self._queued -= 1
                future.cancel()
                future.set_running_or_notify_cancel()
        for task in kept:
            self._tasks.put(task)


def _nothing() -> None: ...


@hookimpl
def fetchline_register_executors() -> Sequence[ExecutorSpec]:
    return [ExecutorSpec(name="thread", factory=ThreadPool, summary="threads of this process")]
