"""Jobs: runs in the background; and the tracker."""

from __future__ import annotations

import contextvars
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

import fetchline as fl

EXECUTORS = ("serial", "thread", "process", "asyncio")
QUIET: dict[str, Any] = {"progress": None}


class Door:
    """What fetch functions of this process wait at, until the test opens it."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._arrived = threading.Semaphore(0)

    def __call__(self, n: int) -> int:
        self._arrived.release()
        assert self._open.wait(20)
        return n

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self._arrived.acquire(timeout=20)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    yield made
    made.open()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_job_gives_the_batch_that_a_run_would_have_given(executor: str) -> None:
    async def double_async(n: int) -> int:
        return 2 * n

    def double(n: int) -> int:
        return 2 * n

    function = double_async if executor == "asyncio" else double
    job = fl.submit(function, range(20), executor=executor)
    assert job.result(timeout=20).values == [2 * n for n in range(20)]
    assert job.status is fl.JobStatus.COMPLETED
    assert job.done
    assert uuid.UUID(job.id)
    assert job.result() is job.result()


def test_a_job_returns_at_once_and_tells_how_far_it_is(door: Door) -> None:
    def half_waits(n: int) -> int:
        return door(n) if n >= 5 else n

    job = fl.submit(half_waits, range(10), workers=2)
    door.wait_for(2)
    progress = job.progress
    assert (job.status, job.done) == (fl.JobStatus.RUNNING, False)
    assert (progress.total, progress.running, progress.failed) == (10, 2, 0)
    assert "running" in repr(job)
    _until(lambda: job.progress.done == 5)
    assert job.progress.waiting + job.progress.running <= 5
    door.open()
    assert job.result(timeout=20).n_succeeded == 10
    end = job.progress
    assert (end.done, end.running, end.waiting, end.retrying) == (10, 0, 0, 0)
    assert "completed, 10 of 10" in repr(job)


def _until(true: Any) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_progress_of_a_generator_learns_its_total_at_the_end(door: Door) -> None:
    job = fl.submit(door, iter(range(3)), workers=1)
    door.wait_for(1)
    door.open()
    job.wait(20)
    assert job.progress.total == 3


def test_failures_are_counted_in_the_progress() -> None:
    def odd_fail(n: int) -> int:
        if n % 2:
            raise ValueError(n)
        return n

    job = fl.submit(odd_fail, range(10))
    assert job.result(timeout=20).n_failed == 5
    assert (job.progress.done, job.progress.failed) == (10, 5)


def test_waiting_ends_at_its_timeout_and_the_job_goes_on(door: Door) -> None:
    job = fl.submit(door, range(3))
    began = time.monotonic()
    assert job.wait(timeout=0.05) is False
    assert time.monotonic() - began < 2
    with pytest.raises(TimeoutError, match="it goes on"):
        job.result(timeout=0.05)
    assert job.wait(timeout=0) is False
    door.open()
    assert job.wait(timeout=20) is True
    assert job.result(timeout=0).n_succeeded == 3


@pytest.mark.parametrize("executor", ["thread", "process", "asyncio", "serial"])
def test_cancelling_keeps_what_was_finished(executor: str, tmp_path: Any) -> None:
    flag = tmp_path / "at"

    def sticks(n: int) -> int:
        if n >= 4:
            flag.touch()
            for _ in range(4000):
                if (flag.parent / "go").exists():
                    break
                time.sleep(0.005)
        return n

    async def sticks_async(n: int) -> int:
        import asyncio

        if n >= 4:
            flag.touch()
            await asyncio.Event().wait()
        return n

    function = sticks_async if executor == "asyncio" else sticks
    job = fl.submit(function, range(30), executor=executor)
    _until(flag.exists)
    _until(lambda: job.progress.done == 4 or executor == "serial")
    began = time.monotonic()
    assert job.cancel() is True
    assert time.monotonic() - began < 0.5
    if executor == "serial":
        (tmp_path / "go").touch()  # nobody can end what the job's own thread is at
    with pytest.raises(fl.BatchCancelled, match="cancelled after") as caught:
        job.result(timeout=10)
    (tmp_path / "go").touch()
    batch = caught.value.batch
    assert time.monotonic() - began < 3
    assert len(batch) == 30
    assert batch.values[:4] == [0, 1, 2, 3]
    assert set(batch.summary.codes) == {"cancelled"}
    assert not batch.complete
    assert job.status is fl.JobStatus.CANCELLED
    assert job.done


def test_cancelling_twice_or_too_late_is_nothing(door: Door) -> None:
    job = fl.submit(door, range(5), workers=1)
    door.wait_for(1)
    assert job.cancel() is True
    job.cancel()
    door.open()
    with pytest.raises(fl.BatchCancelled):
        job.result(timeout=20)
    assert job.cancel() is False
    done = fl.submit(abs, [-1])
    assert done.wait(20)
    assert done.cancel() is False
    assert done.status is fl.JobStatus.COMPLETED
    assert done.result().values == [1]


def test_cancelling_does_not_wait_for_a_blocked_generator(door: Door) -> None:
    def blocked() -> Iterator[int]:
        yield 0
        yield door(1)

    job = fl.submit(abs, blocked())
    door.wait_for(1)
    _until(lambda: job.progress.done == 1)
    job.cancel()
    with pytest.raises(fl.BatchCancelled) as caught:
        job.result(timeout=5)
    assert caught.value.batch.values == [0]


def test_a_result_raises_what_the_run_raised() -> None:
    def fails(n: int) -> int:
        raise ValueError("no such ticker")

    job = fl.submit(fails, range(3), on_error="raise")
    with pytest.raises(fl.BatchFailed, match="no such ticker"):
        job.result(timeout=20)
    assert job.status is fl.JobStatus.FAILED

    def broken() -> Iterator[int]:
        yield 1
        raise OSError("cut off")

    job = fl.submit(abs, broken())
    with pytest.raises(fl.InputFailed, match="cut off"):
        job.result(timeout=20)
    assert job.status is fl.JobStatus.FAILED
    with pytest.raises(fl.InputFailed):  # again, as often as asked
        job.result()


def test_a_wrong_option_is_refused_by_submit_not_by_the_job() -> None:
    with pytest.raises(ValueError, match="workers"):
        fl.submit(abs, [1], workers=0)


def test_jobs_run_side_by_side_on_one_warm_pool() -> None:
    with fl.get_executor("thread", max_workers=4) as pool:
        jobs = [fl.submit(abs, range(100), executor=pool) for _ in range(5)]
        assert [job.result(timeout=20).n_succeeded for job in jobs] == [100] * 5


def test_a_job_sees_the_context_variables_of_whoever_submitted_it() -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who")
    who.set("me")
    assert fl.submit(lambda n: who.get(), [1]).result(timeout=20).values == ["me"]


def test_a_job_takes_progress_functions_and_tells_them_on_its_own_thread() -> None:
    ticks: list[Any] = []
    threads: set[int] = set()

    def tick(done: int, total: int | None) -> None:
        ticks.append((done, total))
        threads.add(threading.get_ident())

    fl.submit(abs, range(5), on_progress=tick).result(timeout=20)
    assert ticks == [(n, 5) for n in range(1, 6)]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


CTRL_C = """
import signal, threading
import fetchline as fl

