"""What a fetch function says on purpose: NoData, NotReady, RetryAfter; lazy frames and rows as values."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import fetchline as fl
from fetchline.core.schedule import Schedule

EXECUTORS = pytest.mark.parametrize("executor", ["serial", "thread", "process", "asyncio"])


def run(function: Any, items: Any, executor: str = "thread", **options: Any) -> fl.Batch[Any]:
    width = {} if executor == "serial" else {"concurrency" if executor == "asyncio" else "workers": 2}
    return fl.run(as_async(function) if executor == "asyncio" else function, items, executor=executor,
                  **{"progress": None, **width, **options})  # fmt: skip


def as_async(function: Any) -> Any:
    """The same fetcher with a coroutine function."""
    plain = function.function if isinstance(function, fl.Fetcher) else function

    async def later(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return plain(*args, **kwargs)

    if isinstance(function, fl.Fetcher):
        return type(function)(later, function.name, function.policies)
    return later


# -- NoData


def _no_data(item: str) -> None:
    raise fl.NoData("a holiday")


@EXECUTORS
def test_no_data_is_an_empty_success_everywhere(executor: str) -> None:
    fetcher = fl.Fetcher.of(_no_data, schema={"v": pl.Int8}, retry=3)
    batch = run(fetcher, ["a", "b"], executor, on_error="raise")
    assert [r.status for r in batch] == ["empty", "empty"]
    assert [r.attempts for r in batch] == [1, 1]
    assert all(dict(value.schema) == {"v": pl.Int8} for value in batch.values)
    assert (batch.summary.empty, batch.n_failed) == (2, 0)


def test_no_data_may_be_raised_as_a_class_or_with_a_text() -> None:
    assert str(fl.NoData("why")) == "why" and str(fl.NoData()) == ""

    def bare(item: str) -> None:
        raise fl.NoData

    assert run(bare, ["a"])[0].status == "empty"


def test_a_stream_hands_empties_out_like_results() -> None:
    [result] = list(fl.stream(fl.Fetcher.of(_no_data, schema={"v": pl.Int8}), ["a"]))
    assert isinstance(result, fl.Success) and result.empty and result.value.columns == ["v"]


# -- NotReady


class Task:
    """A remote task: told nothing the first time, asked by its id afterwards; notes what it was told."""

    def __init__(self, folder: Path, polls: int) -> None:
        self.folder, self.polls = folder, polls

    def __call__(self, item: str) -> str:
        attempt = fl.attempt()
        path = self.folder / item
        with path.open("a") as file:
            file.write(f"{attempt.memo}\n")
        if attempt.number <= self.polls:
            raise fl.NotReady(0.001, memo={"id": f"task-{item}", "poll": attempt.number})
        return f"{item}: {attempt.memo['id']}"


@EXECUTORS
def test_not_ready_asks_again_with_the_memo_and_costs_no_retry(executor: str, tmp_path: Path) -> None:
    batch = run(Task(tmp_path, 3), ["a", "b"], executor)
    assert batch.values == ["a: task-a", "b: task-b"]
    assert [r.attempts for r in batch] == [4, 4]
    told = (tmp_path / "a").read_text().splitlines()
    assert told[0] == "None" and "'poll': 3" in told[3]


def test_a_later_memo_replaces_the_earlier_one_and_none_clears_it() -> None:
    memos: list[Any] = []

    def fetch(item: str) -> None:
        memos.append(fl.attempt().memo)
        if len(memos) < 3:
            raise fl.NotReady(0, memo="first" if len(memos) == 1 else None)

    run(fetch, ["a"])
    assert memos == [None, "first", None]


def test_the_memo_outlives_an_error_in_between() -> None:
    memos: list[Any] = []

    def fetch(item: str) -> None:
        memos.append(fl.attempt().memo)
        if len(memos) == 1:
            raise fl.NotReady(0, memo="task")
        if len(memos) == 2:
            raise ValueError("the poll failed")

    [result] = run(fl.Try(2, 0)(fetch), ["a"])
    assert result.is_success and memos == [None, "task", "task"]


def test_not_ready_waits_as_long_as_it_says() -> None:
    starts: list[float] = []

    def fetch(item: str) -> None:
        starts.append(time.monotonic())
        if len(starts) == 1:
            raise fl.NotReady(0.03)

    run(fetch, ["a"])
    assert starts[1] - starts[0] >= 0.03


def test_an_item_that_is_not_ready_frees_its_worker() -> None:
    order: list[str] = []

    def fetch(item: str) -> None:
        order.append(item)
        if item == "slow" and order.count("slow") == 1:
            raise fl.NotReady(0.02)

    assert run(fetch, ["slow", "a", "b"], workers=1).n_failed == 0
    assert order == ["slow", "a", "b", "slow"]


def test_an_item_that_is_never_ready_is_a_failure_of_that_code() -> None:
    def fetch(item: str) -> None:
        raise fl.NotReady(301)

    [failure] = run(fetch, ["a"], deadline=5)
    assert isinstance(failure, fl.Failure)
    assert failure.error_code == "not_ready" and isinstance(failure.error, fl.NotReady)


def test_signals_survive_pickling() -> None:
    again = pickle.loads(pickle.dumps(fl.NotReady(2.5, memo={"id": 1})))
    assert (again.after, again.memo) == (2.5, {"id": 1}) and "2.5 s" in str(again)
    assert pickle.loads(pickle.dumps(fl.RetryAfter(3))).seconds == 3
    assert pickle.loads(pickle.dumps(fl.NoData("why"))).args == ("why",)


def test_not_ready_may_be_raised_as_a_class() -> None:
    seen: list[int] = []

    def fetch(item: str) -> None:
        seen.append(1)
        if len(seen) == 1:
            raise fl.NotReady(after=0)

    assert run(fetch, ["a"])[0].is_success
    assert fl.NotReady().after == 1.0


# -- RetryAfter


def _throttled(path: str) -> str:
    """Refuse until there is a file."""
    file = Path(path)
    if not file.exists():
        file.touch()
        raise fl.RetryAfter(0.01)
    return "in"


@EXECUTORS
def test_retry_after_pauses_and_costs_no_retry(executor: str, tmp_path: Path) -> None:
    batch = run(_throttled, [str(tmp_path / "a")], executor)
    assert batch.values == ["in"] and batch[0].attempts == 2
    assert batch.summary.cooled_s > 0


def test_retry_after_holds_back_every_start() -> None:
    starts: list[tuple[str, float]] = []

    def fetch(item: str) -> None:
        starts.append((item, time.monotonic()))
        if item == "a" and len(starts) == 1:
            raise fl.RetryAfter(0.05)

    run(fetch, ["a", "b", "c"], workers=1)
    refused = starts[0][1]
    assert all(when - refused >= 0.05 for _, when in starts[1:])
    assert len(starts) == 4


def test_a_server_that_refuses_for_longer_than_patience_fails_the_item() -> None:
    calls: list[int] = []

    def fetch(item: str) -> None:
        calls.append(1)
        raise fl.RetryAfter(10**6)

    [failure] = run(fetch, ["a"], deadline=0.1)
    assert isinstance(failure, fl.Failure)
    assert failure.error_code in ("throttled", "deadline") and len(calls) == 1


# -- values


def _lazy(item: str) -> pl.LazyFrame:
    return pl.LazyFrame({"where": [item]})


@EXECUTORS
def test_a_lazy_frame_is_collected(executor: str) -> None:
    batch = run(_lazy, ["a", "b"], executor)
    assert [type(value) for value in batch.values] == [pl.DataFrame] * 2
    assert batch.frame()["where"].to_list() == ["a", "b"]


def test_a_lazy_frame_is_collected_in_the_worker() -> None:
    where: list[Any] = []

    def note(frame: pl.DataFrame) -> pl.DataFrame:
        where.append(threading.current_thread())
        return frame

    def fetch(item: str) -> pl.LazyFrame:
        where.append(threading.current_thread())
        return pl.LazyFrame({"a": [1]}).map_batches(note)

    assert run(fetch, ["a"]).frame().height == 1
    assert threading.current_thread() not in where and len(where) == 2


def test_a_lazy_frame_that_does_not_collect_is_that_items_failure() -> None:
    def fetch(item: str) -> pl.LazyFrame:
        return pl.LazyFrame({"a": [1]}).select("b" if item == "bad" else "a")

    batch = run(fetch, ["a", "bad", "c"])
    assert [r.is_success for r in batch] == [True, False, True]
    assert isinstance(batch.failures[0].error, pl.exceptions.ColumnNotFoundError)


@dataclass
class Quote:
    symbol: str
    price: float


def _dict(item: str) -> Any:
    return {"symbol": item, "price": 1.0}


def _dicts(item: str) -> Any:
    return [{"symbol": item, "price": 1.0}]


def _quote(item: str) -> Any:
    return Quote(item, 1.0)


def _quotes(item: str) -> Any:
    return [Quote(item, 1.0)]


@EXECUTORS
@pytest.mark.parametrize("function", [_dict, _dicts, _quote, _quotes])
def test_rows_become_a_frame(function: Callable[[str], Any], executor: str) -> None:
    frame = run(function, ["a", "b"], executor).frame()
    assert frame.to_dicts() == [
        {"key": "a", "symbol": "a", "price": 1.0},
        {"key": "b", "symbol": "b", "price": 1.0},
    ]


def test_values_that_are_no_rows_stay_what_they_are_until_a_frame_is_asked_for() -> None:
    batch = run(lambda item: item.encode(), ["a"])
    assert batch.values == [b"a"]
    with pytest.raises(TypeError, match=r"'a'.*bytes|bytes.*'a'"):
        batch.frame()


def test_a_forgotten_await_is_that_items_failure() -> None:
    async def later(item: str) -> str:
        return item

    coroutine = later("a")
    batch = run(lambda item: coroutine if item == "a" else item, ["a", "b"])
    coroutine.close()
    assert [r.is_success for r in batch] == [False, True]
    failure = batch.failures[0]
    assert isinstance(failure.error, TypeError) and "async def" in failure.message


@pytest.mark.parametrize(
    ("signal", "says"),
    [
        (lambda: fl.NotReady("task 7"), "after must be seconds or a timedelta, not 'task 7'"),
        (lambda: fl.NotReady(float("nan")), "after must be a finite number of seconds"),
        (lambda: fl.NotReady(0.1, limit="10"), "limit must be seconds or a timedelta, not '10'"),
        (lambda: fl.RetryAfter("1"), "seconds must be seconds or a timedelta, not '1'"),
    ],
)
def test_a_signal_with_no_duration_is_its_items_failure_and_nothing_hangs(signal: Any, says: str) -> None:
    def fetch(item: int) -> int:
        raise signal()

    batch = fl.run(fetch, range(2), progress=None)
    assert [says in failure.message for failure in batch.failures] == [True, True]


def test_a_signal_takes_a_timedelta_and_a_negative_pause_is_none() -> None:
    assert fl.NotReady(timedelta(seconds=2), limit=timedelta(minutes=1)).limit == 60.0
    assert fl.RetryAfter(-1).seconds == 0.0


def test_a_judge_that_gives_no_duration_makes_the_error_final() -> None:
    def fetch(item: int) -> int:
        raise ValueError("odd")

    spec = fl.SessionSpec(
        name="unit.odd",
        factory=nullcontext,
        judge=lambda error: fl.Verdict("throttled", "throttled", delay="soon"),  # type: ignore[arg-type]
    )
    batch = fl.run(fl.Fetcher.of(fetch, session=spec, retry=3), [1], progress=None)
    assert batch.failures[0].attempts == 1
    assert any("judging this error raised TypeError" in note for note in batch.failures[0].error.__notes__)


@pytest.mark.parametrize("executor", ["thread", "process", "asyncio"])
def test_a_bug_in_the_schedule_ends_the_run_with_it(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def hold(self: Schedule, slot: Any, until: float, again: bool) -> None:
        raise ZeroDivisionError("planted")

    def fetch(item: int) -> int:
        raise ValueError("odd")

    monkeypatch.setattr(Schedule, "_hold", hold)
    with pytest.raises(fl.BatchError, match="ZeroDivisionError: planted"):
        fl.run(fl.Fetcher.of(fetch, retry=2), range(5), progress=None, executor=executor)
