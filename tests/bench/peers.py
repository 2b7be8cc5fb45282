"""The peers: each the way its documentation does it, as ``peer(function, items, width)``.

A peer gives something with the results in order: a list, or an iterator where it streams. ``NEEDS`` says
which module a peer comes with; those without an entry are in the standard library.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

from .server import ADDRESS, LINES

__all__ = ["NEEDS", "drained"]

Function = Callable[[Any], Any]
AsyncFunction = Callable[[Any], Awaitable[Any]]

NEEDS = {
    "streamable": "streamable",
    "joblib": "joblib",
    "joblib.Memory": "joblib",
    "loky": "loky",
    "mpire": "mpire",
    "pebble": "pebble",
    "aiometer": "aiometer",
    "dask": "distributed",
    "tenacity": "tenacity",
    "aiohttp + gather": "aiohttp",
    "aiohttp + gather, one parse": "aiohttp",
    "httpx + gather": "httpx",
    "httpx + gather, 20 kept": "httpx",
    "httpx in threads": "httpx",
    "niquests + gather": "niquests",
    "with_columns + concat": "polars",
    "import pluggy": "pluggy",
    "import pluggy, click": "click",
}


def drained(results: Iterable[Any]) -> range:
    """Let go of each result as it comes, and say how many there were."""
    return range(sum(1 for _ in results))


def _chunk(items: Sequence[Any], workers: int) -> int:
    return max(1, len(items) // (workers * 4))


# -- threads -----------------------------------------------------------------------------------------------


def file_each(function: Function, items: Sequence[Any], width: int) -> range:
    """What people write: a file of JSON for each item, under its name only when it is whole and on the disk."""
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(width) as pool:

        def one(item: Any) -> None:
            path, draft = Path(place, f"{item}.json"), Path(place, f"{item}.draft")
            if path.exists():
                return
            with draft.open("w") as file:
                json.dump(function(item), file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)

        return range(len(list(pool.map(one, items))))


def joblib_memory(function: Function, items: Sequence[Any], width: int) -> range:
    import joblib

    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(width) as pool:
        cached = joblib.Memory(place, verbose=0).cache(function)
        return range(len(list(pool.map(cached, items))))


def tpe_map(function: Function, items: Iterable[Any], width: int) -> list[Any]:
    with ThreadPoolExecutor(width) as pool:
        return list(pool.map(function, items))


def tpe_window(function: Function, items: Iterable[Any], width: int, *, window: int = 0) -> Iterator[Any]:
    """What everybody writes to bound memory: a deque of futures, by default as long as the pool is wide."""
    window = window or width
    with ThreadPoolExecutor(width) as pool:
        waiting = deque[Any]()
        for item in items:
            if len(waiting) >= window:
                yield waiting.popleft().result()
            waiting.append(pool.submit(function, item))
        while waiting:
            yield waiting.popleft().result()


def streamable_map(function: Function, items: Iterable[Any], width: int) -> list[Any]:
    from streamable import stream

    return list(stream(items).map(function, concurrency=width))


def joblib_threads(function: Function, items: Iterable[Any], width: int) -> list[Any]:
    from joblib import Parallel, delayed

    return list(Parallel(n_jobs=width, prefer="threads")(delayed(function)(item) for item in items))


# -- processes ---------------------------------------------------------------------------------------------


def ppe_map(function: Function, items: Iterable[Any], width: int) -> list[Any]:
    with ProcessPoolExecutor(width) as pool:
        return list(pool.map(function, items))


def ppe_unforked(function: Function, items: Iterable[Any], width: int) -> list[Any]:
    """For frames: a child forked after the parent has used polars would deadlock."""
    with ProcessPoolExecutor(width, mp_context=multiprocessing.get_context("forkserver")) as pool:
        return list(pool.map(function, items))


def ppe_chunks(function: Function, items: Sequence[Any], width: int) -> list[Any]:
    with ProcessPoolExecutor(width) as pool:
        return list(pool.map(function, items, chunksize=_chunk(items, width)))


def pool_imap(function: Function, items: Iterable[Any], width: int) -> list[Any]:
    with multiprocessing.Pool(width) as pool:
        return list(pool.imap(function, items))


def loky_map(function: Function, items: Iterable[Any], width: int) -> list[Any]:
    from loky import get_reusable_executor

    return list(get_reusable_executor(width).map(function, items))


def mpire_imap(function: Function, items: Iterable[Any], width: int) -> list[Any]:
    from mpire import WorkerPool

    with WorkerPool(width) as pool:
        return list(pool.imap(function, items))


def pebble_map(function: Function, items: Sequence[Any], width: int) -> list[Any]:
    from pebble import ProcessPool

    with ProcessPool(width) as pool:
        return list(pool.map(function, items, chunksize=_chunk(items, width)).result())


def joblib_processes(function: Function, items: Iterable[Any], width: int) -> list[Any]:
    from joblib import Parallel, delayed

    return list(Parallel(n_jobs=width)(delayed(function)(item) for item in items))


# -- clusters of this machine, which stay between the rounds -----------------------------------------------


@cache
def _cluster(**workers: Any) -> Any:
    from distributed import Client

    return Client(**workers, dashboard_address=None)


def dask_threads(function: Function, items: Iterable[Any], width: int) -> list[Any]:
    cluster = _cluster(n_workers=1, threads_per_worker=width, processes=False)
    return list(cluster.gather(cluster.map(function, list(items), pure=False)))


def dask_processes(function: Function, items: Iterable[Any], width: int) -> list[Any]:
    cluster = _cluster(n_workers=width, threads_per_worker=1)
    return list(cluster.gather(cluster.map(function, list(items), pure=False)))


# -- asyncio -----------------------------------------------------------------------------------------------


def gather(function: AsyncFunction, items: Iterable[Any], width: int) -> list[Any]:
    async def main() -> list[Any]:
        semaphore = asyncio.Semaphore(width)

        async def one(item: Any) -> Any:
            async with semaphore:
                return await function(item)

        return await asyncio.gather(*map(one, items))

    return asyncio.run(main())


def task_window(function: AsyncFunction, items: Iterable[Any], width: int) -> range:
    """A deque of tasks as long as the limit; it lets go of each result, as a stream would."""

    async def main() -> range:
        waiting = deque[asyncio.Task[Any]]()
        done = 0
        for item in items:
            if len(waiting) >= width:
                await waiting.popleft()
                done += 1
            waiting.append(asyncio.ensure_future(function(item)))
        while waiting:
            await waiting.popleft()
            done += 1
        return range(done)

    return asyncio.run(main())


def streamable_async(function: AsyncFunction, items: Iterable[Any], width: int) -> list[Any]:
    from streamable import stream

    async def main() -> list[Any]:
        return [value async for value in stream(items).map(function, concurrency=width)]

    return asyncio.run(main())


def aiometer_all(function: AsyncFunction, items: Iterable[Any], width: int) -> list[Any]:
    import aiometer

    async def main() -> list[Any]:
        return await aiometer.run_all([partial(function, item) for item in items], max_at_once=width)

    return asyncio.run(main())


# -- requests over HTTP ------------------------------------------------------------------------------------


def _address(item: int) -> str:
    return f"{os.environ[ADDRESS]}/daily/{item}.csv"


def _bodies_by_aiohttp(use: Callable[[bytes], Any], items: Iterable[int], width: int) -> list[Any]:
    import aiohttp

    async def main() -> list[Any]:
        semaphore = asyncio.Semaphore(width)

        async def one(item: int) -> Any:
            async with semaphore, session.get(_address(item)) as reply:
                return use(await reply.read())

        async with aiohttp.ClientSession(raise_for_status=True) as session:
            return await asyncio.gather(*map(one, items))

    return asyncio.run(main())


def aiohttp_gather(items: Iterable[int], width: int) -> list[Any]:
    import polars as pl

    return _bodies_by_aiohttp(pl.read_csv, items, width)


def aiohttp_one_parse(items: Iterable[int], width: int) -> range:
    """What one would write by hand for bodies that all have the same head."""
    import polars as pl

    head, *_ = bodies = _bodies_by_aiohttp(bytes, items, width)
    tables = [body.partition(b"\n")[2] for body in bodies]
    frame = pl.read_csv(b"".join([head.partition(b"\n")[0], b"\n", *tables]))
    return range(frame.height // LINES)


def _by_httpx(items: Iterable[int], width: int, kept: int) -> list[Any]:
    import httpx
    import polars as pl

    async def main() -> list[Any]:
        semaphore = asyncio.Semaphore(width)

        async def one(item: int) -> Any:
            async with semaphore:
                reply = (await client.get(_address(item))).raise_for_status()
            return pl.read_csv(reply.content)

        limits = httpx.Limits(max_connections=width, max_keepalive_connections=kept)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:
            return await asyncio.gather(*map(one, items))

    return asyncio.run(main())


def httpx_gather(items: Iterable[int], width: int) -> list[Any]:
    """One client that keeps its connections, as everybody else here does."""
    return _by_httpx(items, width, width)


def httpx_default(items: Iterable[int], width: int) -> list[Any]:
    """By default a client keeps 20, and with 100 in flight opens one for each request: that is cheap here."""
    return _by_httpx(items, width, 20)


def httpx_threads(items: Iterable[int], width: int) -> list[Any]:
    import httpx
    import polars as pl

    def one(item: int) -> Any:
        return pl.read_csv(client.get(_address(item)).raise_for_status().content)

    # With the default, 20 connections kept, threads now and then meet one that another has closed.
    limits = httpx.Limits(max_connections=width, max_keepalive_connections=width)
    with httpx.Client(timeout=60, limits=limits) as client, ThreadPoolExecutor(width) as pool:
        return list(pool.map(one, items))


def niquests_gather(items: Iterable[int], width: int) -> list[Any]:
    import niquests
    import polars as pl

    async def main() -> list[Any]:
        semaphore = asyncio.Semaphore(width)

        async def one(item: int) -> Any:
            async with semaphore:
                reply = await session.get(_address(item))
            return pl.read_csv(reply.raise_for_status().content)

        async with niquests.AsyncSession(pool_maxsize=width) as session:
            return await asyncio.gather(*map(one, items))

    return asyncio.run(main())


# -- calls, frames, start-up -------------------------------------------------------------------------------


def bare_calls(function: Function, items: Iterable[Any], width: int) -> list[Any]:
    return [function(item) for item in items]


def tenacity_calls(function: Function, items: Iterable[Any], width: int) -> list[Any]:
    from tenacity import retry, stop_after_attempt, wait_none

    call = retry(stop=stop_after_attempt(3), wait=wait_none(), reraise=True)(function)
    return [call(item) for item in items]


def columns_and_concat(frames: Sequence[Any], keys: Sequence[str]) -> Any:
    import polars as pl

    named = zip(keys, frames, strict=True)
    return pl.concat([frame.with_columns(pl.lit(key).alias("key")) for key, frame in named])


def python(code: str, *arguments: str) -> range:
    """Run a whole interpreter."""
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL)
    return range(1)
