"""The process executor: worker processes, each behind a thread that owns its end of a pipe."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from fetchline.builtin.thread import ThreadPool
from fetchline.hookspecs import hookimpl
from fetchline.interfaces import ExecutorSpec, RemoteWorker, Worker

__all__ = ["ProcessPool"]


class ProcessPool(ThreadPool):
    """Worker processes that are never forked from this one, and can be ended and replaced.

    An honest ``concurrent.futures.Executor``; functions, arguments and values of any kind that cloudpickle
    takes. No ``if __name__ == "__main__"`` is needed: workers do not import the main module.

    Args:
        max_workers: processes at the most; they are started on demand.
        start: ``"forkserver"`` (milliseconds a process) or ``"spawn"`` (a fresh interpreter each).

    >>> with ProcessPool(max_workers=1) as pool:
    ...     pool.submit(lambda: 6 * 7).result()
    42
    """

    def __init__(self, max_workers: int | None = None, start: str = "forkserver") -> None:
        super().__init__(max_workers if max_workers is not None else (os.cpu_count() or 1))
        if start not in ("forkserver", "spawn"):
            raise ValueError(f'start must be "forkserver" or "spawn", not {start!r}')
        self._start = start

    def _new_worker(self, replace: Callable[[Callable[[Worker], None]], None]) -> Worker:
        return _Lane(self._start, replace, self._queue, self._wanted)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        from fetchline.worker.transport import dump, load, load_error, show

        future: Future[Any] = Future()

        def task(worker: Worker) -> None:
            assert isinstance(worker, _Lane)
            if not future.set_running_or_notify_cancel():
                return
            try:
                worker.ask(b"F", dump((fn, args, kwargs), lambda: f"a call of {show(fn)}"))
                while (frame := worker.answer(None)) is None or frame[0] != b"F":
                    pass  # what a run that is over no longer waited for
                fine, value = load(frame[1], frame[2])
                if fine:
                    future.set_result(value)
                else:
                    future.set_exception(load_error(value))
            except BaseException as error:  # a future carries whatever went wrong
                future.set_exception(error)

        task.future = future  # type: ignore[attr-defined]  # for shutdown(cancel_futures=True)
        self._add(task)
        return future


class _Lane(RemoteWorker):
    """One worker process, started when there is something for it to do."""

    def __init__(self, method: str, *pool: Callable[..., Any]) -> None:
        super().__init__(*pool)
        self._method = method
        self._process: Any = None
        self.callback(self._leave)

    @property
    def process(self) -> Any:
        if self._process is None:
            from fetchline.worker.nursery import start

            self.kept.clear()
            self._process = start(self._method)
        return self._process

    def ask(self, kind: bytes, payload: bytes = b"") -> None:
        try:
            self.process.pipe.send(kind, payload)
        except OSError:
            pass  # it has died: answer() says so

    def answer(self, timeout: float | None) -> tuple[bytes, bytes | bytearray, Sequence[Any]] | None:
        process = self.process
        try:
            frame: tuple[bytes, bytes | bytearray, Sequence[Any]] | None = process.receive(timeout)
        except EOFError:
            raise self.lost(process) from None
        return frame

    def lost(self, process: Any) -> Exception:
        from fetchline.worker.crash import WorkerCrashed

        if self._process is process:
            self._process = None
        process.kill()
        code = process.reap()
        return WorkerCrashed(f"the worker process {process.pid} {_ending(code)}", code)

    def kill(self) -> None:
        process = self._process
        if process is not None:
            process.kill()

    def _leave(self) -> None:
        process = self._process
        if process is None:
            return
        self.ask(b"X")
        # Sessions are closed there; a logout that hangs is not waited for.
        until = time.monotonic() + _LEAVE_S
        try:
            while (left := until - time.monotonic()) > 0:
                process.receive(left)
            _log.warning(
                "worker process %d did not close its sessions within %g s, and is ended",
                process.pid,
                _LEAVE_S,
            )
        except EOFError:
            pass
        process.kill()
        process.reap()
        self._process = None


_log = logging.getLogger("fetchline.session")
_LEAVE_S = 5.0


def _ending(code: int | None) -> str:
    if code is None:
        return "died"
    if code >= 0:
        return f"exited with {code}"
    if -code == signal.SIGKILL:
        return "was ended by SIGKILL, by the kernel for want of memory if by nobody else"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal
        return f"was ended by signal {-code}"


@hookimpl
def fetchline_register_executors() -> Sequence[ExecutorSpec]:
    return [
        ExecutorSpec(
            name="process",
            factory=ProcessPool,
            needs_pickling=True,
            isolates_crashes=True,
            can_kill=True,
            piped=True,
            summary="worker processes: fork server or spawn, never a fork of this one",
        )
    ]
