"""Streams: results while the input goes on, on a thread or on the caller's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import pytest

import fetchline as fl

WIDE = ("thread", "process", "asyncio")


def echo(n: Any) -> Any:
    return n


async def echo_async(n: Any) -> Any:
    return n


def function_for(executor: str) -> Any:
    return echo_async if executor == "asyncio" else echo


def _until(true: Any, patience: float = 10) -> None:
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def own_threads() -> set[str]:
    return {t.name for t in threading.enumerate() if t.name.startswith("fetchline-") and t.is_alive()}


# -- on a thread -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["serial", *WIDE])
def test_a_stream_gives_every_result_in_order(executor: str) -> None:
    for items in (range(500), list(range(500)), iter(range(500))):
        results = list(fl.stream(function_for(executor), items, executor=executor))
        assert [result.value for result in results] == list(range(500))
        assert [result.index for result in results] == list(range(500))


@pytest.mark.parametrize("executor", ["serial", *WIDE])
def test_a_stream_by_completion_gives_every_result_once(executor: str) -> None:
    results = list(fl.stream(function_for(executor), iter(range(500)), executor=executor, as_completed=True))
    assert sorted(result.value for result in results) == list(range(500))
    assert all(result.value == result.index for result in results)


def test_a_stream_by_completion_hands_out_before_the_slow_one_is_done() -> None:
    slow = threading.Event()

    def first_is_slow(n: int) -> int:
        if n == 0:
            assert slow.wait(20)
        return n

    got = []
    for result in fl.stream(first_is_slow, range(10), workers=2, as_completed=True):
        got.append(result.value)
        if len(got) == 9:
            slow.set()
    assert got[-1] == 0
    assert sorted(got) == list(range(10))


def test_a_stream_starts_nothing_before_it_is_asked() -> None:
    before = own_threads()

    def never(n: int) -> int:
        raise AssertionError("nothing was to start")

    stream = fl.stream(never, iter([1]))
    assert own_threads() == before
    stream.close()


@pytest.mark.parametrize("executor", WIDE)
def test_results_that_are_ready_do_not_wait_for_a_blocked_generator(executor: str) -> None:
    more = threading.Event()

    def blocks() -> Iterator[int]:
        yield from range(5)
        assert more.wait(20)
        yield 5

    got = []
    for result in fl.stream(function_for(executor), blocks(), executor=executor):
        got.append(result.value)
        if got == [0, 1, 2, 3, 4]:
            more.set()  # only now: had the stream waited for the sixth, this would never come
    assert got == list(range(6))


@pytest.mark.parametrize("executor", WIDE)
def test_a_slow_consumer_stops_the_producer(executor: str) -> None:
    drawn: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            drawn.append(len(drawn))
            yield drawn[-1]

    stream = fl.stream(function_for(executor), endless(), executor=executor, window=10)
    taken = 0
    for _ in range(40):
        next(stream)
        taken += 1
        assert len(drawn) <= taken + 10
    _until(lambda: len(drawn) >= taken + 9)
    assert len(drawn) <= taken + 10
    stream.close()


@pytest.mark.parametrize("executor", WIDE)
@pytest.mark.parametrize("way", ["break", "close", "throw"])
def test_leaving_a_stream_ends_its_threads_and_its_generator(executor: str, way: str) -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        n = 0
        try:
            while True:
                yield n
                n += 1
        finally:
            closed.set()

    before = set(threading.enumerate())
    stream = fl.stream(function_for(executor), endless(), executor=executor)
    for result in stream:
        if result.index == 30:
            break
    match way:
        case "close":
            stream.close()
        case "throw":
            with pytest.raises(ZeroDivisionError):
                stream.throw(ZeroDivisionError())
    del stream
    gc.collect()
    left = [t for t in threading.enumerate() if t not in before and t.name.startswith("fetchline-")]
    for thread in left:
        thread.join(5)
        assert not thread.is_alive(), thread.name
    gc.collect()
    assert closed.wait(5), "the generator was not closed"


def test_leaving_a_stream_does_not_wait_for_a_blocked_generator() -> None:
    more = threading.Event()

    def blocks() -> Iterator[int]:
        yield 0
        more.wait(20)
        yield 1

    try:
        began = time.monotonic()
        for _ in fl.stream(echo, blocks()):
            break
        assert time.monotonic() - began < 5
    finally:
        more.set()


def test_leaving_a_stream_gives_running_attempts_a_second_and_no_more() -> None:
    release = threading.Event()

    def sticks(n: int) -> int:
        if n:
            release.wait(20)
        return n

    try:
        began = time.monotonic()
        for _ in fl.stream(sticks, range(10), workers=2):
            break
        assert time.monotonic() - began < 2
    finally:
        release.set()


def test_two_streams_may_be_read_in_turn() -> None:
    with fl.get_executor("thread", max_workers=3) as pool:
        one = fl.stream(echo, iter(range(100)), executor=pool, window=4, workers=1)
        two = fl.stream(echo, iter(range(100, 200)), executor=pool, window=4, workers=1)
        pairs = [(a.value, b.value) for a, b in zip(one, two, strict=True)]
    assert pairs == [(n, n + 100) for n in range(100)]


def test_a_stream_may_run_inside_the_function_of_another() -> None:
    def inner(n: int) -> int:
        return sum(r.value for r in fl.stream(echo, range(n), executor="serial"))

    assert [r.value for r in fl.stream(inner, range(5))] == [0, 0, 1, 3, 6]


def test_a_stream_sees_the_callers_context_in_workers_and_in_the_generator() -> None:
    import contextvars

    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    who.set("me")

    def items() -> Iterator[str]:
        yield who.get()

    stream = fl.stream(lambda item: (item, who.get()), items())
    assert [result.value for result in stream] == [("me", "me")]


def test_a_stream_with_a_deadline_ends_with_failures() -> None:
    release = threading.Event()

    def sticks(n: int) -> int:
        if n >= 3:
            release.wait(20)
        return n

    try:
        results = list(fl.stream(sticks, range(6), workers=2, deadline=0.3))
    finally:
        release.set()
    assert [r.value for r in results[:3]] == [0, 1, 2]
    assert [r.error_code for r in results[3:]] == ["deadline"] * 3


# -- on the caller's own loop ------------------------------------------------------------------------------


def run(main: Any) -> Any:
    return asyncio.run(asyncio.wait_for(main, 20))


def test_astream_gives_every_result_in_order_and_by_completion() -> None:
    async def main() -> None:
        assert [r.value async for r in fl.astream(echo_async, range(300))] == list(range(300))
        got = [r.value async for r in fl.astream(echo_async, iter(range(300)), as_completed=True)]
        assert sorted(got) == list(range(300))

    run(main())


def test_astream_runs_on_the_callers_own_loop() -> None:
    async def where(n: int) -> Any:
        return asyncio.get_running_loop(), threading.get_ident()

    async def main() -> None:
        loop, thread = asyncio.get_running_loop(), threading.get_ident()
        async for result in fl.astream(where, range(5)):
            assert result.value == (loop, thread)

    run(main())


def test_plain_functions_run_in_threads_and_leave_the_loop_free() -> None:
    async def main() -> None:
        free = threading.Event()

        def waits_for_the_loop(n: int) -> bool:
            return free.wait(10)

        asyncio.get_running_loop().call_later(0.05, free.set)
        batch = await fl.arun(waits_for_the_loop, range(4), workers=2, progress=None)
        assert batch.values == [True] * 4

    run(main())


@pytest.mark.parametrize("executor", ["thread", "process", "asyncio"])
def test_arun_works_with_every_executor(executor: str) -> None:
    async def main() -> None:
        batch = await fl.arun(function_for(executor), range(50), executor=executor, progress=None)
        assert batch.values == list(range(50))
        assert batch.complete

    run(main())


def test_run_stream_and_submit_work_inside_a_running_loop() -> None:
    async def main() -> None:
        assert fl.run(echo_async, range(5), progress=None).values == list(range(5))
        assert [r.value for r in fl.stream(echo_async, range(5))] == list(range(5))
        assert fl.submit(echo_async, range(5)).result(timeout=10).values == list(range(5))

    run(main())


def test_async_generators_are_taken_as_input_and_closed() -> None:
    closed = []

    async def items() -> AsyncIterator[int]:
        try:
            for n in range(1000):
                await asyncio.sleep(0)
                yield n
        finally:
            closed.append(True)

    async def main() -> None:
        assert (await fl.arun(echo_async, items(), progress=None)).values == list(range(1000))
        assert closed == [True]
        async with contextlib.aclosing(fl.astream(echo_async, items(), window=5)) as stream:
            async for result in stream:
                if result.index == 20:
                    break
        await asyncio.sleep(0)
        assert closed == [True, True]

    run(main())


def test_ready_results_do_not_wait_for_a_blocked_async_generator() -> None:
    async def main() -> None:
        more = asyncio.Event()

        async def blocks() -> AsyncIterator[int]:
            yield 0
            yield 1
            await more.wait()
            yield 2

        got = []
        async for result in fl.astream(echo_async, blocks()):
            got.append(result.value)
            if got == [0, 1]:
                more.set()
        assert got == [0, 1, 2]

    run(main())


def test_a_blocked_plain_generator_does_not_block_the_loop() -> None:
    async def main() -> None:
        more = threading.Event()

        def blocks() -> Iterator[int]:
            yield 0
            assert more.wait(10)
            yield 1

        got = []
        async for result in fl.astream(echo_async, blocks()):
            got.append(result.value)
            more.set()
        assert got == [0, 1]

    run(main())


def test_a_slow_async_consumer_stops_the_producer() -> None:
    drawn: list[int] = []

    async def endless() -> AsyncIterator[int]:
        while True:
            drawn.append(len(drawn))
            yield drawn[-1]

    async def main() -> None:
        async with contextlib.aclosing(fl.astream(echo_async, endless(), window=10)) as stream:
            taken = 0
            async for _ in stream:
                taken += 1
                assert len(drawn) <= taken + 10
                await asyncio.sleep(0)
                if taken == 50:
                    break

    run(main())


@pytest.mark.parametrize("way", ["aclosing", "aclose", "task cancelled"])
def test_leaving_astream_ends_its_attempts_before_it_is_closed(way: str) -> None:
    async def main() -> None:
        cancelled: list[int] = []
        begun = asyncio.Event()

        async def sticks(n: int) -> int:
            try:
                if n:
                    begun.set()
                    await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(n)
                raise
            return n

        before = asyncio.all_tasks()

        async def read() -> None:
            async with contextlib.aclosing(fl.astream(sticks, range(10), concurrency=3)) as stream:
                async for _ in stream:
                    if way != "task cancelled":
                        await begun.wait()
                        break

        if way == "task cancelled":
            task = asyncio.create_task(read())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        elif way == "aclose":
            stream: Any = fl.astream(sticks, range(10), concurrency=3)
            await anext(stream)
            await begun.wait()
            await stream.aclose()
        else:
            await read()
        assert sorted(cancelled) in ([1, 2, 3], [1, 2])
        assert asyncio.all_tasks() == before

    run(main())


def test_cancelling_arun_cancels_its_attempts_and_closes_its_sessions() -> None:
    async def main() -> None:
        begun, ended, sessions = asyncio.Semaphore(0), [], []

        @contextlib.asynccontextmanager
        async def session() -> AsyncIterator[str]:
            sessions.append("open")
            try:
                yield "session"
            finally:
                sessions.append("closed")

        async def sticks(n: int, *, session: str = fl.injected) -> None:
            begun.release()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(n)

        before = asyncio.all_tasks()
        fetcher = fl.Fetcher.of(sticks, session=session)
        task = asyncio.create_task(fl.arun(fetcher, range(20), concurrency=4, progress=None))
        for _ in range(4):
            await begun.acquire()
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 2
        assert sorted(ended) == [0, 1, 2, 3]
        assert sessions == ["open", "closed"]
        assert asyncio.all_tasks() == before

    run(main())


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_cancelling_arun_ends_workers_that_are_no_coroutines(executor: str, tmp_path: Any) -> None:
    at, go = tmp_path / "at", tmp_path / "go"

    def sticks(n: int) -> int:
        at.touch()
        for _ in range(4000):
            if go.exists():
                break
            time.sleep(0.005)
        return n

    async def main() -> None:
        task = asyncio.create_task(fl.arun(sticks, range(20), executor=executor, progress=None))
        while not at.exists():
            await asyncio.sleep(0.005)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 3

    try:
        run(main())
    finally:
        go.touch()


def test_arun_under_a_timeout_of_the_callers() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await fl.arun(_forever, range(5), progress=None)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


async def _forever(n: int) -> None:
    await asyncio.Event().wait()


def test_two_aruns_share_a_loop() -> None:
    async def main() -> None:
        one, two = await asyncio.gather(
            fl.arun(echo_async, range(200), progress=None), fl.arun(echo_async, range(100), progress=None)
        )
        assert (one.n_succeeded, two.n_succeeded) == (200, 100)

    run(main())


def test_attempts_that_never_suspend_let_the_loop_breathe() -> None:
    async def busy(n: int) -> int:
        end = time.monotonic() + 0.001
        while time.monotonic() < end:
            pass
        return n

    async def main() -> None:
        beats = []

        async def beat() -> None:
            while True:
                beats.append(time.monotonic())
                await asyncio.sleep(0.001)

        heart = asyncio.create_task(beat())
        await fl.arun(busy, range(300), concurrency=5, progress=None)
        heart.cancel()
        longest = max(b - a for a, b in pairwise(beats))
        assert longest < 0.15
        assert len(beats) > 10

    run(main())


def test_a_serial_stream_attempts_what_it_has_before_it_draws_more() -> None:
    drawn, attempted = [], []

    def items() -> Any:
        for n in range(5):
            drawn.append(n)
            yield n

    def fetch(n: int) -> int:
        attempted.append(n)
        return n

    stream = fl.stream(fetch, items(), executor="serial")
    assert next(stream).value == 0
    assert (drawn, attempted) == ([0], [0])
    assert [result.value for result in stream] == [1, 2, 3, 4]


def test_a_serial_stream_over_a_list_begins_nothing_that_was_not_asked_for() -> None:
    attempted: list[int] = []
    stream = fl.stream(attempted.append, [1, 2, 3], executor="serial")
    next(stream)
    assert attempted == [1]
    stream.close()  # type: ignore[attr-defined]
    assert attempted == [1]


def test_a_run_whose_task_is_cancelled_twice_still_closes_its_session() -> None:
    closed = asyncio.Event()

    class Session:
        async def __aenter__(self) -> str:
            return "in"

        async def __aexit__(self, *_: object) -> None:
            closed.set()

    async def stays(n: int, *, session: Any = fl.injected) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        started = asyncio.Event()
        fetcher = fl.Fetcher.of(stays, session=Session)
        task = asyncio.create_task(fl.arun(fetcher, [1], progress=None, on_progress=None))
        asyncio.get_running_loop().call_later(0.05, started.set)
        await started.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.wait_for(closed.wait(), 10)

    asyncio.run(main())


def _closing(closed: threading.Event) -> Iterator[int]:
    try:
        yield from itertools.count()
    finally:
        closed.set()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Without the garbage collector, what is in a cycle stays."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("executor", ["serial", "thread", "process"])
def test_a_stream_that_is_left_closes_the_generator_it_was_given(executor: str, uncollected: None) -> None:
    closed = threading.Event()
    for _ in fl.stream(abs, _closing(closed), executor=executor):
        break
    assert closed.wait(10)


def test_a_run_that_is_stopped_closes_the_generator_it_was_given(uncollected: None) -> None:
    def fail(item: int) -> int:
        raise ValueError(item)

    closed = threading.Event()
    with pytest.raises(fl.BatchFailed):
        fl.run(fail, _closing(closed), on_error="raise", progress=None)
    assert closed.wait(10)
    closed.clear()
    begun = threading.Event()
    job = fl.submit(lambda item: begun.set(), _closing(closed))
    assert begun.wait(10)
    job.cancel()
    with pytest.raises(fl.BatchCancelled):
        job.result()
    assert closed.wait(10)


def test_a_generator_that_somebody_else_holds_stays_open() -> None:
    closed = threading.Event()
    numbers = _closing(closed)
    for _ in fl.stream(abs, numbers, executor="serial"):
        break
    assert not closed.is_set()
    assert next(numbers) >= 0


@pytest.mark.parametrize("executor", ["thread", "asyncio"])
def test_workers_that_come_and_go_leave_nothing_to_the_garbage_collector(
    executor: str, uncollected: None
) -> None:
    def garbage(width: int) -> int:
        gc.collect()
        batch = fl.run(nap, [0.001] * (4 * width), executor=executor, concurrency=width, progress=None)
        assert batch.n_succeeded == 4 * width
        del batch
        return gc.collect()

    async def nap_async(seconds: float) -> None:
        await asyncio.sleep(seconds)

    nap: Any = nap_async if executor == "asyncio" else time.sleep
    garbage(10)
    assert garbage(60) - garbage(10) < 10
