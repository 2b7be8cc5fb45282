"""Batch: a sequence of results, its frame, report, summary, and what can be done again."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import polars as pl
import pytest

import fetchline as fl
from fetchline.batch import Batch


def fetch(symbol: str) -> pl.DataFrame:
    """A frame of two rows; nothing for "none"; an error for what begins with "bad"."""
    if symbol == "none":
        raise fl.NoData("a holiday")
    if symbol.startswith("bad"):
        raise ValueError(f"no {symbol}")
    return pl.DataFrame({"price": [1.0, 2.0]})


def run(items: Any, function: Any = fetch, **options: Any) -> Batch[Any]:
    return fl.run(function, items, **{"progress": None, "workers": 2, **options})


# -- a sequence


def test_a_batch_is_a_sequence_in_input_order() -> None:
    batch = run(range(-20, 0), abs)
    assert isinstance(batch, Sequence) and len(batch) == 20
    assert [result.index for result in batch] == list(range(20))
    assert batch[0].key == "-20" and batch[-1].key == "-1" and batch.get(3).key == "-17"
    assert batch[-1].index == 19
    assert [r.key for r in reversed(batch)] == [str(n) for n in range(-1, -21, -1)]
    assert batch[4] in batch and batch.index(batch[4]) == 4 and batch.count(batch[4]) == 1
    assert batch.values == list(range(20, 0, -1))


def test_a_slice_is_a_list_of_results() -> None:
    batch = run(range(5), abs)
    assert [r.index for r in batch[1:3]] == [1, 2] and isinstance(batch[1:3], list)
    assert [r.index for r in batch[::-2]] == [4, 2, 0]
    assert batch[10:] == [] and len(batch[:]) == 5


@pytest.mark.parametrize("index", [5, -6, 10**9])
def test_an_index_outside_says_how_many_there_are(index: int) -> None:
    with pytest.raises(IndexError, match=f"index {index} is outside a batch of 5"):
        run(range(5), abs)[index]


@pytest.mark.parametrize("index", ["0", 1.0, None])
def test_what_is_no_index_is_a_type_error(index: Any) -> None:
    with pytest.raises(TypeError):
        run(range(5), abs)[index]


def test_a_batch_can_be_read_twice_and_from_two_threads() -> None:
    batch = run(range(300), abs)
    assert list(batch) == list(batch)
    seen: list[list[Any]] = []
    threads = [threading.Thread(target=lambda: seen.append([r.key for r in batch])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [[str(n) for n in range(300)]] * 3


def test_nothing_to_fetch_is_an_empty_complete_batch() -> None:
    nothing: list[Any] = [[], iter([]), fl.grid(symbol=[], year=[2024])]
    for items in nothing:
        batch = run(items)
        assert len(batch) == 0 and batch.complete and list(batch) == []
        assert batch.failures == [] and batch.successes == []
        assert batch.report().height == 0
        assert batch.frame().height == 0


def test_successes_failures_and_values_are_in_input_order() -> None:
    batch = run(["b", "bad1", "none", "a", "bad0"])
    assert [s.key for s in batch.successes] == ["b", "none", "a"]
    assert [f.key for f in batch.failures] == ["bad1", "bad0"]
    assert [v.height for v in batch.values] == [2, 0, 2]
    assert (batch.n_succeeded, batch.n_failed, len(batch), batch.complete) == (3, 2, 5, True)


# -- frame


def test_the_frame_has_the_key_first_and_rows_in_input_order() -> None:
    frame = run(["b", "bad", "a"]).frame()
    assert frame.columns == ["key", "price"]
    assert frame["key"].to_list() == ["b", "b", "a", "a"]
    assert frame.schema["key"] == pl.String


def test_the_key_column_may_have_another_name_or_be_left_out() -> None:
    batch = run(["b", "a"])
    assert batch.frame(key="symbol").columns == ["symbol", "price"]
    assert batch.frame(key=None).columns == ["price"]
    with pytest.raises(ValueError, match="price"):
        batch.frame(key="price")


def test_a_tuple_of_names_takes_grid_arguments_apart() -> None:
    def daily(symbol: str, day: date) -> pl.DataFrame:
        return pl.DataFrame({"price": [1.0]})

    days = [date(2024, 1, 2), date(2024, 1, 3)]
    batch = run(fl.grid(symbol=["A/B", "C"], day=days), daily)
    frame = batch.frame(key=("symbol", "day"))
    assert frame.columns == ["symbol", "day", "price"]
    assert frame["symbol"].to_list() == ["A/B", "A/B", "C", "C"]
    assert frame["day"].to_list() == ["2024-01-02", "2024-01-03"] * 2
    assert batch.frame(key=("day",)).columns == ["day", "price"]
    with pytest.raises(ValueError, match="no argument named 'year'"):
        batch.frame(key=("year",))


def test_a_tuple_of_names_wants_items_with_names() -> None:
    with pytest.raises(TypeError, match="only Args have named parts"):
        run(["a"]).frame(key=("symbol",))


def test_a_frame_of_failures_alone_says_what_failed_and_carries_the_batch() -> None:
    batch = run(["bad1", "bad2"])
    with pytest.raises(
        fl.BatchFailed, match=r"none of 2 items succeeded: 2 error \(first: 'bad1'\)"
    ) as caught:
        batch.frame()
    assert caught.value.batch is batch


def test_a_frame_of_empties_alone_has_the_schema() -> None:
    declared = fl.Fetcher.of(fetch, schema={"price": pl.Float64})
    frame = run(["none"], declared).frame()
    assert dict(frame.schema) == {"key": pl.String, "price": pl.Float64} and frame.height == 0
    assert dict(run([], declared).frame().schema) == {"key": pl.String, "price": pl.Float64}


def test_a_value_that_is_no_frame_names_key_and_type() -> None:
    with pytest.raises(TypeError, match=r"(?s)'1'.*int|int.*'1'"):
        run([-1], lambda n: 3, key=lambda n: "1").frame()


# -- report and summary


def test_the_report_has_a_row_for_each_item() -> None:
    report = run(["a", "bad", "none"]).report()
    assert report.columns == [
        "key", "status", "attempts", "waited_s", "ran_s", "rows", "error_code", "error",
    ]  # fmt: skip
    assert report["key"].to_list() == ["a", "bad", "none"]
    assert report["status"].to_list() == ["success", "failure", "empty"]
    assert report["attempts"].to_list() == [1, 1, 1]
    assert report["rows"].to_list() == [2, None, 0]
    assert report["error_code"].to_list() == [None, "error", None]
    assert report["error"].to_list() == [None, "ValueError: no bad", None]
    assert (report["ran_s"] >= 0).all() and (report["waited_s"] >= 0).all()


def test_the_report_counts_attempts() -> None:
    batch = run(["bad", "a"], fl.Try(retry=3, sleep=0)(fetch))
    assert batch.report()["attempts"].to_list() == [3, 1]
    assert [r.attempts for r in batch] == [3, 1]


def test_the_summary_counts_and_reads_well() -> None:
    batch = run(["a", "bad1", "none", "bad2"], fl.Try(retry=2, sleep=0)(fetch))
    summary = batch.summary
    assert isinstance(summary, fl.Summary)
    assert (summary.fetcher, summary.executor, summary.concurrency) == ("fetch", "thread", 2)
    assert (summary.total, summary.succeeded, summary.empty, summary.failed) == (4, 2, 1, 2)
    assert summary.codes == {"error": 2}
    assert summary.first_keys["error"] in ("bad1", "bad2")
    assert summary.attempts == 6
    assert summary.wall_s > 0 and summary.stopped is None
    text = str(summary)
    assert text.startswith("fetch: 4 items in ") and "on thread x 2" in text
    assert "succeeded 2, 1 of them empty" in text
    assert "failed    2: 2 error (first: 'bad" in text
    assert "attempts  6, 2 more than one each" in text
    assert "stopped" not in text and "cooldown" not in text and "sessions" not in text


def test_the_summary_says_what_would_be_better() -> None:
    cooled = fl.Summary(executor="thread", concurrency=2, wall_s=10, cooled_s=5)
    assert any("pace=" in line for line in cooled.advice)
    assert any("timeout" in line for line in fl.Summary(abandoned=2).advice)
    busy = fl.Summary(executor="thread", concurrency=2, wall_s=10, ran_s=20)
    assert any("higher concurrency" in line for line in busy.advice)
    assert fl.Summary().advice == ()
    assert "advice" in str(cooled)


def test_the_times_of_a_result_are_waiting_and_running() -> None:
    gate = threading.Event()

    def work(n: int) -> None:
        gate.wait(0.02)

    batch = run(range(2), work, workers=1)
    assert all(r.ran_s >= 0.015 for r in batch)
    assert batch[1].waited_s >= 0.015
    assert batch.summary.ran_s >= 0.03 and batch.summary.wall_s >= 0.03


# -- looking


def test_the_repr_is_one_line_that_counts() -> None:
    assert repr(run(["a"])) == "<Batch fetch: 1 of 1 succeeded, 0 failed>"
    text = repr(run(["a", "bad1", "bad2"]))
    assert text.startswith("<Batch fetch: 1 of 3 succeeded, 2 failed: 2 error (first: 'bad")
    assert "\n" not in text


def test_the_html_shows_failures_escaped_and_counts_the_rest() -> None:
    def fail(key: str) -> None:
        raise ValueError("<script>alert(1)</script>")

    batch = run([f"<b>{n}" for n in range(13)], fl.Fetcher.of(fail))
    html = batch._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "<b>0" not in html and "&lt;b&gt;0" in html
    assert html.count("<tr>") == 11 and "and 3 more failures" in html
    assert "<table>" not in run(["a"])._repr_html_()


def test_a_batch_that_was_stopped_says_so() -> None:
    with pytest.raises(fl.BatchFailed) as caught:
        run(["bad", *"abc"], on_error="raise", workers=1)
    batch = caught.value.batch
    assert batch.complete is False
    assert "stopped early" in repr(batch) and "stopped early" in batch._repr_html_()
    assert batch.summary.stopped is not None and "stopped" in str(batch.summary)


# -- failing on purpose


def test_raise_for_failures_raises_a_group_with_notes() -> None:
    batch = run(["a", "bad1", "none", "bad2"])
    with pytest.raises(ExceptionGroup, match="2 of 4 items failed") as caught:
        batch.raise_for_failures()
    errors = caught.value.exceptions
    assert [str(error) for error in errors] == ["no bad1", "no bad2"]
    assert [error.__notes__ for error in errors] == [
        ["item 1, key 'bad1', error"], ["item 3, key 'bad2', error"],
    ]  # fmt: skip
    assert all(error.__traceback__ is not None for error in errors)


def test_raise_for_failures_twice_notes_once_and_nothing_without_failures() -> None:
    batch = run(["bad1"])
    for _ in range(2):
        with pytest.raises(ExceptionGroup) as caught:
            batch.raise_for_failures()
    assert len(caught.value.exceptions[0].__notes__) == 1
    assert run(["a", "none"]).raise_for_failures() is None  # type: ignore[func-returns-value]


def test_the_group_can_be_caught_by_type() -> None:
    caught = []
    try:
        run(["bad1"]).raise_for_failures()
    except* ValueError as group:
        caught = list(group.exceptions)
    assert [str(error) for error in caught] == ["no bad1"]


# -- again


class Mending:
    """Fails for each item the first so many times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, symbol: str, factor: int = 1) -> int:
        with self.lock:
            self.calls.append(symbol)
            seen = self.calls.count(symbol)
        if symbol.startswith("bad") and seen <= self.failures:
            raise ValueError(f"no {symbol}")
        return len(symbol) * factor


