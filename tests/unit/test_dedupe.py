"""dedupe=True: equal keys run once and fill every place, also while in flight."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

import fetchline as fl

EXECUTORS = pytest.mark.parametrize("executor", ["serial", "thread", "process"])


def run(fetch: Any, items: Any, **options: Any) -> fl.Batch[Any]:
    return fl.run(fetch, items, progress=None, dedupe=True, **options)


@EXECUTORS
@pytest.mark.parametrize("whole", [True, False], ids=["list", "generator"])
def test_equal_items_are_fetched_once(executor: str, whole: bool) -> None:
    items = ["a", "b", "a", "c", "b", "a"]
    batch = run(str.upper, items if whole else iter(items), executor=executor)
    assert batch.values == ["A", "B", "A", "C", "B", "A"]
    assert [result.origin for result in batch] == [
        "fetched",
        "fetched",
        "shared",
        "fetched",
        "shared",
        "shared",
    ]
    assert [result.attempts for result in batch] == [1, 1, 0, 1, 0, 0]
    assert (batch.summary.attempts, batch.summary.shared, batch.summary.succeeded) == (3, 3, 6)
    assert "3 of them fetched for an equal item" in str(batch.summary)


def test_an_item_in_flight_is_shared() -> None:
    started, go = threading.Event(), threading.Event()
    calls: Counter[str] = Counter()

    def fetch(item: str) -> str:
        calls[item] += 1
        started.set()
        assert go.wait(10)
        return item.upper()

    def items() -> Any:
        yield "a"
        assert started.wait(10)
        yield "a"
        go.set()

    assert run(fetch, items(), workers=4).values == ["A", "A"]
    assert calls == {"a": 1}


def test_items_of_all_kinds_are_equal_by_their_keys() -> None:
    items = [fl.Args("a", 1), ("a", 1), fl.Args("a", 1)]
    with pytest.raises(ValueError, match="two different items"):
        run(lambda *args: 0, items)
    batch = run(
        lambda item: item["id"], [{"id": 1, "n": 1}, {"id": 1, "n": 1}], key=lambda item: str(item["id"])
    )
    assert batch.values == [1, 1] and batch.summary.attempts == 1


def test_numbers_that_change_their_kind_midway_are_still_equal() -> None:
    assert run(lambda item: item, iter([1, 1.5, 1, "a", 1])).summary.attempts == 3


def test_a_failure_fills_every_place_and_costs_its_attempts_once() -> None:
    def fetch(item: str) -> str:
        raise ValueError(item)

    batch = run(fl.Try(2, 0)(fetch), ["a", "a"])
    assert [failure.message for failure in batch.failures] == ["ValueError: a"] * 2
    assert batch.summary.attempts == 2 and batch[1].attempts == 0


def test_an_empty_fills_every_place() -> None:
    def fetch(item: str) -> str:
        raise fl.NoData

    batch = run(fetch, ["a", "a"])
    assert [result.status for result in batch] == ["empty", "empty"] and batch.summary.empty == 2


def test_streams_share_within_the_window() -> None:
    results = list(fl.stream(str.upper, iter("abab"), dedupe=True, workers=1))
    assert [result.value for result in results] == list("ABAB")
    many = list(fl.stream(lambda n: n % 7, (n % 50 for n in range(20_000)), dedupe=True))
    assert [result.value for result in many] == [n % 50 % 7 for n in range(20_000)]


def test_without_dedupe_equal_items_are_fetched_each() -> None:
    batch = fl.run(str.upper, ["a", "a"], progress=None)
    assert batch.summary.attempts == 2 and {result.origin for result in batch} == {"fetched"}


def test_dedupe_is_true_or_false() -> None:
    with pytest.raises(TypeError, match="dedupe"):
        run_with: Any = "yes"
        fl.run(str.upper, ["a"], dedupe=run_with)


def test_progress_counts_shared_items() -> None:
    ticks: list[int] = []
    run(str.upper, ["a", "a", "b"], on_progress=lambda done, total: ticks.append(done))
    assert ticks == [1, 2, 3]


def test_every_item_is_attempted_once_a_key_while_many_workers_race() -> None:
    calls: Counter[int] = Counter()
    lock = threading.Lock()

    def fetch(n: int) -> int:
        with lock:
            calls[n] += 1
        return -n

    items = [n % 997 for n in range(30_000)]
    assert run(fetch, items, workers=8).values == [-n for n in items]
    assert set(calls.values()) == {1}


def test_a_key_is_the_same_items_for_as_long_as_it_is_seen() -> None:
    """The item that a key was first seen with may have been long ago: it is the last that counts."""
    one, other = {"id": 0}, {"id": 0, "x": 1}
    items = [one, *({"id": n} for n in range(1, 7)), one, *({"id": n} for n in range(7, 13)), other]
    with pytest.raises(fl.InputFailed) as caught:
        list(fl.stream(lambda item: item["id"], iter(items), key=lambda item: str(item["id"]), window=8))
    assert "two different items" in str(caught.value)


def test_the_summary_says_after_what_equal_items_were_tried_again() -> None:
    def fetch(item: str) -> str:
        raise ValueError(item)

    assert run(fl.Try(3, 0)(fetch), ["a", "a"]).summary.retried == {"error": 2}
