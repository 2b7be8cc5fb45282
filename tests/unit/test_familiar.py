"""Names that users of this pattern already know: batch_fetch, batch_execute, run_in_parallel and the rest."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import polars as pl
import pytest

import fetchline as fl
from fetchline import BatchConfig

QUIET = BatchConfig(progress=None)


def frame(symbol: str) -> pl.DataFrame:
    if symbol.startswith("bad"):
        raise ValueError(f"no {symbol}")
    return pl.DataFrame({"symbol": [symbol]})


# -- the shapes


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (fl.batch_fetch, ["config", "fetch_func", "items"]),
        (
            fl.batch_execute,
            [
                "keys",
                "operation",
                "max_concurrent",
                "on_progress",
                "fail_fast",
                "chunk_size",
                "skip_completed",
            ],
        ),
        (fl.run_in_parallel, ["func", "args_list", "max_workers", "on_error", "preserve_order"]),
        (fl.TryWithSession, ["retry", "sleep", "session_cls"]),
    ],
)
def test_the_parameters_have_the_known_names_and_order(function: Any, parameters: list[str]) -> None:
    assert list(inspect.signature(function).parameters)[: len(parameters)] == parameters


def test_the_defaults_are_the_known_ones() -> None:
    execute = inspect.signature(fl.batch_execute).parameters
    assert (execute["max_concurrent"].default, execute["fail_fast"].default) == (10, False)
    assert execute["on_progress"].default is execute["chunk_size"].default is None
    parallel = inspect.signature(fl.run_in_parallel).parameters
    assert (parallel["on_error"].default, parallel["preserve_order"].default) == ("raise", True)
    policy = fl.Try()
    assert (policy.retry, policy.sleep, policy.backoff) == (3, 0.5, 2.0)
    assert (fl.TryWithSession(5, 2, dict).policy.retry, fl.TryWithSession(5, 2, dict).policy.sleep) == (5, 2)


# -- batch_fetch


def test_batch_fetch_gives_a_frame_for_each_item_in_order() -> None:
    frames = fl.batch_fetch(QUIET, frame, ["b", "a", "c"])
    assert [f["symbol"].to_list() for f in frames] == [["b"], ["a"], ["c"]]


def test_batch_fetch_gives_an_empty_frame_for_a_failed_item_and_logs_its_repr(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR, "fetchline"):
        frames = fl.batch_fetch(QUIET, frame, ["a", "bad\n1", "c"])
    assert [f.height for f in frames] == [1, 0, 1]
    assert frames[1].equals(pl.DataFrame())
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert repr("bad\n1") in record.getMessage() and "ValueError" in record.getMessage()


def test_batch_fetch_when_every_item_fails_still_gives_a_frame_each() -> None:
    assert [f.is_empty() for f in fl.batch_fetch(QUIET, frame, ["bad1", "bad2"])] == [True, True]


def test_batch_fetch_takes_names_fetchers_and_no_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETCHLINE_PROGRESS", "none")
    registry = fl.Registry()
    fl.fetcher("unit.frame", registry=registry)(frame)
    config = BatchConfig(progress=None, registry=registry, executor="serial")
    assert fl.batch_fetch(config, "unit.frame", ["a"])[0].height == 1
    assert fl.batch_fetch(None, registry["unit.frame"], ["a"])[0].height == 1
    assert fl.batch_fetch(QUIET, frame, []) == []


def test_batch_fetch_makes_rows_of_dicts_and_refuses_the_rest() -> None:
    [made] = fl.batch_fetch(QUIET, lambda symbol: {"symbol": symbol}, ["a"])
    assert made.to_dicts() == [{"symbol": "a"}]
    with pytest.raises(TypeError, match=r"'a'.*int|int.*'a'"):
        fl.batch_fetch(QUIET, lambda symbol: 3, ["a"])


def test_batch_fetch_retries_with_the_fetchers_policy() -> None:
    calls: list[str] = []

    @fl.Try(retry=3, sleep=0)
    def flaky(symbol: str) -> pl.DataFrame:
        calls.append(symbol)
        if len(calls) < 3:
            raise ValueError
        return frame(symbol)

    assert fl.batch_fetch(QUIET, flaky, ["a"])[0].height == 1
    assert len(calls) == 3


# -- batch_execute


async def double(key: int) -> int:
    await asyncio.sleep(0)
    if key < 0:
        raise ValueError(key)
    return 2 * key


def test_batch_execute_gives_results_in_the_order_of_the_keys() -> None:
    results = asyncio.run(fl.batch_execute([3, -1, 2], double))
    assert isinstance(results, list)
    assert [r.is_success for r in results] == [True, False, True]
    assert [r.value for r in results if isinstance(r, fl.Success)] == [6, 4]
    assert [r.key for r in results] == ["3", "-1", "2"]


def test_batch_execute_never_runs_more_at_once_than_asked() -> None:
    running = most = 0

    async def operation(key: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return key

    asyncio.run(fl.batch_execute(range(30), operation, max_concurrent=4))
    assert most == 4


def test_batch_execute_tells_the_progress_for_each_key() -> None:
    ticks: list[tuple[int, int | None]] = []
    asyncio.run(fl.batch_execute([1, 2, -3], double, on_progress=lambda *tick: ticks.append(tick)))
    assert ticks == [(1, 3), (2, 3), (3, 3)]


def test_batch_execute_fail_fast_raises_the_items_own_error_and_starts_no_more() -> None:
    started: list[int] = []

    async def operation(key: int) -> int:
        started.append(key)
        return await double(key)

    with pytest.raises(ValueError, match="-1") as caught:
        asyncio.run(fl.batch_execute([-1, *range(1000)], operation, max_concurrent=2, fail_fast=True))
    assert type(caught.value) is ValueError
    assert len(started) < 1000


def test_batch_execute_leaves_completed_keys_out() -> None:
    called: list[int] = []

    async def operation(key: int) -> int:
        called.append(key)
        return key

    results = asyncio.run(fl.batch_execute([1, 2, 3, 4], operation, skip_completed={2, 4}))
    assert sorted(called) == [1, 3]
    assert [r.key for r in results] == ["1", "3"]


def test_batch_execute_takes_an_async_iterable_and_bounds_what_is_taken_ahead() -> None:
    taken = finished = most_ahead = 0

    async def keys() -> AsyncIterator[int]:
        nonlocal taken, most_ahead
        for key in range(60):
            taken += 1
            most_ahead = max(most_ahead, taken - finished)
            yield key

    async def operation(key: int) -> int:
        nonlocal finished
        await asyncio.sleep(0.001)
        finished += 1
        return key

    results = asyncio.run(
        fl.batch_execute(keys(), operation, max_concurrent=2, chunk_size=5, skip_completed=[0])
    )
    assert [r.value for r in results if isinstance(r, fl.Success)] == list(range(1, 60))
    assert most_ahead <= 5 + 2 + 1


def test_batch_execute_bounds_what_is_taken_of_a_generator_too() -> None:
    taken = finished = most_ahead = 0

    def keys() -> Any:
        nonlocal taken, most_ahead
        for key in range(60):
            taken += 1
            most_ahead = max(most_ahead, taken - finished)
            yield key

    async def operation(key: int) -> int:
        nonlocal finished
        await asyncio.sleep(0.001)
        finished += 1
        return key

    asyncio.run(fl.batch_execute(keys(), operation, max_concurrent=2, chunk_size=5, skip_completed=[0]))
    assert most_ahead <= 5 + 2 + 1


def test_batch_execute_runs_on_the_callers_loop_and_plain_functions_in_threads() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def where(key: int) -> Any:
            return asyncio.get_running_loop()

        [result] = await fl.batch_execute([1], where)
        assert isinstance(result, fl.Success) and result.value is loop
        [plain] = await fl.batch_execute([1], lambda key: threading.current_thread())
        assert isinstance(plain, fl.Success) and plain.value is not threading.current_thread()

    asyncio.run(main())


@pytest.mark.parametrize("options", [{"max_concurrent": 0}, {"chunk_size": 0}, {"max_concurrent": True}])
def test_batch_execute_refuses_what_is_no_count(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(options))):
        asyncio.run(fl.batch_execute([1], double, **options))


def test_batch_execute_of_no_keys_is_no_results() -> None:
    assert asyncio.run(fl.batch_execute([], double)) == []
    assert asyncio.run(fl.batch_execute([1], double, skip_completed=[1])) == []


# -- run_in_parallel


def test_run_in_parallel_calls_with_each_tuple_and_keeps_the_order() -> None:
    assert fl.run_in_parallel(pow, [(2, 3), (3, 2), (5, 2)], 2) == [8, 9, 25]
    assert fl.run_in_parallel(abs, [-1, (-2,)], max_workers=2) == [1, 2]
    assert fl.run_in_parallel(pow, ((n, 2) for n in range(50)), 4) == [n * n for n in range(50)]
    assert fl.run_in_parallel(pow, [], 4) == []


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("preserve_order", [True, False])
def test_run_in_parallel_raises_the_error_with_a_note_of_index_and_arguments(
    workers: int, preserve_order: bool
) -> None:
    def divide(a: int, b: int) -> float:
        return a / b

    with pytest.raises(ZeroDivisionError) as caught:
        fl.run_in_parallel(divide, [(1, 1), (7, 0)], workers, preserve_order=preserve_order)
    [note] = caught.value.__notes__
    assert "1" in note and "7, 0" in note
    assert caught.value.__traceback__ is not None
    names = [frame.name for frame in caught.traceback]
    assert "divide" in names


def test_run_in_parallel_raises_on_the_first_completed_failure() -> None:
    slow_may_end = threading.Event()

    def work(name: str) -> None:
        if name == "slow":
            slow_may_end.wait(10)
        try:
            raise ValueError(name)
        finally:
            slow_may_end.set()

    with pytest.raises(ValueError, match="quick"):
        fl.run_in_parallel(work, ["slow", "quick"], 2)


def test_run_in_parallel_collects_results_when_asked() -> None:
    results = fl.run_in_parallel(divmod, [(7, 2), (1, 0)], 2, on_error="collect")
    assert isinstance(results[0], fl.Success) and results[0].value == (3, 1)
    assert isinstance(results[1], fl.Failure) and isinstance(results[1].error, ZeroDivisionError)
    assert [r.index for r in results] == [0, 1]


@pytest.mark.parametrize("workers", [1, 0, -3])
def test_run_in_parallel_with_one_worker_or_less_runs_in_the_callers_thread(workers: int) -> None:
    seen = fl.run_in_parallel(lambda item: threading.current_thread(), ["a", "b"], workers)
    assert seen == [threading.current_thread()] * 2


def test_run_in_parallel_in_the_order_of_completion() -> None:
    order: list[str] = []
    gate = threading.Event()

    def gated(name: str) -> str:
        if name == "first":
            gate.wait(10)
        else:
            order.append(name)
        if len(order) == 3:
            gate.set()
        return name

    values = fl.run_in_parallel(gated, ["first", "a", "b", "c"], 2, preserve_order=False)
    assert sorted(values) == ["a", "b", "c", "first"] and values[-1] == "first"


def test_run_in_parallel_takes_arguments_that_have_no_key_and_equal_ones() -> None:
    items: list[Any] = [([1, 2],), ([1, 2],), ({"a": 1},), (None,)]
    assert fl.run_in_parallel(str, items, 3) == ["[1, 2]", "[1, 2]", "{'a': 1}", "None"]


def test_run_in_parallel_refuses_another_on_error() -> None:
    with pytest.raises(ValueError, match="on_error"):
        fl.run_in_parallel(abs, [1], 2, on_error="ignore")  # type: ignore[call-overload]


def test_run_in_parallel_shows_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    fl.run_in_parallel(abs, [1, 2], 2)
    assert capsys.readouterr() == ("", "")


# -- optimal_workers


def test_optimal_workers_is_between_one_and_the_items_and_32() -> None:
    assert fl.optimal_workers(0) == fl.optimal_workers(1) == 1
    assert fl.optimal_workers(2) == 2
    assert 1 <= fl.optimal_workers(10**6) <= 32
    for wrong in (-1, True, 1.5):
        with pytest.raises((ValueError, TypeError)):
            fl.optimal_workers(wrong)  # type: ignore[arg-type]


# -- Success and Failure


def test_a_success_has_the_known_fields() -> None:
    success = fl.Success(3, key="k", index=2, item="i", attempts=4, waited_s=0.5, ran_s=0.25, origin="store")
    assert (success.is_success, success.is_failure, success.status) == (True, False, "success")
    assert (success.value, success.key, success.index, success.item) == (3, "k", 2, "i")
    assert (success.attempts, success.waited_s, success.ran_s, success.origin) == (4, 0.5, 0.25, "store")
    assert fl.Success(3).origin == "fetched"


def test_a_failure_has_the_known_fields() -> None:
    failure = fl.Failure.from_exception(ValueError("no"), key="k", index=2, item="i", attempts=3)
    assert (failure.is_success, failure.is_failure, failure.status) == (False, True, "failure")
    assert (failure.error_code, failure.message) == ("error", "ValueError: no")
    assert (failure.key, failure.index, failure.item, failure.attempts) == ("k", 2, "i", 3)


def test_the_message_of_a_failure_is_one_line() -> None:
    assert fl.Failure.from_exception(ValueError()).message == "ValueError"
    assert "\n" not in fl.Failure.from_exception(ValueError("first\nsecond")).message


# -- JobTracker


def test_the_tracker_takes_a_job_through_its_life() -> None:
    tracker = fl.JobTracker()
    job_id = tracker.create_job(4).job_id
    uuid.UUID(job_id)

    def look() -> fl.JobInfo:
        return tracker.get_job(job_id)

    assert look().status is fl.JobStatus.PENDING and str(look().status) == "pending"
    assert (look().total_items, look().completed_items, look().progress_percentage) == (4, 0, 0)
    tracker.update_status(job_id, fl.JobStatus.RUNNING)
    tracker.update_progress(job_id, 1)
    assert (look().status, look().completed_items, look().progress_percentage) == ("running", 1, 25)
    tracker.mark_completed(job_id)
    assert look().status == "completed" and look().error_message is None
    other_id = tracker.create_job(1).job_id
    tracker.mark_failed(other_id, "broken")
    assert tracker.get_job(other_id).status == "failed"
    assert "broken" in str(tracker.get_job(other_id).error_message)
    assert {info.job_id for info in tracker.list_jobs()} == {job_id, other_id}
    for info in tracker.list_jobs():
        assert isinstance(info.created_at, datetime) and info.updated_at >= info.created_at


def test_the_statuses_are_the_known_ones() -> None:
    assert [status.value for status in fl.JobStatus] == [
        "pending", "running", "completed", "failed", "cancelled", "interrupted",
    ]  # fmt: skip


# -- Period


def test_a_period_is_made_as_it_always_was() -> None:
    assert str(fl.Period.Q1(2024)) == "2024-Q1"
    assert fl.Period.parse("2024-Q1") == fl.Period.Q1(2024) == fl.Period("2024-01-01", "2024-03-31")
    assert fl.Period.from_year(2024).quarters() == [
        fl.Period.Q1(2024), fl.Period.Q2(2024), fl.Period.Q3(2024), fl.Period.Q4(2024),
    ]  # fmt: skip
    assert fl.Period.from_month(2024, 2).months() == [fl.Period.from_month(2024, 2)]
    assert len(fl.Period.from_month(2024, 2).days()) == 29
