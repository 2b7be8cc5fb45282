"""Observers and middleware: what a named plugin is told, where, and that it cannot hurt a run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fetchline as fl
from fetchline.catalog import catalog
from fetchline.interfaces import AttemptInfo, RunInfo


class Recorder:
    """Notes everything it is told, and on which thread."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.threads: set[threading.Thread] = set()

    def note(self, hook: str, what: Any) -> None:
        self.told.append((hook, what))
        self.threads.add(threading.current_thread())

    def of(self, hook: str) -> list[Any]:
        return [what for name, what in self.told if name == hook]

    @fl.hookimpl
    def fetchline_run_started(self, run: RunInfo) -> None:
        self.note("started", run)

    @fl.hookimpl
    def fetchline_attempt_finished(self, run: RunInfo, attempt: AttemptInfo) -> None:
        self.note("attempt", attempt)

    @fl.hookimpl
    def fetchline_item_finished(self, run: RunInfo, result: Any) -> None:
        self.note("item", result)

    @fl.hookimpl
    def fetchline_run_finished(self, run: RunInfo, summary: Any) -> None:
        self.note("finished", summary)


def fetch(item: int) -> int:
    if item < 0:
        raise ValueError(item)
    if item == 0:
        raise fl.NoData
    return item


async def afetch(item: int) -> int:
    await asyncio.sleep(0)
    return fetch(item)


def options(executor: str, **more: Any) -> dict[str, Any]:
    return {"executor": executor, "progress": None, **more}


EXECUTORS = pytest.mark.parametrize("executor", ["serial", "thread", "process", "asyncio"])


@EXECUTORS
def test_an_observer_is_told_everything_once(executor: str) -> None:
    recorder = Recorder()
    function = afetch if executor == "asyncio" else fetch
    batch = fl.run(function, [3, -1, 0, 2], params={}, plugins=[recorder], **options(executor))
    hooks = [hook for hook, _ in recorder.told]
    assert hooks[0] == "started" and hooks[-1] == "finished"
    assert (hooks.count("attempt"), hooks.count("item"), len(hooks)) == (4, 4, 10)
    assert sorted(result.index for result in recorder.of("item")) == [0, 1, 2, 3]
    by_key = {result.key: result for result in recorder.of("item")}
    assert by_key["-1"].is_failure and by_key["0"].status == "empty" and by_key["3"].value == 3
    assert recorder.of("finished") == [batch.summary]
    assert batch.summary.observer_errors == 0


@EXECUTORS
def test_observers_are_told_on_the_host_thread(executor: str) -> None:
    recorder = Recorder()
    function = afetch if executor == "asyncio" else fetch
    fl.run(function, range(1, 30), plugins=[recorder], **options(executor))
    assert recorder.threads == {threading.current_thread()}


def test_a_jobs_observers_are_told_on_the_jobs_thread_and_a_loops_on_the_loop() -> None:
    recorder = Recorder()
    fl.submit(fetch, [1, 2], plugins=[recorder]).result()
    [thread] = recorder.threads
    assert thread.name.startswith("fetchline-job")
    recorder = Recorder()

    async def main() -> None:
        await fl.arun(afetch, [1, 2], plugins=[recorder], progress=None)
        assert [r.key async for r in fl.astream(afetch, [3], plugins=[recorder])] == ["3"]

    asyncio.run(main())
    assert recorder.threads == {threading.current_thread()}
    assert len(recorder.of("item")) == 3


def test_the_run_is_described() -> None:
    recorder = Recorder()
    fetcher = fl.Fetcher.of(lambda item, day: item, name="daily")
    fl.run(fetcher, [1, 2], params={"day": 7}, workers=2, plugins=[recorder], progress=None)
    [run] = recorder.of("started")
    assert (run.fetcher, run.executor, run.concurrency, run.total) == ("daily", "thread", 2, 2)
    assert dict(run.params) == {"day": 7} and len(run.id) == 36
    fl.run(fetcher, iter([1]), params={"day": 7}, plugins=[recorder], progress=None)
    assert recorder.of("started")[1].total is None
    assert recorder.of("started")[1].id != run.id