signal.signal(signal.SIGINT, signal.default_int_handler)
release = threading.Event()
job = fl.submit(lambda n: release.wait(30) and n, range(4), workers=2)
try:
    print("at", flush=True)
    job.{call}
except KeyboardInterrupt as error:
    print(type(error).__name__, job.status, job.progress.done, flush=True)
release.set()
print("values", job.result(timeout=20).values, flush=True)
"""


@pytest.mark.parametrize("call", ["wait()", "result()", "wait(30)"])
def test_ctrl_c_ends_the_wait_only(call: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CTRL_C.format(call=call))],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    with process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "at\n"
            os.killpg(process.pid, signal.SIGINT)
            assert process.stdout.readline() == "KeyboardInterrupt running 0\n"
            assert process.stdout.readline() == "values [0, 1, 2, 3]\n"
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_a_job_nobody_waits_for_does_not_keep_the_interpreter() -> None:
    code = "import threading, fetchline as fl; fl.submit(lambda n: threading.Event().wait(), [1, 2])"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)


# -- the tracker -------------------------------------------------------------------------------------------


def test_a_tracked_job_goes_from_pending_to_completed() -> None:
    tracker = fl.JobTracker()
    job = tracker.create_job(total_items=8, name="quarter")
    assert (job.status, job.completed_items, job.progress_percentage, job.name) == (
        "pending",
        0,
        0.0,
        "quarter",
    )
    assert uuid.UUID(job.job_id)
    assert job.created_at.tzinfo is not None
    later = tracker.update_progress(job.job_id, 2)
    assert (later.status, later.progress_percentage) == ("running", 25.0)
    assert later.updated_at >= job.updated_at
    assert later.created_at == job.created_at
    assert (job.completed_items, job.status) == (0, "pending")  # a record does not change
    done = tracker.mark_completed(job.job_id)
    assert (done.status, done.completed_items, done.progress_percentage) == ("completed", 8, 100.0)
    assert tracker.get_job(job.job_id) == done


def test_a_tracked_job_fails_with_its_message() -> None:
    tracker = fl.JobTracker()
    job = tracker.create_job(3)
    tracker.update_progress(job.job_id, 1)
    failed = tracker.mark_failed(job.job_id, "the server is gone")
    assert (failed.status, failed.error_message, failed.completed_items) == (
        "failed",
        "the server is gone",
        1,
    )


def test_a_cancelled_job_is_noted_with_what_was_finished() -> None:
    tracker, at_work, may_end = fl.JobTracker(), threading.Event(), threading.Event()

    def fetch(n: int) -> int:
        if n == 5:
            at_work.set()
            assert may_end.wait(60)
        return n

    job = tracker.submit(fetch, range(40), workers=1)
    assert at_work.wait(60)
    job.cancel()
    may_end.set()
    assert job.wait(60)
    info = tracker.get_job(job.id)
    assert (info.status, info.completed_items, info.total_items) == ("cancelled", 6, 40)


def test_tracked_jobs_are_listed_oldest_first_and_by_status() -> None:
    tracker = fl.JobTracker()
    ids = [tracker.create_job(1, name=str(n)).job_id for n in range(4)]
    tracker.mark_completed(ids[1])
    tracker.update_status(ids[2], "cancelled")
    tracker.update_status(ids[3], fl.JobStatus.INTERRUPTED)
    assert [job.job_id for job in tracker.list_jobs()] == ids
    assert [job.job_id for job in tracker.list_jobs("completed")] == [ids[1]]
    assert [job.job_id for job in tracker.list_jobs(fl.JobStatus.PENDING)] == [ids[0]]


def test_an_unknown_job_and_wrong_arguments_are_refused() -> None:
    tracker = fl.JobTracker()
    job = tracker.create_job(1)
    for call in (tracker.get_job, tracker.mark_completed, lambda i: tracker.update_progress(i, 1)):
        with pytest.raises(fl.UnknownName, match="no job is named"):
            call("no-such-job")
    with pytest.raises(ValueError, match="'paused'"):
        tracker.update_status(job.job_id, "paused")
    for wrong, error in ((-1, ValueError), (True, TypeError), (1.5, TypeError)):
        with pytest.raises(error):
            tracker.create_job(wrong)
        with pytest.raises(error):
            tracker.update_progress(job.job_id, wrong)


def test_a_job_of_no_items_is_at_100_percent_only_when_it_has_completed() -> None:
    tracker = fl.JobTracker()
    job = tracker.create_job(0)
    assert job.progress_percentage == 0.0
    assert tracker.mark_completed(job.job_id).progress_percentage == 100.0


def test_a_tracker_loses_nothing_to_threads() -> None:
    tracker = fl.JobTracker()
    job = tracker.create_job(400)

    def count() -> None:
        for _ in range(50):
            tracker.create_job(1)
            tracker.update_progress(job.job_id, 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tracker.list_jobs()) == 201
    assert tracker.get_job(job.job_id).completed_items == 1


# -- a tracker with a store --------------------------------------------------------------------------------

LEFT = """
    import os, sys
    import fetchline as fl

    place = sys.argv[1]

    @fl.fetcher("left.bars")
    def bars(n):
        if n == 3:
            os._exit(9)
        return n

    tracker = fl.JobTracker(place + "/jobs")
    tracker.create_job(name="never begun")
    job = tracker.submit("left.bars", range(5), store=place + "/run", executor="serial")
    job.wait()
