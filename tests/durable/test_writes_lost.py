"""Writes (`idempotent=False`) of which nobody knows whether they arrived: not sent again by themselves, never."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context
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


@pytest.mark.parametrize("executor", ["serial", "thread"])
def test_a_task_that_is_begun_anew_at_once_is_written_down_first(executor: str, tmp_path: Path) -> None:
    """The other side has forgotten the first one; of the second one, nothing is known when the process is killed."""
    tasks: list[str] = []
    forgotten = {"task 1"}

    def send(key: str) -> str:
        memo = fl.attempt().memo
        if memo in forgotten:
            raise fl.NotReady(0)
        if memo is None:
            tasks.append(f"task {len(tasks) + 1}")
            if len(tasks) == 2:
                as_killed_now(tmp_path / "run", tmp_path / "killed")
            raise fl.NotReady(0.05, memo=tasks[-1])  # its memo is stored when it is asked about
        return memo

    fetcher = write(send)
    assert fl.run(fetcher, ["a"], store=tmp_path / "run", executor=executor, **QUIET).values == ["task 2"]
    forgotten.add("task 2")
    batch = fl.run(fetcher, ["a"], store=tmp_path / "killed", **SERIAL)
    assert (codes(batch), tasks) == ({"a": "unknown_outcome"}, ["task 1", "task 2"])


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


def test_a_task_is_asked_about_though_it_was_being_asked_about_when_its_run_was_stopped(
    tmp_path: Path,
) -> None:
    memos: list[Any] = []
    asking = threading.Event()

    def send(key: str) -> str:
        memos.append(fl.attempt().memo)
        if memos[-1] is None:
            raise fl.NotReady(0, memo="task 1")
        if len(memos) == 2:
            asking.set()
            may_end.wait(20)
        return key

    may_end = threading.Event()
    job = fl.submit(write(send), ["a"], store=tmp_path, **QUIET)
    assert asking.wait(20)
    job.cancel()
    with pytest.raises(fl.BatchError) as stopped:
        job.result()
    may_end.set()
    assert codes(stopped.value.batch) == {"a": "unknown_outcome"}
    assert fl.run(write(send), ["a"], store=tmp_path, **SERIAL).values == ["a"]
    assert memos == [None, "task 1", "task 1"]


@pytest.mark.parametrize("bulk", [False, True])
def test_a_write_whose_memo_is_not_stored_is_not_begun_again_when_patience_was_over(
    bulk: bool, tmp_path: Path
) -> None:
    begun: list[Any] = []

    def send(key: Any) -> Any:
        begun.append(key)
        raise fl.NotReady(0.01, memo=Opaque())

    fetcher = write(send, patience=0.05, **({"bulk": 2} if bulk else {}))
    for _ in range(2):
        batch = fl.run(fetcher, ["a", "b"], store=tmp_path, **SERIAL)
        assert codes(batch) == {"a": "unknown_outcome", "b": "unknown_outcome"}
        calls, begun[:] = len(begun), []
    assert calls == 0


def test_a_memo_that_contains_itself_costs_nobody_else_anything(tmp_path: Path) -> None:
    memo: list[Any] = []
    memo.append(memo)

    def send(key: str) -> str:
        if key == "b" and fl.attempt().memo is None:
            raise fl.NotReady(0, memo=memo)
        return key

    assert fl.run(write(send), ["a", "b", "c"], store=tmp_path, **SERIAL).values == ["a", "b", "c"]


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
    assert bulk or "the next run does not know what became of it" in caplog.text
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


def test_a_run_that_breaks_says_nothing_of_what_it_had_not_started(tmp_path: Path) -> None:
    """Of ``a`` there is a value, of ``b`` it is unknown, and of ``m`` there is a task to ask about."""
    store = killed_in_b(tmp_path)
    released = threading.Event()

    def begin(key: str) -> str:
        raise fl.NotReady(60.0, memo="task 1")

    fl.run(write(begin, patience=3600.0), ["m"], store=store, deadline=0.2, **QUIET)

    def stuck(key: str) -> str:
        released.wait(20)
        return key

    stuck_ones = [f"s{number}" for number in range(4)]
    with pytest.raises(fl.BatchError, match="stuck past their timeout"):
        fl.run(
            write(stuck, timeout=0.05),
            [*stuck_ones, "m", "a", "b"],
            store=store,
            reuse="none",
            workers=1,
            **QUIET,
        )
    released.set()
    sent: list[tuple[str, Any]] = []

    def send(key: str) -> str:
        sent.append((key, fl.attempt().memo))
        return key

    batch = fl.run(write(send), ["m", "a", "b"], store=store, **SERIAL)
    assert (codes(batch), sent) == ({"b": "unknown_outcome"}, [("m", "task 1")])


@pytest.mark.parametrize("executor", ["serial", "thread"])
def test_of_writes_that_never_started_nothing_stays_when_the_host_itself_fails(
    executor: str, tmp_path: Path
) -> None:
    sent: list[str] = []

    def send(key: str) -> str:
        sent.append(key)
        return key

    def told(done: int, total: int | None) -> None:
        raise RuntimeError("the bar fell down")

    options = {"store": tmp_path, "executor": executor, "workers": 2 if executor == "thread" else None}
    with pytest.raises(RuntimeError, match="the bar fell down"):
        fl.run(write(send), [f"W{number}" for number in range(12)], on_progress=told, **options, **QUIET)
    lost = codes(fl.open_run(tmp_path))
    assert {key for key, code in lost.items() if code == "unknown_outcome"} <= set(sent)
    assert begun_in(tmp_path) == set()


class NoPickle:
    """Comes back from no other process."""

    def __reduce__(self) -> Any:
        raise TypeError("not over any border")


class NoLoad:
    """Goes to another process, and does not come back."""

    def __reduce__(self) -> Any:
        return int, ("not a number",)


@pytest.mark.parametrize("kind", [NoPickle, NoLoad])
@pytest.mark.parametrize("where", ["process", "coroutine processes", "pool"])
@pytest.mark.parametrize("idempotent", [False, True])
def test_a_write_whose_value_does_not_come_back_is_of_unknown_outcome(
    where: str, kind: Any, idempotent: bool, tmp_path: Path
) -> None:
    def send(key: str) -> Any:
        return kind() if key == "b" else key

    async def asend(key: str) -> Any:
        return kind() if key == "b" else key

    function = asend if where == "coroutine processes" else send
    fetcher = fl.Fetcher.of(function, "send", idempotent=idempotent)
    with ProcessPoolExecutor(1, get_context("spawn")) if where == "pool" else nullcontext() as pool:
        batch = fl.run(
            fetcher, ["a", "b", "c"], executor=pool or "process", workers=None if pool else 1, **QUIET
        )
    assert codes(batch) == {"b": "unpicklable" if idempotent else "unknown_outcome"}


def test_a_write_whose_lazy_frame_cannot_be_collected_is_of_unknown_outcome_and_sent_once(
    tmp_path: Path,
) -> None:
    sent: list[str] = []

    def send(key: str) -> pl.LazyFrame:
        sent.append(key)
        return pl.LazyFrame({"x": [1]}).select("y")

    batch = fl.run(write(send, retry=3), ["a"], store=tmp_path, **SERIAL)
    assert (codes(batch), sent) == ({"a": "unknown_outcome"}, ["a"])


def test_a_write_after_which_the_middleware_fails_is_of_unknown_outcome_and_sent_once() -> None:
    sent: list[str] = []

    class Fragile:
        @fl.hookimpl
        def fetchline_worker_middleware(self, run: Any) -> Any:
            @contextmanager
            def around() -> Iterator[None]:
                yield
                raise OSError("the trace was not written")

            return [around]

    fetcher = write(sent.append, retry=3)
    batch = fl.run(fetcher, ["a"], plugins=[Fragile()], **SERIAL)
    assert (codes(batch), sent) == ({"a": "unknown_outcome"}, ["a"])


def test_a_write_whose_value_was_damaged_in_the_store_is_not_sent_again(tmp_path: Path) -> None:
    sent: list[str] = []

    def send(key: str) -> str:
        sent.append(key)
        return key

    fl.run(write(send), ["a", "b"], store=tmp_path, **SERIAL)
    for file in (tmp_path / "data").iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    damaged = len(list((tmp_path / "data").iterdir()))
    assert len(fl.verify(tmp_path, repair=True)) == damaged
    batch = fl.run(write(send), ["a", "b"], store=tmp_path, **SERIAL)
    assert (codes(batch), sent) == ({"a": "unknown_outcome", "b": "unknown_outcome"}, ["a", "b"])
    assert "was damaged in the store" in str(batch.failures[0].error)


def test_an_error_that_says_no_unicode_text_is_stored(tmp_path: Path) -> None:
    def send(key: str) -> str:
        raise ValueError("b\ud800")

    assert codes(fl.run(send, ["a"], store=tmp_path, **SERIAL)) == {"a": "error"}
    assert "b\\ud800" in str(fl.open_run(tmp_path).failures[0].error)


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
