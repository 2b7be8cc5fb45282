"""The familiar names: their element types."""

from __future__ import annotations

from typing import Literal, assert_type

import polars as pl

import fetchline as fl
from fetchline import BatchConfig, Result


def power(a: int, b: int) -> float:
    return float(a**b)


async def fetch(key: str) -> int:
    return len(key)


def in_parallel() -> None:
    assert_type(fl.run_in_parallel(power, [(1, 2)], 2), list[float])
    assert_type(fl.run_in_parallel(power, [(1, 2)], on_error="collect"), list[Result[float]])
    assert_type(fl.run_in_parallel(power, [(1, 2)], 2, "collect"), list[Result[float]])
    fl.run_in_parallel(power, [(1, 2)], on_error="ignore")  # type: ignore[call-overload]


async def execute() -> None:
    assert_type(await fl.batch_execute(["a"], fetch), list[Result[int]])
    await fl.batch_execute([1], fetch)  # type: ignore[arg-type]


def configs() -> None:
    assert_type(fl.batch_fetch(BatchConfig.thread(4), "name", ["a"]), list[pl.DataFrame])
    BatchConfig(on_error="ignore")  # type: ignore[arg-type]
    BatchConfig(worker=3)  # type: ignore[call-arg]
    config = BatchConfig.serial()
    config.workers = 3  # type: ignore[misc]
    on_error: Literal["collect", "raise"] | None = config.on_error
    assert on_error is None


def grids() -> None:
    cells = fl.grid(symbol=["a"], year=[2024])
    assert_type(cells[0], fl.Args)
    assert_type(fl.Period.Q1(2024).months(), list[fl.Period])
