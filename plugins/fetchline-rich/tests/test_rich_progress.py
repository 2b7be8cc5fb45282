from __future__ import annotations

import io
import subprocess
import sys
import threading
from importlib.metadata import EntryPoint

import pytest
from fetchline_rich import RichProgress, fetchline_register_progress
from rich.console import Console

from fetchline.catalog import Catalog
from fetchline.interfaces import Progress, ProgressBackend
from fetchline.testing import ProgressSuite


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=160, color_system=None)


def drawn(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class TestConformance(ProgressSuite):
    (progress,) = fetchline_register_progress()


class TestConformanceOnATerminal(ProgressSuite):
    console: Console

    @pytest.fixture
    def progress(self, console: Console) -> RichProgress:
        type(self).console = console
        return RichProgress(console=console)

    def shown(self) -> str:
        return drawn(self.console)


def test_the_catalog_finds_it_by_name() -> None:
    catalog = Catalog(entry_points=lambda: [EntryPoint("rich", "fetchline_rich", "fetchline")])
    assert isinstance(catalog.progress("rich").factory(transient=True), ProgressBackend)


def test_it_shows_label_count_rate_and_time_left(console: Console) -> None:
    display = RichProgress(console=console)
    display.start(10, "[ohlcv]")
    display.update(Progress(total=10, done=4, rate=2.0, eta_s=3.0))
    display.close()
    for text in ("[ohlcv]", " 4/10", "2/s 3 s left"):
        assert text in drawn(console)


def test_it_shows_failed_retrying_and_waiting_only_when_there_are_any(console: Console) -> None:
    display = RichProgress(console=console)
    display.start(10, "ohlcv")
    display.update(Progress(total=10, done=4))
    assert "failed" not in drawn(console)
    display.update(Progress(total=10, done=4, failed=1, retrying=2, waiting=3))
    assert "1 failed 2 retrying 3 waiting" in drawn(console)
    display.close()


def test_an_unknown_total_is_learnt(console: Console) -> None:
    display = RichProgress(console=console)
    display.start(None, "stream")
    display.update(Progress(done=4))
    assert "4/?" in drawn(console)
    display.update(Progress(total=5, done=5))
    assert "5/5" in drawn(console)
    display.close()


def test_closing_gives_the_cursor_back_and_may_be_repeated(console: Console) -> None:
    display = RichProgress(console=console)
    display.close()
    display.start(1, "ohlcv")
    display.close()
    display.close()
    display.update(Progress(done=1))
    assert drawn(console).count("\x1b[?25l") == drawn(console).count("\x1b[?25h") == 1


def test_a_second_start_closes_the_first(console: Console) -> None:
    display = RichProgress(console=console)
    display.start(1, "first")
    display.start(1, "second")
    display.close()
    assert drawn(console).count("\x1b[?25h") == 2


def test_it_starts_no_thread(console: Console) -> None:
    before = set(threading.enumerate())
    display = RichProgress(console=console)
    display.start(1, "ohlcv")
    assert set(threading.enumerate()) == before
    display.close()


def test_it_draws_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    display = RichProgress()
    display.start(1, "ohlcv")
    display.update(Progress(total=1, done=1))
    display.close()
    out, err = capsys.readouterr()
    assert out == ""
    assert "ohlcv" in err


def test_rich_is_imported_by_the_start_of_a_run_only() -> None:
    code = "import sys, fetchline_rich as f; f.RichProgress(); assert 'rich' not in sys.modules"
    path = ":".join(filter(None, sys.path))
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={"PYTHONPATH": path})
