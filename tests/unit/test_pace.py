"""Pace: what a rate may look like, and that starts keep it."""

from __future__ import annotations

import itertools
import pickle
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fetchline as fl
from fetchline.core.limits import StartGate
from fetchline.pace import Pace


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("20/s", ((20, 1.0),)),
        ("20 / sec", ((20, 1.0),)),
        ("200/min", ((200, 60.0),)),
        ("200/Minutes", ((200, 60.0),)),
        ("5/hour", ((5, 3600.0),)),
        ("10000/day", ((10000, 86400.0),)),
        ("1/10s", ((1, 10.0),)),
        ("3/0.5s", ((3, 0.5),)),
        ("200/min, 5/s", ((5, 1.0), (200, 60.0))),
    ],
)
def test_a_rate_is_read(text: str, windows: Any) -> None:
    assert Pace(text).windows == windows
    assert Pace.of(text) == Pace(text)


@pytest.mark.parametrize("text", ["20", "0/s", "-1/s", "20/0s", "1.5/s", "20/fortnight", "20/s,", "s/20"])
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match='is not a rate; write "20/s"'):
        Pace(text)


@pytest.mark.parametrize("pace", [20, 20.0, True, ["20/s"]])
def test_a_pace_is_a_text(pace: Any) -> None:
    with pytest.raises(TypeError, match="pace must be a text"):
        Pace.of(pace)


def test_a_pace_is_a_frozen_value() -> None:
    pace = Pace("5/s")
    with pytest.raises(AttributeError):
        pace.rates = "6/s"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(pace)) == pace
    assert Pace.of(pace) is pace and Pace.of(None) is None


@given(
    rates=st.lists(st.tuples(st.integers(1, 20), st.sampled_from([0.5, 1.0, 7.0])), min_size=1, max_size=3),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=120),
)
def test_no_window_ever_holds_more_starts_than_its_rate(
    rates: list[tuple[int, float]], gaps: list[float]
) -> None:
    gate = StartGate(rates)
    now, starts = 0.0, []
    for gap in gaps:
        now = max(now + gap, gate.due(now + gap))
        gate.started(now)
        starts.append(now)
    for count, period in rates:
        for first, later in zip(starts, starts[count:], strict=False):
            assert later - first >= period - 1e-6


def test_the_starts_of_a_run_keep_the_pace_over_all_workers_and_retries() -> None:
    starts: list[float] = []
    lock = threading.Lock()

    @fl.Try(retry=2, sleep=0)
    def fetch(item: int) -> int:
        with lock:
            starts.append(time.monotonic())
            number = len(starts)
        if number % 2:
            raise ValueError
        return item

    fl.run(fetch.replace(pace="100/s"), range(8), workers=8, progress=None)
    starts.sort()
    assert len(starts) >= 9
    assert starts[-1] - starts[0] >= 0.01 * (len(starts) - 1) - 0.005


def test_direct_calls_keep_the_pace_across_threads() -> None:
    starts: list[float] = []

    def fetch(item: int) -> int:
        starts.append(time.monotonic())
        return item

    paced = fl.Fetcher.of(fetch, pace="100/s")
    threads = [threading.Thread(target=paced, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(starts) - min(starts) >= 0.045


def test_the_first_start_waits_for_nothing() -> None:
    began = time.monotonic()
    fl.run(fl.Fetcher.of(abs, pace="1/day"), [-1], progress=None)
    assert time.monotonic() - began < 1


def test_two_fetchers_do_not_share_an_unnamed_pace() -> None:
    slow = [fl.Fetcher.of(lambda item: item, name="slow", pace="1/day") for _ in range(3)]
    assert [one(7) for one in slow] == [7, 7, 7]


def test_starts_are_spaced_and_not_bunched() -> None:
    gate = StartGate([(10, 1.0)])
    starts = []
    now = 0.0
    for _ in range(20):
        now = gate.due(now)
        gate.started(now)
        starts.append(now)
    gaps = [b - a for a, b in itertools.pairwise(starts)]
    assert min(gaps) == pytest.approx(0.1) and max(gaps) == pytest.approx(0.1)


@pytest.mark.parametrize("text", ["", "  "])
def test_a_pace_that_limits_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match='a pace limits something: give a rate, such as "20/s", or adaptive'):
        fl.Pace(text)


@pytest.mark.parametrize("text", ["adaptive", " adaptive ", "20/s, adaptive", "adaptive,20/s"])
def test_adaptive_may_stand_among_the_rates(text: str) -> None:
    pace = fl.Pace(text)
    assert pace.adaptive
    assert pace.windows == (((20, 1.0),) if "20" in text else ())


def test_a_name_is_shared_with_others_and_needs_a_rate_and_a_plain_form() -> None:
    assert fl.Pace("20/s", name="vendor").name == "vendor"
    with pytest.raises(ValueError, match="'vendor' is to be shared, and needs a rate"):
        fl.Pace(name="vendor", adaptive=True)
    with pytest.raises(ValueError, match="letters, digits"):
        fl.Pace("20/s", name="../vendor")
