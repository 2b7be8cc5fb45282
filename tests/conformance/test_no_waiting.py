"""Inside ``no_waiting`` nothing waits, and nothing else is different."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import fetchline as fl
from fetchline.testing import flaky, no_waiting
from fetchline.waiting import waits

LONG = fl.Try(retry=4, sleep=60, jitter=0)


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    """Every wait left out is of a minute at least."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 20


async def same(n: int) -> int:
    return n


@pytest.mark.parametrize("executor", ["serial", "thread", "process", "asyncio"])
def test_a_run_makes_the_same_attempts_and_does_not_wait_between_them(executor: str) -> None:
    fetcher = fl.Fetcher.of(flaky(same if executor == "asyncio" else None, failures=3), retry=LONG)
    with no_waiting():
        batch = fl.run(fetcher, range(6), executor=executor, progress=None)
    assert batch.values == list(range(6))
    assert {result.attempts for result in batch} == {4}


def test_streams_jobs_and_runs_on_a_loop_do_not_wait_either() -> None:
    fetcher = fl.Fetcher.of(flaky(failures=2), retry=LONG)
    with no_waiting():
        assert [result.attempts for result in fl.stream(fetcher, range(3))] == [3, 3, 3]
        job = fl.submit(fetcher, range(3))
        on_loop = asyncio.run(fl.arun(fl.Fetcher.of(flaky(same, failures=2), retry=LONG), range(3)))
    assert job.result(timeout=10).values == on_loop.values == [0, 1, 2]


@pytest.mark.parametrize("policies", [{}, {"timeout": 30}], ids=["bare", "with a timeout"])
def test_direct_calls_do_not_wait_either(policies: Any) -> None:
    with no_waiting():
        assert fl.Fetcher.of(flaky(failures=3), retry=LONG, **policies)(7) == 7
        assert asyncio.run(fl.Fetcher.of(flaky(same, failures=3), retry=LONG, **policies)(7)) == 7
        with fl.Fetcher.of(flaky(failures=3), retry=LONG, **policies).open() as call:
            assert call(7) == 7


@pytest.mark.parametrize("signal", [fl.NotReady(60), fl.RetryAfter(60)])
def test_what_asks_for_a_pause_gets_none(signal: Exception) -> None:
    fetcher = fl.Fetcher.of(flaky(failures=2, error=signal))
    with no_waiting():
        batch = fl.run(fetcher, range(3), workers=1, progress=None)
        assert fetcher(7) == 7
    assert [result.attempts for result in batch] == [3, 3, 3]
    assert batch.summary.cooled_s == 0


def test_the_memo_of_what_is_not_ready_is_kept() -> None:
    def remote(n: int) -> Any:
        memo = fl.attempt().memo
        if memo is None:
            raise fl.NotReady(60, memo={"task": 17})
        return memo

    with no_waiting():
        assert fl.run(remote, [1], progress=None).values == [{"task": 17}]


def test_a_pace_is_left_out() -> None:
    slow = fl.Fetcher.of(lambda n: n, pace="2/min")
    with no_waiting():
        assert fl.run(slow, range(20), progress=None).values == list(range(20))
        assert [slow(n) for n in range(20)] == list(range(20))


@pytest.mark.parametrize(("after", "attempts"), [(60.0, 5), (70.0, 5), (100.0, 3), (300.0, 2), (301.0, 1)])
def test_what_is_never_ready_is_given_up_after_as_many_attempts_as_with_its_waits(
    after: float, attempts: int
) -> None:
    """Patience is 300 s, and no wait is quite as short as was asked: the fifth of 60 s would be too much."""

    def never(n: int) -> int:
        nonlocal calls
        calls += 1
        raise fl.NotReady(after)

    calls = 0
    with no_waiting():
        result = fl.run(never, [1], progress=None)[0]
        assert (result.error_code, result.attempts) == ("not_ready", attempts)
        calls = 0
        with pytest.raises(fl.NotReady):
            fl.Fetcher.of(never, retry=2)(1)
    assert calls == attempts


def test_what_is_charged_stays_charged() -> None:
    with no_waiting():
        batch = fl.run(fl.Fetcher.of(flaky(failures=9), retry=LONG), [1], progress=None)
    assert (batch[0].error_code, batch[0].attempts) == ("unavailable", 4)


def test_timeouts_hold() -> None:
    release = threading.Event()
    fetcher = fl.Fetcher.of(lambda n: release.wait(20), timeout=0.1, retry=fl.Try(retry=2, sleep=60))
    try:
        with no_waiting():
            batch = fl.run(fetcher, [1], progress=None)
        assert (batch[0].error_code, batch[0].attempts) == ("timeout", 2)
    finally:
        release.set()


# -- the switch --------------------------------------------------------------------------------------------


def test_it_is_over_with_the_last_of_the_blocks_that_overlap() -> None:
    entered, leave = threading.Event(), threading.Event()

    @no_waiting()
    def other() -> None:
        entered.set()
        leave.wait(20)

    thread = threading.Thread(target=other)
    with no_waiting():
        thread.start()
        assert entered.wait(10)
        with no_waiting():
            pass
        assert not waits()
    assert not waits()
    leave.set()
    thread.join()
    assert waits()


def test_it_is_over_when_the_block_raises() -> None:
    with pytest.raises(ZeroDivisionError), no_waiting():
        raise ZeroDivisionError
    assert waits()


def test_it_decorates_functions_coroutine_functions_and_generators() -> None:
    @no_waiting()
    def plain(answer: int, *, more: int = 0) -> Any:
        """Say it."""
        return waits(), answer, more

    @no_waiting()
    async def coroutine() -> bool:
        await asyncio.sleep(0)
        return waits()

    @no_waiting()
    def generator() -> Iterator[bool]:
        yield waits()
        yield waits()

    assert plain(1, more=2) == (False, 1, 2)
    assert (plain.__name__, plain.__doc__) == ("plain", "Say it.")
    assert asyncio.run(coroutine()) is False
    assert list(generator()) == [False, False]
    assert waits()


def test_a_run_that_began_outside_waits_though_a_block_is_entered_meanwhile() -> None:
    def first_time(n: int) -> float:
        began.set()
        inside.wait(10)
        if fl.attempt().number == 1:
            raise ConnectionError
        return n

    began, inside = threading.Event(), threading.Event()
    job = fl.submit(fl.Fetcher.of(first_time, retry=fl.Try(retry=2, sleep=0.2, jitter=0)), [1])
    assert began.wait(10)
    with no_waiting():
        inside.set()
        assert job.result(timeout=10)[0].waited_s >= 0.2
