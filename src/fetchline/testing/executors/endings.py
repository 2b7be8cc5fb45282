"""Calls that do not end well: crashes, timeouts, cancelled and interrupted runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fetchline as fl
from fetchline.testing.evidence import Log, gone, until
from fetchline.testing.executors.bench import Bench, Settings
from fetchline.testing.lane import Lane
from fetchline.testing.suites import if_promised

__all__ = ["Endings"]


def _exit() -> None:
    os._exit(3)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(die: Callable[[], None], item: int, times: int, log: Log) -> Callable[[int], int]:
    """A function that takes its process down for one item, so many times; but never this one."""
    caller = os.getpid()

    def call(n: int) -> int:
        log.note("call", n)
        if n == item and log.count("call", n) <= times:
            if os.getpid() == caller:
                raise RuntimeError(
                    "isolates_crashes is claimed, but this call runs in the caller's own process"
                )
            die()
        return n

    return call


@contextlib.contextmanager
def releasing(log: Log) -> Iterator[None]:
    """Let go of what waits for ``"go"`` when the block is left, in whatever way."""
    try:
        yield
    finally:
        log.note("go")


class Endings(Settings):
    """Guarantees 7 to 9, as far as they are promised."""

    # -- crashes --------------------------------------------------------------------------------------------

    @if_promised("isolates_crashes", "restarts")
    def test_a_crash_is_a_failure_and_nothing_hangs(self, fresh: Lane, log: Log) -> None:
        """What a pool that is broken for good promises too; the next run has a new one."""
        batch = fresh.run(deadly(_kill, 2, 9, log), range(6))
        assert len(batch) == 6
        assert batch[2].error_code == "crashed", batch[2]
        assert batch[2].attempts == 3
        assert isinstance(batch[2].error, fl.WorkerCrashed)
        assert {failure.error_code for failure in batch.failures} == {"crashed"}
        assert fresh.run(lambda n: n, range(3)).values == [0, 1, 2]

    @if_promised("isolates_crashes", "replaces_workers")
    @pytest.mark.parametrize("die", [_exit, _kill])
    def test_crash_is_one_item_and_the_others_go_on(
        self, lane: Lane, log: Log, die: Callable[[], None]
    ) -> None:
        batch = lane.run(deadly(die, 2, 9, log), range(8))
        assert [(failure.index, failure.error_code) for failure in batch.failures] == [(2, "crashed")]
        assert batch[2].attempts == log.count("call", 2) == 3
        assert batch.values == [0, 1, 3, 4, 5, 6, 7]
        assert lane.run(lambda n: n, range(3)).values == [0, 1, 2]

    @if_promised("isolates_crashes", "replaces_workers")
    def test_crash_is_one_item_that_may_succeed_the_next_time(self, lane: Lane, log: Log) -> None:
        batch = lane.run(deadly(_kill, 2, 1, log), range(6))
        assert batch.values == list(range(6)), batch.failures
        assert [result.attempts for result in batch] == [1, 1, 2, 1, 1, 1]

    @if_promised("isolates_crashes")
    def test_a_crash_cannot_reach_the_caller(self, lane: Lane) -> None:
        """Red: it should not claim isolates_crashes."""
        pids = lane.run(lambda n: os.getpid(), range(4)).values
        assert os.getpid() not in pids, (
            "isolates_crashes is claimed, but calls run in the caller's own process"
        )

    # -- timeouts -------------------------------------------------------------------------------------------

    @if_promised("background", "several")
    def test_timeout_is_one_item_and_the_others_go_on(self, lane: Lane, log: Log) -> None:
        def sticks(n: int) -> int:
            if n == 1:
                log.wait_for("go")
            return n

        with releasing(log):
            batch = lane.run(lane.fetcher(sticks, timeout=self.timeout_s), range(6))
        assert [(failure.index, failure.error_code) for failure in batch.failures] == [(1, "timeout")]
        assert isinstance(batch[1].error, fl.AttemptTimeout)
        assert batch.complete

    @if_promised("background", "several")
    def test_timeout_is_one_item_that_may_succeed_the_next_time(self, lane: Lane, log: Log) -> None:
        def sticks_once(n: int) -> int:
            log.note("call", n)
            if n == 1 and log.count("call", n) == 1:
                log.wait_for("go")
            return n

        fetcher = lane.fetcher(sticks_once, timeout=self.timeout_s, retry=fl.Try(retry=2, sleep=0))
        with releasing(log):
            batch = lane.run(fetcher, range(5))
        assert batch.values == list(range(5)), batch.failures
        assert [result.attempts for result in batch] == [1, 2, 1, 1, 1]

    @if_promised("can_kill")
    def test_a_call_that_timed_out_is_ended(self, lane: Lane, bench: Bench, log: Log) -> None:
        """Red: it should not claim can_kill."""

        async def sticks_async(n: int) -> None:
            log.note("at", os.getpid())
            try:
                await asyncio.Event().wait()
            finally:
                log.note("ended")

        def sticks(n: int) -> None:
            log.note("at", os.getpid())
            log.wait_for("go")
            log.note("ended")

        body: Callable[[int], Any] = sticks_async if lane.is_async else sticks
        fetcher = fl.Fetcher.of(body, timeout=self.timeout_s)
        with releasing(log):
            assert lane.run(fetcher, [0])[0].error_code == "timeout"
            log.wait_for("at")
            (_, pid) = log.lines()[0]
            until(
                lambda: log.count("ended") or (pid != os.getpid() and gone(pid)),
                f"the call to be ended, as {bench.spec.name!r} claims by can_kill",
                patience=self.patience_s,
            )

    # -- stops ----------------------------------------------------------------------------------------------

    def test_a_cancelled_job_gives_what_it_has(self, lane: Lane, log: Log) -> None:
        job = lane.submit(stays_after(4, log), range(40))
        log.wait_for("at", 4)
        assert job.cancel()
        log.note("go")
        with pytest.raises(fl.BatchCancelled) as caught:
            job.result(timeout=20)
        is_partial(caught.value.batch)
        assert lane.run(lambda n: n, range(4)).values == [0, 1, 2, 3]

    @if_promised("background")
    def test_interrupt_keeps_work(self, lane: Lane, log: Log) -> None:
        if threading.current_thread() is not threading.main_thread():
            pytest.skip("signals reach the main thread only")
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            pytest.skip("SIGINT is somebody else's here, or ignored as in a shell's background jobs")

        def interrupt() -> None:
            log.wait_for("at", 4)
            os.kill(os.getpid(), signal.SIGINT)

        handler = signal.getsignal(signal.SIGINT)
        thread = threading.Thread(target=interrupt)
        thread.start()
        with releasing(log), pytest.raises(fl.BatchInterrupted) as caught:
            lane.run(stays_after(4, log), range(40))
        thread.join()
        is_partial(caught.value.batch)
        assert signal.getsignal(signal.SIGINT) is handler
        assert lane.run(lambda n: n, range(4)).values == [0, 1, 2, 3]


def stays_after(quick: int, log: Log) -> Callable[[int], int]:
    """A function that is done with the first items at once, and stays at the others until ``"go"``."""

    def stays(n: int) -> int:
        log.note("at", n)
        if n >= quick:
            log.wait_for("go")
        return n

    return stays


def is_partial(batch: fl.Batch[int]) -> None:
    assert len(batch) == 40
    assert batch.values[:4] == [0, 1, 2, 3]
    assert not batch.complete
    assert {failure.error_code for failure in batch.failures} == {"cancelled"}
