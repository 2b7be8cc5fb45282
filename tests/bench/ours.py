"""fetchline's side, and the real thing: ordered, one result an item, a retry policy and progress on.

The bar is tqdm's, written to nowhere. Everything is imported on use, so that a start-up or a peer's process
never pays for it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from .server import ADDRESS, LINES
from .work import noop

__all__ = [
    "arun",
    "astream",
    "call",
    "first_results",
    "frames",
    "join",
    "processes",
    "push",
    "requests",
    "requests_httpx",
    "requests_joined",
    "resumed",
    "stored",
    "stream",
    "threads",
]

HELP = "import sys; from fetchline.cli import main; sys.argv[0] = 'fetchline'; main()"
"""What the installed ``fetchline`` script does, without needing an installed one."""


def _retrying(function: Callable[..., Any], **policies: Any) -> Any:
    import fetchline as fl

    fetcher = fl.Try(retry=3)(function)
    return fetcher.replace(**policies) if policies else fetcher


def _bar() -> Any:
    import fetchline as fl

    return fl.use("tqdm", file=open(os.devnull, "w"))  # noqa: PTH123  # tqdm writes to it to the end


def _good(batch: Any) -> Any:
    if batch.n_succeeded != len(batch):
        raise RuntimeError(
            f"{batch.failures[0].message}, and {len(batch) - batch.n_succeeded} failures in all"
        )
    return batch


def stored(function: Callable[..., Any], items: Iterable[Any], width: int) -> Any:
    """As ``threads``, with a store on the disk, made for this call and taken away after it."""
    import fetchline as fl

    with tempfile.TemporaryDirectory() as place:
        batch = fl.run(_retrying(function), items, workers=width, store=place, progress=_bar())
        return range(len(_good(batch)))


@cache
def _store_of(count: int) -> tempfile.TemporaryDirectory[str]:
    import fetchline as fl

    place = tempfile.TemporaryDirectory()
    fl.run(noop, range(count), store=place.name, progress=None)
    return place


def resumed(count: int) -> Any:
    """Open a store of so many items, and find out what is in it."""
    import fetchline as fl

    return range(fl.open_run(_store_of(count).name).n_succeeded)


def threads(
    function: Callable[..., Any],
    items: Iterable[Any],
    width: int,
    *,
    timeout: float | None = None,
    **options: Any,
) -> Any:
    import fetchline as fl

    fetcher = _retrying(function) if timeout is None else _retrying(function, timeout=timeout)
    return _good(fl.run(fetcher, items, executor="thread", workers=width, progress=_bar(), **options))


def processes(function: Callable[..., Any], items: Iterable[Any], width: int) -> Any:
    import fetchline as fl

    return _good(fl.run(_retrying(function), items, executor="process", workers=width, progress=_bar()))


def push(function: Callable[..., Any], items: Iterable[Any], width: int) -> Any:
    """Through a foreign executor: one future an attempt."""
    import fetchline as fl

    with ThreadPoolExecutor(width) as pool:
        return _good(fl.run(_retrying(function), items, executor=pool, concurrency=width, progress=_bar()))


def stream(function: Callable[..., Any], items: Iterable[Any], width: int) -> range:
    import fetchline as fl

    results = fl.stream(_retrying(function), items, executor="thread", workers=width, progress=_bar())
    return range(sum(1 for result in results if type(result) is fl.Success))


def first_results(function: Callable[..., Any], items: Iterable[Any], width: int) -> Iterator[Any]:
    """The stream itself, for whoever asks when results come and not how many."""
    import fetchline as fl

    return iter(fl.stream(_retrying(function), items, executor="thread", workers=width, progress=_bar()))


def arun(function: Callable[..., Any], items: Iterable[Any], width: int) -> Any:
    return _arun(_retrying(function), items, width)


def _arun(fetcher: Any, items: Iterable[Any], width: int) -> Any:
    import fetchline as fl

    return _good(asyncio.run(fl.arun(fetcher, items, concurrency=width, progress=_bar())))


def astream(function: Callable[..., Any], items: Iterable[Any], width: int) -> range:
    import fetchline as fl

    async def main() -> range:
        good = 0
        results = fl.astream(_retrying(function), items, concurrency=width, progress=_bar())
        async for result in results:
            good += type(result) is fl.Success
        return range(good)

    return asyncio.run(main())


def _session(name: str) -> Any:
    import fetchline as fl

    return fl.use(name, base_url=os.environ[ADDRESS])


def requests(items: Iterable[int], width: int) -> Any:
    import polars as pl

    import fetchline as fl

    async def fetch(item: int, *, session: Any = fl.injected) -> pl.DataFrame:
        reply = await session.get(f"/daily/{item}.csv")
        return pl.read_csv(await reply.read())

    return _arun(_retrying(fetch, session=_session("aiohttp")), items, width)


def requests_joined(items: Iterable[int], width: int) -> range:
    """Values are bytes, and one frame is made of all of them."""
    import fetchline as fl

    async def fetch(item: int, *, session: Any = fl.injected) -> bytes:
        reply = await session.get(f"/daily/{item}.csv")
        return await reply.read()

    batch = _arun(_retrying(fetch, session=_session("aiohttp")), items, width)
    return range(batch.frame(decode="csv").height // LINES)


def requests_httpx(items: Iterable[int], width: int) -> Any:
    import polars as pl

    import fetchline as fl

    async def fetch(item: int, *, session: Any = fl.injected) -> pl.DataFrame:
        return pl.read_csv((await session.get(f"/daily/{item}.csv")).content)

    return _arun(_retrying(fetch, session=_session("httpx")), items, width)


def frames(
    function: Callable[..., Any], items: Iterable[Any], width: int, *, arrow: bool = True
) -> list[Any]:
    """Every frame in the parent, by its height; without pyarrow, polars reads what the workers wrote."""
    if not arrow:
        sys.modules["pyarrow"] = None  # type: ignore[assignment]  # the documented way to forbid an import
    batch = processes(function, items, width)
    values = [batch.get(index).value for index in range(len(batch))]
    if not all(value.height for value in values):
        raise RuntimeError("an empty frame came back")
    return values


def call(function: Callable[..., Any], items: Iterable[Any], width: int) -> list[Any]:
    import fetchline as fl

    fetcher = fl.Try(retry=3, sleep=0)(function)
    return [fetcher(item) for item in items]


def join(values: Sequence[Any], keys: Sequence[str]) -> Any:
    from fetchline.frames import join

    frame = join(values, keys, key="key")
    if frame.n_chunks() != 1:
        raise RuntimeError("the frame is not rechunked")
    return frame
