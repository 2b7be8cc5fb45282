"""The logger `fetchline`: start and end of a run, attempts with their time, one warning for failures."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

import fetchline as fl

EXECUTORS = pytest.mark.parametrize("executor", ["serial", "thread", "process", "asyncio"])


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fetchline")


def fetch(item: str) -> str:
    if item.startswith("bad"):
        raise ValueError(f"no {item}")
    return item


async def afetch(item: str) -> str:
    await asyncio.sleep(0)
    return fetch(item)


def run(items: Any, function: Any = fetch, executor: str = "thread", **options: Any) -> fl.Batch[Any]:
    function = afetch if executor == "asyncio" else function
    return fl.run(function, items, executor=executor, progress=None, **options)


def of(caplog: pytest.LogCaptureFixture, level: int, name: str = "fetchline") -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == level and r.name == name]


@EXECUTORS
def test_a_run_logs_its_start_and_its_end(executor: str, caplog: pytest.LogCaptureFixture) -> None:
    run(["a", "b"], executor=executor)
    start, end = of(caplog, logging.INFO)
    assert re.search(rf"fetch' starts: 2 items on {executor} x \d+", start)
    assert re.search(r"fetch' ended after \d+\.\d+ s", end)
    assert start.split()[1] == end.split()[1], "one id for both"
    assert of(caplog, logging.WARNING) == []


def test_the_end_is_logged_however_a_run_ends(caplog: pytest.LogCaptureFixture) -> None:
    def items() -> Iterator[str]:
        yield "a"
        raise OSError

    with pytest.raises(fl.InputFailed):
        run(items())
    with pytest.raises(fl.BatchFailed):
        run(["bad"], on_error="raise")
    lines = of(caplog, logging.INFO)
    assert sum("starts" in line for line in lines) == sum("ended" in line for line in lines) == 2


@EXECUTORS
def test_failures_make_one_warning_with_counts_and_first_keys(
    executor: str, caplog: pytest.LogCaptureFixture
) -> None:
    width = {"concurrency": 1} if executor == "asyncio" else {"workers": 1}
    run(["a", "bad1", "bad2", "b", "bad3"], executor=executor, **width)
    [warning] = of(caplog, logging.WARNING)
    assert "3 of 5 items failed: 3 error (first: 'bad1')" in warning


def test_a_stream_and_a_job_warn_too(caplog: pytest.LogCaptureFixture) -> None:
    list(fl.stream(fetch, ["bad1", "a"]))
    assert len(of(caplog, logging.WARNING)) == 1
    fl.submit(fetch, ["bad1", "a"]).result()
    assert len(of(caplog, logging.WARNING)) == 2


@EXECUTORS
def test_each_attempt_is_logged_at_debug_with_its_key_number_and_time(
    executor: str, caplog: pytest.LogCaptureFixture
) -> None:
    fetcher = fl.Try(2, 0)(afetch if executor == "asyncio" else fetch)
    fl.run(fetcher, ["quick", "bad"], executor=executor, progress=None)
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.DEBUG]
    assert sum("quick" in line for line in lines) == 1
    assert sum("bad" in line for line in lines) == 2
    assert all(re.search(r"\d+\.\d+ ?s", line) for line in lines)


def test_nothing_is_logged_for_attempts_where_debug_is_off(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fetchline")
    run(["a"] * 1)
    assert len(caplog.records) == 2


def test_the_logger_of_an_attempt_names_the_key(caplog: pytest.LogCaptureFixture) -> None:
    def talk(item: str) -> None:
        fl.attempt().logger.warning("half of it is missing")

    run(["AAPL"], talk)
    [record] = [r for r in caplog.records if r.name == "fetchline.attempt"]
    assert (record.key, record.number) == ("AAPL", 1)  # type: ignore[attr-defined]
    assert record.getMessage() == "half of it is missing"


def test_the_library_adds_no_handler_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    run(["a", "bad"])
    assert logging.getLogger("fetchline").handlers == []
    assert capfd.readouterr().out == ""


def test_secrets_in_items_are_not_logged_for_items_that_succeed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fetchline")
    run([fl.Args("a", token="s3cret")], lambda a, token: a, key=lambda item: item.args[0])
    assert "s3cret" not in caplog.text


def test_the_progress_display_log_writes_to_its_own_logger(caplog: pytest.LogCaptureFixture) -> None:
    fl.run(fetch, ["a"], progress="log")
    lines = of(caplog, logging.INFO, "fetchline.progress")
    assert lines[0] == "fetch: started, 1 item" and "1/1 (100%)" in lines[-1]
