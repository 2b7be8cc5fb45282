"""Writes of streams and iterators: consumers that leave, hosts that fail, and nobody who waits for the clock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from writing import QUIET, stopped_when, write

import fetchline as fl
from fetchline.builtin.directory import Directory
from fetchline.drive import host

# -- consumers that leave, and hosts that fail -----------------------------------------------------------


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_memo_is_stored_though_the_consumer_leaves(idempotent: bool, tmp_path: Path) -> None:
    memos: list[Any] = []
    begun, asked = threading.Event(), threading.Event()

    def send(key: str) -> str:
        if key == "a":
            begun.wait(20)
            return key
        memos.append(fl.attempt().memo)
        (asked if begun.is_set() else begun).set()
        raise fl.NotReady(60.0, memo="task 1")

    fetcher = fl.Fetcher.of(send, "send", idempotent=idempotent, patience=3600.0)
    for _ in fl.stream(fetcher, ["a", "b"], store=tmp_path, workers=2):
        break
    stopped_when(asked, fetcher, ["a", "b"], tmp_path)
    assert memos == [None, "task 1"]


@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize("store", [False, True])
def test_a_consumer_may_leave_a_stream_whose_window_is_one_item(
    store: bool, idempotent: bool, tmp_path: Path
) -> None:
    fetcher = fl.Fetcher.of(str.upper, "send", idempotent=idempotent)
    options: dict[str, Any] = {"window": 1, "store": tmp_path / "run" if store else None}
    for result in fl.stream(fetcher, ["a", "b", "c"], **options):
        assert result.value == "A"
        break

    async def leave() -> None:
        stream = fl.astream(fetcher, ["a", "b", "c"], **options)
        async for result in stream:
            assert result.value == "A"
            break
        await stream.aclose()

    asyncio.run(leave())


@pytest.mark.parametrize("store", [False, True])
@pytest.mark.parametrize(("window", "as_completed"), [(1, False), (4, True)])
def test_a_stream_ends_though_the_host_fails_with_results_in_its_hands(
    window: int, as_completed: bool, store: bool, tmp_path: Path
) -> None:
    def told(done: int, total: int | None) -> None:
        raise RuntimeError("the bar fell down")

    place = tmp_path if store else None
    results = fl.stream(
        str.upper, ["a"] * 100, store=place, window=window, as_completed=as_completed, on_progress=told
    )
    with pytest.raises(RuntimeError, match="the bar fell down"):
        list(results)


class FullFrom(Directory):
    """A disk that is full from some moment on."""

    def __init__(self, place: Path, moment: threading.Event, failed: threading.Event) -> None:
        super().__init__(place)
        self.moment, self.failed = moment, failed

    def create(self, name: str, data: bytes) -> bool:
        if name.startswith("log/") and self.moment.is_set():
            self.failed.set()
            raise OSError(28, "No space left on device")
        return super().create(name, data)


@pytest.mark.parametrize("on_loop", [False, True])
def test_a_run_whose_store_fails_waits_for_no_attempt_that_hangs_and_says_why(
    on_loop: bool, tmp_path: Path
) -> None:
    is_full, failed, may_end = threading.Event(), threading.Event(), threading.Event()

    def send(key: str) -> str:
        if key == "full":
            is_full.set()
        elif key == "task":
            failed.wait(20)
            raise fl.NotReady(60, memo="task 1")
        elif key == "hangs":
            may_end.wait(60)
        return key

    fetcher = write(send, patience=3600.0)
    options: dict[str, Any] = {
        "store": FullFrom(tmp_path, is_full, failed),
        "workers": 3,
        "executor": "thread",
    }
    keys = ["task", "hangs", "full"]
    with pytest.raises(fl.StoreFailed, match="No space left on device"):
        if on_loop:
            asyncio.run(fl.arun(fetcher, keys, progress=None, **options))
        else:
            fl.run(fetcher, keys, progress=None, **options)
    may_end.set()


# -- nobody waits for the clock --------------------------------------------------------------------------


@pytest.fixture
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts sleep until they are rung."""
    monkeypatch.setattr(host, "_LOOK_S", 3600.0)
    monkeypatch.setattr(host, "_TICK_S", 3600.0)


def one_by_one(asked: Callable[[], bool]) -> Iterator[int]:
    """Items, each of which comes when the one before it has ended."""
    for number in range(5):
        yield number
        assert asked()


@pytest.mark.usefixtures("nobody_looks")
@pytest.mark.parametrize("executor", ["thread", "asyncio", "process"])
@pytest.mark.parametrize("window", [1, 2, 1000])
def test_a_write_that_comes_is_written_down_at_once(executor: str, window: int, tmp_path: Path) -> None:
    async def asend(number: int) -> int:
        return number

    def send(number: int) -> int:
        return number

    fetcher = write(asend if executor == "asyncio" else send)
    options: dict[str, Any] = {"executor": executor, "window": window}
    for items in (range(20), iter(range(20))):
        store = tmp_path / type(items).__name__
        assert [result.value for result in fl.stream(fetcher, items, store=store, **options)] == list(
            range(20)
        )


@pytest.mark.usefixtures("nobody_looks")
def test_a_write_whose_item_comes_when_the_last_one_has_ended_is_written_down_at_once(tmp_path: Path) -> None:
    sent = threading.Semaphore(0)

    def send(number: int) -> int:
        sent.release()
        return number

    items = one_by_one(lambda: sent.acquire(timeout=20))
    assert fl.run(write(send), items, store=tmp_path, executor="thread", **QUIET).values == [0, 1, 2, 3, 4]
