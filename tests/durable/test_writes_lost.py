"""Writes (`idempotent=False`) of which nobody knows whether they arrived: not sent again by themselves, never."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from writing import QUIET, SERIAL, Opaque, as_killed_now, begun_in, codes, killed_in_b, stopped_when, write

import fetchline as fl
from fetchline.journal import journal

# -- what ends a write's being under way -----------------------------------------------------------------


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


@pytest.mark.parametrize("items", [["a"], ["a", "a"]], ids=["one", "with an equal one"])
def test_a_task_is_asked_about_though_it_was_being_asked_about_when_its_run_was_stopped(
    items: list[str], tmp_path: Path
) -> None:
    memos: list[Any] = []
    asking, may_end = threading.Event(), threading.Event()

    def send(key: str) -> str:
        memos.append(fl.attempt().memo)
        if memos[-1] is None:
            raise fl.NotReady(0, memo="task 1")
        if len(memos) == 2:
            asking.set()
            may_end.wait(20)
        return key

    assert codes(stopped_when(asking, write(send), items, tmp_path)) == {"a": "unknown_outcome"}
    may_end.set()
    assert fl.run(write(send), items, store=tmp_path, **SERIAL).values == items
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


@pytest.mark.parametrize("bulk", [False, True])
def test_a_write_that_is_not_waited_for_at_all_and_whose_memo_is_not_stored_is_not_begun_again(
    bulk: bool, tmp_path: Path
) -> None:
    begun: list[Any] = []

    def send(key: Any) -> Any:
        begun.append(key)
        raise fl.NotReady(60, memo=Opaque(), limit=0)

    fetcher = write(send, **({"bulk": 2} if bulk else {}))
    for _ in range(2):
        batch = fl.run(fetcher, ["a"], store=tmp_path, **SERIAL)
        assert codes(batch) == {"a": "unknown_outcome"}
    assert len(begun) == 1


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
    all_begun = threading.Event()

    def send(key: Any) -> Any:
        begun.append(key)
        if len(begun) == (1 if bulk else 2):
            all_begun.set()
        raise fl.NotReady(60.0, memo=Opaque())

    fetcher = write(send, patience=3600.0, **({"bulk": 2} if bulk else {}))
    first = stopped_when(all_begun, fetcher, ["a", "b"], tmp_path, workers=2)
    assert codes(first) == {"a": "cancelled", "b": "cancelled"}
    assert len(begun) == (1 if bulk else 2)
    assert bulk or "the next run does not know what became of it" in caplog.text
    again = fl.run(fetcher, ["a", "b"], store=tmp_path, **SERIAL)
    assert codes(again) == {"a": "unknown_outcome", "b": "unknown_outcome"}
    assert len(begun) == (1 if bulk else 2)


def test_a_write_that_was_refused_and_stopped_while_it_waited_is_sent_again(tmp_path: Path) -> None:
    refused = threading.Event()

    def send(key: str) -> str:
        if not refused.is_set():
            refused.set()
            raise fl.RetryAfter(60.0)
        return key

    assert codes(stopped_when(refused, write(send), ["a"], tmp_path)) == {"a": "cancelled"}
    assert fl.run(write(send), ["a"], store=tmp_path, **SERIAL).values == ["a"]


# -- what is known of it stays known ---------------------------------------------------------------------


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
    begun, released = threading.Event(), threading.Event()

    def begin(key: str) -> str:
        begun.set()
        raise fl.NotReady(60.0, memo="task 1")

    stopped_when(begun, write(begin, patience=3600.0), ["m"], store)

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


class Raises:
    """Middleware that raises, or swallows, what it was told to."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    @fl.hookimpl
    def fetchline_worker_middleware(self, run: Any) -> Any:
        @contextmanager
        def around() -> Iterator[None]:
            with suppress(ConnectionResetError):
                yield
            if self.error is not None:
                raise self.error

        return [around]


class Answered(Exception):
    status_code = 429


LATE = [
    fl.RetryAfter(0),
    fl.NotReady(0),
    Answered(),
    asyncio.CancelledError(),
    SystemExit(1),
    ConnectionError(),
]


