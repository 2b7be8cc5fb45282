"""Notes on jobs: where each stands, over a restart too."""

from __future__ import annotations

import contextlib
import enum
import json
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fetchline.errors import StoreFailed, UnknownName
from fetchline.interfaces import ObjectStore
from fetchline.journal.owner import is_dead, is_owned, who
from fetchline.retry import check_count

if TYPE_CHECKING:
    from fetchline.jobs import Job

__all__ = ["JobInfo", "JobStatus", "JobTracker"]

_FOLDER = "jobs/"
_OFTEN_S = 1.0
_log = logging.getLogger("fetchline")


class JobStatus(enum.StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class JobInfo:
    """What is known of a job: a record that does not change; ask the tracker again for a newer one.

    Attributes:
        job_id: a UUID as text.
        name: what it is called.
        status: where it stands.
        total_items, completed_items: how many there are, and how many are finished.
        error_message: why it failed; None otherwise.
        store: where its results are, if they are stored.
        created_at, updated_at: times in UTC.
    """

    job_id: str
    name: str = ""
    status: JobStatus = JobStatus.PENDING
    total_items: int = 0
    completed_items: int = 0
    error_message: str | None = None
    store: str | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def progress_percentage(self) -> float:
        """From 0 to 100."""
        if not self.total_items:
            return 100.0 if self.status is JobStatus.COMPLETED else 0.0
        return 100.0 * self.completed_items / self.total_items


class JobTracker:
    """A place to note how jobs are doing; safe to use from any thread.

    With a store the notes are there again after a restart: what was running in a process that is gone is
    ``interrupted``, and a job whose results are in a store of their own can be resumed. Progress is written once a
    second, everything else at once.

    Args:
        store: where the notes are kept, as for ``run``; None is in memory.

    Raises:
        StoreFailed: the notes could not be read or written.

    >>> tracker = JobTracker()
    >>> job = tracker.create_job(total_items=4)
    >>> tracker.update_progress(job.job_id, 1).progress_percentage
    25.0
    >>> tracker.mark_completed(job.job_id).status
    <JobStatus.COMPLETED: 'completed'>
    """

    def __init__(self, store: Any = None) -> None:
        self._jobs: dict[str, JobInfo] = {}
        self._lock = threading.Lock()
        self._notes: _Notes | None = None
        if store is not None:
            from fetchline.stores import objects_of

            self._notes = _Notes(objects_of(store))
            for info in self._notes.read():
                self._jobs[info.job_id] = info

    def submit(self, fetcher: Any, items: Iterable[Any], *, name: str = "", **options: Any) -> Job[Any]:
        """Start a run in the background, as ``fetchline.submit`` does, and note how it is doing.

        Args:
            fetcher, items, options: as for ``fetchline.submit``.
            name: what the job is called; the fetcher's name, if nothing is said.

        >>> tracker = JobTracker()
        >>> job = tracker.submit(abs, [-1, -2])
        >>> _ = job.wait()
        >>> tracker.get_job(job.id).status
        <JobStatus.COMPLETED: 'completed'>
        """
        return self._start(fetcher, items, name, options, None)

    def resume(self, job_id: str, fetcher: Any = None, **options: Any) -> Job[Any]:
        """Go on with a job whose results are in a store: the same fetcher, params and items.

        See ``fetchline.resume``.

        Raises:
            UnknownName: there is no such job, or no fetcher of that name is registered.
            ValueError: it is running, or its results are in no store.
            StoreError: its store does not know what it was asked for, or is damaged.
        """
        from fetchline.runs import asked_before

        info = self.get_job(job_id)
        if info.status in (JobStatus.RUNNING, JobStatus.PENDING):
            raise ValueError(f"job {job_id} is {info.status}, so there is nothing to resume")
        if info.store is None:
            raise ValueError(
                f"the results of job {job_id} are in no store, so it cannot go on: submit it again"
            )
        found, items, options = asked_before(info.store, fetcher, options)
        return self._start(found, items, info.name, options, job_id)

    def _start(
        self, fetcher: Any, items: Any, name: str, options: dict[str, Any], job_id: str | None
    ) -> Job[Any]:
        from fetchline.assembly import Run
        from fetchline.jobs import Job

        told = options.get("on_progress")

        def on_progress(done: int, total: int | None) -> None:
            self._change(info.job_id, lambda held: {"completed_items": done}, at_once=False)
            if told is not None:
                told(done, total)

        run = Run(fetcher, items, {**options, "on_progress": on_progress}, progress=None, feeder=True)
        known = self._jobs.get(job_id or "")
        info = JobInfo(
            job_id or run.info.id,
            name or run.fetcher.name,
            JobStatus.RUNNING,
            total_items=run.total or 0,
            store=None if run.store is None or run.store.meets else run.store.objects.url,
            created_at=datetime.now(UTC) if known is None else known.created_at,
        )
        self._note(info)
        try:
            return Job(run, id=info.job_id, ended=self._ended)
        except BaseException as error:
            self.mark_failed(info.job_id, str(error))
            raise

    def _ended(self, job: Job[Any]) -> None:
        batch = getattr(job.error, "batch", None)
        codes = Counter[str]() if batch is None else batch.summary.codes
        done = job.progress.done - codes["cancelled"] - codes["deadline"]

        def change(info: JobInfo) -> dict[str, Any]:
            error = None if job.error is None else f"{type(job.error).__name__}: {job.error}"
            total = info.total_items or done
            return {
                "status": job.status,
                "completed_items": done,
                "total_items": total,
                "error_message": error,
            }

        self._change(job.id, change)

    def create_job(self, total_items: int = 0, name: str = "", store: str | None = None) -> JobInfo:
        """Note a new job, pending.

        Args:
            total_items: how many items it has.
            name: what it is called.
            store: where its results are, if it is a run with a store.
        """
        total_items = check_count("total_items", total_items, least=0)
        info = JobInfo(str(uuid.uuid4()), name, total_items=total_items, store=store)
        self._note(info)
        return info

    def _note(self, info: JobInfo) -> None:
        with self._lock:
            self._jobs[info.job_id] = info
            if self._notes is not None:
                self._notes.write(info)

    def update_progress(self, job_id: str, completed_items: int) -> JobInfo:
        """Note how many items are finished; a pending job is running then."""
        check_count("completed_items", completed_items, least=0)

        def change(info: JobInfo) -> dict[str, Any]:
            status = JobStatus.RUNNING if info.status is JobStatus.PENDING else info.status
            return {"completed_items": completed_items, "status": status}

        return self._change(job_id, change, at_once=False)

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

    def _change(
        self, job_id: str, change: Callable[[JobInfo], dict[str, Any]], *, at_once: bool = True
    ) -> JobInfo:
        self.get_job(job_id)
        with self._lock:
            held = self._jobs[job_id]
            info = replace(held, **change(held), updated_at=datetime.now(UTC))
            self._jobs[job_id] = info
            if self._notes is not None and (at_once or info.status is not held.status):
                self._notes.write(info)
            elif self._notes is not None:
                self._notes.write_now_and_then(info)
            return info


def _is_left(info: JobInfo, writer: dict[str, Any]) -> bool:
    """Whether nobody is at a job any more; of one on another machine, what its store says."""
    from fetchline.stores import objects_of

    if is_dead(writer):
        return True
    elsewhere = writer.get("host") != who()["host"]
    return elsewhere and info.store is not None and not is_owned(objects_of(info.store))


class _Notes:
    """Notes on jobs, each an object of a store."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._who = who()
        self._written: dict[str, float] = {}

    def read(self) -> list[JobInfo]:
        found = []
        with self._as_store_failed():
            for one in list(self._objects.list(_FOLDER)):
                try:
                    found.append(self._info(json.loads(self._objects.get(one.name))))
                except (ValueError, KeyError, TypeError) as error:
                    _log.warning("%s of %s is no note on a job: %s", one.name, self._objects.url, error)
        return sorted(found, key=lambda info: info.created_at)

    def _info(self, note: dict[str, Any]) -> JobInfo:
        writer = note.pop("writer")
        for name in ("created_at", "updated_at"):
            note[name] = datetime.fromisoformat(note[name])
        info = JobInfo(**{**note, "status": JobStatus(note["status"])})
        if info.status in (JobStatus.PENDING, JobStatus.RUNNING) and _is_left(info, writer):
            return replace(info, status=JobStatus.INTERRUPTED)
        return info

    def write(self, info: JobInfo) -> None:
        note = {**asdict(info), "writer": self._who}
        for name in ("created_at", "updated_at"):
            note[name] = note[name].isoformat()
        with self._as_store_failed():
            self._objects.put(f"{_FOLDER}{info.job_id}.json", json.dumps(note).encode())
        self._written[info.job_id] = time.monotonic()

    def write_now_and_then(self, info: JobInfo) -> None:
        if time.monotonic() - self._written.get(info.job_id, -_OFTEN_S) >= _OFTEN_S:
            self.write(info)

    @contextlib.contextmanager
    def _as_store_failed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreFailed(f"the notes on jobs in {self._objects.url} failed: {error}") from error
