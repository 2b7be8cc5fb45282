"""arun, stream, astream and submit know what is in their results, as run does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

import fetchline as fl
from fetchline import Batch, Job, Result


@fl.fetcher
def quote(symbol: str) -> int:
    return len(symbol)


@fl.fetcher
async def later(symbol: str) -> list[str]:
    return [symbol]


@fl.fetcher(session="httpx")
def with_session(symbol: str, *, session: Any = fl.injected) -> float:
    return 1.5


def whatever_the_function_is() -> None:
    assert_type(fl.run(later, ["a"]), Batch[list[str]])
    assert_type(fl.run(with_session, ["a"]), Batch[float])


async def everywhere() -> None:
    assert_type(fl.run(quote, ["a"]), Batch[int])
    assert_type(await fl.arun(quote, ["a"]), Batch[int])
    assert_type(fl.stream(quote, ["a"]), Iterator[Result[int]])
    assert_type(fl.astream(quote, ["a"]), AsyncIterator[Result[int]])
    assert_type(fl.submit(quote, ["a"]), Job[int])


@fl.Try(retry=3)
def tried(symbol: str) -> int:
    return len(symbol)


@fl.Try(retry=3)
async def tried_later(symbol: str) -> int:
    return len(symbol)


def batches_of_tried_functions() -> None:
    assert_type(fl.run(tried, ["a"]), Batch[int])
    assert_type(fl.run(tried_later, ["a"]), Batch[int])
