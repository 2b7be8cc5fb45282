"""``ExecutorSuite``: the guarantees, as tests of an executor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fetchline.testing.evidence import Log
from fetchline.testing.executors.bench import PLAIN, Bench, bench_of
from fetchline.testing.executors.crossing import Crossing
from fetchline.testing.executors.endings import Endings
from fetchline.testing.executors.futures import Futures
from fetchline.testing.executors.runs import Runs
from fetchline.testing.executors.sessions import Sessions
from fetchline.testing.lane import Lane
from fetchline.testing.suites import given, skip_unless

__all__ = ["ExecutorSuite"]


class ExecutorSuite(Runs, Crossing, Endings, Sessions, Futures):
    """Hold an executor to fetchline's guarantees, and to the flags of its ``ExecutorSpec``.

    Subclass it and say what is under test; pytest does the rest. A test of a capability that is not claimed is
    skipped with that reason; a capability claimed falsely goes red.

    Most tests share one pool of ``workers``, which is warm; some start one and end it. Evidence is left in files,
    so workers must see the same file system.

    Attributes:
        executor: a name, ``fetchline.use(name, ...)`` or an ``ExecutorSpec`` that is registered nowhere yet;
            a fixture of that name, of the scope of the class, may also give an executor object or a factory.
            An object cannot be started anew: what needs that is skipped.
        workers: attempts at once that are asked for; 1 skips what takes two.
        background: calls run beside the caller. False for one that makes them inside ``submit``.
        replaces_workers: after a worker died another has its place. False for a pool that is broken from then
            on, as those of ``concurrent.futures`` are: what it has in flight, and what comes after, is
            ``crashed``, and nothing hangs; a run that is given its name has a new pool.
        cancels_futures: ``shutdown`` takes ``cancel_futures=``.
        timeout_s: seconds that a call may take which does nothing; a cluster may want more.
        patience_s: seconds that a test waits for what must come, such as the close of a session.

    Fixtures:
        lane: a ``Lane`` on the warm pool; for further tests of your own.
        fresh: a ``Lane`` whose runs start the executor and end it.
        pool: the warm pool, a plain ``concurrent.futures.Executor``.
        log: a ``Log`` in a new folder. Whoever waits for its line ``"go"`` is released at the end of the test.

    >>> class TestThreads(ExecutorSuite):
    ...     executor = "thread"
    """

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, request: pytest.FixtureRequest) -> Iterator[Bench]:
        with bench_of(given(request, "executor", PLAIN), cls.workers) as bench:
            bench.missing.update(cls.unpromised())
            yield bench

    @pytest.fixture(autouse=True)
    def only_what_is_promised(self, request: pytest.FixtureRequest, bench: Bench) -> None:
        skip_unless(request, bench.missing)

    @pytest.fixture
    def lane(self, bench: Bench) -> Lane:
        bench.warm_up()
        return bench.lane(bench.pool)

    @pytest.fixture
    def fresh(self, bench: Bench) -> Lane:
        return bench.lane(bench.argument)

    @pytest.fixture
    def pool(self, bench: Bench) -> Any:
        return bench.pool

    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Log]:
        log = Log(tmp_path / "log")
        yield log
        log.note("go")
