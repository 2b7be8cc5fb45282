"""Endings that are hard to get right: each of these hung, or did something twice, once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import fetchline as fl
from fetchline.builtin.process import ProcessPool

QUIET: dict[str, Any] = {"progress": None}


def test_timeout_is_one_item_on_an_executor_class_of_ours_too() -> None:
    def slow(n: int) -> int:
        if n == 0:
            time.sleep(60)
        return n

    batch = fl.run(fl.Fetcher.of(slow, timeout=0.5), range(5), executor=ProcessPool, workers=1, **QUIET)
    assert [failure.error_code for failure in batch.failures] == ["timeout"]


def test_timeout_is_one_item_though_its_coroutine_never_ends() -> None:
    async def stubborn(n: int) -> int:
        until = time.monotonic() + 60
        while n == 3 and time.monotonic() < until:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue
        return n

    began = time.monotonic()
    batch = fl.run(fl.Fetcher.of(stubborn, timeout=0.2), range(10), **QUIET)
    assert [failure.index for failure in batch.failures] == [3]
    assert time.monotonic() - began < 20


def test_a_write_is_never_sent_again_because_a_neighbour_brought_the_process_down(tmp_path: Path) -> None:
    async def write(n: int) -> int:
        with (tmp_path / str(n)).open("a") as file:
            file.write("sent\n")
        await asyncio.sleep(0.2)
        if n == 2:
            os._exit(1)
        await asyncio.sleep(0.2)
        return n

    fetcher = fl.Fetcher.of(write, retry=3, idempotent=False)
    batch = fl.run(fetcher, range(4), executor="process", workers=1, concurrency=4, **QUIET)
    assert {failure.error_code for failure in batch.failures} == {"unknown_outcome"}
    assert {file.read_text() for file in tmp_path.iterdir()} == {"sent\n"}


def test_a_crash_among_coroutines_costs_its_own_item_only() -> None:
    async def fetch(n: int) -> int:
        await asyncio.sleep(0.02)
        if n == 5:
            os._exit(1)
        return n

    batch = fl.run(fetch, range(16), executor="process", workers=2, concurrency=8, **QUIET)
    assert [(failure.index, failure.error_code) for failure in batch.failures] == [(5, "crashed")]


def test_an_async_input_that_raises_a_cancellation_of_its_own_surfaces() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError("inner")

    async def fetch(n: int) -> int:
        return n

    async def main() -> None:
        await asyncio.wait_for(fl.arun(fetch, items(), **QUIET), 20)

    with pytest.raises(fl.InputFailed, match="inner"):
        asyncio.run(main())


def test_a_worker_that_comes_back_while_it_is_replaced_leaves_the_run_a_worker() -> None:
    """The attempt ends just when its time is over, again and again."""

    def fetch(n: int) -> int:
        time.sleep(0.02)
        return n

    with fl.get_executor("thread", max_workers=2) as pool:
        fetcher = fl.Fetcher.of(fetch, timeout=0.02)
        for _ in range(20):
            assert len(fl.run(fetcher, range(8), executor=pool, **QUIET)) == 8
        assert len(pool._threads) <= 2


@pytest.mark.parametrize("name", ["thread", "process"])
def test_every_task_of_a_pool_gets_a_thread_while_there_are_threads_to_be_had(
    name: str, tmp_path: Path
) -> None:
    """Each waits for the others; again and again, because a lost thread was a matter of luck."""

    def meet(args: tuple[str, int]) -> int:
        place, n = args
        (Path(place) / str(n)).touch()
        until = time.monotonic() + 20
        while len(list(Path(place).iterdir())) < 3:
            assert time.monotonic() < until, "the others were never started"
            time.sleep(0.001)
        return n

    for turn in range(20 if name == "thread" else 5):
        place = tmp_path / f"{name}{turn}"
        place.mkdir()
        items = [(str(place), n) for n in range(3)]
        batch = fl.run(meet, items, executor=name, workers=3, key=str, **QUIET)
        assert batch.values == [0, 1, 2], batch.failures
