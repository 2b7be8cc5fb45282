"""Plans: the calls that would be made, grouped; what does not fit; how long it takes."""

from __future__ import annotations

from typing import Any

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
