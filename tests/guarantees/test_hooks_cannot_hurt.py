"""Guarantee 15: an observer that raises hurts nobody, and none runs anywhere but on the host's thread."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import Any

import pytest
from lanes import Lane, Log

import fetchline as fl
from fetchline.interfaces import AttemptInfo, RunInfo


class Recorder:
    """Notes what it is told, and where."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.places: set[tuple[int, int]] = set()

    def _note(self, what: str, fact: Any) -> None:
        self.told.append((what, fact))
        self.places.add((os.getpid(), threading.get_ident()))

    @fl.hookimpl
    def fetchline_run_started(self, run: RunInfo) -> None:
        self._note("started", run)

    @fl.hookimpl
    def fetchline_attempt_finished(self, run: RunInfo, attempt: AttemptInfo) -> None:
        self._note("attempt", attempt)

    @fl.hookimpl
    def fetchline_item_finished(self, run: RunInfo, result: Any) -> None:
        self._note("item", result)

    @fl.hookimpl
    def fetchline_run_finished(self, run: RunInfo, summary: Any) -> None:
        self._note("finished", summary)

    def of(self, what: str) -> list[Any]:
        return [fact for told, fact in self.told if told == what]


class Saboteur(Recorder):
    """Raises whenever it is told anything."""

    def _note(self, what: str, fact: Any) -> None:
        super()._note(what, fact)
        raise RuntimeError(f"sabotage of {what}")


def some_fail(n: int) -> int:
    if n % 5 == 0 and fl.attempt().number == 1:
        raise ConnectionError
    if n == 7:
        raise ValueError("seven")
    return n


def test_hooks_cannot_hurt_and_tell_everything_on_the_host_thread(lane: Lane) -> None:
    recorder = Recorder()
    fetcher = lane.fetcher(some_fail, retry=fl.Try(retry=2, sleep=0, on=ConnectionError))
    batch = lane.run(fetcher, range(20), plugins=[recorder])
    assert batch.n_succeeded == 19
    assert recorder.places == {(os.getpid(), threading.get_ident())}
    assert recorder.told[0][0] == "started"
    assert recorder.told[-1][0] == "finished"
    assert sorted(result.index for result in recorder.of("item")) == list(range(20))
    attempts = recorder.of("attempt")
    assert len(attempts) == 24
    assert sorted(a.key for a in attempts if a.verdict is not None) == sorted(["0", "5", "7", "10", "15"])
    assert {a.number for a in attempts if a.key == "10"} == {1, 2}
    (run,) = recorder.of("started")
    assert (run.fetcher, run.total) == ("probe", 20)
    assert recorder.of("finished")[0] is batch.summary


def test_hooks_cannot_hurt_by_raising(lane: Lane, caplog: pytest.LogCaptureFixture) -> None:
    saboteur, recorder = Saboteur(), Recorder()
    with caplog.at_level(logging.WARNING, logger="fetchline.plugins"):
        batch = lane.run(lambda n: n, range(30), plugins=[saboteur, recorder])
    assert batch.values == list(range(30))
    assert batch.summary.observer_errors == len(saboteur.told) == 62
    assert len(recorder.told) == 62
    said = [record for record in caplog.records if record.name == "fetchline.plugins"]
    assert len(said) == 4  # once for each hook
    assert all("Saboteur" in record.getMessage() for record in said)
    assert all(record.exc_info is not None for record in said)


def test_hooks_cannot_hurt_streams_and_jobs(lane: Lane) -> None:
    saboteur, recorder = Saboteur(), Recorder()
    stream = lane.stream(lambda n: n, iter(range(20)), plugins=[saboteur, recorder])
    assert [result.value for result in stream] == list(range(20))
    assert recorder.places == {(os.getpid(), threading.get_ident())}
    later = Recorder()
    job = lane.submit(lambda n: n, range(20), plugins=[saboteur, later])
    assert job.result(timeout=20).n_succeeded == 20
    assert len(later.places) == 1
    assert (os.getpid(), threading.get_ident()) not in later.places


def test_hooks_cannot_hurt_a_callers_loop_and_run_on_it() -> None:
    async def echo(n: int) -> int:
        return n

    async def main() -> None:
        saboteur, recorder = Saboteur(), Recorder()
        batch = await fl.arun(echo, range(10), plugins=[saboteur, recorder], progress=None)
        assert batch.n_succeeded == 10
        assert recorder.places == {(os.getpid(), threading.get_ident())}

    asyncio.run(main())


def test_hooks_cannot_hurt_by_running_a_batch_of_their_own(lane: Lane) -> None:
    """Under a lock this would never end."""

    class Busy:
        values: list[Any]

        @fl.hookimpl
        def fetchline_item_finished(self, run: RunInfo, result: Any) -> None:
            self.values = fl.run(abs, [-1, -2], workers=2, progress=None).values

    busy = Busy()
    assert lane.run(lambda n: n, range(5), plugins=[busy]).n_succeeded == 5
    assert busy.values == [1, 2]


def test_hooks_cannot_hurt_and_are_told_when_a_run_ends_badly(lane: Lane) -> None:
    recorder = Recorder()
    with pytest.raises(fl.BatchFailed):
        lane.run(some_fail, range(20), plugins=[recorder], on_error="raise")
    assert recorder.told[-1][0] == "finished"
    assert len(recorder.of("item")) == 20


def test_hooks_cannot_hurt_and_are_told_while_the_run_goes_on(wide: Lane, log: Log) -> None:
    """Item 2 waits for somebody to have been told of another."""

    class Teller:
        @fl.hookimpl
        def fetchline_item_finished(self, run: RunInfo, result: Any) -> None:
            log.note("told", result.index)

    def waits(n: int) -> int:
        if n == 2:
            log.wait_for("told", patience=5)
        return n

    batch = wide.run(waits, range(3), plugins=[Teller()])
    assert batch.values == [0, 1, 2], batch.failures


def test_hooks_cannot_hurt_and_progress_ticks_while_the_run_goes_on(wide: Lane, log: Log) -> None:
    def waits(n: int) -> int:
        if n == 2:
            log.wait_for("tick", patience=5)
        return n

    ticks: list[tuple[int, int | None]] = []

    def tick(done: int, total: int | None) -> None:
        ticks.append((done, total))
        log.note("tick")

    batch = wide.run(waits, range(3), on_progress=tick)
    assert batch.values == [0, 1, 2], batch.failures
    assert ticks == [(1, 3), (2, 3), (3, 3)]


class Around:
    """Middleware: surrounds each attempt, in the worker."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def __enter__(self) -> None:
        self.log.note("in", os.getpid())

    def __exit__(self, *_: object) -> None:
        self.log.note("out", os.getpid())


def test_hooks_cannot_hurt_and_middleware_surrounds_each_attempt_where_it_is_made(
    lane: Lane, log: Log
) -> None:
    class Middle:
        @fl.hookimpl
        def fetchline_worker_middleware(self, run: RunInfo) -> list[Any]:
            return [lambda: Around(log)]

    assert lane.run(lambda n: n, range(6), plugins=[Middle()]).n_succeeded == 6
    assert log.count("in") == log.count("out") == 6
    assert (os.getpid() in {line[1] for line in log.lines()}) is not lane.far


def test_hooks_cannot_hurt_when_the_users_own_progress_function_raises(lane: Lane) -> None:
    """It is no hook: its error is the caller's own, and ends the run."""

    def broken(done: int, total: int | None) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        lane.run(lambda n: n, range(20), on_progress=broken)
