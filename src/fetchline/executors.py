"""Executors by name, by object or by factory, and how wide a run is on them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

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
    if "workers" in options:
        raise TypeError("get_executor takes max_workers=, as concurrent.futures' executors do, not workers=")
    if max_workers is None:
        max_workers = _default_workers(spec)
    check_count("max_workers", max_workers)
    pool = spec.factory(max_workers=max_workers, **{**use.options, **options})
    _specs[pool] = spec
    return pool


_specs: WeakKeyDictionary[Any, ExecutorSpec] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Crew:
    """Who carries a run, and how wide it is.

    Attributes:
        given: the pool that was given; None where the run starts one of its own, and ends it.
        workers: threads, processes or slots; coroutines at once where they run on a loop.
        concurrency: attempts at once, at the most.
    """

    spec: ExecutorSpec
    given: Any
    workers: int
    concurrency: int
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def width(self) -> int:
        """Attempts at once on each worker: more than 1 for coroutines in processes."""
        return -(-self.concurrency // self.workers)

    @property
    def times_itself(self) -> bool:
        """A lane knows which item of a chunk has begun; what runs in the host's own thread cannot be given up."""
        return self.spec.inline or (self.spec.piped and self.width == 1)

    def start(self) -> Any:
        """The pool: the one that was given, or a new one.

        Raises:
            TypeError: the factory gives no executor.
        """
        if self.given is not None:
            return self.given
        pool = self.spec.factory(max_workers=self.workers, **self.options)
        if not isinstance(pool, Executor):
            raise TypeError(f"executor {self.name!r} is no concurrent.futures.Executor: {pool!r}")
        return pool


def usable_cpus() -> int:
    """CPUs this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _default_workers(spec: ExecutorSpec) -> int:
    if spec.inline:
        return 1
    if spec.isolates_crashes or spec.remote:
        return usable_cpus()
    return DEFAULT_CONCURRENCY


def choose(
    executor: Any,
    *,
    asynchronous: bool,
    workers: int | None = None,
    concurrency: int | None = None,
    session: SessionSpec | None = None,
) -> Crew:
    """Decide who carries a run; nothing is started.

    Args:
        asynchronous: the function is a coroutine function.
        session: what the fetcher uses; it may want fewer workers than there would be, and allow fewer than were asked
            for.

    Raises:
        UnknownName: no executor has that name.
        TypeError, ValueError: not an executor, or widths that cannot be.
        RuntimeError: it has been shut down.
    """
    if executor is None:
        executor = "asyncio" if asynchronous else "thread"
    spec, pool, options = _meant(executor)
    if spec.on_a_loop and not asynchronous:
        # A plain function would block the loop: threads carry it, as many as there would be coroutines.
        spec, pool = catalog().executor("thread"), None
    size = getattr(pool, "max_workers", None) or getattr(pool, "_max_workers", None)
    if session is not None and workers is None and concurrency is None and size is None and not spec.inline:
        workers = session.workers
    on_a_loop = spec.on_a_loop and asynchronous
    asked = concurrency or workers if on_a_loop else workers
    if asked and size and asked > size:
        what = "concurrency" if on_a_loop else "workers"
        raise ValueError(f"{what}={asked}, but the executor that was given has {size}")
    if on_a_loop:
        workers = concurrency = concurrency or workers or size or DEFAULT_CONCURRENCY
    else:
        workers, concurrency = _widths(spec, workers, concurrency, size, asynchronous)
    if session is not None and not spec.isolates_crashes:
        if session.scope == "process":
            _check_shared(session, 1 if on_a_loop else workers)
        elif session.max_open is not None and not (on_a_loop and session.scope == "worker"):
            workers, concurrency = min(workers, session.max_open), min(concurrency, session.max_open)
    return Crew(spec, pool, workers, concurrency, options)


def _meant(executor: Any) -> tuple[ExecutorSpec, Any, Mapping[str, Any]]:
    """What ``executor=`` stands for: its spec, the pool if one was given, and options for the factory."""
    options: Mapping[str, Any] = {}
    if isinstance(executor, Use):
        executor, options = executor.name, executor.options
    if isinstance(executor, str):
        return catalog().executor(executor), None, options
    if isinstance(executor, Executor) and not isinstance(executor, type):
        if getattr(executor, "closed", False) is True:  # a run may need no worker of it, and not find out
            raise RuntimeError("the executor that was given has been shut down")
        return _spec_of(executor), executor, options
    if (built_in := _built_in(executor)) is not None:
        return built_in, None, options
    if callable(executor):
        name = getattr(executor, "__name__", "executor")
        here = isinstance(executor, type) and issubclass(executor, ThreadPoolExecutor)
        return ExecutorSpec(name=name, factory=executor, needs_pickling=not here), None, options
    raise TypeError(
        f"executor must be a name, fetchline.use(name, ...), an executor or a factory of one, not {executor!r}"
    )


def _widths(
    spec: ExecutorSpec, workers: int | None, concurrency: int | None, size: int | None, asynchronous: bool
) -> tuple[int, int]:
    """How many workers, and attempts at once, of an executor that is no loop."""
    if spec.inline and ((workers or 1) > 1 or (concurrency or 1) > 1):
        raise ValueError(
            f'the {spec.name} executor makes one attempt at a time; use executor="thread" for more'
        )
    side_by_side = asynchronous and spec.piped
    # As many as there may be attempts, where each makes one at a time.
    as_wide = None if side_by_side else concurrency
    workers = workers or size or as_wide or _default_workers(spec)
    if concurrency is not None and concurrency > workers and not side_by_side:
        raise ValueError(
            f"concurrency={concurrency} attempts cannot be in flight on workers={workers} of {spec.name!r}: "
            "each makes one at a time; raise workers"
        )
    concurrency = concurrency or workers
    return min(workers, concurrency), concurrency


def _check_shared(session: SessionSpec, threads: int) -> None:
    if threads > 1 and not session.thread_safe:
        raise ValueError(
            f"session {session.name!r} is not thread-safe, and its scope is the process: {threads} threads "
            'would share it; use workers=1, executor="process", or the scope "worker"'
        )


def _built_in(kind: Any) -> ExecutorSpec | None:
    """The spec of one of our own executor classes, given as such."""
    if getattr(kind, "__module__", "").startswith("fetchline.builtin."):
        for name in ("serial", "thread", "process", "asyncio"):
            spec = catalog().executor(name)
            if spec.factory is kind:
                return spec
    return None


def _spec_of(pool: Any) -> ExecutorSpec:
    if pool in _specs:
        return _specs[pool]
    for kind in type(pool).__mro__:
        spec = _built_in(kind)
        if spec is not None:
            return spec
    return ExecutorSpec(
        name=type(pool).__name__,
        factory=type(pool),
        needs_pickling=not isinstance(pool, ThreadPoolExecutor),
    )
