"""Guarantee 12: a session is opened where it is used, once for its scope, and closed exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from lanes import Lane, Log, Session, until

import fetchline as fl


def spec(log: Log, scope: Any = "worker", **options: Any) -> fl.SessionSpec:
    def open_one() -> Session:
        return Session(log)

    return fl.SessionSpec(name="probe", factory=open_one, scope=scope, **options)


def using(log: Log) -> Any:
    def uses(n: int, *, session: Any = fl.injected) -> int:
        log.note("use", os.getpid(), threading.get_ident(), session.number)
        return n

    return uses


def places(log: Log, what: str) -> list[tuple[int, int]]:
    return [(line[1], line[2]) for line in log.lines() if line[0] == what]


def closed_as_often_as_opened(log: Log) -> bool:
    return log.count("open") == log.count("close") > 0


def test_session_contract_of_a_worker_is_one_each_opened_and_closed_by_it(lane: Lane, log: Log) -> None:
    batch = lane.run(lane.fetcher(using(log), session=spec(log)), range(40))
    assert batch.values == list(range(40))
    assert closed_as_often_as_opened(log)
    opened = places(log, "open")
    at_most = 1 if lane.name in ("serial", "asyncio") else lane.width
    assert 1 <= len(opened) <= at_most
    assert len(set(opened)) == len(opened)
    if lane.name != "pool":  # nobody tells the threads of a foreign pool that a run is over
        assert sorted(places(log, "close")) == sorted(opened)
    if lane.name != "asyncio":  # the lane's coroutines call their bodies in threads
        assert set(places(log, "use")) <= set(opened)
    if lane.far:
        assert os.getpid() not in {pid for pid, _ in opened}


def test_session_contract_of_an_attempt_is_one_each(lane: Lane, log: Log) -> None:
    def stumbles(n: int, *, session: Any = fl.injected) -> int:
        log.note("use", session.number)
        if fl.attempt().number == 1 and n % 2:
            raise ConnectionError
        return n

    fetcher = lane.fetcher(stumbles, session=spec(log, "attempt"), retry=fl.Try(retry=2, sleep=0))
    assert lane.run(fetcher, range(10)).n_succeeded == 10
    assert log.count("open") == log.count("use") == log.count("close") == 15


def test_session_contract_of_a_process_is_one_for_all_its_workers(lane: Lane, log: Log) -> None:
    fetcher = lane.fetcher(using(log), session=spec(log, "process"))
    assert lane.run(fetcher, range(30)).n_succeeded == 30
    assert closed_as_often_as_opened(log)
    processes = [pid for pid, _ in places(log, "open")]
    assert len(processes) == len(set(processes))
    assert len(processes) <= (lane.width if lane.far else 1)


def test_session_contract_is_not_opened_for_nothing(lane: Lane, log: Log) -> None:
    assert lane.run(lane.fetcher(using(log), session=spec(log)), []).complete
    assert log.lines() == []


def test_session_contract_of_a_global_login_that_is_not_injected(lane: Lane, log: Log) -> None:
    def ambient(n: int) -> int:
        log.note("use", log.count("open") - log.count("close"))
        return n

    assert lane.run(lane.fetcher(ambient, session=spec(log)), range(8)).n_succeeded == 8
    assert all(level >= 1 for _, level in (line for line in log.lines() if line[0] == "use"))
    assert closed_as_often_as_opened(log)


# -- every ending ------------------------------------------------------------------------------------------


def test_session_contract_holds_when_items_fail_and_when_the_run_is_stopped_by_one(
    lane: Lane, log: Log
) -> None:
    def fails(n: int, *, session: Any = fl.injected) -> int:
        raise ValueError(n)

    with pytest.raises(fl.BatchFailed):
        lane.run(lane.fetcher(fails, session=spec(log)), range(40), on_error="raise")
    until(lambda: closed_as_often_as_opened(log), "every session to be closed", patience=5)


def test_session_contract_holds_when_the_input_fails(lane: Lane, log: Log) -> None:
    def broken() -> Iterator[int]:
        yield from range(10)
        raise OSError("no more")

    with pytest.raises(fl.InputFailed):
        lane.run(lane.fetcher(using(log), session=spec(log)), broken())
    until(lambda: closed_as_often_as_opened(log), "every session to be closed", patience=5)


@pytest.mark.parametrize("way", ["break", "close", "forget", "consumer"])
def test_session_contract_holds_when_a_stream_is_left(lane: Lane, log: Log, way: str) -> None:
    stream = lane.stream(lane.fetcher(using(log), session=spec(log)), iter(range(100_000)), window=16)
    with contextlib.suppress(ZeroDivisionError):
        for result in stream:
            if result.index == 20:
                if way == "consumer":
                    raise ZeroDivisionError
                break
    if way == "close":
        stream.close()
    del stream
    gc.collect()
    until(lambda: closed_as_often_as_opened(log), "every session to be closed", patience=5)


def test_session_contract_holds_when_a_job_is_cancelled(lane: Lane, log: Log) -> None:
    def waits(n: int, *, session: Any = fl.injected) -> int:
        log.note("use", n)
        log.wait_for("go")
        return n

    job = lane.submit(lane.fetcher(waits, session=spec(log)), range(50))
    log.wait_for("use")
    assert job.cancel()
    log.note("go")
    with pytest.raises(fl.BatchCancelled):
        job.result(timeout=20)
    until(lambda: closed_as_often_as_opened(log), "every session to be closed", patience=5)


# -- warm pools, failures, logging in again ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["thread", "process", "asyncio"])
def test_session_contract_of_a_warm_pool_outlives_its_runs_and_ends_with_it(name: str, log: Log) -> None:
    session = spec(log)

    async def uses_async(n: int, *, session: Any = fl.injected) -> int:
        return n

    def uses(n: int, *, session: Any = fl.injected) -> int:
        return n

    fetcher = fl.Fetcher.of(uses_async if name == "asyncio" else uses, session=session)
    with fl.get_executor(name, max_workers=1) as pool:
        for _ in range(3):
            assert fl.run(fetcher, range(5), executor=pool, progress=None).n_succeeded == 5
        assert (log.count("open"), log.count("close")) == (1, 0)
    assert (log.count("open"), log.count("close")) == (1, 1)


def test_session_contract_that_cannot_be_opened_is_the_items_failure(lane: Lane, log: Log) -> None:
    def refuses() -> Any:
        log.note("tried")
        raise PermissionError("wrong password")

    fetcher = lane.fetcher(using(log), session=fl.SessionSpec(name="probe", factory=refuses))
    batch = lane.run(fetcher, range(3))
    assert set(batch.summary.codes) == {"session"}
    assert isinstance(batch[0].error, fl.SessionFailed)
    assert "PermissionError: wrong password" in batch[0].message
    assert log.count("use") == 0


def test_session_contract_that_is_refused_to_everybody_is_not_tried_for_every_item(
    lane: Lane, log: Log
) -> None:
    def refuses() -> Any:
        log.note("tried")
        raise PermissionError("wrong password")

    fetcher = lane.fetcher(using(log), session=fl.SessionSpec(name="probe", factory=refuses))
    batch = lane.run(fetcher, range(500))
    assert 1 <= log.count("tried") <= 60
    assert batch.summary.codes == {"session": 500}
    assert (batch.summary.stopped, batch.complete) == ("session", False)
    assert "nobody was let in any more" in batch[499].message


def test_session_contract_that_is_refused_now_and_then_stops_nothing(lane: Lane, log: Log) -> None:
    number = itertools.count()

    def sometimes() -> Any:
        if next(number) % 2:
            raise PermissionError("try again")
        return Session(log)

    fetcher = lane.fetcher(
        using(log), session=fl.SessionSpec(name="probe", factory=sometimes, scope="attempt")
    )
    batch = lane.run(fetcher, range(100))
    assert batch.summary.stopped is None
    assert batch.summary.succeeded > 20


def test_session_contract_is_tried_again_where_the_items_are(lane: Lane, log: Log) -> None:
    def at_last() -> Any:
        log.note("tried")
        if log.count("tried") == 1:
            raise ConnectionError("not yet")
        return Session(log)

    fetcher = lane.fetcher(
        using(log), session=fl.SessionSpec(name="probe", factory=at_last), retry=fl.Try(retry=3, sleep=0)
    )
    assert lane.run(fetcher, range(5)).n_succeeded == 5
    assert closed_as_often_as_opened(log)


class Expired(Exception):
    pass


@pytest.mark.parametrize("scope", ["worker", "process"])
def test_session_contract_that_expires_is_a_new_login_and_costs_no_retry(
    lane: Lane, log: Log, scope: Any
) -> None:
    """A login is good for those who came with it, until the first item that finds it expired."""

    def expires(n: int, *, session: Any = fl.injected) -> int:
        log.note("use", n, session.number)
        if n == 3 and fl.attempt().number == 1:
            raise Expired
        return n

    batch = lane.run(lane.fetcher(expires, session=spec(log, scope, expired=(Expired,))), range(12))
    assert batch.values == list(range(12)), batch.failures
    assert batch[3].attempts == 2
    before, after = [line[2] for line in log.lines() if line[:2] == ["use", 3]]
    assert after != before or lane.name in ("thread", "pool", "process")
    assert closed_as_often_as_opened(log)


def test_session_contract_is_not_ended_by_a_predicate_that_raises(
    lane: Lane, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor are the retries of what it was asked about."""

    def is_over(error: BaseException) -> bool:
        return error.response.status == 401  # type: ignore[attr-defined,no-any-return]

    def stumbles(n: int, *, session: Any = fl.injected) -> int:
        if fl.attempt().number == 1:
            raise ConnectionError
        return n

    login = spec(log, expired=is_over)
    batch = lane.run(lane.fetcher(stumbles, session=login, retry=fl.Try(retry=2, sleep=0)), range(6))
    assert batch.values == list(range(6))
    assert closed_as_often_as_opened(log)
    if not lane.far:
        told = [
            r for r in caplog.records if "expired= of session 'probe' raised AttributeError" in r.getMessage()
        ]
        assert len(told) == 1


