"""``ProgressSuite``: what fetchline wants of a progress display, as tests of one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fetchline as fl
from fetchline.catalog import catalog
from fetchline.interfaces import Progress, ProgressBackend, ProgressSpec, Use
from fetchline.testing.evidence import until
from fetchline.testing.suites import given, if_promised, skip_unless

__all__ = ["ProgressSuite"]

LABELS = ("", "docs.quote", "[bold]x[/]", "{total} %s %d", "日本語", "two\nlines", "x" * 500)
ODD = {
    "nothing to do": Progress(total=0),
    "more than there was": Progress(total=3, done=5),
    "a total that shrank": Progress(total=1, done=0),
    "all failed": Progress(total=3, done=3, failed=3),
    "many": Progress(total=10**12, done=20_000, failed=10_000, rate=1e9, eta_s=1e9),
    "hardly any": Progress(total=3, done=1, rate=1e-9, eta_s=2e9),
    "unknown": Progress(total=None, done=2, running=3, retrying=4, waiting=5),
}

Displays = Callable[[], ProgressBackend]


class ProgressSuite:
    """Hold a progress display to what fetchline wants of one.

    Subclass it and say what is under test.

    Attributes:
        progress: a name, ``fetchline.use(name, ...)``, a ``ProgressSpec`` or a class; or a fixture of that
            name, which may also give a factory or a display.
        patience_s: seconds that a test waits for what must come, such as the end of a thread.

    Methods to override:
        shown(): what it has shown so far as text, where that is neither on standard output or error nor logged.

    >>> class TestLog(ProgressSuite):
    ...     progress = "log"
    """

    progress: Any = None
    patience_s: float = 5.0

    def shown(self) -> str:
        return ""

    @pytest.fixture
    def displays(self, request: pytest.FixtureRequest) -> Displays:
        """Gives a display at every call; if a display itself was given, that one."""
        value = given(request, "progress", (str, Use, ProgressSpec, type))
        missing = {}
        if isinstance(value, ProgressBackend) and not isinstance(value, type):
            missing["several"] = "a display was given, not a factory: there is one only"
        skip_unless(request, missing)
        if isinstance(value, str):
            value = Use(value)
        if isinstance(value, Use):
            use = value
            return lambda: catalog().progress(use.name).factory(**use.options)
        if isinstance(value, ProgressSpec):
            return value.factory
        if missing:
            return lambda: value
        factory: Displays = value
        return factory

    @pytest.fixture
    def display(self, displays: Displays) -> Iterator[ProgressBackend]:
        display = displays()
        yield display
        display.close()

    @pytest.fixture
    def news(self, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
        """Gives what was shown since it was called last."""
        caplog.set_level("INFO", "fetchline")
        before = ""

        def news() -> str:
            nonlocal before
            said = self.shown()
            fresh, before = said[len(before) :], said
            out, err = capfd.readouterr()
            logged = caplog.text
            caplog.clear()
            return out + err + logged + fresh

        return news

    # -- one display ----------------------------------------------------------------------------------------

    def test_it_has_the_three_methods(self, display: ProgressBackend) -> None:
        assert isinstance(display, ProgressBackend)

    def test_start_update_close_in_this_order(self, display: ProgressBackend) -> None:
        display.start(10, "docs.quote")
        for done in range(11):
            display.update(Progress(total=10, done=done, rate=2.0, eta_s=(10 - done) / 2))
        display.close()

    def test_a_total_that_is_unknown_may_be_learnt_later(self, display: ProgressBackend) -> None:
        display.start(None, "docs.quote")
        display.update(Progress(total=None, done=4))
        display.update(Progress(total=5, done=5))
        display.close()

    @pytest.mark.parametrize("case", ODD)
    @pytest.mark.parametrize("total", [None, 0, 3])
    def test_odd_numbers_do_no_harm(self, display: ProgressBackend, case: str, total: int | None) -> None:
        display.start(total, "docs.quote")
        display.update(ODD[case])
        display.update(ODD[case])
        display.close()

    @pytest.mark.parametrize("label", LABELS, ids=lambda label: label[:5].encode("unicode_escape").decode())
    def test_any_label_will_do(self, display: ProgressBackend, label: str) -> None:
        display.start(3, label)
        display.update(Progress(total=3, done=1))
        display.close()

    def test_it_may_be_closed_though_it_was_never_started(
        self, display: ProgressBackend, news: Callable[[], str]
    ) -> None:
        display.close()
        assert news() == ""

    def test_it_may_be_closed_before_the_end_and_closed_twice(
        self, display: ProgressBackend, news: Callable[[], str]
    ) -> None:
        display.start(3, "docs.quote")
        display.update(Progress(total=3, done=1))
        display.close()
        news()
        display.close()
        assert news() == ""

    def test_nothing_is_shown_once_it_is_closed(
        self, display: ProgressBackend, news: Callable[[], str]
    ) -> None:
        display.start(3, "docs.quote")
        display.close()
        news()
        display.update(Progress(total=3, done=2))
        assert news() == ""

    def test_it_serves_one_run_after_another(self, display: ProgressBackend) -> None:
        for total in (2, None, 0):
            display.start(total, "docs.quote")
            display.update(Progress(total=total, done=2))
            display.close()

    def test_it_leaves_no_thread_behind(self, display: ProgressBackend) -> None:
        before = set(threading.enumerate())
        display.start(3, "docs.quote")
        display.update(Progress(total=3, done=2))
        display.close()
        until(
            lambda: set(threading.enumerate()) <= before,
            "the display's threads to end",
            patience=self.patience_s,
        )

    @if_promised("several")
    def test_two_may_be_open_at_once(self, displays: Displays) -> None:
        first, second = displays(), displays()
        first.start(3, "first")
        second.start(None, "second")
        first.update(Progress(total=3, done=1))
        second.update(Progress(done=1))
        first.close()
        second.update(Progress(total=2, done=2))
        second.close()

    # -- real runs ------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("take", [list, iter], ids=["list", "iterator"])
    def test_a_run_with_retries_and_failures_is_shown(
        self, display: ProgressBackend, take: Any, news: Callable[[], str], caplog: pytest.LogCaptureFixture
    ) -> None:
        def mixed(n: int) -> int:
            if n == 2:
                raise ValueError("two")
            if n == 3 and fl.attempt().number == 1:
                raise ConnectionError
            return n

        fetcher = fl.Fetcher.of(mixed, retry=fl.Try(retry=2, sleep=0, on=ConnectionError))
        batch = fl.run(fetcher, take(range(6)), progress=display, workers=2)
        assert batch.values == [0, 1, 3, 4, 5]
        is_closed(display, news, caplog)

    def test_a_run_that_is_stopped_closes_it(
        self, display: ProgressBackend, news: Callable[[], str], caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(fl.BatchFailed):
            fl.run(fl.Fetcher.of(int), ["1", "x"], progress=display, on_error="raise", executor="serial")
        is_closed(display, news, caplog)

    def test_a_run_of_nothing_is_shown_too(
        self, display: ProgressBackend, news: Callable[[], str], caplog: pytest.LogCaptureFixture
    ) -> None:
        assert len(fl.run(abs, [], progress=display)) == 0
        is_closed(display, news, caplog)


def is_closed(display: ProgressBackend, news: Callable[[], str], caplog: pytest.LogCaptureFixture) -> None:
    assert "the progress display" not in caplog.text, caplog.text  # a run goes on without one that raises
    news()
    display.update(Progress(total=6, done=6))
    display.close()
    assert news() == ""
