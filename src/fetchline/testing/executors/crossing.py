"""What crosses to a worker, and what of the caller is there."""

from __future__ import annotations

import functools
import os
import threading
from contextvars import ContextVar
from typing import Any

from fetchline.testing.calls import LoadsNowhere
from fetchline.testing.executors.bench import Bench
from fetchline.testing.lane import Lane
from fetchline.testing.suites import if_promised

__all__ = ["Crossing"]

where: ContextVar[str] = ContextVar("fetchline_suite", default="nowhere")


def short(item: Any) -> str:
    """A key for items that have none of their own."""
    return repr(item)[:40]


class Crossing:
    """``anything_pickles``, and what holds where nothing has to."""

    def test_anything_pickles_lambdas_closures_methods_partials_and_callables(self, lane: Lane) -> None:
        factor = 3

        class Times:
            def __call__(self, n: int) -> int:
                return factor * n

            def method(self, n: int) -> int:
                return factor * n

        def recursive(n: int) -> int:
            return 0 if n == 0 else factor + recursive(n - 1)

        for function in (
            lambda n: factor * n,
            recursive,
            Times().method,
            functools.partial(lambda m, n: m * n, factor),
            Times(),
        ):
            batch = lane.run(function, range(4))
            assert batch.values == [0, 3, 6, 9], batch.failures

    def test_anything_pickles_of_items_and_values_of_classes_nobody_can_import(self, lane: Lane) -> None:
        class Point:
            def __init__(self, x: int) -> None:
                self.x = x

        def double(point: Point) -> Point:
            return Point(2 * point.x)

        batch = lane.run(double, [Point(n) for n in range(4)], key=lambda point: str(point.x))
        assert [value.x for value in batch.values] == [0, 2, 4, 6]

    def test_anything_pickles_of_an_error_that_is_made_of_other_arguments_than_its_own(
        self, lane: Lane
    ) -> None:
        class Refused(Exception):
            def __init__(self, *, symbol: str) -> None:
                super().__init__(f"no {symbol}")

        def refuses(n: int) -> int:
            raise Refused(symbol=f"S{n}")

        batch = lane.run(refuses, range(2))
        assert [failure.error_code for failure in batch] == ["error", "error"]
        assert "Refused" in batch[1].message
        assert "no S1" in batch[1].message

    @if_promised("needs_pickling")
    def test_anything_pickles_not_and_it_is_one_items_failure_by_name(self, lane: Lane) -> None:
        items = [0, threading.Lock(), 2, LoadsNowhere(), 4]
        batch = lane.run(lambda item: 1, items, key=short)
        assert [result.is_failure for result in batch] == [False, True, False, True, False]
        assert {failure.error_code for failure in batch.failures} == {"unpicklable"}
        assert "lock" in batch[1].message
        assert "will not be loaded" in batch[3].message

    @if_promised("needs_pickling")
    def test_anything_pickles_not_and_a_value_is_its_items_failure(self, lane: Lane) -> None:
        def opens(n: int) -> Any:
            return {1: threading.Lock, 2: LoadsNowhere}.get(n, int)()

        batch = lane.run(opens, range(4))
        assert [failure.index for failure in batch.failures] == [1, 2]
        assert {failure.error_code for failure in batch.failures} == {"unpicklable"}
        assert "lock" in batch[1].message

    @if_promised("needs_pickling")
    def test_anything_pickles_not_and_a_function_is_the_failure_of_every_item(self, lane: Lane) -> None:
        lock = threading.Lock()

        def locked(n: int) -> int:
            with lock:
                return n

        batch = lane.run(locked, range(3))
        assert batch.summary.codes == {"unpicklable": 3}
        assert "lock" in batch[0].message

    @if_promised("near")
    def test_near_workers_are_in_this_process_and_nothing_is_copied(self, lane: Lane) -> None:
        """Red: it should claim needs_pickling."""
        lock = threading.Lock()
        result = lane.run(lambda item: (os.getpid(), item), [lock], key=short)[0]
        assert result.is_success, f"{lane.name!r} does not claim needs_pickling, but: {result.message}"
        pid, item = result.value
        assert pid == os.getpid()
        assert item is lock

    @if_promised("near")
    def test_near_workers_see_the_callers_context_variables(self, lane: Lane) -> None:
        variable = where
        token = variable.set("the caller")
        try:
            assert lane.run(lambda n: variable.get(), range(4)).values == ["the caller"] * 4
        finally:
            variable.reset(token)

    @if_promised("remote")
    def test_remote_workers_are_sent_pickles(self, bench: Bench) -> None:
        """Nothing else reaches another machine."""
        assert bench.spec.needs_pickling, f"{bench.spec.name!r} claims remote, and not needs_pickling"

    @if_promised("runs_coroutines")
    def test_a_coroutine_function_that_is_submitted_gives_what_it_returns(self, pool: Any) -> None:
        """Red: it should not claim runs_coroutines."""

        async def double(n: int) -> int:
            return 2 * n

        value = pool.submit(double, 4).result(20)
        if hasattr(value, "close"):
            value.close()  # a coroutine that nobody runs
        assert value == 8
