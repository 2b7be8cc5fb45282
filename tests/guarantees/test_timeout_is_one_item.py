"""Guarantee 8: an attempt that takes too long is a value, and what is stuck is nobody else's affair."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

import pytest
from lanes import Lane, Log, gone, lane_of, until

import fetchline as fl

TIMED = ("thread", "process", "asyncio", "pool")


@pytest.mark.parametrize("name", TIMED)
def test_timeout_is_one_item_and_the_others_go_on(name: str, log: Log) -> None:
    def sticks(n: int) -> int:
        if n == 2:
            log.wait_for("release")
        return n

    try:
        with lane_of(name) as lane:
            batch = lane.run(lane.fetcher(sticks, timeout=0.3), range(10))
            log.note("release")
    finally:
        log.note("release")
    assert [failure.index for failure in batch.failures] == [2]
    failure = batch[2]
    assert (failure.error_code, failure.attempts) == ("timeout", 1)
    assert isinstance(failure.error, fl.AttemptTimeout)
    assert isinstance(failure.error, TimeoutError)
    assert "'2'" in failure.message
    assert "0.3 s" in failure.message
    assert batch.complete


@pytest.mark.parametrize("name", TIMED)
def test_timeout_is_one_item_even_where_there_is_one_worker(name: str, log: Log) -> None:
    """The stuck worker is replaced; a pool of the standard library has nothing to replace it with."""

    def sticks(n: int) -> int:
        if n == 0:
            log.wait_for("release", patience=3 if name == "pool" else 20)
        return n

    try:
        with lane_of(name, width=1) as lane:
            batch = lane.run(lane.fetcher(sticks, timeout=0.3), range(4))
            log.note("release")
    finally:
        log.note("release")
    assert batch.values == [1, 2, 3] or (name == "pool" and len(batch) == 4)
    assert batch[0].error_code == "timeout"


@pytest.mark.parametrize("name", TIMED)
def test_timeout_is_one_item_that_may_succeed_the_next_time(name: str, log: Log) -> None:
    def sticks_once(n: int) -> int:
        log.note("call", n)
        if n == 1 and log.count("call", n) == 1:
            log.wait_for("release")
        return n

    try:
        with lane_of(name) as lane:
            fetcher = lane.fetcher(sticks_once, timeout=0.3, retry=fl.Try(retry=2, sleep=0))
            batch = lane.run(fetcher, range(6))
            log.note("release")
    finally:
        log.note("release")
    assert batch.values == list(range(6))
    assert [result.attempts for result in batch] == [1, 2, 1, 1, 1, 1]


@pytest.mark.parametrize("name", TIMED)
def test_timeout_is_one_item_and_a_late_answer_is_never_taken_for_it(name: str, log: Log) -> None:
    """The first attempt of item 0 answers while the second is under way."""

    def late(n: int) -> str:
        log.note("call", n)
        number = log.count("call", n)
        if n == 0 and number == 1:
            log.wait_for("call", 0, times=2)
            log.note("late")
            return "late"
        if n == 0:
            if name != "process":  # its process was ended: nothing can come late
                log.wait_for("late")
            return "in time"
        return "other"

    with lane_of(name, width=2) as lane:
        fetcher = lane.fetcher(late, timeout=0.4, retry=fl.Try(retry=2, sleep=0))
        batch = lane.run(fetcher, range(3))
    assert batch.values == ["in time", "other", "other"]


def test_timeout_is_one_item_whose_process_is_ended(log: Log) -> None:
    def sticks(n: int) -> int:
        log.note("at", n, os.getpid())
        if n == 1:
            log.wait_for("never", patience=60)
        return os.getpid()

    fetcher = fl.Fetcher.of(sticks, timeout=0.3)
    batch = fl.run(fetcher, range(6), executor="process", workers=2, progress=None)
    stuck = next(pid for _, n, pid in log.lines() if n == 1)
    assert batch.n_succeeded == 5
    assert "its process was ended" in batch[1].message
    until(lambda: gone(stuck), "the stuck process to be gone", patience=3)


def test_timeout_is_one_item_among_cheap_ones_of_its_chunk(log: Log) -> None:
    def sticks(n: int) -> int:
        if n == 900:
            log.wait_for("never", patience=60)
        return n

    fetcher = fl.Fetcher.of(sticks, timeout=0.4)
    batch = fl.run(fetcher, range(2000), executor="process", workers=2, progress=None)
    assert [(f.index, f.error_code) for f in batch.failures] == [(900, "timeout")]


def test_timeout_is_one_item_whose_coroutine_is_cancelled() -> None:
    unwound = []

    async def sticks(n: int) -> int:
        try:
            if n == 1:
                await asyncio.Event().wait()
        finally:
            unwound.append(n)
        return n

    batch = fl.run(fl.Fetcher.of(sticks, timeout=0.2), range(3), progress=None)
    assert batch.values == [0, 2]
    assert sorted(unwound) == [0, 1, 2]


def test_timeout_is_one_item_though_its_coroutine_swallows_the_cancellation() -> None:
    async def stubborn(n: int) -> int:
        if n == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return -1
        return n

    batch = fl.run(fl.Fetcher.of(stubborn, timeout=0.2), range(3), progress=None)
    assert batch.values == [0, 2]
    assert batch[1].error_code == "timeout"


def test_timeout_is_one_item_until_too_many_threads_are_stuck() -> None:
    release = threading.Event()

    def sticks(n: int) -> int:
        release.wait(20)
        return n

    try:
        with pytest.raises(fl.BatchError, match=r"stuck past their timeout.*in its \.batch") as caught:
            fl.run(fl.Fetcher.of(sticks, timeout=0.1), range(100), workers=2, progress=None)
        assert caught.value.batch.summary.codes["timeout"] >= 4
    finally:
        release.set()


def test_timeout_is_one_item_with_one_worker_and_retries_too() -> None:
    """When the last of its attempts makes too many, everything else is done, and there is nothing to stop."""
    release = threading.Event()

    def sticks(n: int) -> int:
        if n == 1:
            release.wait(20)
        return n

    fetcher = fl.Fetcher.of(sticks, timeout=0.3, retry=fl.Try(3, sleep=0.1))
    try:
        batch = fl.run(fetcher, range(4), workers=1, progress=None)
        assert batch.values == [0, 2, 3]
        assert (batch[1].error_code, batch[1].attempts) == ("timeout", 3)
        assert batch.complete
    finally:
        release.set()


def test_timeout_is_one_item_and_the_wait_for_a_slot_does_not_count(log: Log) -> None:
    """Two places, eight items, each of more than half the timeout."""

    def slow(n: int) -> int:
        time.sleep(0.25)
        return n

    for name in ("thread", "process", "asyncio"):
        with lane_of(name, width=2) as lane:
            assert lane.run(lane.fetcher(slow, timeout=0.45), range(8)).values == list(range(8))


@pytest.mark.parametrize("name", ["thread", "process", "asyncio"])
def test_timeout_is_one_item_and_a_login_does_not_count(name: str) -> None:
    class Slow:
        def __enter__(self) -> str:
            time.sleep(0.6)
            return "in"

        def __exit__(self, *_: object) -> None:
            pass

    def uses(n: int, *, session: Any = fl.injected) -> str:
        return str(session)

    with lane_of(name, width=2) as lane:
        batch = lane.run(lane.fetcher(uses, session=Slow, timeout=0.4), range(4))
        assert batch.values == ["in"] * 4, batch.failures


def test_timeout_is_one_item_of_the_serial_executor_too_or_is_refused() -> None:
    """It has no other thread: the attempt runs to its end, and the run must come to its own."""

    def slow(n: int) -> int:
        if n == 1:
            time.sleep(0.4)
        return n

    answers: list[Any] = []

    def call() -> None:
        try:
            fetcher = fl.Fetcher.of(slow, timeout=0.2)
            answers.append(fl.run(fetcher, range(3), executor="serial", progress=None))
        except (TypeError, ValueError) as error:
            answers.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "the run hangs"
    if not isinstance(answers[0], Exception):
        assert len(answers[0]) == 3
        assert answers[0][0].value == 0
        assert answers[0][2].value == 2


EXIT = """
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
import fetchline as fl

