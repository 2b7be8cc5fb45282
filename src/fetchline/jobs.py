"""Jobs: runs in the background, and a tracker of them."""

from __future__ import annotations

import enum
import threading
import time
import uuid
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fetchline.errors import BatchCancelled, UnknownName
from fetchline.interfaces import Progress
from fetchline.retry import check_count

if TYPE_CHECKING:
    from fetchline.assembly import Run
    from fetchline.batch import Batch

__all__ = ["Job", "JobInfo", "JobStatus", "JobTracker"]

T = TypeVar("T")
_SLICE_S = 1.0


class JobStatus(enum.StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class Job(Generic[T]):
    """The handle of a run in the background; its thread is the run's host. Made by ``fetchline.submit``.

    Attributes:
        id: a UUID as text.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.id = run.info.id
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


@dataclass(frozen=True, slots=True)
class JobInfo:
    """What is known of a job: a record that does not change; ask the tracker again for a newer one.

    Attributes:
        job_id: a UUID as text.
        name: what it is called.
        status: where it stands.
        total_items, completed_items: how many there are, and how many are finished.
        error_message: why it failed; None otherwise.
        created_at, updated_at: times in UTC.
    """

    job_id: str
    name: str = ""
    status: JobStatus = JobStatus.PENDING
    total_items: int = 0
    completed_items: int = 0
    error_message: str | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def progress_percentage(self) -> float:
        """From 0 to 100."""
        if not self.total_items:
            return 100.0 if self.status is JobStatus.COMPLETED else 0.0
        return 100.0 * self.completed_items / self.total_items


class JobTracker:
    """A place to note how jobs are doing, in memory; safe to use from any thread.

    >>> tracker = JobTracker()
    >>> job = tracker.create_job(total_items=4)
    >>> tracker.update_progress(job.job_id, 1).progress_percentage
    25.0
    >>> tracker.mark_completed(job.job_id).status
    <JobStatus.COMPLETED: 'completed'>
    """

    def __init__(self) -> None:
        self._jobs: dict[str, JobInfo] = {}
        self._lock = threading.Lock()

    def create_job(self, total_items: int = 0, name: str = "") -> JobInfo:
        """Note a new job, pending."""
        info = JobInfo(str(uuid.uuid4()), name, total_items=check_count("total_items", total_items, least=0))
        with self._lock:
            self._jobs[info.job_id] = info
        return info

    def update_progress(self, job_id: str, completed_items: int) -> JobInfo:
        """Note how many items are finished; a pending job is running then."""
        check_count("completed_items", completed_items, least=0)

        def change(info: JobInfo) -> dict[str, Any]:
            status = JobStatus.RUNNING if info.status is JobStatus.PENDING else info.status
            return {"completed_items": completed_items, "status": status}

        return self._change(job_id, change)

    def update_status(self, job_id: str, status: JobStatus | str) -> JobInfo:
        """Note where a job stands."""
        return self._change(job_id, lambda info: {"status": JobStatus(status)})

    def mark_completed(self, job_id: str) -> JobInfo:
        """Note that a job has completed, all its items with it."""
        return self._change(
            job_id, lambda info: {"status": JobStatus.COMPLETED, "completed_items": info.total_items}
        )

    def mark_failed(self, job_id: str, error_message: str) -> JobInfo:
        """Note that a job has failed, and why."""
        return self._change(
            job_id, lambda info: {"status": JobStatus.FAILED, "error_message": str(error_message)}
        )

    def get_job(self, job_id: str) -> JobInfo:
        """Get what is known of a job.

        Raises:
            UnknownName: there is no such job.
        """
        with self._lock:
            try:
                return self._jobs[job_id]
            except KeyError:
                raise UnknownName("job", job_id, self._jobs) from None

    def list_jobs(self, status: JobStatus | str | None = None) -> list[JobInfo]:
        """List jobs, oldest first, or those of one status."""
        wanted = None if status is None else JobStatus(status)
        with self._lock:
            return [info for info in self._jobs.values() if wanted is None or info.status is wanted]

    def _change(self, job_id: str, change: Any) -> JobInfo:
        held = self.get_job(job_id)
        with self._lock:
            held = self._jobs[job_id]
            info = replace(held, **change(held), updated_at=datetime.now(UTC))
            self._jobs[job_id] = info
            return info
