"""Names that users of this pattern already know, each a few lines over the same runner."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from fetchline.config import BatchConfig
from fetchline.errors import BatchFailed
from fetchline.executors import usable_cpus
from fetchline.items import Args
from fetchline.results import Result, Success
from fetchline.retry import check_count

if TYPE_CHECKING:
    import polars as pl

__all__ = ["batch_execute", "batch_fetch", "optimal_workers", "run_in_parallel"]

T = TypeVar("T")
K = TypeVar("K")
_log = logging.getLogger("fetchline")


def optimal_workers(n: int) -> int:
    """How many workers suit ``n`` items that mostly wait: at most 4 for each usable CPU plus 4, at most 32.

    >>> optimal_workers(1), optimal_workers(0)
    (1, 1)
    """
    check_count("n", n, least=0)
    return max(1, min(n, 32, 4 * usable_cpus() + 4))


def batch_fetch(config: BatchConfig | None, fetch_func: Any, items: Iterable[Any]) -> list[pl.DataFrame]:
    """Fetch frames, one for each item in order; an empty frame where an item failed, which is logged.

    Args:
        config: how to run it; None is the defaults.
        fetch_func: a function, a fetcher or a fetcher's name.
        items: what to fetch.

    Raises:
        TypeError: a value is no frame and no rows.
    """
    import polars as pl

    from fetchline.frames import as_frame
    from fetchline.runner import run

    frames: list[pl.DataFrame] = []
    for result in run(fetch_func, items, config=config):
        if isinstance(result, Success):
            frames.append(as_frame(result.value, result.key))
        else:
            _log.error("%r failed: %s", result.item, result.message)
            frames.append(pl.DataFrame())
    return frames


@overload
async def batch_execute(
    keys: Iterable[K] | AsyncIterator[K],
    operation: Callable[[K], Coroutine[Any, Any, T]],
    max_concurrent: int = 10,
    on_progress: Callable[[int, int | None], object] | None = None,
    fail_fast: bool = False,
    chunk_size: int | None = None,
    skip_completed: Collection[K] | None = None,
) -> list[Result[T]]: ...
@overload
async def batch_execute(
    keys: Iterable[K] | AsyncIterator[K],
    operation: Callable[[K], T],
    max_concurrent: int = 10,
    on_progress: Callable[[int, int | None], object] | None = None,
    fail_fast: bool = False,
    chunk_size: int | None = None,
    skip_completed: Collection[K] | None = None,
) -> list[Result[T]]: ...
@overload
async def batch_execute(
    keys: Iterable[K] | AsyncIterator[K],
    operation: str,
    max_concurrent: int = 10,
    on_progress: Callable[[int, int | None], object] | None = None,
    fail_fast: bool = False,
    chunk_size: int | None = None,
    skip_completed: Collection[K] | None = None,
) -> list[Result[Any]]: ...
async def batch_execute(
    keys: Any,
    operation: Any,
    max_concurrent: int = 10,
    on_progress: Callable[[int, int | None], object] | None = None,
    fail_fast: bool = False,
    chunk_size: int | None = None,
    skip_completed: Collection[Any] | None = None,
) -> list[Result[Any]]:
    """Run an operation for each key on the caller's loop and give the Results in the order of the keys.

    Args:
        keys: what to work on.
        operation: an async or plain function, a fetcher or a fetcher's name.
        max_concurrent: operations at once.
        on_progress: called as ``on_progress(done, total)`` for each key that finishes.
        fail_fast: raise the first failure's error instead.
        chunk_size: how many keys are taken ahead of the results, at the most.
        skip_completed: keys that are left out.
    """
    from fetchline.runner import arun

    check_count("max_concurrent", max_concurrent)
    if chunk_size is not None:
        check_count("chunk_size", chunk_size)
    if skip_completed is not None:
        done = skip_completed
        if hasattr(keys, "__aiter__"):
            keys = _without(keys, done)
        elif hasattr(keys, "__len__"):
            keys = [key for key in keys if key not in done]  # its length is the progress's total
        else:
            keys = (key for key in keys if key not in done)
    try:
        batch = await arun(
            operation,
            keys,
            concurrency=max_concurrent,
            on_progress=on_progress,
            on_error="raise" if fail_fast else "collect",
            window=chunk_size,
            progress=None,
        )
    except BatchFailed as failed:
        assert failed.__cause__ is not None
        raise failed.__cause__ from None
    return list(batch)


async def _without(keys: Any, done: Collection[Any]) -> AsyncIterator[Any]:
    async for key in keys:
        if key not in done:
            yield key


@overload
def run_in_parallel(
    func: Callable[..., T],
    args_list: Iterable[Any],
    max_workers: int | None = None,
    on_error: Literal["raise"] = "raise",
    preserve_order: bool = True,
) -> list[T]: ...
@overload
def run_in_parallel(
    func: Callable[..., T],
    args_list: Iterable[Any],
    max_workers: int | None = None,
    *,
    on_error: Literal["collect"],
    preserve_order: bool = True,
) -> list[Result[T]]: ...
@overload
def run_in_parallel(
    func: Callable[..., T],
    args_list: Iterable[Any],
    max_workers: int | None,
    on_error: Literal["collect"],
    preserve_order: bool = True,
) -> list[Result[T]]: ...
def run_in_parallel(
    func: Any,
    args_list: Iterable[Any],
    max_workers: int | None = None,
    on_error: str = "raise",
    preserve_order: bool = True,
) -> Any:
    """Call a function for each tuple of arguments, in threads.

    Args:
        func: a function, a fetcher or a fetcher's name.
        args_list: a tuple of arguments for each call; anything that is no tuple is the one argument.
        max_workers: threads; 1 or less runs in the caller's thread, None is ``optimal_workers``.
        on_error: ``"raise"`` raises the error of the first completed failure, with a note naming index and
            arguments; ``"collect"`` gives Results.
        preserve_order: False gives values in the order of completion.

    >>> run_in_parallel(pow, [(2, 3), (3, 2)], max_workers=2)
    [8, 9]
    """
    from fetchline.runner import run, stream

    items = [Args(*one) if isinstance(one, tuple) else one for one in args_list]
    if max_workers is None:
        max_workers = optimal_workers(len(items))
    options: dict[str, Any] = {"executor": "serial"} if max_workers <= 1 else {"workers": max_workers}
    try:
        if preserve_order:
            results: list[Result[Any]] = list(
                run(func, items, key=_places(items), on_error=on_error, progress=None, **options)
            )
        else:
            ended = stream(func, items, key=_places(items), on_error=on_error, as_completed=True, **options)
            results = list(ended)
    except BatchFailed as failed:
        failure = failed.failure
        assert failure is not None
        failure.error.add_note(f"item {failure.index}: {failure.item!r}")
        raise failure.error from None
    if on_error == "collect":
        return results
    return [result.value for result in results if isinstance(result, Success)]


def _places(items: list[Any]) -> Callable[[Any], str]:
    """Arguments may be anything at all: their place in the list is all the identity there is."""
    places = {id(item): str(index) for index, item in reversed(list(enumerate(items)))}
    return lambda item: places[id(item)]
