"""The built-in progress displays."""

from __future__ import annotations

import gc
import io
import json
import logging
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from fetchline.builtin.auto import NoProgress, auto
from fetchline.builtin.jsonl import JsonlProgress
from fetchline.builtin.log import LogProgress
from fetchline.builtin.tqdm import TqdmProgress, in_notebook
from fetchline.catalog import Catalog
from fetchline.interfaces import Progress, ProgressBackend

NAMES = ["auto", "none", "tqdm", "log", "jsonl"]


def last_frame(drawn: io.StringIO) -> str:
    return drawn.getvalue().replace("\n", "").split("\r")[-1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("total", [0, 3, None])
def test_every_display_keeps_the_protocol(
    name: str, total: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    display = Catalog(entry_points=list).progress(name).factory()
    assert isinstance(display, ProgressBackend)
    display.close()  # before any start
    display.update(Progress())
    for _ in range(2):
        display.start(total, "ohlcv")
        display.update(Progress(total=total, done=1, failed=1, running=2, rate=0.5, eta_s=3.0))
        display.close()
        display.close()
        display.update(Progress(done=2))
    assert capsys.readouterr().out == ""


# -- tqdm --------------------------------------------------------------------------------------------------


def test_the_bar_shows_the_count_it_is_told_and_the_label() -> None:
    drawn = io.StringIO()
    bar = TqdmProgress(file=drawn)
    bar.start(10, "ohlcv")
    bar.update(Progress(total=10, done=3))
    bar.update(Progress(total=10, done=7))
    bar.close()
    assert "ohlcv" in last_frame(drawn)
    assert "7/10" in last_frame(drawn)


def test_the_bar_shows_failed_retrying_and_waiting_only_when_there_are_any() -> None:
    drawn = io.StringIO()
    bar = TqdmProgress(file=drawn, ncols=200)
    bar.start(10, "")
    bar.update(Progress(total=10, done=3, failed=2, retrying=1, waiting=4))
    assert "failed=2, retrying=1, waiting=4" in last_frame(drawn)
    bar.update(Progress(total=10, done=3))
    assert "failed" not in last_frame(drawn)
    bar.close()


def test_the_bar_of_an_unknown_total_learns_it() -> None:
    drawn = io.StringIO()
    bar = TqdmProgress(file=drawn)
    bar.start(None, "stream")
    bar.update(Progress(done=4))
    assert "4item" in last_frame(drawn)
    bar.update(Progress(total=5, done=5))
    bar.close()
    assert "5/5" in last_frame(drawn)


def test_a_forgotten_bar_is_closed() -> None:
    from tqdm import tqdm

    drawn = io.StringIO()
    bar = TqdmProgress(file=drawn)
    bar.start(2, "forgotten")
    assert len(tqdm._instances) == 1
    del bar
    gc.collect()
    assert len(tqdm._instances) == 0
    assert drawn.getvalue().endswith("\n")


def test_the_bar_starts_no_thread() -> None:
    before = set(threading.enumerate())
    bar = TqdmProgress(file=io.StringIO())
    bar.start(2, "")
    assert set(threading.enumerate()) == before
    bar.close()


def test_a_bar_left_open_at_exit_is_closed_and_tqdm_is_imported_by_its_start() -> None:
    code = """
        import sys
        from fetchline.builtin.tqdm import TqdmProgress
        bar = TqdmProgress()
        assert "tqdm" not in sys.modules
        bar.start(2, "left")
        assert "asyncio" not in sys.modules
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.endswith("\n")


# -- auto, none --------------------------------------------------------------------------------------------


def test_auto_is_a_bar_on_a_terminal_and_log_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: True))
    assert isinstance(auto(), TqdmProgress)
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: False))
    assert isinstance(auto(), LogProgress)
    monkeypatch.setattr(sys, "stderr", None)
    assert isinstance(auto(), LogProgress)


@pytest.mark.parametrize(
    ("config", "notebook"), [({"IPKernelApp": {}}, True), ({"TerminalIPythonApp": {}}, False)]
)
def test_auto_is_a_bar_in_a_notebook(monkeypatch: pytest.MonkeyPatch, config: object, notebook: bool) -> None:
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(config=config)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert in_notebook() is notebook
    assert isinstance(auto(), TqdmProgress if notebook else LogProgress)


def test_none_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    nothing = NoProgress()
    nothing.start(2, "quiet")
    nothing.update(Progress(total=2, done=2))
    nothing.close()
    assert capfd.readouterr() == ("", "")


# -- log ---------------------------------------------------------------------------------------------------


def test_log_says_a_line_at_the_start_one_each_so_often_and_one_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 100.0
    log = LogProgress(every=5.0, clock=lambda: now)
    with caplog.at_level(logging.INFO, "fetchline.progress"):
        log.start(200, "ohlcv")
        for done in range(1, 13):
            now += 1.0
            log.update(Progress(total=200, done=done, failed=done // 4, retrying=1, rate=1.0, eta_s=188.0))
        log.close()
        log.close()
    assert [record.getMessage() for record in caplog.records] == [
        "ohlcv: started, 200 items",
        "ohlcv: 5/200 (2%), 1 failed, 1 retrying, 1/s, 188 s left",
        "ohlcv: 10/200 (5%), 2 failed, 1 retrying, 1/s, 188 s left",
        "ohlcv: ended after 12.0 s, 12/200 (6%), 3 failed",
    ]
    assert {(record.name, record.levelno) for record in caplog.records} == {
        ("fetchline.progress", logging.INFO)
    }


def test_log_does_without_a_total_and_a_label(caplog: pytest.LogCaptureFixture) -> None:
    log = LogProgress(every=0.0, clock=lambda: 0.0)
    with caplog.at_level(logging.INFO, "fetchline.progress"):
        log.start(None, "")
        log.update(Progress(done=7, running=3))
        log.close()
    assert [record.getMessage() for record in caplog.records] == [
        "run: started",
        "run: 7 items, 3 running",
        "run: ended after 0.0 s, 7 items",
    ]


# -- jsonl -------------------------------------------------------------------------------------------------


def test_jsonl_writes_one_object_a_line_and_leaves_the_stream_open() -> None:
    stream = io.StringIO()
    lines = JsonlProgress(stream=stream)
    lines.start(None, "ohlcv")
    lines.update(Progress(total=2, done=1, failed=1, rate=2.5))
    lines.close()
    lines.close()
    written = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in written] == ["start", "progress", "end"]
    assert [(line["total"], line["done"], line["failed"]) for line in written] == [
        (None, 0, 0),
        (2, 1, 1),
        (2, 1, 1),
    ]
    assert {line["label"] for line in written} == {"ohlcv"}
    assert all(line["elapsed_s"] >= 0 for line in written)


def test_jsonl_appends_to_a_path(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    for label in "ab":
        lines = JsonlProgress(path=path)
        lines.start(1, label)
        lines.close()
    assert [json.loads(line)["label"] for line in path.read_text().splitlines()] == ["a", "a", "b", "b"]


def test_jsonl_goes_to_standard_error_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    lines = JsonlProgress()
    lines.start(1, "x")
    assert json.loads(capsys.readouterr().err)["event"] == "start"
    lines.close()


def test_jsonl_takes_a_stream_or_a_path_not_both(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stream= or path=, not both"):
        JsonlProgress(stream=io.StringIO(), path=tmp_path / "x")
