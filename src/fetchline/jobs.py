"""Jobs: runs in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, TypeVar

from fetchline.errors import BatchCancelled
from fetchline.interfaces import Progress
from fetchline.tracking import JobStatus

if TYPE_CHECKING:
    from fetchline.assembly import Run
    from fetchline.batch import Batch

__all__ = ["Job"]

T = TypeVar("T")
_SLICE_S = 1.0


class Job(Generic[T]):
    """The handle of a run in the background; its thread is the run's host. Made by ``fetchline.submit``.

    Attributes:
        id: a UUID as text.
    """

    def __init__(
        self, run: Run, *, id: str | None = None, ended: Callable[[Job[T]], object] | None = None
    ) -> None:
        self._run = run
        self.id = run.info.id if id is None else id
        self._tell = ended
        # Not an Event: a KeyboardInterrupt in its Condition can leak the lock and hang the job's own thread.
        self._ended = False
        self._turnstile = threading.Lock()
        self._turnstile.acquire()
        self._batch: Batch[T] | None = None
        run.open_store()
        self._error: BaseException | None = None
        context = copy_context()
        # Not to be waited for at exit: a job that somebody wants to the end is waited for by somebody.
        thread = threading.Thread(
            target=context.run, args=(self._main,), name=f"fetchline-job-{self.id[:8]}", daemon=True
        )
        thread.start()

    def _main(self) -> None:
        try:
            self._batch = self._run.batch_here()
        except BaseException as error:  # raised again by result()
            self._error = error
        finally:
            self._ended = True
            if self._tell is not None:
                self._tell(self)
            self._turnstile.release()

    @property
    def status(self) -> JobStatus:
        """Where the job stands now."""
        if not self._ended:
            return JobStatus.RUNNING
        if self._error is None:
            return JobStatus.COMPLETED
        return JobStatus.CANCELLED if isinstance(self._error, BatchCancelled) else JobStatus.FAILED

    @property
    def error(self) -> BaseException | None:
        """What ``result`` raises; None if it has ended well, or goes on."""
        return self._error

    @property
    def progress(self) -> Progress:
        """How far it is, as of now."""
        run = self._run
        with run.source.lock:
            return replace(run.collector.look(time.monotonic()))

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._ended

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most ``timeout`` seconds; whether it has ended.

        Ctrl-C ends the wait, not the job.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while not self._ended:
            # In slices: an interrupt between the two lines below keeps the lock, and others look at the flag.
            left = _SLICE_S if until is None else min(_SLICE_S, until - time.monotonic())
            if left <= 0:
                return False
            if self._turnstile.acquire(timeout=left):
                self._turnstile.release()
        return True

    def result(self, timeout: float | None = None) -> Batch[T]:
        """Wait for the batch.

        Raises:
            TimeoutError: it has not ended after ``timeout`` seconds; it goes on.
            BatchCancelled: it was cancelled; the error has the partial ``batch``.
            others: as ``fetchline.run``.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"job {self.id} has not ended after {timeout:g} s; it goes on")
        if self._error is not None:
            raise self._error
        assert self._batch is not None
        return self._batch

    def cancel(self) -> bool:
        """Start nothing more and end what runs; whether there was anything to cancel. Returns at once."""
        if self._ended:
            return False
        self._run.collector.cancelled = True
        self._run.source.stop()
        return True

    def __repr__(self) -> str:
        progress = self.progress
        total = "?" if progress.total is None else progress.total
        return f"<Job {self.id} of {self._run.fetcher.name!r}: {self.status}, {progress.done} of {total}>"
