"""Guarantee 2: results leave in the order of the input, whatever finishes first."""

from __future__ import annotations

import asyncio

import pytest
from lanes import Lane, Log, lane_of

import fetchline as fl


@pytest.mark.parametrize("name", ["thread", "asyncio", "pool"])
def test_input_order_though_neighbours_finish_the_other_way_round(name: str, log: Log) -> None:
    """Processes are left out: which item of which chunk starts first is not promised."""

    def crossed(n: int) -> int:
        if n % 2 == 0:
            log.wait_for("done", n + 1)
        log.note("done", n)
        return n

    with lane_of(name) as lane:
        batch = lane.run(crossed, range(12))
    assert batch.values == list(range(12))
    done = [n for _, n in log.lines()]
    assert all(done.index(n + 1) < done.index(n) for n in range(0, 12, 2))


def test_input_order_of_a_stream_though_the_first_item_is_the_last_to_finish(wide: Lane, log: Log) -> None:
    def first_waits(n: int) -> int:
        if n == 0:
            log.wait_for("done", times=29)
        log.note("done", n)
        return n

    assert [result.value for result in wide.stream(first_waits, range(30))] == list(range(30))


def test_input_order_of_a_generator_with_retries(lane: Lane) -> None:
    def stumbles(n: int) -> int:
        if n % 7 == 0 and fl.attempt().number < 3:
            raise ConnectionError
        return n

    fetcher = lane.fetcher(stumbles, retry=fl.Try(retry=3, sleep=0.01))
    assert lane.run(fetcher, iter(range(100))).values == list(range(100))
    assert [r.value for r in lane.stream(fetcher, iter(range(100)))] == list(range(100))


def test_input_order_is_given_up_by_streams_that_say_so(wide: Lane, log: Log) -> None:
    def first_waits(n: int) -> int:
        if n == 0:
            log.wait_for("yielded", times=9)
        return n

    got = []
    for result in wide.stream(first_waits, range(10), as_completed=True):
        got.append(result.value)
        log.note("yielded", result.value)
    assert sorted(got) == list(range(10))
    assert got[-1] == 0


def test_input_order_is_given_up_by_streams_only(lane: Lane) -> None:
    with pytest.raises(TypeError, match="as_completed"):
        lane.run(lambda n: n, [1], as_completed=True)
    with pytest.raises(TypeError, match="as_completed"):
        lane.submit(lambda n: n, [1], as_completed=True)
    with pytest.raises(TypeError, match="as_completed"):
        asyncio.run(fl.arun(lambda n: n, [1], as_completed=True))
    with pytest.raises(TypeError, match="as_completed must be True or False"):
        lane.stream(lambda n: n, [1], as_completed=1)


def test_input_order_in_a_callers_own_loop() -> None:
    async def crossed(n: int) -> int:
        if n % 2 == 0:
            await done[n + 1].wait()
        done[n].set()
        return n

    async def main() -> None:
        done.extend(asyncio.Event() for _ in range(20))
        assert (await fl.arun(crossed, range(20), concurrency=2)).values == list(range(20))

    done: list[asyncio.Event] = []
    asyncio.run(main())