def test_retry_failed_runs_the_failed_items_only_and_merges() -> None:
    function = Mending(1)
    first = run(["a", "bad1", "bb", "bad2"], function)
    merged = first.retry_failed()
    assert sorted(function.calls) == ["a", "bad1", "bad1", "bad2", "bad2", "bb"]
    assert [r.key for r in merged] == ["a", "bad1", "bb", "bad2"]
    assert [r.index for r in merged] == [0, 1, 2, 3]
    assert merged.values == [1, 4, 2, 4] and merged.complete
    assert (merged.summary.total, merged.n_succeeded, merged.n_failed) == (4, 4, 0)
    assert merged.summary.attempts == 6
    assert first.n_failed == 2 and first[1].is_failure


def test_retry_failed_can_be_repeated() -> None:
    function = Mending(2)
    batch = run(["a", "bad1"], function).retry_failed()
    assert batch.n_failed == 1 and [f.index for f in batch.failures] == [1]
    batch = batch.retry_failed()
    assert batch.n_failed == 0 and batch.values == [1, 4]
    assert batch.retry_failed().values == [1, 4]
    assert function.calls.count("a") == 1


def test_retry_failed_keeps_the_options_of_the_run() -> None:
    function = Mending(1)
    ticks: list[tuple[int, int | None]] = []
    batch = run(
        ["a", "bad1"],
        function,
        params={"factor": 10},
        key=lambda item: f"k-{item}",
        on_progress=lambda *tick: ticks.append(tick),
    )
    merged = batch.retry_failed()
    assert merged.values == [10, 40]
    assert [r.key for r in merged] == ["k-a", "k-bad1"]
    assert ticks[-1] == (1, 1)


