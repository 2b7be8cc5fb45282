"""Guarantee 11: a pace holds across all workers of a run, retries included."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from lanes import LANES, Lane, Log, Script, lane_of

import fetchline as fl

EARLY_S = 0.03
"""A start is noted by the worker a moment after it was granted, and not always the same moment."""
LOADING_S = 0.05
"""A process loads the function before its first attempt of a run: that one is noted later still."""


@pytest.fixture(params=LANES)
def lane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    """Its processes are up already: what is measured is when attempts start, not how long a process takes."""
    with lane_of(request.param) as cold:
        if not cold.far:
            yield cold
            return
        met = Log(tmp_path_factory.mktemp("warm") / "log")

        def meet(n: int) -> None:
            met.note("in")
            met.wait_for("in", times=2)

        with fl.get_executor("process", max_workers=2) as pool:
            assert cold.run(meet, range(2), executor=pool).n_succeeded == 2
            yield replace(cold, executor=pool)


def early(lane: Lane) -> float:
    return EARLY_S + LOADING_S * lane.far


def starts(log: Log) -> list[float]:
    return sorted(when for _, when in log.lines())


def never_more_than(times: list[float], count: int, period: float, early_s: float) -> bool:
    return all(
        later - earlier >= period - early_s for earlier, later in zip(times, times[count:], strict=False)
    )


def test_pace_is_global_over_all_workers(lane: Lane, log: Log) -> None:
    def paced(n: int) -> int:
        log.note("start", time.monotonic())
        return n

    assert lane.run(lane.fetcher(paced, pace="20/s"), range(9)).values == list(range(9))
    times = starts(log)
    assert len(times) == 9
    assert times[-1] - times[0] >= 8 / 20 - early(lane)
    assert times[-1] - times[0] < 3
    # One start of catch-up is allowed, so two in one interval, never three.
    assert never_more_than(times, 2, 1 / 20, early(lane))


def test_pace_is_global_with_retries_counted(lane: Lane, log: Log) -> None:
    def paced(n: int) -> int:
        log.note("start", time.monotonic())
        if fl.attempt().number == 1:
            raise ConnectionError
        return n

    fetcher = lane.fetcher(paced, pace="20/s", retry=fl.Try(retry=2, sleep=0))
    assert lane.run(fetcher, range(5)).values == list(range(5))
    times = starts(log)
    assert len(times) == 10
    assert times[-1] - times[0] >= 9 / 20 - early(lane)


def test_pace_is_global_over_a_longer_window_too(lane: Lane, log: Log) -> None:
    def paced(n: int) -> int:
        log.note("start", time.monotonic())
        return n

    batch = lane.run(lane.fetcher(paced, pace="100/s, 4/0.5s"), range(9))
    assert batch.values == list(range(9))
    times = starts(log)
    assert never_more_than(times, 4, 0.5, early(lane))
    assert times[-1] - times[0] >= 1.0 - early(lane)


def test_pace_is_global_over_streams_and_jobs(lane: Lane, log: Log) -> None:
    def paced(n: int) -> int:
        log.note("start", time.monotonic())
        return n

    fetcher = lane.fetcher(paced, pace="50/s")
    assert [r.value for r in lane.stream(fetcher, iter(range(6)))] == list(range(6))
    assert lane.submit(fetcher, range(6)).result(timeout=10).values == list(range(6))
    times = starts(log)
    for part in (times[:6], times[6:]):
        assert part[-1] - part[0] >= 5 / 50 - early(lane)


def test_pace_is_global_over_direct_calls_of_one_fetcher(log: Log) -> None:
    fetcher = fl.Fetcher.of(lambda n: log.note("start", time.monotonic()), pace="50/s")
    for n in range(6):
        fetcher(n)
    times = starts(log)
    assert times[-1] - times[0] >= 5 / 50 - EARLY_S


COLD = """
import json, time
import fetchline as fl

fetcher = fl.Fetcher.of(lambda n: time.monotonic(), pace="10/s")
batch = fl.run(fetcher, range(6), executor="process", workers=2, progress=None)
print("starts", json.dumps(batch.values), flush=True)
"""


def test_pace_is_global_even_while_the_processes_are_starting(script: Callable[..., Script]) -> None:
    """A start that was granted long ago must not fall together with those granted now."""
    times = sorted(json.loads(script(COLD).wait_for("starts")))
    assert len(times) == 6
    assert never_more_than(times, 2, 1 / 10, EARLY_S)
