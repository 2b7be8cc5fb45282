"""Ctrl-C and SIGTERM: what was finished is written, and the exit code says who stopped the run."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from cli_support import environment

import fetchline
from fetchline.builtin.thread import ThreadPool
from fetchline.interfaces import Source


def interrupt(app: str, folder: Path, executor: str, number: signal.Signals, *, ignored: bool = False) -> int:
    """Run until the third item is begun and the others are kept, send the signal, and give the exit code."""
    arguments = ["shop.stuck", *map(str, range(5)), "--executor", executor]
    arguments += ["-j", "1", "--out", "o.csv", "--failures", "f.csv"]
    line = shlex.join([sys.executable, "-m", "fetchline.cli", "--app", app, "run", *arguments])
    trap = "trap '' INT; " if ignored else ""
    with subprocess.Popen(
        ["sh", "-c", f"{trap}exec {line}"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment(FETCHLINE_PROGRESS="jsonl"),
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        awaited = {"begun"} if executor == "serial" else {"begun", '"done": 2'}
        while awaited:
            said = process.stderr.readline()
            assert said, "the command ended by itself"
            awaited = {each for each in awaited if each not in said}
        began = time.monotonic()
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        rest = process.stderr.read()
        code = process.wait(timeout=30)
    assert time.monotonic() - began < 20, "a stuck attempt must not keep the command from ending"
    assert "Traceback" not in rest
    assert "after 2 of 5 items" in rest
    return code


@pytest.mark.parametrize("executor", ["thread", "process", "serial"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_writes_what_was_finished(
    app: str, tmp_path: Path, executor: str, number: signal.Signals, code: int
) -> None:
    assert interrupt(app, tmp_path, executor, number) == code
    assert pl.read_csv(tmp_path / "o.csv")["n"].to_list() == [0, 1]
    assert pl.read_csv(tmp_path / "f.csv")["error_code"].to_list() == ["cancelled"] * 3


def test_sigterm_reaches_a_background_job_whose_shell_ignores_ctrl_c(app: str, tmp_path: Path) -> None:
    assert interrupt(app, tmp_path, "thread", signal.SIGTERM, ignored=True) == 143
    assert pl.read_csv(tmp_path / "o.csv")["n"].to_list() == [0, 1]


def test_ctrl_c_while_workers_are_being_started_keeps_the_batch() -> None:
    """Not of the command line alone: a run that is stopped this early is an interrupted batch, too."""

    class Pool(ThreadPool):
        def work(self, source: Source, workers: int) -> None:
            super().work(source, workers)
            signal.raise_signal(signal.SIGINT)

    with Pool(2) as pool, pytest.raises(KeyboardInterrupt) as caught:
        fetchline.run(abs, [-1, -2], executor=pool, progress=None)
    assert isinstance(caught.value, fetchline.BatchInterrupted)
    assert len(caught.value.batch) == 2


def test_handlers_are_put_back() -> None:
    from fetchline.cli.signals import Signals

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Signals() as signals:
        assert signal.getsignal(signal.SIGTERM) != before[0]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signals.exit_code == 143
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