def test_retry_failed_on_a_warm_pool_uses_the_pool() -> None:
    function = Mending(1)
    with fl.get_executor("thread", max_workers=2) as pool:
        batch = run(["a", "bad1"], function, executor=pool, workers=None)
        assert batch.retry_failed().values == [1, 4]


def test_retry_failed_runs_what_a_stopped_run_left() -> None:
    function = Mending(1)
    with pytest.raises(fl.BatchFailed) as caught:
        run(["bad1", "a", "bb"], function, on_error="raise", workers=1)
    merged = caught.value.batch.retry_failed()
    assert merged.values == [4, 1, 2] and merged.complete


def test_the_frame_of_a_merged_batch_is_in_input_order() -> None:
    calls: list[str] = []

    def flaky(symbol: str) -> pl.DataFrame:
        calls.append(symbol)
        if symbol == "b" and calls.count("b") == 1:
            raise ValueError
        return pl.DataFrame({"v": [symbol]})

    merged = run(["a", "b", "c"], flaky).retry_failed()
    assert merged.frame()["v"].to_list() == ["a", "b", "c"]
    assert merged.report()["status"].to_list() == ["success"] * 3


def test_rerun_calls_the_function_here_once_with_the_params() -> None:
    where: list[Any] = []

    @fl.Try(retry=5, sleep=0)
    def function(symbol: str, *, factor: int) -> int:
        where.append((threading.current_thread(), symbol, factor))
        raise ValueError(symbol)

    batch = run(["a"], function, params={"factor": 3})
    [failure] = batch.failures
    where.clear()
    with pytest.raises(ValueError, match="a") as caught:
        failure.rerun()
    assert where == [(threading.current_thread(), "a", 3)]
    assert caught.traceback[-1].name == "function"


