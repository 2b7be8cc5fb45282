"""get_executor gives honest concurrent.futures executors: thread, process (forkserver, spawn), asyncio, serial.

What every executor promises is held by ``fetchline.testing.ExecutorSuite``, in tests/conformance; here is the rest.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextvars import ContextVar
from typing import Any

import pytest

import fetchline as fl
from fetchline.executors import choose

CASES: dict[str, dict[str, Any]] = {
    "thread": {"name": "thread", "max_workers": 2},
    "process": {"name": "process", "max_workers": 2},
    "spawn": {"name": "process", "max_workers": 1, "start": "spawn"},
    "asyncio": {"name": "asyncio", "max_workers": 2},
    "serial": {"name": "serial"},
}
PROCESSES = ("process", "spawn")
LOCAL = ("thread", "asyncio", "serial")


def start(case: str) -> Any:
    return fl.get_executor(**CASES[case])


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pool(case: str) -> Iterator[Any]:
    with start(case) as pool:
        yield pool


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Holds what waits for it, and lets it go at the end whatever happens."""
    event = threading.Event()
    yield event
    event.set()


def after_turns(future: Future[Any], timeout: float = 10) -> None:
    """Wait until a future has left the queue."""
    end = time.monotonic() + timeout
    while not (future.running() or future.done()):
        assert time.monotonic() < end, "it never started"
        time.sleep(0.001)


# -- submit


def test_submit_gives_a_future_of_the_standard_library(pool: Any) -> None:
    assert isinstance(pool, Executor)
    future = pool.submit(divmod, 7, 2)
    assert isinstance(future, Future)
    assert future.result(timeout=20) == (3, 1)
    assert future.done() and not future.running() and not future.cancelled()
    assert future.exception() is None


