"""Undoing what a run wrote: ``Batch.undo``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from fetchline.assembly import Run
from fetchline.batch import Batch, of_results
from fetchline.config import BatchConfig
from fetchline.errors import FetchlineError
from fetchline.fetchers import Fetcher
from fetchline.items import Args, key_of
from fetchline.results import Failure, Result, Success
from fetchline.retry import ONCE, Try
from fetchline.stores import RunStore

__all__ = ["undo"]

_TRIES = Try(3)

# After these nobody knows whether the write arrived.
_MAY_HAVE_ARRIVED = frozenset(
    {"unknown_outcome", "timeout", "crashed", "cancelled", "deadline", "unavailable"}
)


def undo(
    fetcher: Fetcher[Any, Any, Any],
    results: Sequence[Result[Any]],
    undone: set[int],
    config: BatchConfig,
    key: Callable[[Any], str] | None,
    options: Mapping[str, Any],
) -> Batch[Any]:
    """Undo the successes of a run, the last item first; see ``Batch.undo``.

    Args:
        undone: indexes of those that have been undone before; the others are added when they are.
    """
    if fetcher.policies.undo is None:
        raise TypeError(f"{fetcher.name!r} says not how it is undone: declare @fetcher(undo=...)")
    undoer = _undoer(fetcher)
    store = None
    if config.store is not None:
        store = RunStore(config.store, None, None, fetcher=fetcher, params=dict(config.params or {}), key=key)
    written = [one for one in reversed(results) if _is_written(one) and one.index not in undone]
    items = {one.index: Args(one.item, one.value) for one in written if isinstance(one, Success)}
    index_of = {id(item): index for index, item in items.items()}
    config = replace(
        config,
        executor=config.executor if undoer.is_async == fetcher.is_async else None,
        workers=None,
        concurrency=None,
        key=partial(_key, key),
        params=None,
        on_error="collect",
        on_progress=None,
        dedupe=None,
        window=None,
        deadline=None,
        store=None,
    )
    width = {} if config.executor == "serial" else {"concurrency": 1}

    def attempt(some: list[Args]) -> Batch[Any]:
        given = {**width, **options, "config": config}
        batch = Run(undoer, some, given, progress=None, alike=True).batch_here()
        undone.update(index_of[id(result.item)] for result in batch.successes)
        if store is not None and batch.successes:
            # The next run would else believe that it is written.
            store.forget("undo", {result.key: result.item.args[0] for result in batch.successes})
        return batch

    outcomes = iter(attempt(list(items.values())))
    told = [next(outcomes) if isinstance(one, Success) else _unknown(one) for one in written]
    for index, result in enumerate(told):
        result.index = index
    return of_results(undoer.name, told, again=attempt)


def _undoer(fetcher: Fetcher[Any, Any, Any]) -> Fetcher[Any, Any, Any]:
    function, policies = fetcher.policies.undo, fetcher.policies
    if isinstance(function, Fetcher):
        return function
    assert function is not None
    return Fetcher.of(
        function,
        f"{fetcher.name}.undo",
        retry=_TRIES if policies.retry == ONCE else policies.retry,
        session=policies.session,
        timeout=policies.timeout,
        pace=policies.pace,
        patience=policies.patience,
    )


def _key(key: Callable[[Any], str] | None, undoing: Args) -> str:
    item = undoing.args[0]
    return key_of(item) if key is None else key(item)


def _is_written(result: Result[Any]) -> bool:
    if isinstance(result, Success):
        # What there was nothing to do for has an empty frame; None is what nobody knows of a write that was settled.
        return result.origin != "shared" and not (result.empty and result.value is not None)
    return result.attempts > 0 and result.error_code in _MAY_HAVE_ARRIVED


def _unknown(result: Failure) -> Failure:
    error = FetchlineError("nobody knows whether it was written, so it was not undone")
    error.__cause__ = result.error
    return Failure(error, result.key, item=result.item, attempts=0, error_code="unknown_outcome")
