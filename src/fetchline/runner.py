"""Runs: ``run``, ``arun``, ``stream``, ``astream`` and ``submit`` put a fetcher, items and an executor together."""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
)
from typing import TYPE_CHECKING, Any, TypeVar, overload

from fetchline.assembly import Run
from fetchline.batch import Batch
from fetchline.fetchers import Fetcher
from fetchline.results import Result

if TYPE_CHECKING:
    from fetchline.jobs import Job

__all__ = ["arun", "astream", "run", "stream", "submit"]

T = TypeVar("T")


@overload
def run(fetcher: Fetcher[..., Any, T], items: Iterable[Any], **options: Any) -> Batch[T]: ...
@overload
def run(fetcher: str, items: Iterable[Any], **options: Any) -> Batch[Any]: ...
@overload
def run(fetcher: Callable[..., Coroutine[Any, Any, T]], items: Iterable[Any], **options: Any) -> Batch[T]: ...
@overload
def run(fetcher: Callable[..., T], items: Iterable[Any], **options: Any) -> Batch[T]: ...
def run(fetcher: Any, items: Iterable[Any], **options: Any) -> Batch[Any]:
    """Fetch every item and give one result each, in input order.

    Coroutine functions run on an event loop of the run's own, so this works in scripts, notebooks and inside a
    running loop alike. A list, tuple or ``grid`` is taken whole; any other iterable is drawn in this thread,
    or in a feeder thread if the fetcher is a write, there is a store and the executor is not the serial one.

    Args:
        fetcher: a fetcher, its name in the registry, or a plain function.
        items: anything iterable; ``Args`` and ``grid`` items stand for several arguments.
        options: the fields of ``BatchConfig``: executor, workers, concurrency, params, on_error, progress,
            on_progress, key, deadline, plugins, ...; and ``config=``.

    Returns:
        A ``Batch``: a sequence of ``Success`` and ``Failure``.

    Raises:
        UnknownName: no fetcher, executor, session or progress display has that name.
        TypeError, ValueError: an option, an item or the signature does not fit; nothing was started.
        BatchFailed: ``on_error="raise"`` and an item failed; its error is the cause.
        InputFailed: the iterable raised; its error is the cause.
        BatchInterrupted: Ctrl-C.
        BatchError: the run cannot go on: too many attempts are stuck past their timeout in threads. All of these
            carry the partial ``batch``.

    >>> def double(n: int) -> int:
    ...     return 2 * n
    >>> [result.value for result in run(double, [1, 2, 3], progress=None)]
    [2, 4, 6]
    """
    prepared = Run(fetcher, items, options, progress="auto")
    return prepared.batch_here()


@overload
async def arun(fetcher: Fetcher[..., Any, T], items: Any, **options: Any) -> Batch[T]: ...
@overload
async def arun(fetcher: str, items: Any, **options: Any) -> Batch[Any]: ...
@overload
async def arun(fetcher: Callable[..., Coroutine[Any, Any, T]], items: Any, **options: Any) -> Batch[T]: ...
@overload
async def arun(fetcher: Callable[..., T], items: Any, **options: Any) -> Batch[T]: ...
async def arun(fetcher: Any, items: Any, **options: Any) -> Batch[Any]:
    """Fetch every item on the caller's own event loop; else as ``run``.

    ``items`` may be an async iterable too. Plain functions run in threads. Cancelling the task cancels the
    attempts in flight.
    """
    prepared = Run(fetcher, items, options, progress="auto", on_loop=True)
    return await prepared.batch_on_loop()


@overload
def stream(
    fetcher: Fetcher[..., Any, T], items: Iterable[Any], *, as_completed: bool = ..., **options: Any
) -> Iterator[Result[T]]: ...
@overload
def stream(
    fetcher: str, items: Iterable[Any], *, as_completed: bool = ..., **options: Any
) -> Iterator[Result[Any]]: ...
@overload
def stream(
    fetcher: Callable[..., Coroutine[Any, Any, T]],
    items: Iterable[Any],
    *,
    as_completed: bool = ...,
    **options: Any,
) -> Iterator[Result[T]]: ...
@overload
def stream(
    fetcher: Callable[..., T], items: Iterable[Any], *, as_completed: bool = ..., **options: Any
) -> Iterator[Result[T]]: ...
def stream(
    fetcher: Any, items: Iterable[Any], *, as_completed: bool = False, **options: Any
) -> Iterator[Result[Any]]:
    """Give results while the input goes on, in bounded memory.

    At most ``window`` items (default: 1024 or 10 times the concurrency, whichever is more) are held past the
    last result taken; a slow consumer stops the input. Iterables that are not lists are drawn in a feeder
    thread of their own, so that a blocking generator does not hold back results that are ready; an iterator
    bound to this thread (a sqlite3 cursor) wants ``run``, or a list.

    Args:
        as_completed: give results as they are completed, not in input order.

    Raises:
        InputFailed: the iterable raised; what was taken before is given first.
        others: as ``run``; wrong options are refused here, before the first ``next()``.

    >>> [result.value for result in stream(abs, iter([-1, -2]))]
    [1, 2]
    """
    prepared = Run(
        fetcher, items, options, progress=None, emits=True, ordered=not _flag("as_completed", as_completed)
    )
    return prepared.results_here()


@overload
def astream(
    fetcher: Fetcher[..., Any, T], items: Any, *, as_completed: bool = ..., **options: Any
) -> AsyncIterator[Result[T]]: ...
@overload
def astream(
    fetcher: str, items: Any, *, as_completed: bool = ..., **options: Any
) -> AsyncIterator[Result[Any]]: ...
@overload
def astream(
    fetcher: Callable[..., Coroutine[Any, Any, T]], items: Any, *, as_completed: bool = ..., **options: Any
) -> AsyncIterator[Result[T]]: ...
@overload
def astream(
    fetcher: Callable[..., T], items: Any, *, as_completed: bool = ..., **options: Any
) -> AsyncIterator[Result[T]]: ...
def astream(
    fetcher: Any, items: Any, *, as_completed: bool = False, **options: Any
) -> AsyncIterator[Result[Any]]:
    """Give results while the input goes on, on the caller's own event loop; else as ``stream``.

    Leaving the loop early ends the attempts when the iterator is closed: use ``contextlib.aclosing``.
    """
    ordered = not _flag("as_completed", as_completed)
    prepared = Run(fetcher, items, options, progress=None, emits=True, ordered=ordered, on_loop=True)
    return prepared.results_on_loop()


@overload
def submit(fetcher: Fetcher[..., Any, T], items: Iterable[Any], **options: Any) -> Job[T]: ...
@overload
def submit(fetcher: str, items: Iterable[Any], **options: Any) -> Job[Any]: ...
@overload
def submit(
    fetcher: Callable[..., Coroutine[Any, Any, T]], items: Iterable[Any], **options: Any
) -> Job[T]: ...
@overload
def submit(fetcher: Callable[..., T], items: Iterable[Any], **options: Any) -> Job[T]: ...
def submit(fetcher: Any, items: Iterable[Any], **options: Any) -> Job[Any]:
    """Start a run in the background and return its ``Job`` at once; wrong options are refused here.

    >>> job = submit(abs, [-1, -2])
    >>> [result.value for result in job.result()]
    [1, 2]
    """
    from fetchline.jobs import Job

    return Job(Run(fetcher, items, options, progress=None, feeder=True))


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value