def test_arguments_of_any_name_are_passed_on(pool: Any) -> None:
    def names(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    assert pool.submit(names, 1, fn=2, self=3).result(20) == ((1,), {"fn": 2, "self": 3})


def test_lambdas_and_closures_are_taken(pool: Any) -> None:
    factor = 6
    assert pool.submit(lambda n: n * factor, 7).result(20) == 42


def test_an_error_is_carried_with_its_type_text_and_notes(pool: Any) -> None:
    def fail() -> None:
        error = KeyError("k")
        error.add_note("a note")
        raise error

    future = pool.submit(fail)
    error = future.exception(timeout=20)
    assert type(error) is KeyError and error.args == ("k",)
    assert error.__notes__ == ["a note"]
    with pytest.raises(KeyError):
        future.result()


def test_an_error_shows_where_it_was_raised(pool: Any) -> None:
    import traceback

    def deep_inside() -> None:
        raise ValueError("here")

    error = pool.submit(deep_inside).exception(20)
    assert "deep_inside" in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("case", [c for c in CASES if c != "serial"])
def test_a_call_that_exits_is_an_error_of_its_own_future(pool: Any) -> None:
    def leave() -> None:
        raise SystemExit(3)

    assert pool.submit(leave).exception(20) is not None
    assert pool.submit(abs, -1).result(20) == 1


@pytest.mark.parametrize("case", ["thread", "asyncio"])
def test_context_variables_are_those_of_the_caller(pool: Any) -> None:
    where: ContextVar[str] = ContextVar("where", default="nowhere")
    token = where.set("caller")
    try:
        assert pool.submit(where.get).result(20) == "caller"
    finally:
        where.reset(token)


# -- where things run


@pytest.mark.parametrize("case", PROCESSES)
def test_processes_are_other_processes_and_stay(pool: Any) -> None:
    pids = {pool.submit(os.getpid).result(30) for _ in range(4)}
    assert os.getpid() not in pids
    assert len(pids) <= pool.max_workers


@pytest.mark.parametrize("case", ["serial"])
def test_serial_runs_in_the_callers_thread_before_submit_returns(pool: Any) -> None:
    future = pool.submit(threading.current_thread)
    assert future.done() and future.result() is threading.current_thread()


def test_coroutine_functions_run_on_the_asyncio_executor() -> None:
    running = most = 0

    async def work(n: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return 2 * n

    with start("asyncio") as pool:
        assert list(pool.map(work, range(10))) == [2 * n for n in range(10)]
    assert most == 2


# -- map


def test_map_keeps_the_order_and_takes_several_iterables(pool: Any) -> None:
    assert list(pool.map(pow, [2, 3, 4], [3, 2, 1])) == [8, 9, 4]
    assert list(pool.map(abs, [])) == []
    assert list(pool.map(abs, range(-5, 0), chunksize=2)) == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("case", ["thread", "asyncio"])
def test_map_gives_up_after_its_timeout(pool: Any, gate: threading.Event) -> None:
    values = pool.map(gate.wait, [20], timeout=0.01)
    with pytest.raises(TimeoutError):
        next(values)
    gate.set()


# -- cancelling


@pytest.mark.parametrize("case", ["thread"])
def test_what_is_running_cannot_be_cancelled(pool: Any, gate: threading.Event) -> None:
    future = pool.submit(gate.wait, 20)
    after_turns(future)
    assert future.running() and not future.cancel()
    gate.set()
    assert future.result(20) is True


def test_cancelling_a_running_coroutine_ends_it() -> None:
    began, ended = threading.Event(), threading.Event()

    async def hang() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with start("asyncio") as pool:
        future = pool.submit(hang)
        assert began.wait(10)
        assert future.cancel()
        assert ended.wait(10)
        assert pool.submit(abs, -1).result(10) == 1


# -- shutdown


def test_after_shutdown_nothing_is_taken(case: str) -> None:
    pool = start(case)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(abs, -1)
    with pytest.raises(RuntimeError, match="shut down"):
        list(pool.map(abs, [-1]))


def test_shutdown_can_be_repeated(case: str) -> None:
    pool = start(case)
    assert pool.submit(abs, -1).result(20) == 1
    pool.shutdown(wait=False)
    pool.shutdown()
    pool.shutdown(wait=True, cancel_futures=True)


def test_an_executor_that_was_never_used_shuts_down(case: str) -> None:
    with start(case):
        pass


@pytest.mark.parametrize("case", PROCESSES)
def test_leaving_the_with_block_finishes_and_ends_the_processes(case: str) -> None:
    with start(case) as pool:
        futures = [pool.submit(os.getpid) for _ in range(6)]
    pids = {future.result(0) for future in futures}
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("case", ["thread", "asyncio"])
def test_shutdown_without_waiting_returns_at_once_and_finishes_the_queue(
    case: str, gate: threading.Event
) -> None:
    pool = start(case)
    futures = [pool.submit(gate.wait, 20) for _ in range(4)]
    pool.shutdown(wait=False)
    assert not any(future.done() for future in futures)
    gate.set()
    assert [future.result(20) for future in futures] == [True] * 4
    pool.shutdown(wait=True)


@pytest.mark.parametrize("case", ["thread", "asyncio"])
def test_shutdown_with_cancel_futures_finishes_what_runs_and_cancels_the_rest(
    case: str, gate: threading.Event
) -> None:
    pool = start(case)
    began = threading.Semaphore(0)

    def hold() -> str:
        began.release()
        gate.wait(20)
        return "finished"

    running = [pool.submit(hold) for _ in range(2)]
    for _ in running:
        assert began.acquire(timeout=10)
    queued = [pool.submit(abs, -1) for _ in range(5)]
    pool.shutdown(wait=False, cancel_futures=True)
    gate.set()
    assert all(future.cancelled() for future in queued)
    assert [future.result(20) for future in running] == ["finished"] * 2
    pool.shutdown(wait=True)


@pytest.mark.parametrize("case", ["thread"])
def test_a_second_shutdown_may_still_cancel_the_queue(case: str, gate: threading.Event) -> None:
    pool = start(case)
    running = [pool.submit(gate.wait, 20) for _ in range(2)]
    for future in running:
        after_turns(future)
    queued = pool.submit(abs, -1)
    pool.shutdown(wait=False)
    pool.shutdown(wait=False, cancel_futures=True)
    gate.set()
    assert queued.cancelled()
    pool.shutdown()


def test_cancelling_during_a_shutdown_of_the_asyncio_executor_does_not_keep_it() -> None:
    began = threading.Event()

    async def hang() -> None:
        began.set()
        await asyncio.sleep(60)

    pool = start("asyncio")
    future = pool.submit(hang)
    assert began.wait(10)
    pool.shutdown(wait=False)
    future.cancel()
    waiter = threading.Thread(target=pool.shutdown, daemon=True)
    waiter.start()
    waiter.join(5)
    assert not waiter.is_alive()


def test_no_thread_of_ours_is_left_after_shutdown(case: str) -> None:
    before = set(threading.enumerate())
    with start(case) as pool:
        list(pool.map(abs, range(4)))
    left = [
        thread.name
        for thread in set(threading.enumerate()) - before
        if thread.name.startswith("fetchline-") and ("thread" in thread.name or "loop" in thread.name)
    ]
    assert left == []


# -- processes: what goes wrong


@pytest.mark.parametrize("case", ["process"])
def test_a_worker_that_dies_costs_its_own_future_and_is_replaced(pool: Any) -> None:
    error = pool.submit(os._exit, 7).exception(30)
    assert isinstance(error, concurrent.futures.BrokenExecutor)
    assert isinstance(error, fl.WorkerCrashed) and error.exit_code == 7
    assert pool.submit(abs, -1).result(30) == 1


@pytest.mark.parametrize("case", ["process"])
def test_what_cannot_be_pickled_is_an_error_that_names_it(pool: Any) -> None:
    error = pool.submit(str, threading.Lock()).exception(30)
    assert isinstance(error, fl.Unpicklable) and "lock" in str(error)
    assert isinstance(pool.submit(threading.Lock).exception(30), (fl.Unpicklable, TypeError))
    assert pool.submit(abs, -1).result(30) == 1


class Stubborn(Exception):
    """An error that pickles and does not unpickle, as httpx.HTTPStatusError does."""

    def __init__(self, message: str, *, response: Any) -> None:
        super().__init__(message)
        self.response = response


@pytest.mark.parametrize("case", ["process"])
def test_an_error_whose_init_takes_other_arguments_arrives_as_itself(pool: Any) -> None:
    def fail() -> None:
        raise Stubborn("no such page", response=404)

    error = pool.submit(fail).exception(30)
    assert isinstance(error, Stubborn)
    assert (str(error), error.response) == ("no such page", 404)


@pytest.mark.parametrize("case", ["process"])
def test_an_error_that_does_not_unpickle_arrives_as_its_name_and_text(pool: Any) -> None:
    def fail() -> None:
        raise Stubborn("no such page", response=threading.Lock())

    error = pool.submit(fail).exception(30)
    assert "Stubborn" in str(error) and "no such page" in str(error)
    assert pickle.loads(pickle.dumps(error)).args == error.args


@pytest.mark.parametrize("case", ["process"])
def test_large_values_pass_both_ways(pool: Any) -> None:
    body = os.urandom(3_000_000)
    assert pool.submit(bytes.__add__, body, b"x").result(30) == body + b"x"


# -- making one


def test_an_unknown_executor_lists_the_near_ones() -> None:
    with pytest.raises(fl.UnknownName, match="did you mean 'process'"):
        fl.get_executor("proces")


@pytest.mark.parametrize("name", ["thread", "process", "asyncio"])
@pytest.mark.parametrize(
    ("workers", "kind"), [(0, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError)]
)
def test_a_width_that_is_no_count_is_refused(name: str, workers: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="max_workers"):
        fl.get_executor(name, max_workers=workers)


def test_more_than_one_serial_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="one worker"):
        fl.get_executor("serial", max_workers=2)


def test_fork_is_not_a_way_to_start_processes() -> None:
    with pytest.raises(ValueError, match='start must be "forkserver" or "spawn"'):
        fl.get_executor("process", start="fork")


def test_options_may_come_with_the_name() -> None:
    with fl.get_executor(fl.use("process", start="spawn"), max_workers=1) as pool:
        assert pool.submit(abs, -1).result(30) == 1


# -- pool and runs together


@pytest.mark.parametrize("case", [c for c in CASES if c != "spawn"])
def test_a_pool_carries_runs_and_submitted_calls_alike_and_stays(pool: Any) -> None:
    before = pool.submit(abs, -1)
    batch = fl.run(abs, [-1, -2, -3], executor=pool, progress=None)
    again = fl.run(str, [1, 2], executor=pool, progress=None)
    assert (batch.values, again.values) == ([1, 2, 3], ["1", "2"])
    assert before.result(20) == 1 and pool.submit(abs, -2).result(20) == 2


async def _absolute(n: int) -> int:
    return abs(n)


@pytest.mark.parametrize("function", [abs, _absolute])
def test_a_run_on_a_pool_that_was_shut_down_is_refused(case: str, function: Any) -> None:
    """Whether or not it would need a worker of it."""
    pool = start(case)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="the executor that was given has been shut down"):
        fl.run(function, [-1], executor=pool, progress=None)


