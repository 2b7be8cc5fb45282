"""Guarantee 3: never more attempts at once than asked for, and memory that does not grow with the input."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from lanes import Lane, Log, Script, lane_of, until

import fetchline as fl


def test_bounded_attempts_never_exceed_the_concurrency_and_reach_it(lane: Lane, log: Log) -> None:
    def counted(n: int) -> int:
        log.note("in", n)
        if n < lane.width:
            # The first ones stay until the places are full.
            log.wait_for("in", times=lane.width)
        log.note("out", n)
        return n

    assert lane.run(counted, range(40)).n_succeeded == 40
    assert log.most_at_once() == lane.width


@pytest.mark.parametrize("name", ["thread", "process", "pool"])
def test_bounded_attempts_are_fewer_than_the_workers_where_that_is_asked(name: str, log: Log) -> None:
    def counted(n: int) -> int:
        log.note("in", n)
        if n < 2:
            log.wait_for("in", times=2)
        log.note("out", n)
        return n

    with lane_of(name, width=4) as lane:
        assert lane.run(counted, range(40), concurrency=2).n_succeeded == 40
    assert log.most_at_once() == 2


def test_bounded_attempts_with_retries_and_a_generator(lane: Lane, log: Log) -> None:
    def counted(n: int) -> int:
        log.note("in", n)
        try:
            if fl.attempt().number == 1 and n % 2:
                raise ConnectionError
        finally:
            log.note("out", n)
        return n

    fetcher = lane.fetcher(counted, retry=fl.Try(retry=2, sleep=0.005))
    assert lane.run(fetcher, iter(range(40))).n_succeeded == 40
    assert log.most_at_once() <= lane.width
    assert log.count("in") == 60


def test_bounded_attempts_of_an_async_function_on_process_workers(log: Log) -> None:
    async def counted(n: int) -> int:
        log.note("in", n)
        await asyncio.sleep(0)
        log.note("out", n)
        return n

    batch = fl.run(counted, range(30), executor="process", workers=2, progress=None)
    assert batch.values == list(range(30))
    assert log.most_at_once() <= 2


class Tap:
    """An endless input that checks, whenever it is drawn from, how far it is ahead of the consumer."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.drawn = 0
        self.passed_on = 0
        self.worst = 0

    def __iter__(self) -> Iterator[int]:
        while True:
            self.drawn += 1
            self.worst = max(self.worst, self.drawn - self.passed_on)
            yield self.drawn - 1


@pytest.mark.parametrize("as_completed", [False, True])
def test_bounded_streams_hold_no_more_than_the_window(lane: Lane, as_completed: bool) -> None:
    tap = Tap(window=12)
    stream = lane.stream(lambda n: n, iter(tap), window=12, as_completed=as_completed)
    for number, _ in enumerate(stream, start=1):
        tap.passed_on = number
        if number == 150:
            break
    stream.close()
    assert tap.worst <= 12 + 1  # the one in the consumer's hand has been yielded, and is not yet asked past


def test_bounded_streams_stop_the_producer_while_the_consumer_does_not_ask(wide: Lane) -> None:
    tap = Tap(window=8)
    stream = wide.stream(lambda n: n, iter(tap), window=8)
    next(stream)
    feeders = [thread for thread in threading.enumerate() if thread.name == "fetchline-feeder"]
    until(lambda: tap.drawn >= 8, "the window to be filled")
    # A second run, as long as anything could take, while the first is left alone.
    assert wide.run(lambda n: n, range(200)).n_succeeded == 200
    assert tap.drawn <= 8 + 1
    stream.close()
    for feeder in feeders:
        feeder.join(5)
        assert not feeder.is_alive()


@pytest.mark.parametrize("as_completed", [False, True])
def test_bounded_by_bytes_starts_no_more_than_the_results_held_may_weigh(
    wide: Lane, log: Log, as_completed: bool
) -> None:
    def megabyte(n: int) -> bytes:
        log.note("call", n)
        return bytes(1_000_000)

    stream = wide.stream(megabyte, range(60), window="10MB", as_completed=as_completed)
    for number, result in enumerate(stream, start=1):
        assert len(result.value) == 1_000_000
        if number == 1:
            # A second run, as long as anything could take, while nobody asks the first for more.
            assert wide.run(lambda n: n, range(200)).n_succeeded == 200
        # The first ones in flight are of unknown weight; then room is made before anything starts.
        assert log.count("call") <= number + 10 + wide.width
    assert log.count("call") == 60