def test_session_contract_that_expires_for_all_is_one_new_login_while_the_others_wait(
    log: Log,
) -> None:
    """Four coroutines find the one session of their loop expired at the same moment."""
    met = 0

    class Login:
        async def __aenter__(self) -> Login:
            log.note("open")
            self.number = log.count("open")
            return self

        async def __aexit__(self, *_: object) -> None:
            log.note("close")

    async def uses(n: int, *, session: Any = fl.injected) -> int:
        nonlocal met
        if session.number == 1:
            met += 1
            if met == 4:
                together.set()
            await together.wait()
            raise Expired
        await asyncio.sleep(0)
        return session.number

    async def main() -> Any:
        nonlocal together
        together = asyncio.Event()
        login = fl.SessionSpec(name="probe", async_factory=Login, factory=None, expired=(Expired,))
        return await fl.arun(fl.Fetcher.of(uses, session=login), range(4), concurrency=4, progress=None)

    together: asyncio.Event
    batch = asyncio.run(main())
    assert batch.values == [2, 2, 2, 2], batch
    assert (log.count("open"), log.count("close")) == (2, 2)


def test_session_contract_of_threads_that_share_one_and_find_it_expired_is_one_new_login(log: Log) -> None:
    barrier = threading.Barrier(4, timeout=10)

    def uses(n: int, *, session: Any = fl.injected) -> int:
        number: int = session.number
        if number == 1:
            barrier.wait()
            raise Expired
        return number

    fetcher = fl.Fetcher.of(uses, session=spec(log, "process", expired=(Expired,)))
    batch = fl.run(fetcher, range(4), workers=4, progress=None)
    assert batch.values == [2, 2, 2, 2], batch
    assert (log.count("open"), log.count("close")) == (2, 2)


