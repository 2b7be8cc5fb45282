"""Writes (`idempotent=False`) and stores: what begins is written down first, so that a kill is no second send."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from writing import QUIET, as_killed_now, begun_in, write

import fetchline as fl

KEYS = [f"W{n}" for n in range(24)]
EXECUTORS = ["serial", "thread", "process", "asyncio"]


def watched(store: Path) -> fl.Fetcher[..., Any, Any]:
    """A write whose value says whether the store knew of it when it started."""

    def send(key: str) -> bool:
        return key in begun_in(store)

    async def asend(key: str) -> bool:
        await asyncio.sleep(0)
        return key in begun_in(store)

    return write(asend if store.name == "asyncio" else send)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_write_starts_when_the_store_knows_of_it(executor: str, tmp_path: Path) -> None:
    store = tmp_path / executor
    batch = fl.run(watched(store), KEYS, store=store, executor=executor, **QUIET)
    assert batch.values == [True] * len(KEYS)
    assert begun_in(store) == set()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_write_of_a_stream_starts_when_the_store_knows_of_it(executor: str, tmp_path: Path) -> None:
    store = tmp_path / executor
    results = fl.stream(watched(store), iter(KEYS), store=store, executor=executor, window=4)
    assert [(result.key, result.is_success and result.value) for result in results] == [
        (key, True) for key in KEYS
    ]
    assert begun_in(store) == set()


def test_a_write_on_the_loop_of_the_caller_starts_when_the_store_knows_of_it(tmp_path: Path) -> None:
    store = tmp_path / "asyncio"

    async def main() -> None:
        batch = await fl.arun(watched(store), KEYS, store=store, **QUIET)
        assert batch.values == [True] * len(KEYS)
        more = [result async for result in fl.astream(watched(store), iter([*KEYS, "more"]), store=store)]
        assert [result.origin for result in more] == ["store"] * len(KEYS) + ["fetched"]

    asyncio.run(main())


def test_a_write_on_an_executor_that_was_given_starts_when_the_store_knows_of_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        batch = fl.run(watched(tmp_path / "run"), KEYS, store=tmp_path / "run", executor=pool, **QUIET)
    assert batch.values == [True] * len(KEYS)


def test_a_read_is_not_written_down(tmp_path: Path) -> None:
    def read(key: str) -> bool:
        return bool(begun_in(tmp_path / "run"))

    assert not any(fl.run(read, KEYS, store=tmp_path / "run", **QUIET).values)


def test_a_kill_leaves_an_unknown_outcome_of_what_was_under_way(tmp_path: Path) -> None:
    sent: list[str] = []

    def send(key: str) -> str:
        sent.append(key)
        if len(sent) == 12 and not known:
            as_killed_now(tmp_path / "run", tmp_path / "killed")
            known.update(sent)
        return key

    known: set[str] = set()
    fl.run(write(send), KEYS, store=tmp_path / "run", executor="serial", **QUIET)
    sent.clear()
    batch = fl.run(write(send), KEYS, store=tmp_path / "killed", executor="serial", **QUIET)
    assert [(failure.key, failure.error_code) for failure in batch.failures] == [("W11", "unknown_outcome")]
    assert sent == KEYS[12:]
    assert "killed before it was known whether this write arrived" in str(batch.failures[0].error)
    sent.clear()
    assert [failure.key for failure in batch.retry_failed().failures] == ["W11"]
    assert sent == []


def test_what_is_unknown_is_sent_again_when_that_is_asked_for(tmp_path: Path) -> None:
    def send(key: str) -> str:
        if key == "b" and not (tmp_path / "killed").exists():
            as_killed_now(tmp_path / "run", tmp_path / "killed")
        return key.upper()

    fl.run(write(send), ["a", "b", "c"], store=tmp_path / "run", executor="serial", **QUIET)
    store = tmp_path / "killed"
    batch = fl.run(write(send), ["a", "b", "c"], store=store, executor="serial", **QUIET)
    assert [failure.key for failure in batch.failures] == ["b"]
    fl.run(write(send), ["b"], store=store, reuse="none", **QUIET)
    assert fl.run(write(send), ["a", "b", "c"], store=store, **QUIET).values == ["A", "B", "C"]


def test_a_store_that_is_looked_at_tells_a_write_under_way_from_one_that_was_killed(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def send(key: str) -> str:
        seen["live"] = fl.open_run(tmp_path / "run").failures[0].error_code
        seen["killed"] = fl.run_state(as_killed_now(tmp_path / "run", tmp_path / "killed")).codes
        return key

    fl.run(write(send), ["a"], store=tmp_path / "run", executor="serial", **QUIET)
    assert seen == {"live": "cancelled", "killed": {"unknown_outcome": 1}}
    assert fl.plan(write(send), ["a"], store=tmp_path / "killed").held == 1
    assert fl.open_run(tmp_path / "killed").failures[0].error_code == "unknown_outcome"


def test_compacting_forgets_no_write(tmp_path: Path) -> None:
    def send(key: str) -> str:
        as_killed_now(tmp_path / "run", tmp_path / key)
        return key

    fl.run(write(send), ["a", "b", "c"], store=tmp_path / "run", executor="serial", **QUIET)
    for _ in range(2):
        fl.compact(tmp_path / "b")
        assert fl.open_run(tmp_path / "b").failures[0].key == "b"
    batch = fl.run(write(lambda key: key), ["a", "b", "c"], store=tmp_path / "b", executor="serial", **QUIET)
    assert [(result.key, result.is_success) for result in batch][:2] == [("a", True), ("b", False)]


def test_of_a_write_that_never_started_nothing_stays(tmp_path: Path) -> None:
    sent: list[str] = []

    def send(key: str) -> str:
        sent.append(key)
        if key == "W3":
            raise ValueError("refused")
        return key

    store = tmp_path / "run"
    with pytest.raises(fl.BatchFailed):
        fl.run(write(send), KEYS, store=store, executor="serial", on_error="raise", **QUIET)
    assert begun_in(store) == set()
    first = list(sent)
    batch = fl.run(write(send), KEYS, store=store, executor="serial", **QUIET)
    assert sent == [*first, *(key for key in KEYS if key not in first or key == "W3")]
    assert [failure.key for failure in batch.failures] == ["W3"]


def test_what_was_stored_before_is_there_again_if_a_second_write_does_not_start(tmp_path: Path) -> None:
    store = tmp_path / "run"
    fl.run(write(str.lower), ["A", "B", "C"], store=store, executor="serial", **QUIET)

    def stop(key: str) -> str:
        raise ValueError("no more")

    with pytest.raises(fl.BatchFailed):
        fl.run(
            fl.Fetcher.of(stop, "lower", idempotent=False),
            ["A", "B", "C"],
            store=store,
            executor="serial",
            reuse="none",
            on_error="raise",
            on_change="keep",
            **QUIET,
        )
    batch = fl.open_run(store)
    assert [result.is_success for result in batch] == [False, True, True]


def test_writes_in_bulk_are_written_down_whole(tmp_path: Path) -> None:
    store = tmp_path / "run"
    calls: list[list[str]] = []

    def send(keys: list[str]) -> list[bool]:
        calls.append(keys)
        if len(calls) == 2:
            as_killed_now(store, tmp_path / "killed")
        there = begun_in(store)
        return [key in there for key in keys]

    def again(keys: list[str]) -> list[bool]:
        second.extend(keys)
        return [True] * len(keys)

    second: list[str] = []
    batch = fl.run(write(send, bulk=8), KEYS, store=store, executor="serial", **QUIET)
    assert batch.values == [True] * 24
    assert [len(call) for call in calls] == [8, 8, 8]
    left = fl.run(write(again, bulk=8), KEYS, store=tmp_path / "killed", executor="serial", **QUIET)
    lost = {failure.key for failure in left.failures}
    assert set(calls[1]) <= lost
    assert not set(second) & {*calls[0], *calls[1]}


def test_a_remote_task_that_was_begun_is_asked_about_and_not_begun_again(tmp_path: Path) -> None:
    store = tmp_path / "run"
    memos: list[Any] = []

    def task(key: str) -> str:
        memo = fl.attempt().memo
        memos.append(memo)
        if memo is None:
            raise fl.NotReady(0.01, memo="task 1")
        if not (tmp_path / "killed").exists():
            as_killed_now(store, tmp_path / "killed")
        return str(memo)

    fl.run(write(task), ["a"], store=store, executor="serial", **QUIET)
    memos.clear()
    batch = fl.run(write(task), ["a"], store=tmp_path / "killed", executor="serial", **QUIET)
    assert (batch.values, memos) == (["task 1"], ["task 1"])


@pytest.mark.parametrize("reuse", ["successes", "none"])
def test_a_task_that_took_too_long_is_asked_about_when_the_same_is_run_again(
    reuse: Any, tmp_path: Path
) -> None:
    memos: list[Any] = []

    def task(key: str) -> str:
        memos.append(fl.attempt().memo)
        raise fl.NotReady(0.01, memo="task 1")

    fetcher = fl.Fetcher.of(task, "task", patience=0.05)
    first = fl.run(fetcher, ["a"], store=tmp_path, **QUIET)
    assert first.failures[0].error_code == "not_ready"
    memos.clear()
    fl.run(fetcher, ["a"], store=tmp_path, reuse=reuse, **QUIET)
    assert memos[0] == "task 1"


def test_files_know_nothing_of_writes_under_way(tmp_path: Path) -> None:
    """They have no log: what is there is skipped, and that is all."""
    store = fl.Files(f"{tmp_path}/{{key}}.json")
    assert fl.run(write(str.upper), ["a", "b"], store=store, **QUIET).values == ["A", "B"]
    assert fl.run(write(str.upper), ["a", "b"], store=store, **QUIET).summary.stored == 2


def test_a_write_whose_key_cannot_be_stored_hurts_no_other(tmp_path: Path) -> None:
    items = iter(["a", "b\ud800", "c"])
    batch = fl.run(write(lambda key: key[0]), items, store=tmp_path, **QUIET)
    assert [result.is_success for result in batch] == [True, False, True]
    assert "is no Unicode text" in str(batch.failures[0].error)


def test_cancelled_and_run_again_a_write_is_sent_once(tmp_path: Path) -> None:
    sent: list[int] = []

    async def send(number: int) -> int:
        sent.append(number)
        if len(sent) % 40 == 0:
            task.cancel()
        await asyncio.sleep(0)
        return number

    async def main() -> Any:
        nonlocal task
        task = asyncio.ensure_future(fl.arun(write(send), range(200), concurrency=7, store=tmp_path, **QUIET))
        await asyncio.wait([task])
        return None if task.cancelled() else task.result()

    task: asyncio.Future[Any]
    batches = [asyncio.run(main()) for _ in range(6)]
    assert batches[:4] == [None] * 4 and batches[-1] is not None
    assert sorted(sent) == list(range(200))
    assert {failure.error_code for failure in batches[-1].failures} <= {"unknown_outcome"}
    assert len(batches[-1].failures) <= 4 * 7