@EXECUTORS
def test_every_attempt_is_told_with_its_number_and_verdict(executor: str) -> None:
    recorder = Recorder()

    def flaky(item: str) -> str:
        if fl.attempt().number < 3:
            raise ValueError(item)
        return item

    async def aflaky(item: str) -> str:
        return flaky(item)

    fetcher = fl.Try(3, 0)(aflaky if executor == "asyncio" else flaky)
    fl.run(fetcher, ["a", "b"], plugins=[recorder], **options(executor))
    attempts = recorder.of("attempt")
    for key, index in (("a", 0), ("b", 1)):
        mine = [attempt for attempt in attempts if attempt.key == key]
        assert [attempt.number for attempt in mine] == [1, 2, 3]
        assert {attempt.index for attempt in mine} == {index}
        assert [attempt.verdict and attempt.verdict.kind for attempt in mine] == ["retry", "retry", None]
        assert all(attempt.ran_s >= 0 for attempt in mine)


def test_items_are_told_in_the_order_of_completion_and_as_they_complete() -> None:
    recorder = Recorder()
    gate = threading.Event()
    seen_before_the_end: list[int] = []

    class Opener:
        @fl.hookimpl
        def fetchline_item_finished(self, result: Any) -> None:
            seen_before_the_end.append(result.index)
            if len(seen_before_the_end) == 2:
                gate.set()

    def work(item: int) -> None:
        if item == 0:
            assert gate.wait(10)

    fl.run(work, range(3), workers=3, plugins=[recorder, Opener()], progress=None)
    assert [result.index for result in recorder.of("item")][-1] == 0


def test_an_observer_may_ask_for_less_than_it_could_be_told() -> None:
    seen: list[Any] = []

    class Few:
        @fl.hookimpl
        def fetchline_item_finished(self, result: Any) -> None:
            seen.append(result.key)

        @fl.hookimpl
        def fetchline_run_finished(self) -> None:
            seen.append("end")

    fl.run(fetch, [1], plugins=[Few()], progress=None)
    assert seen == ["1", "end"]