def test_session_contract_of_an_async_session_is_one_task_for_entering_and_leaving(log: Log) -> None:
    tasks = []

    @contextlib.asynccontextmanager
    async def session() -> AsyncIterator[str]:
        tasks.append(asyncio.current_task())
        async with asyncio.timeout(60):  # refuses to be left in another task
            yield "open"
        tasks.append(asyncio.current_task())

    async def uses(n: int, *, session: str = fl.injected) -> str:
        await asyncio.sleep(0)
        return session

    batch = fl.run(fl.Fetcher.of(uses, session=session), range(20), progress=None)
    assert set(batch.values) == {"open"}
    assert len(tasks) == 2
    assert tasks[0] is tasks[1]


def test_session_contract_keeps_the_session_out_of_keys_and_pickles(lane: Lane, log: Log) -> None:
    """``Session`` refuses to be pickled."""
    batch = lane.run(lane.fetcher(using(log), session=spec(log)), ["a", "b"])
    assert [result.key for result in batch] == ["a", "b"]


@pytest.mark.parametrize("name", ["process", "thread"])
def test_session_contract_is_broken_only_by_workers_that_are_killed_or_stuck(name: str, log: Log) -> None:
    def sticks(n: int, *, session: Any = fl.injected) -> int:
        if n == 0:
            log.wait_for("go")
        return n

    fetcher = fl.Fetcher.of(sticks, session=spec(log), timeout=0.3)
    try:
        batch = fl.run(fetcher, range(4), executor=name, workers=2, progress=None)
        assert batch[0].error_code == "timeout"
        assert batch.n_succeeded == 3
        opened, closed = log.count("open"), log.count("close")
        assert opened == closed + 1
        if name == "thread":
            assert batch.summary.logins - batch.summary.logouts == 1
            assert batch.summary.abandoned == 1
    finally:
        log.note("go")