def test_bounded_by_bytes_goes_on_behind_a_slow_head_and_never_waits_for_ever(wide: Lane, log: Log) -> None:
    def slow_head(n: int) -> bytes:
        log.note("call", n)
        if n == 0:
            log.wait_for("call", times=5)
        return bytes(1_000_000)

    # Room for five results: the head is the last to come, and retries of it would still be let through.
    values = [len(result.value) for result in wide.stream(slow_head, range(40), window="5MB")]
    assert values == [1_000_000] * 40


def test_bounded_by_bytes_lets_a_result_heavier_than_all_of_it_through(lane: Lane) -> None:
    stream = lane.stream(lambda n: bytes(50_000), range(30), window="1kB")
    assert sum(len(result.value) for result in stream) == 30 * 50_000


def test_bounded_streams_default_to_1024_items_ahead() -> None:
    tap = Tap(window=1024)
    with lane_of("thread") as lane:
        stream = lane.stream(lambda n: n, iter(tap))
        for number, _ in enumerate(stream, start=1):
            tap.passed_on = number
            if number == 5000:
                break
        stream.close()
    assert 100 < tap.worst <= 1025


def test_bounded_intake_of_a_run_is_lazy_too(lane: Lane) -> None:
    def stops(n: int) -> int:
        if n == 100:
            raise ValueError("enough")
        return n

    tap = Tap(window=50)
    with pytest.raises(fl.BatchFailed, match="enough"):
        lane.run(stops, iter(tap), on_error="raise", window=50)
    # From another process the failure comes through a pipe; items that cost nothing go by meanwhile.
    assert tap.drawn <= 100 + 2 * 50 + (20_000 if lane.far else 0)


def test_bounded_streams_of_async_generators_stop_them_too() -> None:
    drawn = 0

    async def endless() -> AsyncIterator[int]:
        nonlocal drawn
        while True:
            drawn += 1
            yield drawn - 1

    async def echo(n: int) -> int:
        return n

    async def main() -> None:
        ahead = 0
        stream: Any = fl.astream(echo, endless(), window=10, concurrency=3)
        taken = 0
        async for _ in stream:
            taken += 1
            ahead = max(ahead, drawn - taken)
            if taken == 100:
                break
        await stream.aclose()
        assert ahead <= 10 + 1

    asyncio.run(main())


MEMORY = """
import sys
from concurrent.futures import ThreadPoolExecutor
import fetchline as fl

WARM, LOOK = 20_000, 1_000
name, items, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

def heavy(n):
    return bytes(size)

async def heavy_async(n):
    return bytes(size)

executor = ThreadPoolExecutor(4) if name == "pool" else name
stream = fl.stream(heavy_async if name == "asyncio" else heavy, (n for n in range(items)), executor=executor)
count = failed = most = 0
for result in stream:
    count += 1
    failed += result.is_failure
    if count == WARM:
        before = rss()
    if count >= WARM and count % LOOK == 0:
        most = max(most, rss() - before)
print("done", count, failed, most)
"""


# Where an item costs a future or a signal handler, fewer and heavier ones say the same.
@pytest.mark.parametrize(
    ("name", "items", "size"),
    [
        ("thread", 1_000_000, 100),
        ("asyncio", 1_000_000, 100),
        ("process", 1_000_000, 100),
        ("serial", 50_000, 2_000),
        ("pool", 50_000, 2_000),
    ],
)
def test_bounded_memory_over_a_generator_of_a_million_items(
    name: str, items: int, size: int, script: Callable[..., Script]
) -> None:
    """Held, the values alone would take more than 60 MB."""
    run = script(MEMORY, name, items, size)
    assert run.end(90) == 0, run.stderr
    count, failed, grown = run.wait_for("done").split()
    assert (int(count), int(failed)) == (items, 0)
    assert float(grown) < 8
