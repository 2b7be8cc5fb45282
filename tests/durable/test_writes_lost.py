"""Writes (`idempotent=False`) of which nobody knows whether they arrived: not sent again by themselves, never."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from test_writes import QUIET, as_killed_now, begun_in, write

import fetchline as fl
from fetchline.drive import host
from fetchline.journal import journal

SERIAL: dict[str, Any] = {**QUIET, "executor": "serial"}


def codes(batch: fl.Batch[Any]) -> dict[str, str]:
    return {failure.key: failure.error_code for failure in batch.failures}


# -- what ends a write's being under way -------------------------------------------------------------------


def test_a_task_without_a_memo_that_was_killed_is_not_begun_again(tmp_path: Path) -> None:
    """Nothing is known of it by which it could be asked about."""
    sent: list[int] = []

    def send(key: str) -> str:
        sent.append(fl.attempt().number)
        if sent == [1]:
            raise fl.NotReady(0.01)
        as_killed_now(tmp_path / "run", tmp_path / "killed")
        return key

    fl.run(write(send), ["a"], store=tmp_path / "run", **SERIAL)
    assert sent == [1, 2]
    batch = fl.run(write(send), ["a"], store=tmp_path / "killed", **SERIAL)
    assert (codes(batch), sent) == ({"a": "unknown_outcome"}, [1, 2])


def test_a_task_that_was_begun_anew_and_killed_is_not_asked_about_by_its_old_memo(tmp_path: Path) -> None:
    steps: list[Any] = []

    def send(key: str) -> str:
        steps.append(fl.attempt().memo)
        if len(steps) < 3:
            raise fl.NotReady(0.01, memo="task 1" if len(steps) == 1 else None)
        as_killed_now(tmp_path / "run", tmp_path / "killed")
        return key

    fl.run(write(send), ["a"], store=tmp_path / "run", **SERIAL)
    assert steps == [None, "task 1", None]
    assert codes(fl.run(write(send), ["a"], store=tmp_path / "killed", **SERIAL)) == {"a": "unknown_outcome"}
    assert len(steps) == 3


def test_a_task_that_left_a_memo_is_asked_about_after_a_second_kill_too(tmp_path: Path) -> None:
    memos: list[Any] = []

    def send(key: str) -> str:
        memos.append(fl.attempt().memo)
        if memos[-1] is None:
            raise fl.NotReady(0.01, memo="task 1")
        if len(memos) < 4:
            as_killed_now(tmp_path / str(len(memos) - 1), tmp_path / str(len(memos)))
        return key

    for run in (1, 2, 3):
        fl.run(write(send), ["a"], store=tmp_path / str(run), **SERIAL)
    assert memos == [None, "task 1", "task 1", "task 1"]


class Opaque:
    """What JSON cannot say."""


@pytest.mark.parametrize("bulk", [False, True])
def test_a_write_whose_memo_is_not_stored_is_not_begun_again_after_a_stop(
    bulk: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[Any] = []

    def send(key: Any) -> Any:
        begun.append(key)
        raise fl.NotReady(60.0, memo=Opaque())

    fetcher = write(send, patience=3600.0, **({"bulk": 2} if bulk else {}))
    first = fl.run(fetcher, ["a", "b"], store=tmp_path, deadline=0.3, workers=2, **QUIET)
    assert codes(first) == {"a": "deadline", "b": "deadline"}
    assert len(begun) == (1 if bulk else 2)
    assert bulk or "has an unknown outcome after a crash" in caplog.text
    again = fl.run(fetcher, ["a", "b"], store=tmp_path, **SERIAL)
    assert codes(again) == {"a": "unknown_outcome", "b": "unknown_outcome"}
    assert len(begun) == (1 if bulk else 2)


def test_a_write_that_was_refused_and_stopped_while_it_waited_is_sent_again(tmp_path: Path) -> None:
    refused = True

    def send(key: str) -> str:
        if refused:
            raise fl.RetryAfter(60.0)
        return key

    first = fl.run(write(send), ["a"], store=tmp_path, deadline=0.2, **QUIET)
    assert codes(first) == {"a": "deadline"}
    refused = False
    assert fl.run(write(send), ["a"], store=tmp_path, **SERIAL).values == ["a"]


# -- what is known of it stays known -----------------------------------------------------------------------


def killed_in_b(tmp_path: Path) -> Path:
    """The store of a run that was killed while it sent ``b``."""

    def send(key: str) -> str:
        if key == "b":
            as_killed_now(tmp_path / "run", tmp_path / "killed")
        return key

    fl.run(write(send), ["a", "b", "c"], store=tmp_path / "run", **SERIAL)
    return tmp_path / "killed"


def test_a_run_that_stops_before_it_comes_to_a_lost_write_does_not_forget_that_it_was_lost(
    tmp_path: Path,
) -> None:
    store = killed_in_b(tmp_path)
    sent: list[str] = []

    def send(key: str) -> str:
        sent.append(key)
        if key == "a":
            raise ValueError("no more")
        return key

    with pytest.raises(fl.BatchFailed):
        fl.run(write(send), ["a", "b", "c"], store=store, reuse="none", on_error="raise", **SERIAL)
    assert sent == ["a"]
    batch = fl.run(write(send), ["b", "c"], store=store, **SERIAL)
    assert (codes(batch), sent) == ({"b": "unknown_outcome"}, ["a", "c"])


def test_a_lost_write_is_shown_as_lost_while_the_next_run_is_at_work(tmp_path: Path) -> None:
    store = killed_in_b(tmp_path)
    shown = []

    def send(key: str) -> str:
        shown.append(codes(fl.open_run(store)))
        return key

    fl.run(write(send), ["a", "b", "c"], store=store, **SERIAL)
    assert shown == [{"b": "unknown_outcome", "c": "cancelled"}]


def test_a_write_that_succeeds_while_its_store_is_read_is_not_called_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending, may_end = threading.Event(), threading.Event()

    def send(key: str) -> str:
        sending.set()
        may_end.wait(20)
        return key

    run = threading.Thread(target=fl.run, args=(write(send), ["a"]), kwargs={"store": tmp_path, **SERIAL})
    is_owned = journal.is_owned

    def when_it_has_ended(objects: Any) -> bool:
        may_end.set()
        run.join(20)
        return is_owned(objects)

    monkeypatch.setattr(journal, "is_owned", when_it_has_ended)
    run.start()
    assert sending.wait(20)
    assert fl.open_run(tmp_path).values == ["a"]


@pytest.mark.parametrize("value", [pl.DataFrame({"x": [Opaque()]}), Opaque()], ids=["frame", "other"])
@pytest.mark.parametrize("idempotent", [False, True])
def test_what_was_done_and_cannot_be_stored_is_a_failure_in_the_store_too_and_a_write_is_not_sent_again(
    value: Any, idempotent: bool, tmp_path: Path
) -> None:
    sent: list[str] = []

    def send(key: str) -> Any:
        sent.append(key)
        return value if key == "b" else pl.DataFrame({"x": [key]})

    fetcher = fl.Fetcher.of(send, "send", idempotent=idempotent)
    code = "error" if idempotent else "unknown_outcome"
    for _ in range(2):
        batch = fl.run(fetcher, ["a", "b", "c"], store=tmp_path, **SERIAL)
        assert codes(batch) == codes(fl.open_run(tmp_path)) == {"b": code}
        assert "cannot be stored" in str(batch.failures[0].error)
    assert sent == ["a", "b", "c"] + ["b"] * idempotent
    assert begun_in(tmp_path) == set()


def test_a_stream_hands_out_what_cannot_be_stored_in_its_place(tmp_path: Path) -> None:
    def send(key: str) -> Any:
        return pl.DataFrame({"x": [Opaque() if key == "b" else key]})

    results = fl.stream(write(send), ["a", "b", "c"], store=tmp_path)
    assert [(result.key, result.is_success) for result in results] == [("a", True), ("b", False), ("c", True)]


# -- streams whose consumer leaves --------------------------------------------------------------------------


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_memo_is_stored_though_the_consumer_leaves(idempotent: bool, tmp_path: Path) -> None:
    memos: list[Any] = []
    left = threading.Event()

    def send(key: str) -> str:
        if key == "a":
            left.wait(20)
            return key
        memos.append(fl.attempt().memo)
        left.set()
        raise fl.NotReady(60.0, memo="task 1")

    fetcher = fl.Fetcher.of(send, "send", idempotent=idempotent, patience=3600.0)
    for _ in fl.stream(fetcher, ["a", "b"], store=tmp_path, workers=2):
        break
    fl.run(fetcher, ["a", "b"], store=tmp_path, deadline=0.3, **QUIET)
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


# -- nobody waits for the clock -----------------------------------------------------------------------------


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
