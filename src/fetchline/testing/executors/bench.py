"""An executor on the bench: what it claims, a warm pool of it, and how to start another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import fetchline as fl
from fetchline.catalog import catalog
from fetchline.executors import choose
from fetchline.interfaces import Executor, ExecutorSpec, Use
from fetchline.testing.lane import Lane

__all__ = ["FLAGS", "PLAIN", "Bench", "Settings", "bench_of"]

PLAIN = (str, Use, ExecutorSpec)
"""What may stand as an attribute of a suite; anything else comes from a fixture."""

FLAGS = ("needs_pickling", "runs_coroutines", "isolates_crashes", "can_kill", "remote")


class Settings:
    """What an author may set; see ``ExecutorSuite``."""

    executor: Any = None
    workers: int = 2
    background: bool = True
    replaces_workers: bool = True
    cancels_futures: bool = True
    timeout_s: float = 0.8
    patience_s: float = 5.0

    @classmethod
    def unpromised(cls) -> dict[str, str]:
        """What is not promised, with the reason to skip its tests."""
        missing = {}
        if cls.workers == 1:
            missing["several"] = "it makes one attempt at a time: workers = 1"
        if not cls.background:
            missing["background"] = "it makes calls inside submit: background = False"
        if not cls.replaces_workers:
            missing["replaces_workers"] = "it is broken once a worker has died: replaces_workers = False"
        if not cls.cancels_futures:
            missing["cancels_futures"] = "its shutdown takes no cancel_futures: cancels_futures = False"
        return missing


@dataclass
class Bench:
    """An executor under test.

    Attributes:
        spec: what it claims, as a run sees it.
        argument: what ``executor=`` is given to have a run start one.
        pool: a warm one.
        start: starts another of so many workers; None where an object was given.
        missing: promises it does not make, each with the reason to skip their tests.
    """

    spec: ExecutorSpec
    argument: Any
    pool: Any
    start: Callable[[int], Any] | None
    workers: int
    missing: dict[str, str] = field(default_factory=dict)
    warm: bool = False

    def __post_init__(self) -> None:
        name = repr(self.spec.name)
        for flag in FLAGS:
            if not getattr(self.spec, flag):
                self.missing[flag] = f"{name} does not claim {flag}"
        if self.spec.needs_pickling:
            self.missing["near"] = f"{name} claims needs_pickling: its workers are elsewhere"
        if self.start is None:
            self.missing["restarts"] = f"{name} was given as an object, which cannot be started anew"

    def lane(self, executor: Any) -> Lane:
        spec = self.spec
        wants_coroutines = spec.runs_coroutines and not spec.needs_pickling
        return Lane(spec.name, executor, self.workers, is_async=wants_coroutines, far=spec.needs_pickling)

    def warm_up(self) -> None:
        """Have the workers there, with fetchline imported, before a test times a call."""
        if not self.warm:
            self.lane(self.pool).run(lambda n: n, range(4 * self.workers))
            self.warm = True


@contextmanager
def bench_of(value: Any, workers: int) -> Iterator[Bench]:
    """Put an executor on the bench, given as ``executor=`` takes it or as a spec."""
    with ExitStack() as stack:
        if isinstance(value, ExecutorSpec):
            value = stack.enter_context(_registered(value))
        if isinstance(value, str):
            value = Use(value)
        if isinstance(value, Executor) and not isinstance(value, type):
            yield Bench(_spec_of(value), value, value, None, workers)
            return
        start: Callable[[int], Any]
        if isinstance(value, Use):
            use = value

            def start(workers: int) -> Any:
                return fl.get_executor(use, max_workers=workers)

            spec = catalog().executor(use.name)
            pool = stack.enter_context(start(workers))
        else:
            factory = value

            def start(workers: int) -> Any:
                return factory(max_workers=workers)

            pool = stack.enter_context(start(workers))
            spec = _spec_of(pool)
        yield Bench(spec, value, pool, start, workers)


def _spec_of(executor: Any) -> ExecutorSpec:
    """What a run takes an executor object for."""
    return choose(executor, asynchronous=True).spec


class _Provider:
    """A plugin of one executor."""

    def __init__(self, spec: ExecutorSpec) -> None:
        self.spec = spec

    @fl.hookimpl
    def fetchline_register_executors(self) -> list[ExecutorSpec]:
        return [self.spec]


@contextmanager
def _registered(spec: ExecutorSpec) -> Iterator[str]:
    """Have the name of the spec found as if a plugin had brought it."""
    try:
        known = catalog().executor(spec.name)
    except fl.UnknownName:
        known = None
    if known == spec:  # a plugin has brought it
        yield spec.name
        return
    name = catalog().register(_Provider(spec), f"suite of {spec.name}")
    try:
        yield spec.name
    finally:
        catalog().unregister(name)