"""


def test_a_tracker_with_a_store_finds_what_a_dead_process_left_and_resumes_it(tmp_path: Any) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LEFT), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 9, ended.stderr
    tracker = fl.JobTracker(tmp_path / "jobs")
    assert {info.name: info.status for info in tracker.list_jobs()} == {
        "never begun": fl.JobStatus.INTERRUPTED,
        "left.bars": fl.JobStatus.INTERRUPTED,
    }
    job_id = next(info.job_id for info in tracker.list_jobs() if info.name == "left.bars")
    calls: list[int] = []

    def bars(n: int) -> int:
        calls.append(n)
        return n

    job = tracker.resume(job_id, fl.Fetcher.of(bars, "left.bars"), executor="serial")
    assert job.id == job_id
    assert job.result().values == [0, 1, 2, 3, 4]
    assert calls[-2:] == [3, 4]
    for seen in (tracker, fl.JobTracker(tmp_path / "jobs")):
        info = seen.get_job(job_id)
        assert (info.status, info.completed_items, info.total_items) == (fl.JobStatus.COMPLETED, 5, 5)


def test_a_tracker_notes_how_its_jobs_end() -> None:
    tracker = fl.JobTracker("memory://notes-on-ends")

    def bad(n: int) -> int:
        raise ValueError("no")

    good = tracker.submit(abs, [-1], name="good")
    failed = tracker.submit(bad, [1], on_error="raise")
    for job in (good, failed):
        assert job.wait(20)
    assert tracker.get_job(good.id).status is fl.JobStatus.COMPLETED
    info = fl.JobTracker("memory://notes-on-ends").get_job(failed.id)
    assert (info.status, info.name) == (fl.JobStatus.FAILED, "bad")
    assert info.error_message is not None and info.error_message.startswith(
        "BatchFailed: 'bad' failed for item 0"
    )
    with pytest.raises(ValueError, match="in no store"):
        tracker.resume(good.id)
    with pytest.raises(TypeError, match="no option 'stroe'"):
        tracker.submit(abs, [1], stroe="x")


def test_a_job_that_runs_elsewhere_is_not_taken_for_an_interrupted_one() -> None:
    door = Door()
    tracker = fl.JobTracker("memory://notes-on-running")
    job = tracker.submit(door, [1])
    door.wait_for(1)
    try:
        assert fl.JobTracker("memory://notes-on-running").get_job(job.id).status is fl.JobStatus.RUNNING
        with pytest.raises(ValueError, match="nothing to resume"):
            tracker.resume(job.id)
    finally:
        door.open()
    assert job.result().values == [1]