@pytest.mark.parametrize("name", ["process", "thread", "pool"])
def test_session_contract_holds_for_the_other_workers_when_a_deadline_finds_one_stuck(
    name: str, log: Log
) -> None:
    def sticks(n: int, *, session: Any = fl.injected) -> int:
        log.note("at")
        log.wait_for("go") if n == 0 else log.wait_for("at", times=3)
        return n

    executor = ThreadPoolExecutor(3) if name == "pool" else name
    options = {} if name == "pool" else {"workers": 3}
    fetcher = fl.Fetcher.of(sticks, session=spec(log))
    try:
        batch = fl.run(fetcher, range(12), executor=executor, deadline=1.5, progress=None, **options)
        assert batch[0].error_code == "deadline"
        assert batch.n_succeeded == 11
        assert (log.count("open"), log.count("close")) == (3, 2)
        assert (batch.summary.logins, batch.summary.logouts) == (3, 2)
    finally:
        log.note("go")


def test_session_contract_counts_logins_in_the_summary(log: Log) -> None:
    batch = fl.run(fl.Fetcher.of(using(log), session=spec(log)), range(10), workers=1, progress=None)
    assert (batch.summary.logins, batch.summary.logouts) == (1, 1)


@pytest.mark.parametrize("limit", [1, 2])
def test_session_contract_opens_no_more_than_it_may(limit: int, log: Log) -> None:
    def uses(n: int, *, session: Any = fl.injected) -> int:
        log.note("level", log.count("open") - log.count("close"))
        return n

    fetcher = fl.Fetcher.of(uses, session=spec(log, "attempt", max_open=limit))
    assert fl.run(fetcher, range(20), workers=4, progress=None).n_succeeded == 20
    assert max(level for what, *rest in log.lines() if what == "level" for level in rest) <= limit
