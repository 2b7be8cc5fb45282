"""The executor as ``concurrent.futures`` defines one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Any

import pytest

from fetchline.testing import calls
from fetchline.testing.evidence import Log, gone, until
from fetchline.testing.executors.bench import Bench, Settings
from fetchline.testing.suites import if_promised

__all__ = ["Futures"]

WAIT_S = 20


class Futures(Settings):
    """What fetchline, and everybody else, takes from a plain executor."""

    # -- submit ---------------------------------------------------------------------------------------------

    def test_submit_gives_a_future_of_the_standard_library(self, pool: Any) -> None:
        future = pool.submit(divmod, 7, 2)
        assert isinstance(future, Future)
        assert future.result(timeout=WAIT_S) == (3, 1)
        assert future.done()
        assert not future.cancelled()
        assert future.exception() is None

    def test_submit_passes_on_every_argument(self, pool: Any) -> None:
        assert pool.submit(calls.arguments, 1, 2, n=3).result(WAIT_S) == ((1, 2), {"n": 3})

    def test_an_exception_is_carried_and_hurts_no_other_call(self, pool: Any) -> None:
        error = pool.submit(calls.fail, "nobody", 7).exception(timeout=WAIT_S)
        assert type(error) is LookupError
        assert error.args == ("nobody", 7)
        assert pool.submit(abs, -1).result(WAIT_S) == 1

    def test_callbacks_are_called_once_with_the_future(self, pool: Any) -> None:
        called: list[Future[Any]] = []
        future = pool.submit(abs, -1)
        future.add_done_callback(called.append)
        until(lambda: called, "the callback")
        future.add_done_callback(called.append)
        assert called == [future, future]

    def test_wait_and_as_completed_take_its_futures(self, pool: Any) -> None:
        futures = [pool.submit(abs, -n) for n in range(5)]
        found = concurrent.futures.as_completed(futures, timeout=WAIT_S)
        assert {future.result() for future in found} == set(range(5))
        done, missing = concurrent.futures.wait(futures, timeout=WAIT_S)
        assert len(done) == 5
        assert not missing

    def test_a_future_can_be_awaited(self, pool: Any) -> None:
        async def main() -> Any:
            return await asyncio.wrap_future(pool.submit(abs, -3))

        assert asyncio.run(main()) == 3

    @if_promised("background")
    def test_a_result_is_waited_for_no_longer_than_its_timeout(self, pool: Any, log: Log) -> None:
        future = pool.submit(calls.hold, log)
        log.wait_for("in")
        with pytest.raises(TimeoutError):
            future.result(timeout=0.01)
        with pytest.raises(TimeoutError):
            future.exception(timeout=0)
        log.note("go")
        assert future.result(timeout=WAIT_S) == 0

    @if_promised("background")
    def test_no_more_calls_run_at_once_than_there_are_workers(self, bench: Bench, log: Log) -> None:
        calls_in_all = 4 * bench.workers
        futures = [bench.pool.submit(calls.stay, log, n) for n in range(calls_in_all)]
        try:
            for released in range(calls_in_all):
                # One is let go, and one takes its place.
                log.wait_for("in", times=min(released + bench.workers, calls_in_all))
                began = [n for what, n in log.lines() if what == "in"]
                assert len(began) <= released + bench.workers
                log.note("go", began[released])
        finally:
            for n in range(calls_in_all):
                log.note("go", n)
        assert [future.result(WAIT_S) for future in futures] == list(range(calls_in_all))

    # -- map ------------------------------------------------------------------------------------------------

    def test_map_keeps_the_order_and_takes_several_iterables(self, pool: Any) -> None:
        assert list(pool.map(pow, [2, 3, 4], [3, 2, 1])) == [8, 9, 4]
        assert list(pool.map(abs, [])) == []

    def test_map_raises_at_the_place_of_the_error(self, pool: Any) -> None:
        values = pool.map(int, ["1", "x", "3"])
        assert next(values) == 1
        with pytest.raises(ValueError, match="x"):
            next(values)

    # -- cancel ---------------------------------------------------------------------------------------------

    @if_promised("background")
    def test_a_queued_call_can_be_cancelled_and_never_runs(self, bench: Bench, log: Log) -> None:
        pool = bench.pool
        # Pools prefetch: what waits behind so many is in the queue for sure.
        held = [pool.submit(calls.hold, log, n) for n in range(4 * bench.workers + 4)]
        queued = pool.submit(calls.note, log, "ran")
        assert queued.cancel()
        assert queued.cancelled()
        log.note("go")
        assert [future.result(WAIT_S) for future in held] == list(range(len(held)))
        with pytest.raises(CancelledError):
            queued.result(0)
        assert pool.submit(abs, -1).result(WAIT_S) == 1
        assert log.count("ran") == 0

    # -- the end --------------------------------------------------------------------------------------------

    @if_promised("restarts")
    def test_after_shutdown_nothing_is_taken_and_it_may_be_repeated(self, bench: Bench) -> None:
        pool = started(bench)
        pool.shutdown()
        with pytest.raises(RuntimeError):
            pool.submit(abs, -1)
        pool.shutdown(wait=False)
        pool.shutdown()

    @if_promised("restarts")
    def test_the_with_block_finishes_what_was_submitted_and_leaves_nothing(self, bench: Bench) -> None:
        before = set(threading.enumerate())
        with started(bench) as pool:
            futures = [pool.submit(calls.pid, n) for n in range(6)]
        assert all(future.done() for future in futures)
        for pid in {future.result() for future in futures} - {os.getpid()}:
            until(partial(gone, pid), f"worker process {pid} to be gone")
        until(lambda: set(threading.enumerate()) <= before, "its threads to end")

    @if_promised("restarts", "background", "cancels_futures")
    def test_shutdown_with_cancel_futures_finishes_what_runs_and_cancels_the_queue(
        self, bench: Bench, log: Log
    ) -> None:
        pool = started(bench)
        running = pool.submit(calls.hold, log)
        log.wait_for("in", 0)
        queued = [pool.submit(calls.hold, log, n) for n in range(1, 4 * bench.workers + 4)]
        pool.shutdown(wait=False, cancel_futures=True)
        log.note("go")
        assert running.result(WAIT_S) == 0
        until(lambda: all(future.done() for future in queued), "the queue to be empty")
        assert queued[-1].cancelled()
        until(lambda: log.count("in") == log.count("out"), "what had begun to be finished")


def started(bench: Bench) -> Any:
    """Another pool of the same kind."""
    assert bench.start is not None
    return bench.start(bench.workers)
