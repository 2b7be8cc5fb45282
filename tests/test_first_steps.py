"""What newcomers stumbled on once."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import threading
from collections.abc import Iterator

import polars as pl
import pytest

import fetchline as fl
from fetchline.cli import misfits

QUIET = {"progress": None}


def _fails(n: int) -> dict[str, list[int]]:
    if n == 2:
        raise ValueError("two")
    return {"n": [n, n]}


def test_a_batch_can_be_pickled_with_its_results_and_summary() -> None:
    batch = fl.run(_fails, [1, 2, 3], **QUIET)
    again = pickle.loads(pickle.dumps(batch))
    assert [result.status for result in again] == ["success", "failure", "success"]
    assert again.frame().equals(batch.frame())
    assert again.summary == batch.summary
    assert repr(again) == repr(batch)


def test_the_report_counts_the_rows_of_dicts_and_lists_too() -> None:
    values = {1: {"a": [1, 2]}, 2: {"a": 1}, 3: [{"a": 1}, {"a": 2}], 4: pl.DataFrame({"a": [1]})}
    batch = fl.run(values.__getitem__, [1, 2, 3, 4], **QUIET)
    assert batch.report()["rows"].to_list() == [2, 1, 2, 1]
    assert batch.frame().height == 6


def test_rerunning_a_failure_of_an_async_fetcher_raises_its_error_here() -> None:
    async def fails(n: int) -> int:
        raise KeyError(n)

    [failure] = fl.run(fails, [1], **QUIET).failures
    with pytest.raises(KeyError):
        failure.rerun()


def test_sessions_are_counted_by_the_run_that_opened_them() -> None:
    inside, leave = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def session() -> Iterator[None]:
        yield

    def waits(n: int) -> int:
        inside.set()
        leave.wait(10)
        return n

    first = fl.submit(fl.Fetcher.of(waits, session=session), [1])
    assert inside.wait(10)
    second = fl.run(fl.Fetcher.of(abs, "abs", session=session), [1], **QUIET)
    leave.set()
    assert (second.summary.logins, second.summary.logouts) == (1, 1)
    assert (first.result(10).summary.logins, first.result(10).summary.logouts) == (1, 1)


def test_leaving_a_stream_early_is_no_failure_to_be_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fetchline"):
        stream = fl.stream(abs, range(5000))
        assert next(stream).is_success
        stream.close()  # type: ignore[attr-defined]
    assert caplog.records == []


def test_a_stream_that_is_interrupted_hands_out_no_cancelled_items() -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread only")
    handed = []

    def fetch(n: int) -> int:
        if n == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return n

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(fl.BatchInterrupted, match="had been handed out"):
            for result in fl.stream(fetch, range(100_000), workers=2):
                handed.append(result)  # noqa: PERF402
    finally:
        signal.signal(signal.SIGINT, before)
    assert all(result.is_success for result in handed)


def test_the_values_that_do_not_fit_become_failures_on_the_command_line_and_the_rest_is_kept() -> None:
    def fetch(n: int) -> pl.DataFrame:
        return pl.DataFrame({"a": ["n/a" if n == 2 else 1.5]})

    batch = fl.run(fetch, [1, 2, 3], **QUIET)
    with pytest.raises(ValueError, match="'2'"):
        batch.frame()
    frame, apart = misfits.join_most(batch, "key")
    assert frame["key"].to_list() == ["1", "3"]
    assert [(failure.key, failure.error_code) for failure in apart] == [("2", "wrong_answer")]


def test_a_session_that_nobody_fills_is_refused_with_what_to_write() -> None:
    def fetch(n: int, session: object) -> int:
        return n

    with pytest.raises(TypeError, match=r"session=fetchline\.injected"):
        fl.run(fl.Fetcher.of(fetch, session=lambda: contextlib.nullcontext(1)), [1], **QUIET)


def test_the_repr_of_an_unknown_name_is_its_sentence() -> None:
    with pytest.raises(fl.UnknownName) as caught:
        fl.run(abs, [1], executor="thred")
    assert "did you mean 'thread'" in repr(caught.value)
