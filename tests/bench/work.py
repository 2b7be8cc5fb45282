"""What is being run: functions that do nothing, sleep, fail once or make a frame, and their items."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "anap",
    "anoop",
    "blocked",
    "fails_once",
    "frame",
    "nap",
    "nap_5_ms",
    "noop",
    "numbers",
    "small_frames",
    "tail",
]


def noop(item: int) -> int:
    return item


async def anoop(item: int) -> int:
    # A coroutine that never suspends would measure no event loop at all.
    await asyncio.sleep(0)
    return item


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def nap_5_ms(item: int) -> dict[str, int]:
    time.sleep(0.005)
    return {"item": item, "square": item * item}


async def anap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


def fails_once() -> Callable[[int], int]:
    """Make a function whose every odd call fails: each item costs a failure and a success."""
    failed = False

    def fetch(item: int) -> int:
        nonlocal failed
        failed = not failed
        if failed:
            raise ConnectionError("the first attempt fails")
        return item

    return fetch


def numbers(count: int) -> Iterator[int]:
    """Count without a length, as an endless input would."""
    yield from range(count)


def blocked(ready: int, seconds: float) -> Iterator[int]:
    """Give ``ready`` items at once, then block for a while before the last one."""
    yield from range(ready)
    time.sleep(seconds)
    yield ready


def tail(count: int, seconds: float, share: float = 0.05, factor: int = 20) -> list[float]:
    """Seconds to sleep an item, where a seeded ``share`` of the items takes ``factor`` times longer."""
    slow = set(random.Random(7).sample(range(count), int(count * share)))
    return [seconds * factor if index in slow else seconds for index in range(count)]


@cache
def frame(megabytes: int) -> pl.DataFrame:
    """Make a frame of eight columns once in a worker: its transport is measured, not its making."""
    import polars as pl

    rows = megabytes * 1_000_000 // 64
    return pl.DataFrame({f"c{n}": pl.int_range(n, n + rows, eager=True).cast(pl.Float64) for n in range(8)})


@cache
def small_frames(count: int, rows: int) -> list[pl.DataFrame]:
    import polars as pl

    return [
        pl.DataFrame({"open": [float(n)] * rows, "close": [n + 0.5] * rows, "volume": range(n, n + rows)})
        for n in range(count)
    ]
