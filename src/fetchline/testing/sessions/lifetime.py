"""The life of a session: opened where it is used, closed once, nothing left."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import cloudpickle
import pytest

import fetchline as fl
from fetchline.testing.evidence import Log, until
from fetchline.testing.sessions.subject import Hooks, Subject, settled
from fetchline.testing.suites import if_promised

__all__ = ["Lifetime"]

WORKERS = 4
ITEMS = 8


class Lifetime(Hooks):
    """``session_contract``, as far as it is the session's own affair."""

    # -- by itself ------------------------------------------------------------------------------------------

    @if_promised("sync")
    def test_it_opens_is_usable_and_closes_time_after_time(self, subject: Subject) -> None:
        for _ in range(2):
            with subject.open() as session:
                self.check(session)

    @if_promised("async")
    def test_it_opens_is_usable_and_closes_time_after_time_on_a_loop(self, subject: Subject) -> None:
        async def main() -> None:
            for _ in range(2):
                async with subject.open_async() as session:
                    await settled(self.check(session))

        asyncio.run(main())

    @if_promised("sync")
    def test_several_are_open_at_once_and_closing_one_leaves_the_others(self, subject: Subject) -> None:
        with ExitStack() as stack:
            sessions = [stack.enter_context(subject.open()) for _ in range(at_once(subject) - 1)]
            with subject.open() as last:
                self.check(last)
            for session in sessions:
                self.check(session)

    @if_promised("async")
    def test_several_are_open_at_once_and_closing_one_leaves_the_others_on_a_loop(
        self, subject: Subject
    ) -> None:
        async def main() -> None:
            async with AsyncExitStack() as stack:
                sessions = [
                    await stack.enter_async_context(subject.open_async()) for _ in range(at_once(subject) - 1)
                ]
                async with subject.open_async() as last:
                    await settled(self.check(last))
                for session in sessions:
                    await settled(self.check(session))

        asyncio.run(main())

    @if_promised("sync")
    def test_it_leaves_no_thread_behind(self, subject: Subject) -> None:
        before = set(threading.enumerate())
        with subject.open() as session:
            self.check(session)
        until(
            lambda: set(threading.enumerate()) <= before,
            "the session's threads to end",
            patience=self.patience_s,
        )

    @if_promised("process")
    def test_its_spec_and_options_pickle(self, subject: Subject) -> None:
        """They travel to worker processes; what is opened does not."""
        spec, options = cloudpickle.loads(cloudpickle.dumps((subject.spec, dict(subject.options))))
        assert spec.name == subject.spec.name
        assert set(options) == set(subject.options)

    # -- in runs --------------------------------------------------------------------------------------------

    @if_promised("sync")
    @pytest.mark.parametrize("executor", ["serial", "thread", "process"])
    def test_session_contract_holds_on(self, executor: str, subject: Subject) -> None:
        if executor not in self.executors:
            pytest.skip(f"executors = {tuple(self.executors)} leaves it out")
        check = self.check

        def uses(n: int, *, session: Any = fl.injected) -> int:
            check(session)
            return n

        workers = {"serial": 1, "process": 2}.get(executor, WORKERS)
        if subject.spec.scope == "process" and not subject.spec.thread_safe:
            workers = 1  # more would be refused
        fetcher = fl.Fetcher.of(uses, session=subject.watched())
        batch = fl.run(fetcher, range(ITEMS), executor=executor, workers=workers, progress=None)
        assert batch.values == list(range(ITEMS)), batch.failures
        keeps_its_scope(subject, workers)
        here = {pid for _, pid, *_ in subject.log.lines()} == {os.getpid()}
        assert here == (executor != "process")

    @if_promised("async")
    def test_session_contract_holds_on_asyncio(self, subject: Subject) -> None:
        async def uses(n: int, *, session: Any = fl.injected) -> int:
            await settled(self.check(session))
            return n

        fetcher = fl.Fetcher.of(uses, session=subject.watched())
        batch = fl.run(fetcher, range(ITEMS), concurrency=WORKERS, progress=None)
        assert batch.values == list(range(ITEMS)), batch.failures
        keeps_its_scope(subject, 1)

    @if_promised("sync", "thread_safe")
    def test_thread_safe_one_session_serves_several_threads(self, subject: Subject) -> None:
        """Red: it should say thread_safe=False."""
        together = threading.Barrier(WORKERS, timeout=10)

        def uses(n: int, *, session: Any = fl.injected) -> int:
            together.wait()
            for _ in range(5):
                self.check(session)
            return n

        fetcher = fl.Fetcher.of(uses, session=subject.watched(scope="process"))
        batch = fl.run(fetcher, range(WORKERS), executor="thread", workers=WORKERS, progress=None)
        assert batch.values == list(range(WORKERS)), batch.failures
        assert subject.log.count("open") == subject.log.count("close") == 1

    @if_promised("sync", "seen")
    def test_the_other_side_sees_as_many_logouts_as_logins(self, subject: Subject) -> None:
        """More logouts: it logs out twice. Fewer: it does not log out when it is closed."""
        logins, logouts = self.logins() or 0, self.logouts() or 0
        with subject.open() as session:
            self.check(session)
        assert self.logins() == logins + 1
        until(lambda: (self.logouts() or 0) > logouts, "the logout", patience=self.patience_s)
        assert self.logouts() == logouts + 1

    @if_promised("async", "seen")
    def test_the_other_side_sees_as_many_logouts_as_logins_on_a_loop(self, subject: Subject) -> None:
        logins, logouts = self.logins() or 0, self.logouts() or 0

        async def main() -> None:
            async with subject.open_async() as session:
                await settled(self.check(session))

        asyncio.run(main())
        assert self.logins() == logins + 1
        until(lambda: (self.logouts() or 0) > logouts, "the logout", patience=self.patience_s)
        assert self.logouts() == logouts + 1


def at_once(subject: Subject) -> int:
    """How many sessions may be open at once; three will do."""
    return min(subject.spec.max_open or 3, 3)


def keeps_its_scope(subject: Subject, workers: int) -> None:
    log: Log = subject.log
    opened = log.count("open")
    assert [line[3] for line in log.lines() if line[0] == "unclean"] == [], "closing it raised"
    assert log.count("close") == opened
    match subject.spec.scope:
        case "attempt":
            assert opened == ITEMS
        case "process":
            assert opened == len({pid for _, pid, *_ in log.lines()})
        case "worker":
            assert 1 <= opened <= workers
