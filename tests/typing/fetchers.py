"""Decorated functions keep their signature; batches know what is in them."""

from __future__ import annotations

from typing import Any, assert_type

import polars as pl

import fetchline as fl
from fetchline import Batch


@fl.fetcher
def bare(symbol: str, depth: int = 3) -> int:
    return len(symbol) * depth


@fl.fetcher("typing.named", retry=3, timeout=5, pace="20/s")
def named(symbol: str, *, session: Any = fl.injected) -> pl.DataFrame:
    return pl.DataFrame({"symbol": [symbol]})


@fl.fetcher(retry=fl.Try(retry=5, sleep=0.5))
async def later(symbol: str, depth: int) -> list[str]:
    return [symbol] * depth


@fl.Try(retry=3)
def tried(n: int) -> float:
    return n / 2


class Door:
    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None: ...


@fl.Try(retry=3).with_session(Door)
def with_session(n: int, *, session: Door = fl.injected) -> str:
    return str(n)


def calls() -> None:
    assert_type(bare("a"), int)
    assert_type(bare("a", depth=2), int)
    assert_type(named("a"), pl.DataFrame)
    assert_type(tried(3), float)
    assert_type(with_session(3), str)
    assert_type(named.name, str)


async def async_calls() -> None:
    assert_type(await later("a", 2), list[str])


def wrong_calls() -> None:
    bare(3)  # type: ignore[arg-type]
    bare()  # type: ignore[call-arg]
    bare("a", width=2)  # type: ignore[call-arg]
    tried("a")  # type: ignore[arg-type]
    with_session("a")  # type: ignore[arg-type]
    later("a", "b")  # type: ignore[arg-type, unused-coroutine]
    print(named.nothing)  # type: ignore[attr-defined]


def wrong_policies() -> None:
    fl.fetcher("x", retries=3)  # type: ignore[call-overload]
    fl.fetcher("x", idempotent="no")  # type: ignore[call-overload]
    fl.fetcher(3)  # type: ignore[call-overload]


def batches() -> None:
    assert_type(fl.run(bare, ["a"]), Batch[int])
    assert_type(named.run(["a"]), Batch[pl.DataFrame])
    assert_type(fl.run("typing.named", ["a"]), Batch[Any])
    assert_type(bare.run(["a"]), Batch[int])
    assert_type(later.run(["a"]), Batch[list[str]])


async def async_batches() -> None:
    assert_type(await bare.arun(["a"]), Batch[int])
    assert_type(await later.arun(["a"]), Batch[list[str]])
    async for result in later.astream(["a"]):
        if isinstance(result, fl.Success):
            assert_type(result.value, list[str])


def methods() -> None:
    for result in bare.stream(["a"]):
        if isinstance(result, fl.Success):
            assert_type(result.value, int)
    assert_type(bare.submit(["a"]).result(), Batch[int])
    assert_type(bare.replace(timeout=3)("a"), int)


def wrong_items() -> None:
    fl.run(bare, 3)  # type: ignore[call-overload]
    fl.run(3, ["a"])  # type: ignore[call-overload]