def test_a_plain_function_has_as_many_workers_as_attempts_at_once() -> None:
    for name in ("thread", "process"):
        crew = choose(name, asynchronous=False, concurrency=7)
        assert (crew.workers, crew.concurrency) == (7, 7)
    crew = choose("process", asynchronous=True, concurrency=700)
    assert crew.workers < crew.concurrency == 700
    with pytest.raises(ValueError, match="raise workers"):
        choose("process", asynchronous=False, concurrency=7, workers=2)


def test_a_pool_of_the_standard_library_carries_a_run() -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert fl.run(abs, [-1, -2], executor=pool, progress=None).values == [1, 2]
        assert pool.submit(abs, -1).result(10) == 1


def test_two_runs_share_a_pool_at_the_same_time(pool: Any, case: str) -> None:
    if case == "serial":
        pytest.skip("one attempt at a time")
    jobs = [fl.submit(abs, range(-20, 0), executor=pool) for _ in range(2)]
    assert [job.result().values for job in jobs] == [list(range(20, 0, -1))] * 2


def _call(function: Callable[[], Any]) -> Any:
    return function()


def test_a_process_pool_runs_functions_of_test_modules_by_name() -> None:
    with start("process") as pool:
        assert pool.submit(_call, os.getppid).result(30) > 0


@pytest.mark.parametrize("executor", [None, "thread", "process", "asyncio", "serial"])
def test_a_session_says_how_many_workers_there_are_where_nobody_does(executor: str | None) -> None:
    shy = fl.SessionSpec(name="shy", factory=dict, workers=1)
    asynchronous = executor == "asyncio"
    assert choose(executor, asynchronous=asynchronous, session=shy).concurrency == 1
    if executor != "serial":
        assert choose(executor, asynchronous=asynchronous, workers=3, session=shy).workers == 3
        assert choose(executor, asynchronous=asynchronous, concurrency=2, session=shy).concurrency == 2
