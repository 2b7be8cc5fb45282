"""Guarantee 10: backoff, cooldown and not-ready are waited by the schedule, not by a worker."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from lanes import LANES, Lane, Log, lane_of

import fetchline as fl


@pytest.fixture(params=LANES)
def single(request: pytest.FixtureRequest) -> Any:
    """A lane with room for one attempt: a wait that held it would hold everything."""
    with lane_of(request.param, width=1) as lane:
        yield lane


def test_waiting_frees_the_slot_during_backoff(single: Lane, log: Log) -> None:
    def stumbles(n: int) -> int:
        log.note("call", n)
        if n == 0 and fl.attempt().number == 1:
            raise ConnectionError
        return n

    fetcher = single.fetcher(stumbles, retry=fl.Try(retry=2, sleep=0.5, jitter=0))
    batch = single.run(fetcher, range(6))
    assert batch.values == list(range(6))
    calls = [n for _, n in log.lines()]
    assert calls[0] == 0
    assert calls[-1] == 0
    assert sorted(calls[1:-1]) == [1, 2, 3, 4, 5]


def test_waiting_frees_the_slot_while_something_is_not_ready_and_keeps_its_memo(
    single: Lane, log: Log
) -> None:
    def remote(n: int) -> Any:
        memo = fl.attempt().memo
        log.note("call", n, memo)
        if n == 0 and memo is None:
            raise fl.NotReady(0.4, memo={"task": 17})
        return memo

    batch = single.run(remote, range(5))
    assert batch.values == [{"task": 17}, None, None, None, None]
    calls = [n for _, n, _ in log.lines()]
    assert calls[0] == 0
    assert calls[-1] == 0
    assert len(calls) == 6


def test_waiting_frees_the_slot_for_many_at_once(lane: Lane) -> None:
    """Sixty waits of 0.4 s each would take more than 5 s on any of these lanes, were a worker to wait them."""

    def first_time(n: int) -> int:
        if fl.attempt().number == 1:
            raise ConnectionError
        return n

    began = time.monotonic()
    fetcher = lane.fetcher(first_time, retry=fl.Try(retry=2, sleep=0.4, jitter=0))
    assert lane.run(fetcher, range(60)).values == list(range(60))
    assert 0.4 <= time.monotonic() - began < 3


def test_waiting_frees_the_slot_and_a_cooldown_starts_nothing_until_it_is_over(lane: Lane, log: Log) -> None:
    def limited(n: int) -> int:
        log.note("call", n, time.monotonic())
        if n == 0 and fl.attempt().number == 1:
            raise fl.RetryAfter(0.5)
        return n

    batch = lane.run(lane.fetcher(limited), range(30))
    assert batch.values == list(range(30))
    assert batch[0].attempts == 2
    times = sorted(when for _, _, when in log.lines())
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert max(pauses) > 0.4
    assert sum(pause > 0.4 for pause in pauses) == 1
    assert batch.summary.cooled_s == pytest.approx(0.5, abs=0.2)


def test_waiting_frees_the_slot_and_is_counted_as_waiting_not_as_running(lane: Lane) -> None:
    def stumbles(n: int) -> int:
        if fl.attempt().number == 1:
            raise ConnectionError
        return n

    fetcher = lane.fetcher(stumbles, retry=fl.Try(retry=2, sleep=0.3, jitter=0))
    result = lane.run(fetcher, [1])[0]
    assert result.waited_s >= 0.3
    assert result.ran_s < 0.25


def test_waiting_frees_the_slot_and_patience_ends_it(lane: Lane) -> None:
    def never(n: int) -> int:
        raise fl.NotReady(301)

    batch = lane.run(never, [1])
    assert batch[0].error_code == "not_ready"
    assert batch[0].attempts == 1


class Answered(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@pytest.mark.parametrize("codes", [(429, 500), (500, 429), (429, 500, 503, 502, 408, 425, 504)])
def test_waiting_frees_the_slot_and_the_last_ones_that_wait_are_not_forgotten(
    lane: Lane, codes: tuple[int, ...]
) -> None:
    """The answer that ends a slow start may come from a worker that leaves: somebody has to wake for the rest."""

    def moody(n: int) -> int:
        if fl.attempt().number == 1:
            raise Answered(codes[n])
        time.sleep(0.002)
        return n

    for _ in range(3 if lane.far else 12):
        fetcher = lane.fetcher(moody, retry=fl.Try(3, sleep=0.02))
        assert lane.run(fetcher, range(len(codes)), deadline=20).values == list(range(len(codes)))
