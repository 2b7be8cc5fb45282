"""Guarantee 14: a direct call is a plain call."""

from __future__ import annotations

import asyncio
import inspect
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from lanes import Lane, Log

import fetchline as fl


def test_plain_calls_return_what_the_function_returns_and_keep_its_face() -> None:
    def ohlcv(symbol: str, *, days: int = 3) -> str:
        """Fetch."""
        return symbol * days

    fetcher = fl.Fetcher.of(ohlcv)
    assert fetcher("A") == "AAA"
    assert fetcher("A", days=1) == "A"
    assert inspect.signature(fetcher) == inspect.signature(ohlcv)
    assert (fetcher.__doc__, fetcher.__name__, fetcher.__wrapped__) == ("Fetch.", "ohlcv", ohlcv)


@pytest.mark.parametrize(
    "policies",
    [
        {},
        {"retry": fl.Try(retry=3, sleep=0)},
        {"timeout": 5},
        {"session": contextmanager(lambda: iter(["open"]))},
        {"pace": "1000/s"},
    ],
    ids=lambda policies: next(iter(policies), "none"),
)
def test_plain_calls_raise_the_original_error_with_its_own_traceback(policies: Any) -> None:
    error = KeyError("AAPL")

    def deep() -> None:
        raise error

    def fails(symbol: str) -> None:
        deep()

    with pytest.raises(KeyError) as caught:
        fl.Fetcher.of(fails, **policies)("AAPL")
    assert caught.value is error
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-2:] == ["fails", "deep"]
    assert caught.value.__cause__ is None


def test_plain_calls_of_an_async_fetcher_give_its_coroutine() -> None:
    async def fetch(n: int) -> int:
        return 2 * n

    for fetcher in (fl.Fetcher.of(fetch), fl.Fetcher.of(fetch, retry=2, timeout=5)):
        coroutine = fetcher(4)
        assert inspect.iscoroutine(coroutine)
        assert asyncio.run(coroutine) == 8


def test_plain_calls_of_an_async_fetcher_raise_the_original_error() -> None:
    error = KeyError("AAPL")

    async def fails(symbol: str) -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        asyncio.run(fl.Fetcher.of(fails, retry=fl.Try(retry=2, sleep=0))("AAPL"))
    assert caught.value is error


def test_plain_calls_are_tried_again_and_see_their_number() -> None:
    numbers = []

    def third_time(n: int) -> int:
        numbers.append(fl.attempt().number)
        if len(numbers) < 3:
            raise ConnectionError
        return n

    assert fl.Fetcher.of(third_time, retry=fl.Try(retry=3, sleep=0))(7) == 7
    assert numbers == [1, 2, 3]
    numbers.clear()
    with pytest.raises(ConnectionError):
        fl.Fetcher.of(third_time, retry=fl.Try(retry=2, sleep=0))(7)
    assert numbers == [1, 2]


def test_plain_calls_end_at_their_timeout() -> None:
    import threading

    release = threading.Event()
    try:
        began = time.monotonic()
        with pytest.raises(fl.AttemptTimeout):
            fl.Fetcher.of(lambda n: release.wait(20), timeout=0.2)(1)
        assert time.monotonic() - began < 2
    finally:
        release.set()

    async def forever(n: int) -> None:
        await asyncio.Event().wait()

    with pytest.raises(fl.AttemptTimeout):
        asyncio.run(fl.Fetcher.of(forever, timeout=0.1)(1))


def test_plain_calls_open_a_session_each_unless_it_is_kept_open(log: Log) -> None:
    @contextmanager
    def session() -> Iterator[str]:
        log.note("open")
        yield "open"
        log.note("close")

    fetcher = fl.Fetcher.of(lambda n, session=fl.injected: (n, session), session=session)
    assert fetcher(1) == (1, "open")
    assert fetcher(2) == (2, "open")
    assert (log.count("open"), log.count("close")) == (2, 2)
    with fetcher.open() as fetch:
        assert [fetch(n) for n in range(3)] == [(n, "open") for n in range(3)]
        assert (log.count("open"), log.count("close")) == (3, 2)
    assert (log.count("open"), log.count("close")) == (3, 3)


def test_plain_calls_take_no_part_in_progress_hooks_and_logs(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FETCHLINE_PLUGINS", "nobody-has-this-name")
    monkeypatch.setenv("FETCHLINE_EXECUTOR", "nor-this")
    with caplog.at_level("INFO", logger="fetchline"):
        assert fl.Fetcher.of(lambda n: n, timeout=5)(1) == 1
        assert fl.Fetcher.of(lambda n: n, retry=2)(1) == 1
    assert [record for record in caplog.records if record.name == "fetchline"] == []
    assert capsys.readouterr() == ("", "")


def test_plain_calls_of_signals_raise_them() -> None:
    def nothing(n: int) -> None:
        raise fl.NoData("a holiday")

    with pytest.raises(fl.NoData, match="a holiday"):
        fl.Fetcher.of(nothing)(1)


def test_plain_calls_inside_a_fetch_function_leave_its_own_attempt_alone(lane: Lane) -> None:
    inner = fl.Fetcher.of(lambda n: fl.attempt().key, name="inner", retry=fl.Try(retry=2, sleep=0))
    failing = _fails_once()

    def outer(n: int) -> list[Any]:
        before = fl.attempt().key
        value = inner(n)
        with_retry = fl.Fetcher.of(failing, name="failing", retry=fl.Try(retry=2, sleep=0))
        try:
            with_retry(n)
        except ConnectionError:
            pass
        return [before, value is not None, fl.attempt().key]

    batch = lane.run(outer, ["a", "b", "c"])
    assert [[value[0], value[2]] for value in batch.values] == [["a", "a"], ["b", "b"], ["c", "c"]]


def _fails_once() -> Any:
    def fails(n: Any) -> None:
        raise ConnectionError

    return fails


def test_plain_calls_run_a_batch_inside_a_fetch_function(lane: Lane) -> None:
    if lane.name == "pool":
        pytest.skip("a bounded pool that waits for itself is a deadlock in the standard library too")

    def outer(n: int) -> int:
        return sum(fl.run(lambda m: m + n, range(3), executor="serial", progress=None).values)

    assert lane.run(outer, range(4)).values == [3, 6, 9, 12]