def test_an_observer_that_raises_is_logged_counted_and_isolated(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()

    class Broken:
        @fl.hookimpl
        def fetchline_run_started(self) -> None:
            raise RuntimeError("start")

        @fl.hookimpl
        def fetchline_attempt_finished(self) -> None:
            raise RuntimeError("attempt")

        @fl.hookimpl
        def fetchline_item_finished(self) -> None:
            raise RuntimeError("item")

        @fl.hookimpl
        def fetchline_run_finished(self) -> None:
            raise RuntimeError("end")

    with caplog.at_level(logging.WARNING, "fetchline.plugins"):
        batch = fl.run(fetch, range(1, 21), plugins=[Broken(), recorder], progress=None)
    assert batch.n_failed == 0 and len(recorder.of("item")) == 20
    assert batch.summary.observer_errors == 1 + 20 + 20 + 1
    logged = [r for r in caplog.records if "Broken" in r.getMessage()]
    assert len(logged) == 4 and all(r.exc_info for r in logged)


def test_the_end_is_told_however_a_run_ends() -> None:
    def input_fails() -> Iterator[int]:
        yield 1
        raise OSError

    recorder = Recorder()
    with pytest.raises(fl.BatchFailed):
        fl.run(fetch, [-1, 1], on_error="raise", plugins=[recorder], progress=None)
    with pytest.raises(fl.InputFailed):
        fl.run(fetch, input_fails(), plugins=[recorder], progress=None)
    results = fl.stream(fetch, iter(range(1, 1000)), plugins=[recorder])
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(recorder.of("started")) == len(recorder.of("finished")) == 3


def test_plugins_are_told_in_the_order_in_which_they_are_named() -> None:
    order: list[str] = []

    def named(name: str) -> Any:
        class Plugin:
            @fl.hookimpl
            def fetchline_run_started(self) -> None:
                order.append(name)

        return Plugin()

    fl.run(fetch, [1], plugins=[named("b"), named("a"), named("c")], progress=None)
    assert order == ["b", "a", "c"]


def test_a_plugin_named_twice_is_told_once() -> None:
    recorder = Recorder()
    fl.run(fetch, [1], plugins=[recorder, recorder], progress=None)
    assert len(recorder.of("started")) == 1


def test_a_plugin_acts_by_name_in_a_run_or_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    catalog().register(recorder, "unit-recorder")
    try:
        fl.run(fetch, [1], progress=None)
        assert recorder.told == []
        fl.run(fetch, [1], plugins=["unit-recorder"], progress=None)
        assert len(recorder.of("finished")) == 1
        monkeypatch.setenv("FETCHLINE_PLUGINS", "unit-recorder")
        fl.run(fetch, [1], progress=None)
        assert len(recorder.of("finished")) == 2
        fl.run(fetch, [1], plugins=[], progress=None)
        assert len(recorder.of("finished")) == 2
    finally:
        catalog().unregister(recorder)


def test_an_unknown_plugin_is_refused_before_anything_starts() -> None:
    calls: list[int] = []
    with pytest.raises(fl.UnknownName, match="no plugin is named 'oteel'"):
        fl.run(calls.append, [1], plugins=["oteel"], progress=None)
    assert calls == []


def test_a_hook_that_is_misspelt_is_refused() -> None:
    class Wrong:
        @fl.hookimpl
        def fetchline_item_ended(self) -> None: ...

    with pytest.raises(fl.PluginError, match="fetchline_item_ended"):
        fl.run(fetch, [1], plugins=[Wrong()], progress=None)


def test_hooks_take_no_part_in_a_direct_call(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    catalog().register(recorder, "unit-direct")
    monkeypatch.setenv("FETCHLINE_PLUGINS", "unit-direct")
    try:
        assert fl.Fetcher.of(fetch, retry=2)(1) == 1
        assert fl.Fetcher.of(fetch, timeout=10)(1) == 1
    finally:
        catalog().unregister(recorder)
    assert recorder.told == []


# -- middleware


class Around:
    """A picklable factory of context managers that write to a file."""

    def __init__(self, path: Path, name: str = "m") -> None:
        self.path, self.name = str(path), name

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        self.write("in")
        try:
            yield
        except ValueError:
            self.write("error")
            raise
        finally:
            self.write("out")

    def write(self, what: str) -> None:
        attempt = fl.attempt()
        with Path(self.path).open("a") as file:
            file.write(f"{self.name} {what} {attempt.key} {attempt.number} {os.getpid()}\n")


def surrounding(*factories: Callable[[], Any]) -> Any:
    class Middleware:
        def __init__(self) -> None:
            self.asked: list[RunInfo] = []

        @fl.hookimpl
        def fetchline_worker_middleware(self, run: RunInfo) -> Any:
            self.asked.append(run)
            return factories

    return Middleware()


@EXECUTORS
def test_middleware_surrounds_each_attempt_in_the_worker(executor: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    middleware = surrounding(Around(path))

    def flaky(item: str) -> str:
        if fl.attempt().number == 1:
            raise ValueError(item)
        return item

    async def aflaky(item: str) -> str:
        return flaky(item)

    fetcher = fl.Try(2, 0)(aflaky if executor == "asyncio" else flaky)
    batch = fl.run(fetcher, ["a"], plugins=[middleware], **options(executor))
    assert batch.values == ["a"]
    lines = [line.split() for line in path.read_text().splitlines()]
    assert [line[1] for line in lines] == ["in", "error", "out", "in", "out"]
    assert [line[2:4] for line in lines] == [["a", "1"]] * 3 + [["a", "2"]] * 2
    assert (lines[0][4] == str(os.getpid())) == (executor != "process")
    assert [run.fetcher for run in middleware.asked] == [fetcher.name]


def test_middleware_is_nested_in_the_order_of_the_plugins(tmp_path: Path) -> None:
    path = tmp_path / "log"
    plugins = [surrounding(Around(path, "outer")), surrounding(Around(path, "inner"))]
    fl.run(fetch, [1], plugins=plugins, progress=None)
    assert [line.split()[:2] for line in path.read_text().splitlines()] == [
        ["outer", "in"], ["inner", "in"], ["inner", "out"], ["outer", "out"],
    ]  # fmt: skip


def test_middleware_that_raises_fails_the_item_it_surrounds() -> None:
    @contextlib.contextmanager
    def broken() -> Iterator[None]:
        if fl.attempt().key == "2":
            raise OSError("no trace today")
        yield

    batch = fl.run(fetch, [1, 2, 3], plugins=[surrounding(broken)], progress=None)
    assert [r.is_success for r in batch] == [True, False, True]
    assert isinstance(batch.failures[0].error, OSError)


@pytest.mark.parametrize("given", [3, "text"])
def test_middleware_that_is_no_factory_is_refused_by_name(given: Any) -> None:
    plugin = surrounding(given)
    with pytest.raises(fl.PluginError, match="Middleware"):
        fl.run(fetch, [1], plugins=[plugin], progress=None)
