"""Logins that expire."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import fetchline as fl
from fetchline.testing.sessions.subject import Hooks, Subject, settled
from fetchline.testing.suites import if_promised
from fetchline.worker.sessions import SessionUse

__all__ = ["Logins"]

WORKERS = 4


class Logins(Hooks):
    """``expired=``: one logs in again while the others wait, and it costs nobody a retry."""

    @if_promised("sync", "expired")
    def test_expired_says_so_of_what_a_session_without_a_login_raises(self, subject: Subject) -> None:
        with subject.open() as session:
            self.expire(session)
            with pytest.raises(Exception) as caught:
                self.check(session)
        assert SessionUse(subject.spec).is_expired(caught.value), f"expired= does not know {caught.value!r}"

    @if_promised("async", "expired")
    def test_expired_says_so_of_what_a_session_without_a_login_raises_on_a_loop(
        self, subject: Subject
    ) -> None:
        async def main() -> None:
            async with subject.open_async() as session:
                await settled(self.expire(session))
                with pytest.raises(Exception) as caught:
                    await settled(self.check(session))
            known = SessionUse(subject.spec).is_expired(caught.value)
            assert known, f"expired= does not know {caught.value!r}"

        asyncio.run(main())

    @if_promised("sync", "expired")
    def test_expired_is_a_new_login_and_costs_no_retry(self, subject: Subject) -> None:
        def uses(n: int, *, session: Any = fl.injected) -> int:
            if n == 1 and fl.attempt().number == 1:
                self.expire(session)
            self.check(session)
            return n

        fetcher = fl.Fetcher.of(uses, session=subject.watched())
        batch = fl.run(fetcher, range(3), executor="thread", workers=1, progress=None)
        assert batch.values == [0, 1, 2], batch.failures
        assert batch[1].attempts == 2
        once_more(subject, attempts=4)

    @if_promised("async", "expired")
    def test_expired_is_a_new_login_and_costs_no_retry_on_a_loop(self, subject: Subject) -> None:
        async def uses(n: int, *, session: Any = fl.injected) -> int:
            if n == 1 and fl.attempt().number == 1:
                await settled(self.expire(session))
            await settled(self.check(session))
            return n

        fetcher = fl.Fetcher.of(uses, session=subject.watched())
        batch = fl.run(fetcher, range(3), concurrency=1, progress=None)
        assert batch.values == [0, 1, 2], batch.failures
        assert batch[1].attempts == 2
        once_more(subject, attempts=4)

    @if_promised("sync", "expired", "thread_safe")
    def test_expired_for_all_is_one_new_login_while_the_others_wait(self, subject: Subject) -> None:
        together = threading.Barrier(WORKERS, timeout=10)

        def uses(n: int, *, session: Any = fl.injected) -> int:
            if fl.attempt().number == 1:
                if together.wait() == 0:
                    self.expire(session)
                together.wait()
            self.check(session)
            return n

        fetcher = fl.Fetcher.of(uses, session=subject.watched(scope="process"))
        batch = fl.run(fetcher, range(WORKERS), executor="thread", workers=WORKERS, progress=None)
        assert batch.values == list(range(WORKERS)), batch.failures
        assert subject.log.count("open") == subject.log.count("close") == 2

    @if_promised("async", "expired")
    def test_expired_for_all_is_one_new_login_while_the_others_wait_on_a_loop(self, subject: Subject) -> None:
        together = asyncio.Barrier(WORKERS)

        async def uses(n: int, *, session: Any = fl.injected) -> int:
            if fl.attempt().number == 1:
                async with asyncio.timeout(10):
                    if await together.wait() == 0:
                        await settled(self.expire(session))
                    await together.wait()
            await settled(self.check(session))
            return n

        fetcher = fl.Fetcher.of(uses, session=subject.watched(scope="worker"))
        batch = fl.run(fetcher, range(WORKERS), concurrency=WORKERS, progress=None)
        assert batch.values == list(range(WORKERS)), batch.failures
        assert subject.log.count("open") == subject.log.count("close") == 2


def once_more(subject: Subject, attempts: int) -> None:
    opened = subject.log.count("open")
    assert opened == (attempts if subject.spec.scope == "attempt" else 2)
    assert subject.log.count("close") == opened
