"""Executors by name, by object or by factory, and how wide a run is on them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from fetchline.catalog import catalog
from fetchline.interfaces import Executor, ExecutorSpec, SessionSpec, Use
from fetchline.retry import check_count

__all__ = ["Crew", "choose", "get_executor"]

DEFAULT_CONCURRENCY = 10


def get_executor(name: str | Use, *, max_workers: int | None = None, **options: Any) -> Any:
    """Start an executor that stays warm over several runs: a plain ``concurrent.futures.Executor`` too.

    Args:
        name: ``"thread"``, ``"process"``, ``"asyncio"``, ``"serial"``, or one that a plugin provides.
        max_workers: threads, processes, or coroutines at once.

    >>> with get_executor("thread", max_workers=2) as pool:
    ...     pool.submit(max, 1, 2).result()
    2
    """
    use = name if isinstance(name, Use) else Use(name)
    spec = catalog().executor(use.name)
    if max_workers is None:
        max_workers = _default_workers(spec)
    check_count("max_workers", max_workers)
    pool = spec.factory(max_workers=max_workers, **{**use.options, **options})
    _specs_by_type.setdefault(type(pool), spec)
    return pool


_specs_by_type: dict[type, ExecutorSpec] = {}


@dataclass(slots=True)
class Crew:
    """Who carries a run: an executor, its spec, whether the run must shut it down, and how wide it is."""

    spec: ExecutorSpec
    pool: Any
    owned: bool
    workers: int
    concurrency: int
    width: int = 1
    """Attempts at once on each worker: more than 1 for coroutines in processes."""

    @property
    def name(self) -> str:
        return self.spec.name


def usable_cpus() -> int:
    """CPUs this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _default_workers(spec: ExecutorSpec) -> int:
    if spec.name == "serial":
        return 1
    if spec.isolates_crashes or spec.remote:
        return usable_cpus()
    return DEFAULT_CONCURRENCY


def choose(
    executor: Any,
    *,
    asynchronous: bool,
    workers: int | None,
    concurrency: int | None,
    on_loop: bool,
    session: SessionSpec | None = None,
) -> Crew:
    """Decide who carries a run; nothing is started yet where a name was given.

    Args:
        asynchronous: the function is a coroutine function.
        on_loop: the caller's own event loop carries coroutines (``arun``).
        session: what the fetcher uses; it may allow fewer workers than were asked for.

    Raises:
        UnknownName: no executor has that name.
        TypeError, ValueError: not an executor, or widths that cannot be.
    """
    if executor is None:
        executor = "asyncio" if asynchronous else "thread"
    options: dict[str, Any] = {}
    pool: Any = None
    if isinstance(executor, Use):
        executor, options = executor.name, dict(executor.options)
    if isinstance(executor, str):
        spec = catalog().executor(executor)
    elif isinstance(executor, Executor) and not isinstance(executor, type):
        pool = executor
        spec = _spec_of(pool)
    elif (built_in := _built_in(executor)) is not None:
        spec = built_in
    elif callable(executor):
        spec = ExecutorSpec(
            name=getattr(executor, "__name__", "executor"),
            factory=executor,
            needs_pickling=not (isinstance(executor, type) and issubclass(executor, ThreadPoolExecutor)),
        )
    else:
        raise TypeError(
            f"executor must be a name, fetchline.use(name, ...), an executor or a factory of one, not {executor!r}"
        )
    if spec.runs_coroutines and not spec.needs_pickling and not asynchronous:
        # A plain function would block the loop: threads carry it, as many as there would be coroutines.
        spec, pool = catalog().executor("thread"), None
    size = getattr(pool, "max_workers", None) or getattr(pool, "_max_workers", None)
    if pool is not None and workers is not None and size and workers > size:
        raise ValueError(f"workers={workers}, but the executor that was given has {size}")
    if spec.name == "serial" and ((workers or 1) > 1 or (concurrency or 1) > 1):
        raise ValueError('the serial executor makes one attempt at a time; use executor="thread" for more')
    coroutines = asynchronous and spec.runs_coroutines
    if coroutines and not spec.needs_pickling:
        concurrency = concurrency or workers or size or DEFAULT_CONCURRENCY
        workers = concurrency
    else:
        workers = (
            workers
            or size
            or (concurrency if concurrency and not spec.isolates_crashes else None)
            or _default_workers(spec)
        )
        wide = asynchronous and spec.name == "process"
        if concurrency is not None and concurrency > workers and not wide:
            raise ValueError(
                f"concurrency={concurrency} attempts cannot be in flight on workers={workers} of {spec.name!r}: "
                "each makes one at a time; raise workers"
            )
        concurrency = concurrency or workers
        workers = min(workers, concurrency)
    width = -(-concurrency // workers)
    if session is not None and not spec.isolates_crashes:
        shared = session.scope == "process"
        if shared and not session.thread_safe and workers > 1 and not coroutines:
            raise ValueError(
                f"session {session.name!r} is not thread-safe, and its scope is the process: {workers} threads "
                'would share it; use workers=1, executor="process", or the scope "worker"'
            )
        if session.max_open is not None and not shared and not (coroutines and session.scope == "worker"):
            workers = min(workers, session.max_open)
            concurrency = min(concurrency, session.max_open)
    owned = pool is None
    if owned and not (coroutines and on_loop):
        pool = None if spec.name == "serial" else (lambda: _start(spec, workers, options))
    return Crew(spec, pool, owned, workers, concurrency, width)


def _start(spec: ExecutorSpec, workers: int, options: dict[str, Any]) -> Any:
    pool = spec.factory(max_workers=workers, **options)
    if not isinstance(pool, Executor):
        raise TypeError(f"executor {spec.name!r} is no concurrent.futures.Executor: {pool!r}")
    return pool


def _built_in(kind: Any) -> ExecutorSpec | None:
    """The spec of one of our own executor classes, given as such."""
    if getattr(kind, "__module__", "").startswith("fetchline.builtin."):
        for name in ("serial", "thread", "process", "asyncio"):
            spec = catalog().executor(name)
            if spec.factory is kind:
                return spec
    return None


def _spec_of(pool: Any) -> ExecutorSpec:
    for kind in type(pool).__mro__:
        spec = _specs_by_type.get(kind) or _built_in(kind)
        if spec is not None:
            return spec
    return ExecutorSpec(
        name=type(pool).__name__,
        factory=type(pool),
        needs_pickling=not isinstance(pool, ThreadPoolExecutor),
    )
