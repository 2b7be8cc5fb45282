"""Faults of a whole run: it is stopped, left or abandoned, or what carries it dies; on every executor."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from lanes import Log, gone, until

import fetchline as fl

from .executors import EXECUTORS, Executor, named
from .stays import DONE, stays
from .trial import finished, no_worker_is_left

SLACK_S = 0.5  # for a busy machine


def on(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("executor", [pytest.param(named(name), id=name) for name in names])


WIDE = [executor.name for executor in EXECUTORS if executor.name != "serial"]
OURS = ("process", "spawn", "coroutines")


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    yield
    no_worker_is_left()


def echo(executor: Executor) -> Any:
    return fl.Fetcher.of(executor.function(lambda n: n, None), "echo")


# -- stopped -----------------------------------------------------------------------------------------------


@on("serial", *WIDE)
def test_a_deadline_ends_the_run_and_the_batch_has_what_was_finished(executor: Executor, log: Log) -> None:
    # Nothing can end a call in the calling thread: it comes back by itself, and its value counts.
    serial = executor.name == "serial"
    fetcher = stays(log, executor, seconds=1.5 if serial else 15)
    deadline = 2.0 if executor.far else 1.0  # an interpreter may have to start first
    began = time.monotonic()
    with executor.options() as options:
        try:
            batch = finished(lambda: fl.run(fetcher, range(30), deadline=deadline, **options))
            took = time.monotonic() - began
        finally:
            log.note("release")
    assert log.count("at", DONE)
    assert batch.values == list(range(DONE + serial))
    assert len(batch) == 30
    assert {failure.error_code for failure in batch.failures} == {"deadline"}
    assert (batch.complete, batch.summary.stopped) == (False, "deadline")
    assert took < deadline + 1.5 + SLACK_S
    unwound(executor, log)


@on("serial", *WIDE)
def test_a_cancelled_job_keeps_what_was_finished(executor: Executor, log: Log) -> None:
    serial = executor.name == "serial"
    with executor.options() as options:
        try:
            job = fl.submit(stays(log, executor), range(30), **options)
            log.wait_for("at", DONE)
            if not serial:  # it collects between two calls only
                until(lambda: job.progress.done == DONE, "what is finished to be collected")
            began = time.monotonic()
            assert job.cancel()
            if serial:
                log.note("release")
            with pytest.raises(fl.BatchCancelled) as caught:
                job.result(timeout=15)
            took = time.monotonic() - began
        finally:
            log.note("release")
    assert caught.value.batch.values == list(range(DONE + serial))
    assert {failure.error_code for failure in caught.value.batch.failures} == {"cancelled"}
    assert len(caught.value.batch) == 30
    assert took < 1.5 + SLACK_S
    unwound(executor, log)


def unwound(executor: Executor, log: Log) -> None:
    """On a loop of this process what was stopped has been cancelled; a worker process is ended instead."""
    if executor.name == "asyncio":
        assert log.count("unwound") == log.count("at") - DONE


@on("serial", *WIDE)
def test_an_arun_whose_task_is_cancelled_ends_its_attempts(executor: Executor, log: Log) -> None:
    async def main() -> float:
        with executor.options() as options:
            try:
                task = asyncio.create_task(fl.arun(stays(log, executor, done=0), range(20), **options))
                while not log.count("at"):
                    await asyncio.sleep(0.005)
                began = time.monotonic()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                return time.monotonic() - began
            finally:
                log.note("release")

    assert finished(lambda: asyncio.run(main())) < 1.5 + SLACK_S
    if executor.name == "asyncio":
        assert log.count("unwound") == log.count("at")


# -- the consumer ------------------------------------------------------------------------------------------


class Tap:
    """An endless input that knows how far it was ahead of the consumer at the most, and that it was closed."""

    def __init__(self) -> None:
        self.drawn = self.passed_on = self.ahead = 0
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[int]:
        try:
            while True:
                self.drawn += 1
                self.ahead = max(self.ahead, self.drawn - self.passed_on)
                yield self.drawn - 1
        finally:
            self.closed.set()


@on("serial", *WIDE)
def test_a_stream_that_is_left_early_ends_its_workers_and_its_input(executor: Executor) -> None:
    tap = Tap()

    def leave() -> int:
        with executor.options() as options:
            stream: Any = fl.stream(echo(executor), iter(tap), window=16, **options)
            assert [next(stream).value for _ in range(5)] == list(range(5))
            stream.close()
            return tap.drawn

    drawn = finished(leave)
    gc.collect()
    until(tap.closed.is_set, "the input to be closed")
    assert tap.drawn == drawn <= 5 + 16 + 1


@on("serial", *WIDE)
def test_a_slow_consumer_stops_the_producer_at_the_window(executor: Executor) -> None:
    tap = Tap()

    def read() -> None:
        with executor.options() as options:
            stream: Any = fl.stream(echo(executor), iter(tap), window=8, **options)
            for number in range(1, 41):
                assert next(stream).value == number - 1
                tap.passed_on = number
            stream.close()

    finished(read)
    assert tap.ahead <= 8 + 1  # the one in the consumer's hand is not yet asked past


@on(*WIDE)
def test_a_slow_head_idles_nobody_until_the_window_is_reached(executor: Executor, log: Log) -> None:
    """Item 0 waits until every other of the window was called; nothing past it is."""

    def fetch(n: int) -> int:
        if n == 0:
            log.wait_for("at", times=15)
            time.sleep(0.1)  # time for one too many
            log.note("head", log.count("at"))
        log.note("at", n)
        return n

    async def fetch_async(n: int) -> int:
        if n == 0:
            while log.count("at") < 15:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.1)
            log.note("head", log.count("at"))
        log.note("at", n)
        return n

    fetcher = fl.Fetcher.of(executor.function(fetch, fetch_async), "head")
    with executor.options() as options:
        if executor.name == "processpool":
            options["workers"] = 2  # one would be at the head itself
        stream = fl.stream(fetcher, iter(range(40)), window=16, **options)
        assert [result.value for result in stream] == list(range(40))
    assert log.count("head", 15) == 1


# -- what carries it ---------------------------------------------------------------------------------------


@on("thread", "asyncio", "threadpool")
def test_too_many_stuck_attempts_stop_the_run_with_an_error(executor: Executor, log: Log) -> None:
    def fetch(n: int) -> None:
        log.note("at", n)
        log.wait_for("release")

    async def fetch_async(n: int) -> None:
        log.note("at", n)
        until = time.monotonic() + 0.8  # soon enough for the loop to see its end
        while time.monotonic() < until:
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                log.note("swallowed", n)

    fetcher = fl.Fetcher.of(executor.function(fetch, fetch_async), "sticks", timeout=0.1)
    with executor.options() as options:
        try:
            if executor.name == "threadpool":
                # Its places stay taken, so there are never more than it has: all it can do is wait for one.
                batch = finished(lambda: fl.run(fetcher, range(4), **options))
                assert batch.summary.codes == {"timeout": 4}
            else:
                with pytest.raises(fl.BatchError, match="stuck past their timeout"):
                    finished(lambda: fl.run(fetcher, range(100), **options))
        finally:
            log.note("release")
    assert log.count("at") >= 4


@on(*OURS)
def test_workers_that_died_while_they_were_idle_cost_nobody_anything(executor: Executor, log: Log) -> None:
    def place(n: int) -> int:
        time.sleep(0.02)
        return os.getpid()

    start = "spawn" if executor.name == "spawn" else "forkserver"
    width = {"concurrency": 4} if executor.name == "coroutines" else {}
    fetcher = fl.Fetcher.of(executor.function(place, None), "place", idempotent=False)
    with fl.get_executor(fl.use("process", start=start), max_workers=2) as pool:
        pids = set(fl.run(fetcher, range(8), executor=pool, progress=None, **width).values)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            until(lambda pid=pid: gone(pid), f"worker {pid} to be gone")  # type: ignore[misc]
        batch = finished(lambda: fl.run(fetcher, range(8), executor=pool, progress=None, **width))
    assert batch.n_succeeded == 8, batch.failures
    assert {result.attempts for result in batch} == {1}
    assert not pids & set(batch.values)


def test_a_broken_pool_of_processes_that_was_given_stays_broken_and_the_batch_says_so(log: Log) -> None:
    """It is not ours to replace: nobody would shut the other one down."""

    def fetch(n: int) -> int:
        log.note("at", n)
        if n == DONE:
            os._exit(3)
        return n

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        batch = finished(lambda: fl.run(fetch, range(12), executor=pool, progress=None))
    assert batch.values == list(range(DONE))
    assert batch.summary.codes == {"crashed": 12 - DONE}
    assert all(isinstance(failure.error, fl.WorkerCrashed) for failure in batch.failures)
    assert log.count("at") == DONE + 1
    assert batch[11].attempts <= 1


@on("process", "coroutines")
def test_a_fork_server_that_is_killed_costs_nobody_anything(executor: Executor, log: Log) -> None:
    """Those at work go on; who is started later comes from another server."""

    def fetch(n: int) -> int:
        log.note("at", n, os.getpid(), os.getppid())
        if n == 0:
            log.wait_for("killed")
        return n

    async def fetch_async(n: int) -> int:
        log.note("at", n, os.getpid(), os.getppid())
        while n == 0 and not log.count("killed"):
            await asyncio.sleep(0.005)
        return n

    fetcher = fl.Fetcher.of(executor.function(fetch, fetch_async), "fetch")
    with executor.options() as options:
        job = fl.submit(fetcher, range(20), **options)
        log.wait_for("at", 0)
        server = next(line[3] for line in log.lines() if line[1] == 0)
        assert server != os.getpid()
        os.kill(server, signal.SIGKILL)
        until(lambda: gone(server), "the fork server to be gone")
        log.note("killed")
        batch = job.result(timeout=15)
        assert batch.values == list(range(20))
        assert {result.attempts for result in batch} == {1}
        again = fl.run(fetcher, range(3), **options)
        assert again.values == list(range(3))
    assert server not in {line[3] for line in log.lines()[-3:]}
