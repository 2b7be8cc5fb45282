"""Executors that do not keep what they claim; ``RED`` names the tests that say so."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import fetchline as fl
from fetchline.testing import ExecutorSuite

SPAWN = partial(ProcessPoolExecutor, mp_context=get_context("spawn"))


class Threads(Executor):
    """Threads, to be made worse; of a type of its own, since flags belong to the type of a pool."""

    def __init__(self, max_workers: int) -> None:
        self.max_workers = max_workers
        self._pool = ThreadPoolExecutor(max_workers)

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


def spec(base: type[Executor] = Threads, **flags: bool) -> fl.ExecutorSpec:
    name = "_".join(flags) or base.__name__.lower()
    return fl.ExecutorSpec(name=f"liars.{name}", factory=type(name, (base,), {}), **flags)


class TestHonest(ExecutorSuite):
    executor = spec()


class TestIsolatesCrashes(ExecutorSuite):
    executor = spec(needs_pickling=True, isolates_crashes=True)


class TestNear(ExecutorSuite):
    executor = fl.ExecutorSpec(name="liars.near", factory=SPAWN)


class TestCoroutines(ExecutorSuite):
    executor = spec(runs_coroutines=True)


class TestKills(ExecutorSuite):
    patience_s = 0.2
    executor = spec(can_kill=True)


class TestRemote(ExecutorSuite):
    executor = spec(remote=True)


class TestBreaks(ExecutorSuite):
    """Does not say that it is broken once a worker has died."""

    executor = fl.ExecutorSpec(name="liars.breaks", factory=SPAWN, needs_pickling=True, isolates_crashes=True)


class Shuffling(Threads):
    """Gives whatever is done first to the one who asked first."""

    def __init__(self, max_workers: int) -> None:
        super().__init__(max_workers)
        self._asked: deque[Future[Any]] = deque()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._asked.append(future)
        super().submit(fn, *args, **kwargs).add_done_callback(self._answer)
        return future

    def _answer(self, done: Future[Any]) -> None:
        if (error := done.exception()) is None:
            self._asked.popleft().set_result(done.result())
        else:
            self._asked.popleft().set_exception(error)

    def map(self, fn: Any, *iterables: Any, **_: Any) -> Any:
        return reversed([fn(*each) for each in zip(*iterables, strict=False)])


class TestLosesOrder(ExecutorSuite):
    executor = spec(Shuffling, needs_pickling=True)  # nearby, workers bring their answers themselves


class Swallowing(Threads):
    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        def call() -> Any:
            try:
                return fn(*args, **kwargs)
            except Exception:
                return None

        return super().submit(call)


class TestSwallows(ExecutorSuite):
    executor = spec(Swallowing)


class Wide(Threads):
    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        call = partial(lambda: future.set_result(fn(*args, **kwargs)))
        threading.Thread(target=call, daemon=True).start()
        return future


class TestIsWide(ExecutorSuite):
    executor = spec(Wide)


class Undying(Threads):
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None: ...


class TestTakesCallsAfterShutdown(ExecutorSuite):
    executor = spec(Undying)


class TestSaysNothing(ExecutorSuite): ...


RED = {
    "TestHonest": {},
    "TestIsolatesCrashes": {
        "test_a_crash_cannot_reach_the_caller": "calls run in the caller's own process",
        "test_a_crash_is_a_failure_and_nothing_hangs": "this call runs in the caller's own process",
        "test_crash_is_one_item_and_the_others_go_on": "",
    },
    "TestNear": {
        "test_near_workers_are_in_this_process_and_nothing_is_copied": "does not claim needs_pickling, but"
    },
    "TestCoroutines": {"test_a_coroutine_function_that_is_submitted_gives_what_it_returns": ""},
    "TestKills": {"test_a_call_that_timed_out_is_ended": "the call to be ended, as 'liars.can_kill' claims"},
    "TestRemote": {"test_remote_workers_are_sent_pickles": "claims remote, and not needs_pickling"},
    "TestBreaks": {"test_crash_is_one_item_and_the_others_go_on": ""},
    "TestLosesOrder": {
        "test_input_order_though_the_first_item_is_the_last_to_finish": "",
        "test_map_keeps_the_order_and_takes_several_iterables": "",
    },
    "TestSwallows": {
        "test_errors_are_values_with_their_type_arguments_and_notes": "",
        "test_one_outcome_for_every_item_whatever_becomes_of_it": "",
        "test_an_exception_is_carried_and_hurts_no_other_call": "",
    },
    "TestIsWide": {"test_no_more_calls_run_at_once_than_there_are_workers": ""},
    "TestTakesCallsAfterShutdown": {
        "test_after_shutdown_nothing_is_taken_and_it_may_be_repeated": "DID NOT RAISE"
    },
    "TestSaysNothing": {
        "test_one_outcome_with_nothing_to_do": "TestSaysNothing does not say what is under test",
    },
}
