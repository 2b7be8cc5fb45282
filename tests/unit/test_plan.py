"""Plans: the calls that would be made, grouped; what does not fit, what is stored; how long it takes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import fetchline as fl


def quote(symbol: str, day: int = 0) -> str:
    raise AssertionError("a plan calls nothing")


def test_a_plan_groups_the_calls_of_a_bulk_fetcher() -> None:
    plan = fl.plan(fl.Fetcher.of(quote, bulk=2, pace="1/s"), list("abcde"))
    assert (plan.calls, plan.groups) == (3, [("a", "b"), ("c", "d"), ("e",)])
    assert plan.least_s == 2.0
    assert "up to 2 in a call" in str(plan)


def test_a_plan_counts_equal_items_once_if_the_run_would() -> None:
    plan = fl.plan(quote, list("abab"), dedupe=True)
    assert (plan.keys, plan.calls, plan.shared) == (["a", "b"], 2, 2)
    assert "2 more items" in str(plan)
    assert fl.plan(quote, list("abab")).calls == 4


def test_a_plan_lists_items_that_do_not_bind() -> None:
    items: list[Any] = ["a", fl.Args("b", 1, 2), fl.Args("c", days=1), {"d": 1}]
    plan = fl.plan(quote, items)
    assert plan.keys == ["a"]
    assert [item for item, _ in plan.refused] == items[1:]


def test_a_plan_says_how_long_it_takes_under_pace_and_concurrency() -> None:
    assert fl.plan(quote, range(100), workers=10).expected_s(0.5) == 5.0
    assert fl.plan(fl.Fetcher.of(quote, pace="2/s"), range(100)).expected_s(0.5) == 50.0
    assert fl.plan(quote, []).expected_s(5) == 0.0


def daily(symbol: str, day: int = 0) -> dict[str, int]:
    if symbol.startswith("X"):
        raise ValueError(symbol)
    return {"day": day}


@pytest.fixture(params=["a run", "files"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "a run":
        return tmp_path / "run"
    return fl.Files(f"{tmp_path}/run/{{symbol}}.json")


def test_a_plan_counts_what_is_held_and_fetches_failures_again(store: Any) -> None:
    fl.run(daily, ["A", "B", "X"], store=store, progress=None)
    plan = fl.plan(daily, ["A", "X", "B", "new", "A"], store=store)
    assert (plan.keys, plan.calls, plan.held, plan.shared) == (["X", "new"], 2, 2, 1)
    assert "  stored    2 items, not fetched again" in str(plan).splitlines()
    assert fl.plan(daily, ["A", "X"], store=store, reuse="none").keys == ["A", "X"]


def test_a_plan_says_what_the_run_does(store: Any) -> None:
    fl.run(daily, ["A", "X"], store=store, progress=None)
    plan = fl.plan(daily, ["A", "X", "B", "B"], store=store)
    batch = fl.run(daily, ["A", "X", "B", "B"], store=store, progress=None)
    assert (plan.held, plan.calls) == (batch.summary.stored, batch.summary.calls)


def test_a_plan_with_a_store_that_is_not_there_creates_nothing(store: Any, tmp_path: Path) -> None:
    plan = fl.plan(daily, ["A", "A"], store=store)
    assert (plan.keys, plan.held, plan.shared) == (["A"], 0, 1)
    assert "stored" not in str(plan)
    assert list(tmp_path.iterdir()) == []


def test_failures_are_held_where_they_are_reused(tmp_path: Path) -> None:
    fl.run(daily, ["A", "X"], store=tmp_path, progress=None)
    assert fl.plan(daily, ["A", "X", "B"], store=tmp_path, reuse="all").keys == ["B"]


def test_a_plan_refuses_a_store_of_another_version_as_a_run_does(tmp_path: Path) -> None:
    fl.run(daily, ["A"], store=tmp_path, progress=None)
    newer = fl.Fetcher.of(daily, version="2")
    with pytest.raises(fl.StoreMismatch, match="version: stored '1', now '2'"):
        fl.plan(newer, ["A"], store=tmp_path)
    assert fl.plan(newer, ["A"], store=tmp_path, on_change="keep").held == 1
    assert fl.plan(newer, ["A"], store=tmp_path, on_change="refetch").held == 0


def test_a_plan_looks_at_a_store_that_is_in_use(tmp_path: Path) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def waits(symbol: str) -> int:
        begun.set()
        assert may_end.wait(30)
        return 1

    job = fl.submit(waits, ["A"], store=tmp_path)
    try:
        assert begun.wait(30)
        assert fl.plan(waits, ["A"], store=tmp_path).keys == ["A"]
    finally:
        may_end.set()
    assert job.result(30).n_succeeded == 1
    assert fl.plan(waits, ["A"], store=tmp_path).held == 1


def test_items_that_cannot_be_stored_are_refused_and_the_others_planned(tmp_path: Path) -> None:
    plan = fl.plan(daily, ["A", "\ud800"], store=tmp_path / "run")
    assert (plan.keys, [item for item, _ in plan.refused]) == (["A"], ["\ud800"])
    assert "pass key=" in plan.refused[0][1]
    str(plan).encode()
    files = fl.Files(f"{tmp_path}/{{symbol}}.json")
    plan = fl.plan(daily, ["A", fl.Args("B", 1)], store=files)
    assert (plan.keys, [item for item, _ in plan.refused]) == (["A"], [fl.Args("B", 1)])
    assert "does not name day" in plan.refused[0][1]
