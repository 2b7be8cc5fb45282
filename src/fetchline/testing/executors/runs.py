"""Runs on an executor: one outcome each, in order, bounded, errors as values."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from typing import Any

import pytest

import fetchline as fl
from fetchline.testing.evidence import Log
from fetchline.testing.lane import Lane
from fetchline.testing.suites import if_promised

__all__ = ["Runs"]

ITEMS = 30


class Runs:
    """What every executor promises."""

    # -- one outcome ----------------------------------------------------------------------------------------

    def test_one_outcome_for_every_item_whatever_becomes_of_it(self, lane: Lane, log: Log) -> None:
        def mixed(n: int) -> int:
            log.note("call", n)
            match n % 5:
                case 0:
                    raise ValueError(f"no {n}")
                case 1:
                    raise fl.NoData
                case 2 if fl.attempt().number == 1:
                    raise ConnectionError("once")
            return n

        fetcher = lane.fetcher(mixed, retry=fl.Try(retry=2, sleep=0, on=ConnectionError))
        batch = lane.run(fetcher, range(ITEMS))
        assert [result.index for result in batch] == list(range(ITEMS))
        assert [result.status for result in batch] == [
            {0: "failure", 1: "empty"}.get(n % 5, "success") for n in range(ITEMS)
        ]
        assert [result.attempts for result in batch] == [2 if n % 5 == 2 else 1 for n in range(ITEMS)]
        assert log.count("call") == ITEMS + ITEMS // 5
        assert batch.complete

    def test_one_outcome_of_an_item_whose_function_leaves_by_sys_exit(self, lane: Lane) -> None:
        def leaves(n: int) -> int:
            if n == 2:
                raise SystemExit("out")
            return n

        batch = lane.run(leaves, range(6))
        assert [result.item for result in batch.failures] == [2]
        assert batch.values == [0, 1, 3, 4, 5]

    def test_one_outcome_for_every_item_before_the_input_fails(self, lane: Lane) -> None:
        def broken() -> Iterator[int]:
            yield from range(12)
            raise RuntimeError("the source ran dry")

        with pytest.raises(fl.InputFailed, match="the source ran dry") as caught:
            lane.run(lambda n: n, broken())
        assert caught.value.batch.values == list(range(12))

    def test_one_outcome_for_every_item_when_a_failure_stops_the_run(self, lane: Lane) -> None:
        def stumbles(n: int) -> int:
            if n == 3:
                raise ValueError("three")
            return n

        with pytest.raises(fl.BatchFailed, match="three") as caught:
            lane.run(stumbles, range(5_000), on_error="raise")
        batch = caught.value.batch
        assert len(batch) == 5_000
        assert not batch.complete
        assert [f.index for f in batch.failures if f.error_code == "error"] == [3]
        assert {f.error_code for f in batch.failures} <= {"error", "cancelled"}

    def test_one_outcome_with_nothing_to_do(self, lane: Lane) -> None:
        assert len(lane.run(lambda n: n, [])) == 0
        assert list(lane.stream(lambda n: n, iter(()))) == []

    # -- order ----------------------------------------------------------------------------------------------

    @if_promised("several", "background")
    def test_input_order_though_the_first_item_is_the_last_to_finish(self, lane: Lane, log: Log) -> None:
        def first_waits(n: int) -> int:
            if n == 0:
                log.wait_for("done", times=9)
            log.note("done", n)
            return n

        assert lane.run(first_waits, range(10)).values == list(range(10))
        assert log.lines()[-1] == ["done", 0]

    def test_input_order_of_a_stream_of_a_generator_with_retries(self, lane: Lane) -> None:
        def stumbles(n: int) -> int:
            if n % 7 == 0 and fl.attempt().number < 3:
                raise ConnectionError
            return n

        fetcher = lane.fetcher(stumbles, retry=fl.Try(retry=3, sleep=0.001))
        assert [result.value for result in lane.stream(fetcher, iter(range(60)))] == list(range(60))

    @if_promised("several", "background")
    def test_input_order_is_given_up_by_a_stream_as_completed(self, lane: Lane, log: Log) -> None:
        def first_waits(n: int) -> int:
            if n == 0:
                log.wait_for("yielded", times=9)
            return n

        got = []
        for result in lane.stream(first_waits, range(10), as_completed=True):
            got.append(result.value)
            log.note("yielded", result.value)
        assert sorted(got) == list(range(10))
        assert got[-1] == 0

    # -- bounds ---------------------------------------------------------------------------------------------

    def test_bounded_attempts_never_exceed_the_concurrency_and_reach_it(self, lane: Lane, log: Log) -> None:
        width = lane.width

        def counted(n: int) -> int:
            log.note("in", n)
            if n < width:
                log.wait_for("in", times=width)  # the first ones stay until the places are full
            log.note("out", n)
            return n

        assert lane.run(counted, range(20)).n_succeeded == 20
        assert log.most_at_once() == width

    def test_bounded_attempts_are_fewer_than_the_workers_where_that_is_asked(
        self, lane: Lane, log: Log
    ) -> None:
        def counted(n: int) -> int:
            log.note("in", n)
            log.note("out", n)
            return n

        assert lane.run(counted, range(12), concurrency=1).n_succeeded == 12
        assert log.most_at_once() == 1

    @pytest.mark.parametrize("as_completed", [False, True])
    def test_bounded_streams_draw_no_more_than_the_window(self, lane: Lane, as_completed: bool) -> None:
        drawn = taken = worst = 0

        def endless() -> Iterator[int]:
            nonlocal drawn, worst
            while True:
                drawn += 1
                worst = max(worst, drawn - taken)
                yield drawn

        stream: Any = lane.stream(lambda n: n, endless(), window=8, as_completed=as_completed)
        for _ in stream:
            taken += 1
            if taken == 60:
                break
        stream.close()
        assert worst <= 8 + 1  # the one in the consumer's hand is not yet asked past

    # -- errors ---------------------------------------------------------------------------------------------

    def test_errors_are_values_with_their_type_arguments_and_notes(self, lane: Lane) -> None:
        def fails(n: int) -> int:
            if n == 1:
                error = KeyError("k", n)
                error.add_note("seen by night")
                raise error
            return n

        batch = lane.run(fails, range(4))
        assert batch.values == [0, 2, 3]
        error = batch[1].error
        assert type(error) is KeyError
        assert error.args == ("k", 1)
        assert "seen by night" in error.__notes__

    # -- attempts -------------------------------------------------------------------------------------------

    def test_waiting_frees_the_slot(self, lane: Lane, log: Log) -> None:
        def first_time(n: int) -> int:
            log.note("call", n)
            if n == 0 and fl.attempt().number == 1:
                raise ConnectionError
            return n

        fetcher = lane.fetcher(first_time, retry=fl.Try(retry=2, sleep=0.1, jitter=0))
        assert lane.run(fetcher, range(3), concurrency=1).values == [0, 1, 2]
        calls = [n for _, n in log.lines()]
        assert calls[:2] == [0, 1]  # the one place was not kept for the item that waited
        assert sorted(calls) == [0, 0, 1, 2]

    def test_an_attempt_knows_its_number_key_deadline_and_memo_wherever_it_is_made(self, lane: Lane) -> None:
        def asks(n: int) -> Any:
            attempt = fl.attempt()
            if attempt.number == 1:
                raise fl.NotReady(0, memo={"task": n})
            return attempt.number, attempt.key, attempt.memo, attempt.deadline is not None

        batch = lane.run(lane.fetcher(asks, timeout=60), range(4))
        assert batch.values == [(2, str(n), {"task": n}, True) for n in range(4)]

    def test_arguments_and_params_reach_the_function(self, lane: Lane) -> None:
        def names(first: int, second: int = 0, *, unit: str, scale: int = 1) -> Any:
            return first, second, unit, scale

        items = [fl.Args(1, 2), fl.Args(3, scale=4), 5]
        batch = lane.run(names, items, params={"unit": "EUR"}, key=repr)
        assert batch.values == [(1, 2, "EUR", 1), (3, 0, "EUR", 4), (5, 0, "EUR", 1)]

    def test_coroutine_functions_are_run(self, lane: Lane) -> None:
        async def double(n: int) -> int:
            await asyncio.sleep(0)
            return 2 * n

        fetcher = fl.Fetcher.of(double)
        assert lane.run(fetcher, range(6)).values == [0, 2, 4, 6, 8, 10]

    def test_a_callers_own_loop_is_served(self, lane: Lane) -> None:
        fetcher = lane.fetcher(lambda n: -n)
        batch = asyncio.run(fl.arun(fetcher, range(6), **lane.options()))
        assert batch.values == [0, -1, -2, -3, -4, -5]

    # -- one run after another ------------------------------------------------------------------------------

    def test_a_pool_serves_one_run_after_another(self, lane: Lane) -> None:
        for factor in (2, 3, 5):
            times = functools.partial(lambda factor, n: factor * n, factor)
            assert lane.run(lane.fetcher(times), range(5)).values == [factor * n for n in range(5)]

    @if_promised("restarts")
    def test_a_run_starts_the_executor_and_ends_it(self, fresh: Lane) -> None:
        batch = fresh.run(lambda n: n + 1, range(6))
        assert batch.values == list(range(1, 7))
        assert batch.summary.executor == fresh.name