@pytest.mark.parametrize("error", LATE, ids=lambda error: type(error).__name__)
def test_nothing_that_is_said_after_a_write_has_arrived_sends_it_again(
    error: BaseException, tmp_path: Path
) -> None:
    sent: list[str] = []
    fetcher = write(sent.append, retry=3, session=None)
    for _ in range(2):
        batch = fl.run(fetcher, ["a"], store=tmp_path, plugins=[Raises(error)], **SERIAL)
        assert codes(batch) == {"a": "unknown_outcome"}
    assert sent == ["a"]


def test_middleware_that_swallows_an_error_does_not_decide_what_comes_of_a_write(tmp_path: Path) -> None:
    sent: list[str] = []

    def send(key: str) -> None:
        sent.append(key)
        raise ConnectionResetError

    batch = fl.run(write(send, retry=3), ["a"], plugins=[Raises(None)], **SERIAL)
    assert (codes(batch), sent) == ({"a": "unknown_outcome"}, ["a"])


@pytest.mark.parametrize("kind", ["throttled", "permanent", "stop", "expired"])
def test_a_session_that_knows_better_does_not_have_a_lost_write_sent_again(kind: Any, tmp_path: Path) -> None:
    sent: list[str] = []

    def send(key: str) -> None:
        sent.append(key)
        raise ConnectionResetError("no answer")

    spec = fl.SessionSpec(
        name="s",
        factory=lambda: nullcontext(),
        judge=None if kind == "expired" else lambda error: fl.Verdict(kind, "unavailable", 0.0),
        expired=(ConnectionError,) if kind == "expired" else (),
    )
    fetcher = write(send, retry=3, session=spec)
    for _ in range(2):
        assert codes(fl.run(fetcher, ["a"], store=tmp_path, **SERIAL)) == {"a": "unknown_outcome"}
    assert sent == ["a"]


def test_a_write_whose_coroutine_was_cut_off_is_of_unknown_outcome(tmp_path: Path) -> None:
    sent: list[str] = []

    async def send(key: str) -> None:
        sent.append(key)
        raise asyncio.CancelledError

    for _ in range(2):
        assert codes(fl.run(write(send, retry=3), ["a"], store=tmp_path, **QUIET)) == {"a": "unknown_outcome"}
    assert sent == ["a"]


def test_a_write_whose_login_fails_was_not_sent_and_is_tried_again(tmp_path: Path) -> None:
    logins: list[int] = []

    @contextmanager
    def session() -> Iterator[None]:
        logins.append(1)
        if len(logins) == 1:
            raise ConnectionResetError("no login")
        yield

    batch = fl.run(write(str.upper, retry=fl.Try(3, 0), session=session), ["a"], store=tmp_path, **SERIAL)
    assert (batch.values, len(logins)) == (["A"], 2)


def test_equal_items_whose_value_cannot_be_stored_are_all_failures(tmp_path: Path) -> None:
    batch = fl.run(write(lambda key: Opaque()), ["a", "a", "a"], store=tmp_path, **SERIAL)
    assert [result.status for result in batch] == ["failure"] * 3


def test_a_task_of_a_single_item_is_asked_about_by_a_bulk_fetcher_too(tmp_path: Path) -> None:
    begun: list[str] = []
    all_begun = threading.Event()

    def begin(key: str) -> str:
        begun.append(key)
        if len(begun) == 2:
            all_begun.set()
        raise fl.NotReady(60, memo=f"task {key}")

    stopped_when(all_begun, write(begin, patience=3600.0), ["a", "b"], tmp_path, workers=2)
    calls: list[tuple[list[str], Any]] = []

    def send(keys: list[str]) -> list[str]:
        calls.append((keys, fl.attempt().memo))
        return keys

    fl.run(write(send, bulk=8), ["a", "b", "c", "d"], store=tmp_path, **SERIAL)
    assert calls == [(["a"], "task a"), (["b"], "task b"), (["c", "d"], None)]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_generator_may_wait_for_the_writes_it_has_asked_for(workers: int, tmp_path: Path) -> None:
    sent = threading.Semaphore(0)

    def items() -> Iterator[int]:
        for number in range(12):
            yield number
            if number % 4 == 3:
                assert all(sent.acquire(timeout=20) for _ in range(4))

    def send(number: int) -> int:
        sent.release()
        return number

    assert fl.run(write(send), items(), store=tmp_path, workers=workers, **QUIET).values == list(range(12))


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
