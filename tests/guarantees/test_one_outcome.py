"""Guarantee 1: every item taken ends in exactly one result."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from lanes import Lane, Log, lane_of

import fetchline as fl

ITEMS = 60


def test_one_outcome_for_every_item_whatever_becomes_of_it(lane: Lane, log: Log) -> None:
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

    batch = lane.run(lane.fetcher(mixed, retry=fl.Try(retry=2, sleep=0, on=ConnectionError)), range(ITEMS))

    assert [result.index for result in batch] == list(range(ITEMS))
    assert [result.item for result in batch] == list(range(ITEMS))
    assert [result.status for result in batch] == [
        {0: "failure", 1: "empty"}.get(n % 5, "success") for n in range(ITEMS)
    ]
    assert [result.attempts for result in batch] == [2 if n % 5 == 2 else 1 for n in range(ITEMS)]
    assert log.count("call") == ITEMS + ITEMS // 5
    assert (batch.n_succeeded, batch.n_failed, len(batch)) == (48, 12, ITEMS)
    assert batch.complete


def test_one_outcome_for_each_of_several_equal_items(lane: Lane) -> None:
    batch = lane.run(lambda n: n, [7] * 20)
    assert batch.values == [7] * 20
    assert [result.index for result in batch] == list(range(20))


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_one_outcome_when_the_function_raises_something_that_is_no_error(
    wide: Lane, kind: type[BaseException]
) -> None:
    """Serial is left out: there a KeyboardInterrupt may be the user's own Ctrl-C."""

    async def leaves_async(n: int) -> int:
        if n == 5:
            raise kind("out")
        return n

    def leaves(n: int) -> int:
        if n == 5:
            raise kind("out")
        return n

    batch = wide.run(fl.Fetcher.of(leaves_async if wide.is_async else leaves, "leaves"), range(12))
    assert [result.item for result in batch.failures] == [5]
    assert batch.values == [n for n in range(12) if n != 5]


def test_one_outcome_when_a_coroutine_cancels_itself() -> None:
    async def gives_in(n: int) -> int:
        if n == 3:
            raise asyncio.CancelledError
        return n

    batch = fl.run(gives_in, range(8), progress=None)
    assert [failure.item for failure in batch.failures] == [3]
    assert len(batch) == 8


def _broken(good: int) -> Iterator[int]:
    yield from range(good)
    raise RuntimeError("the source ran dry")


@pytest.mark.parametrize("good", [0, 1, 40])
def test_one_outcome_of_a_failing_iterator_is_input_failed_with_the_batch_so_far(
    lane: Lane, good: int
) -> None:
    with pytest.raises(fl.InputFailed, match="the source ran dry") as caught:
        lane.run(lambda n: n, _broken(good))
    assert caught.value.batch.values == list(range(good))
    assert not caught.value.batch.complete
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("as_completed", [False, True])
def test_one_outcome_of_each_item_before_a_stream_says_that_its_input_failed(
    lane: Lane, as_completed: bool
) -> None:
    got: list[int] = []
    with pytest.raises(fl.InputFailed, match="after 40 of them"):
        got.extend(r.value for r in lane.stream(lambda n: n, _broken(40), as_completed=as_completed))
    assert sorted(got) == list(range(40))
    assert as_completed or got == sorted(got)


def test_one_outcome_for_every_item_taken_when_the_run_stops_early(lane: Lane) -> None:
    def stumbles(n: int) -> int:
        if n == 30:
            raise ValueError("thirty")
        return n

    with pytest.raises(fl.BatchFailed) as caught:
        lane.run(stumbles, range(20_000), on_error="raise")
    batch = caught.value.batch
    assert len(batch) == 20_000
    assert not batch.complete
    assert batch.summary.succeeded + batch.summary.failed == 20_000
    assert {f.error_code for f in batch.failures} == {"error", "cancelled"}
    assert [f.index for f in batch.failures if f.error_code == "error"] == [30]


def test_one_outcome_for_every_item_when_the_deadline_passes(wide: Lane, log: Log) -> None:
    def stays(n: int) -> int:
        if n >= 10:
            log.wait_for("go")
        return n

    try:
        batch = wide.run(stays, range(30), deadline=0.5)
    finally:
        log.note("go")
    assert len(batch) == 30
    assert not batch.complete
    assert batch.summary.stopped == "deadline"
    assert batch.values == list(range(10))
    assert {f.error_code for f in batch.failures} == {"deadline"}


def test_one_outcome_with_nobody_to_ask_when_there_are_no_items(lane: Lane) -> None:
    batch = lane.run(lambda n: n, [])
    assert len(batch) == 0
    assert batch.complete
    assert list(lane.stream(lambda n: n, iter(()))) == []


def test_one_outcome_holds_on_a_pool_that_is_used_again() -> None:
    with lane_of("process") as lane, fl.get_executor("process", max_workers=2) as pool:
        for size in (1, 50, 3):
            assert lane.run(lambda n: n, range(size), executor=pool).values == list(range(size))
