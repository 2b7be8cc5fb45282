"""Guarantee 7: a worker that dies costs its own item one of three crashes, and nobody else anything."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from lanes import Log, gone, until

import fetchline as fl

PROCESS: dict[str, Any] = {"executor": "process", "workers": 2, "progress": None}


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _exit() -> None:
    os._exit(3)


def _abort() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.abort()


@pytest.mark.parametrize(("die", "code"), [(_kill, -9), (_exit, 3), (_abort, -6)])
def test_crash_is_one_item_that_fails_after_three_and_the_others_go_on(die: Any, code: int, log: Log) -> None:
    def deadly(n: int) -> int:
        log.note("call", n)
        if n == 5:
            die()
        return n

    batch = fl.run(deadly, range(12), **PROCESS)
    assert [failure.index for failure in batch.failures] == [5]
    failure = batch[5]
    assert (failure.error_code, failure.attempts) == ("crashed", 3)
    assert isinstance(failure.error, fl.WorkerCrashed)
    assert failure.error.exit_code == code
    assert log.count("call", 5) == 3
    assert batch.complete
    assert batch.values == [n for n in range(12) if n != 5]


def test_crash_is_one_item_and_it_may_succeed_the_next_time(log: Log) -> None:
    def once(n: int) -> int:
        log.note("call", n)
        if n % 4 == 0 and log.count("call", n) == 1:
            _kill()
        return n

    batch = fl.run(once, range(16), **PROCESS)
    assert batch.values == list(range(16))
    assert [result.attempts for result in batch] == [2 if n % 4 == 0 else 1 for n in range(16)]


def test_crash_is_one_item_among_many_cheap_ones_of_its_chunk() -> None:
    def deadly(n: int) -> int:
        if n in (700, 1500):
            _kill()
        return n

    batch = fl.run(deadly, range(3000), **PROCESS)
    assert [failure.index for failure in batch.failures] == [700, 1500]
    assert {result.attempts for result in batch if result.is_success} == {1}
    assert batch.n_succeeded == 2998


def test_crash_is_one_item_when_a_worker_is_killed_by_its_pid_from_outside(log: Log) -> None:
    def waits(n: int) -> int:
        log.note("at", n, os.getpid())
        if n == 3 and log.count("at", n) == 1:
            log.wait_for("never")
        return n

    job = fl.submit(waits, range(8), **PROCESS)
    log.wait_for("at", 3)
    victim = next(pid for _, n, pid in log.lines() if n == 3)
    os.kill(victim, signal.SIGKILL)
    batch = job.result(timeout=20)
    assert batch.values == list(range(8))
    assert [result.attempts for result in batch] == [2 if n == 3 else 1 for n in range(8)]
    until(lambda: gone(victim), "the killed worker to be reaped")


def test_crash_is_one_item_each_when_all_workers_are_killed_at_once(log: Log) -> None:
    def waits(n: int) -> int:
        log.note("at", n, os.getpid())
        if n in (0, 1) and log.count("at", n) == 1:
            log.wait_for("never")
        return n

    job = fl.submit(waits, range(6), **PROCESS)
    log.wait_for("at", 0)
    log.wait_for("at", 1)
    for _, n, pid in log.lines():
        if n in (0, 1):
            os.kill(pid, signal.SIGKILL)
    assert job.result(timeout=20).values == list(range(6))


def test_crash_is_one_item_even_if_the_fork_server_goes_too(log: Log) -> None:
    def waits(n: int) -> int:
        log.note("at", n, os.getpid(), os.getppid())
        if n == 0 and log.count("at", n) == 1:
            log.wait_for("never")
        return n

    job = fl.submit(waits, range(6), **PROCESS)
    log.wait_for("at", 0)
    _, _, worker, server = next(line for line in log.lines() if line[1] == 0)
    assert server != os.getpid()
    os.kill(server, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    assert job.result(timeout=20).values == list(range(6))
    assert fl.run(abs, [-1, -2], **PROCESS).values == [1, 2]


def test_crash_is_one_item_of_a_stream_and_order_holds() -> None:
    def deadly(n: int) -> int:
        if n == 10:
            _kill()
        return n

    results = list(fl.stream(deadly, iter(range(300)), **PROCESS))
    assert [result.index for result in results] == list(range(300))
    assert [result.index for result in results if result.is_failure] == [10]


def test_crash_is_one_item_and_not_charged_to_its_retries(log: Log) -> None:
    def unlucky(n: int) -> int:
        log.note("call")
        match log.count("call"):
            case 1 | 3:
                _kill()
            case 2:
                raise ConnectionError("charged")
        return n

    fetcher = fl.Fetcher.of(unlucky, retry=fl.Try(retry=2, sleep=0))
    result = fl.run(fetcher, [1], **PROCESS)[0]
    assert result.is_success, result
    assert result.attempts == 4


def test_crash_is_one_item_whose_write_is_never_sent_again(log: Log) -> None:
    def writes(n: int) -> int:
        log.note("call", n)
        if n == 1:
            _kill()
        return n

    batch = fl.run(fl.Fetcher.of(writes, idempotent=False, retry=5), range(4), **PROCESS)
    assert [(f.index, f.error_code) for f in batch.failures] == [(1, "unknown_outcome")]
    assert [log.count("call", n) for n in range(4)] == [1, 1, 1, 1]


def test_crash_is_one_item_on_a_warm_pool_that_goes_on_afterwards() -> None:
    def deadly(n: int) -> int:
        if n == 0:
            _exit()
        return n

    with fl.get_executor("process", max_workers=2) as pool:
        assert fl.run(deadly, range(5), executor=pool, progress=None).n_failed == 1
        assert fl.run(abs, range(5), executor=pool, progress=None).values == [0, 1, 2, 3, 4]
        future = pool.submit(_exit)
        assert isinstance(future.exception(timeout=10), fl.WorkerCrashed)
        assert pool.submit(abs, -1).result(timeout=10) == 1