def sticks(n):
    if n == 1:
        threading.Event().wait()
    return n

async def sticks_async(n):
    if n == 1:
        time.sleep(3600)
    return n

name = sys.argv[1]
function = sticks_async if name == "asyncio" else sticks
fetcher = fl.Fetcher.of(function, timeout=0.2)
batch = fl.run(fetcher, range(4), executor=name, progress=None, workers=None if name == "asyncio" else 2)
print("done", batch.n_succeeded, [f.error_code for f in batch.failures], flush=True)
print("left", time.monotonic(), flush=True)
"""


@pytest.mark.parametrize("name", ["thread", "process"])
def test_timeout_is_one_item_that_never_keeps_the_interpreter_from_exiting(name: str, script) -> None:  # type: ignore[no-untyped-def]
    run = script(EXIT, name)
    assert run.wait_for("done") == "3 ['timeout']"
    left = float(run.wait_for("left"))
    assert run.end(10) == 0, run.stderr
    assert time.monotonic() - left < 3
    until(lambda: not run.leftover(), "its processes to be gone", patience=5)


def test_timeout_is_one_item_and_the_warm_pool_serves_the_next_run() -> None:
    release = threading.Event()

    def sticks(n: int) -> int:
        if n == 0:
            release.wait(20)
        return n

    try:
        with fl.get_executor("thread", max_workers=2) as pool:
            batch = fl.run(fl.Fetcher.of(sticks, timeout=0.2), range(4), executor=pool, progress=None)
            assert batch.n_failed == 1
            assert fl.run(abs, range(20), executor=pool, progress=None).n_succeeded == 20
    finally:
        release.set()


def test_timeout_is_one_item_that_may_have_been_written_and_is_not_sent_again(lane: Lane, log: Log) -> None:
    if lane.name == "serial":
        pytest.skip("it has no timeouts")

    def writes(n: int) -> int:
        log.note("call", n)
        if n == 1:
            log.wait_for("release")
        return n

    fetcher = lane.fetcher(writes, timeout=0.3, retry=3, idempotent=False)
    try:
        batch = lane.run(fetcher, range(4))
    finally:
        log.note("release")
    assert batch[1].error_code == "unknown_outcome"
    assert log.count("call", 1) == 1