def test_rerun_of_args_passes_them_all_and_gives_the_value() -> None:
    function = Mending(1)
    [failure] = run([fl.Args("bad1", factor=2)], function).failures
    assert failure.rerun() == 8


def test_rerun_opens_the_session_the_fetcher_needs() -> None:
    class Door:
        def __enter__(self) -> str:
            return "open"

        def __exit__(self, *_: object) -> None:
            pass

    calls: list[str] = []

    @fl.Try(retry=1).with_session(Door)
    def function(item: str, *, session: Any = fl.injected) -> str:
        calls.append(item)
        if len(calls) == 1:
            raise ValueError
        return f"{item} {session}"

    [failure] = run(["a"], function).failures
    assert failure.rerun() == "a open"


def test_what_did_not_come_from_a_run_cannot_be_run_again() -> None:
    with pytest.raises(RuntimeError, match="did not come from a run"):
        fl.Failure(ValueError(), key="k").rerun()
    [failure] = run(["bad1"]).failures
    with pytest.raises(RuntimeError, match="did not come from a run"):
        pickle.loads(pickle.dumps(failure)).rerun()


# -- results travel


def test_a_success_survives_pickling_and_copying() -> None:
    success = run([-3], abs)[0]
    for twin in (pickle.loads(pickle.dumps(success)), copy.copy(success), copy.deepcopy(success)):
        assert isinstance(twin, fl.Success) and twin == success and twin.value == 3


def test_a_failure_survives_pickling() -> None:
    failure = run(["bad1"]).failures[0]
    twin = pickle.loads(pickle.dumps(failure))
    assert type(twin.error) is ValueError and str(twin.error) == "no bad1"
    for name in ("key", "index", "item", "attempts", "waited_s", "ran_s", "error_code", "message"):
        assert getattr(twin, name) == getattr(failure, name)


def test_results_have_slots_and_known_fields() -> None:
    for kind in (fl.Success, fl.Failure):
        assert dataclasses.is_dataclass(kind) and not hasattr(kind.__new__(kind), "__dict__")
    with pytest.raises(AttributeError):
        fl.Success(1).extra = 2  # type: ignore[attr-defined]


# -- empties


@pytest.mark.parametrize("schema", [None, {"price": pl.Float64, "day": pl.Date}])
def test_no_data_is_a_success_with_an_empty_frame_of_the_schema(schema: Any) -> None:
    batch = run(["none"], fl.Fetcher.of(fetch, schema=schema))
    [result] = batch
    assert isinstance(result, fl.Success) and result.status == "empty" and result.empty
    assert result.value.height == 0
    assert dict(result.value.schema) == dict(schema or {})
    assert (batch.n_succeeded, batch.summary.empty, batch.n_failed) == (1, 1, 0)
    assert result.attempts == 1


def test_no_data_after_a_retry_counts_its_attempts() -> None:
    calls: list[int] = []

    @fl.Try(retry=3, sleep=0)
    def flaky(item: str) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        raise fl.NoData

    [result] = run(["a"], flaky)
    assert result.is_success and result.attempts == 2


KEYS: list[tuple[Any, Callable[[Any], str] | None, str]] = [
    ("AAPL", None, "AAPL"),
    (7, None, "7"),
    (date(2024, 1, 2), None, "2024-01-02"),
    (fl.Period.Q1(2024), None, "2024-Q1"),
    (fl.Args("A/B", n=2), None, "A%2FB/2"),
    ({"id": 9}, lambda item: str(item["id"]), "9"),
]


@pytest.mark.parametrize(("item", "key", "expected"), KEYS)
def test_a_result_has_the_key_of_its_item(item: Any, key: Any, expected: str) -> None:
    def anything(*args: Any, **kwargs: Any) -> None:
        if kwargs or isinstance(args[0], dict):
            raise ValueError

    [result] = run([item], anything, key=key)
    assert result.key == expected and result.item == item
