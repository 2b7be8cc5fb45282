"""Sessions on an executor: opened where they are used, closed exactly once, never pickled."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

import fetchline as fl
from fetchline.testing.evidence import Log, LoggedSession, until
from fetchline.testing.executors.bench import Settings
from fetchline.testing.lane import Lane
from fetchline.testing.suites import if_promised

__all__ = ["Sessions"]


def spec(log: Log, scope: Any = "worker", **options: Any) -> fl.SessionSpec:
    """A session that notes its openings and closings, and refuses to be pickled."""

    def open_one() -> LoggedSession:
        return LoggedSession(log)

    return fl.SessionSpec(name="suite", factory=open_one, scope=scope, **options)


def using(log: Log) -> Callable[..., int]:
    """A function that notes which session it was given, and where."""

    def uses(n: int, *, session: Any = fl.injected) -> int:
        log.note("use", *session.place(), session.number)
        return n

    return uses


def closed_as_often_as_opened(log: Log) -> bool:
    return log.count("open") == log.count("close") > 0


class Sessions(Settings):
    """``session_contract``. A worker's session is closed at its end: these tests end the executor."""

    @if_promised("restarts")
    def test_session_contract_of_a_worker_is_one_each_opened_and_closed_by_it(
        self, fresh: Lane, log: Log
    ) -> None:
        batch = fresh.run(fresh.fetcher(using(log), session=spec(log)), range(20))
        assert batch.values == list(range(20)), batch.failures
        until(lambda: closed_as_often_as_opened(log), "every session to be closed", patience=self.patience_s)
        opened = [line[1:] for line in log.lines() if line[0] == "open"]
        assert 1 <= len(opened) <= fresh.width
        assert {pid for _, pid, *_ in log.lines()} == {pid for pid, _ in opened}
        numbers = {(pid, thread, number) for what, pid, thread, *rest in log.lines() for number in rest}
        assert len({number for *_, number in numbers}) <= len(opened)

    def test_session_contract_of_an_attempt_is_one_each(self, lane: Lane, log: Log) -> None:
        def stumbles(n: int, *, session: Any = fl.injected) -> int:
            log.note("use", session.number)
            if fl.attempt().number == 1 and n % 2:
                raise ConnectionError
            return n

        fetcher = lane.fetcher(stumbles, session=spec(log, "attempt"), retry=fl.Try(retry=2, sleep=0))
        assert lane.run(fetcher, range(6)).n_succeeded == 6
        assert log.count("open") == log.count("use") == log.count("close") == 9

    @if_promised("restarts")
    def test_session_contract_of_a_process_is_one_for_all_its_workers(self, fresh: Lane, log: Log) -> None:
        fetcher = fresh.fetcher(using(log), session=spec(log, "process"))
        assert fresh.run(fetcher, range(20)).n_succeeded == 20
        until(lambda: closed_as_often_as_opened(log), "every session to be closed", patience=self.patience_s)
        processes = [line[1] for line in log.lines() if line[0] == "open"]
        assert len(processes) == len(set(processes))

    def test_session_contract_never_takes_an_open_session_from_one_process_to_another(
        self, lane: Lane, log: Log
    ) -> None:
        """The session raises when it is pickled."""
        batch = lane.run(lane.fetcher(using(log), session=spec(log)), ["a", "b", "c"])
        assert batch.values == ["a", "b", "c"], batch.failures
        assert [result.key for result in batch] == ["a", "b", "c"]
        assert lane.far == (os.getpid() not in {line[1] for line in log.lines() if line[0] == "open"})

    @if_promised("restarts")
    def test_session_contract_that_expires_is_a_new_login_and_costs_no_retry(
        self, fresh: Lane, log: Log
    ) -> None:
        class Expired(Exception):
            pass

        def expires(n: int, *, session: Any = fl.injected) -> int:
            log.note("use", n, session.number)
            if n == 3 and fl.attempt().number == 1:
                raise Expired
            return n

        batch = fresh.run(fresh.fetcher(expires, session=spec(log, expired=(Expired,))), range(8))
        assert batch.values == list(range(8)), batch.failures
        assert batch[3].attempts == 2
        before, after = [line[2] for line in log.lines() if line[:2] == ["use", 3]]
        assert after != before
        until(lambda: closed_as_often_as_opened(log), "every session to be closed", patience=self.patience_s)

    def test_session_contract_that_cannot_be_opened_is_the_items_failure(self, lane: Lane, log: Log) -> None:
        def refuses() -> Any:
            raise PermissionError("wrong password")

        fetcher = lane.fetcher(using(log), session=fl.SessionSpec(name="suite", factory=refuses))
        batch = lane.run(fetcher, range(3))
        assert {failure.error_code for failure in batch} == {"session"}
        assert isinstance(batch[0].error, fl.SessionFailed)
        assert "PermissionError: wrong password" in batch[0].message
        assert log.count("use") == 0

    @if_promised("restarts")
    def test_session_contract_holds_when_a_failure_stops_the_run(self, fresh: Lane, log: Log) -> None:
        def fails(n: int, *, session: Any = fl.injected) -> int:
            raise ValueError(n)

        with pytest.raises(fl.BatchFailed):
            fresh.run(fresh.fetcher(fails, session=spec(log)), range(20), on_error="raise")
        until(lambda: closed_as_often_as_opened(log), "every session to be closed", patience=self.patience_s)
