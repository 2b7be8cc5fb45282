"""Undo: what a run wrote, backwards, each tried again and reported."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import fetchline as fl


class Shelf:
    """Where writes go: what is there, and what was done in which order."""

    def __init__(self) -> None:
        self.there: dict[int, str] = {}
        self.done: list[str] = []
        self.lock = threading.Lock()

    def put(self, item: str) -> int:
        with self.lock:
            if item.startswith("bad"):
                raise ValueError(f"{item} is refused")
            if item == "none":
                raise fl.NoData
            if item == "lost":
                raise ConnectionResetError("gone")
            receipt = len(self.done)
            self.there[receipt] = item
            self.done.append(f"+{item}")
            return receipt

    def take(self, item: str, receipt: int) -> str:
        with self.lock:
            self.done.append(f"-{item}")
            if item == "stuck":
                raise OSError("it is nailed down")
            return self.there.pop(receipt)

    def fetcher(self, **policies: Any) -> fl.Fetcher[Any, Any, Any]:
        return fl.Fetcher.of(self.put, "shelf.put", **{"undo": self.take, **policies})


def run(fetcher: Any, items: Any, **options: Any) -> fl.Batch[Any]:
    return fl.run(fetcher, items, progress=None, **{"workers": 1, **options})


def test_successes_are_undone_the_last_first_with_their_values() -> None:
    shelf = Shelf()
    undone = run(shelf.fetcher(), ["a", "b", "c"]).undo()
    assert shelf.done == ["+a", "+b", "+c", "-c", "-b", "-a"] and shelf.there == {}
    assert [result.key for result in undone] == ["c", "b", "a"]
    assert undone.values == ["c", "b", "a"] and undone.n_failed == 0


def test_what_could_not_be_undone_is_told_and_does_not_stop_the_rest() -> None:
    shelf = Shelf()
    undone = run(shelf.fetcher(retry=fl.Try(2, 0)), ["a", "stuck", "c"]).undo()
    assert list(shelf.there.values()) == ["stuck"]
    [failure] = undone.failures
    assert (failure.key, failure.attempts, failure.message) == ("stuck", 2, "OSError: it is nailed down")


def test_an_undo_is_tried_three_times_where_the_write_is_tried_once() -> None:
    tries: list[int] = []

    def flaky(item: str, value: str) -> None:
        tries.append(fl.attempt().number)
        if len(tries) < 3:
            raise OSError("not now")

    with_retry = fl.Fetcher.of(str.upper, "up", undo=fl.Try(3, 0)(flaky))
    assert run(with_retry, ["a"]).undo().n_failed == 0 and tries == [1, 2, 3]


def test_failures_and_empties_are_not_undone() -> None:
    shelf = Shelf()
    undone = run(shelf.fetcher(), ["a", "bad", "none"]).undo()
    assert [result.key for result in undone] == ["a"]


def test_writes_nobody_knows_of_are_told_and_not_undone() -> None:
    shelf = Shelf()
    batch = run(shelf.fetcher(idempotent=False), ["a", "lost", "c"])
    undone = batch.undo()
    assert [(result.key, result.is_success) for result in undone] == [
        ("c", True),
        ("lost", False),
        ("a", True),
    ]
    assert undone[1].error_code == "unknown_outcome" and undone[1].index == 1
    assert "nobody knows" in undone[1].message
    assert undone.summary.failed == 1 and "1 unknown_outcome" in repr(undone)


def test_the_partial_batch_of_a_run_that_raised_can_be_undone() -> None:
    shelf = Shelf()
    with pytest.raises(fl.BatchFailed) as caught:
        run(shelf.fetcher(), ["a", "b", "bad", "d"], on_error="raise")
    assert caught.value.batch.undo().n_succeeded == 2
    assert shelf.there == {}


def test_equal_items_that_were_written_twice_are_undone_twice_and_shared_ones_once() -> None:
    shelf = Shelf()
    assert len(run(shelf.fetcher(), ["a", "a"]).undo()) == 2
    assert len(run(shelf.fetcher(), ["a", "a"], dedupe=True).undo()) == 1
    assert shelf.there == {}


def test_keys_and_params_of_the_run_do_not_get_in_the_way() -> None:
    def put(item: dict[str, int], factor: int) -> int:
        return item["id"] * factor

    gone: list[tuple[int, int]] = []
    fetcher = fl.Fetcher.of(put, undo=lambda item, value: gone.append((item["id"], value)))
    batch = run(fetcher, [{"id": 1}, {"id": 2}], params={"factor": 10}, key=lambda item: f"no {item['id']}")
    undone = batch.undo()
    assert gone == [(2, 20), (1, 10)]
    assert [result.key for result in undone] == ["no 2", "no 1"]


def test_an_undo_gets_a_session_as_the_write_does() -> None:
    opened: list[str] = []

    class Session:
        def __enter__(self) -> str:
            opened.append("in")
            return "session"

        def __exit__(self, *_: object) -> None:
            opened.append("out")

    used: list[str] = []

    def undo(item: str, value: str, *, session: str = fl.injected) -> None:
        used.append(session)

    batch = run(fl.Fetcher.of(str.upper, session=Session, undo=undo), ["a"])
    batch.undo()
    assert used == ["session"] and opened == ["in", "out", "in", "out"]


@pytest.mark.parametrize("executor", ["serial", "thread", "process"])
def test_undo_runs_where_the_run_ran(executor: str) -> None:
    options = {} if executor == "serial" else {"workers": 2}
    batch = fl.run(
        fl.Fetcher.of(str.upper, undo=_swap), ["a", "b"], executor=executor, progress=None, **options
    )
    assert batch.undo().values == ["B/b", "A/a"]


def _swap(item: str, value: str) -> str:
    return f"{value}/{item}"


def test_coroutines_undo_and_are_undone() -> None:
    async def put(item: str) -> str:
        return item.upper()

    async def take(item: str, value: str) -> str:
        await asyncio.sleep(0)
        return value + item

    batch = fl.run(fl.Fetcher.of(put, undo=take), ["a", "b"], progress=None)
    assert batch.undo().values == ["Bb", "Aa"]
    mixed = fl.run(fl.Fetcher.of(put, undo=_swap), ["a"], progress=None)
    assert mixed.undo().values == ["A/a"]


def test_undoing_several_at_once_is_an_option() -> None:
    barrier = threading.Barrier(3, timeout=10)

    def together(item: str, value: str) -> None:
        barrier.wait()

    batch = run(fl.Fetcher.of(str.upper, undo=together), ["a", "b", "c"])
    assert batch.undo(concurrency=3).n_failed == 0


def test_undoing_again_undoes_what_is_left() -> None:
    shelf = Shelf()
    batch = run(shelf.fetcher(retry=fl.Try(2, 0)), ["a", "stuck", "c"])
    assert len(batch.undo()) == 3
    again = batch.undo()
    assert [result.key for result in again] == ["stuck"] and shelf.done.count("-a") == 1


def test_what_could_not_be_undone_can_be_tried_again() -> None:
    failing = [True]

    def undo(item: str, value: str) -> str:
        if item == "b" and failing.pop():
            raise OSError("locked")
        return value

    batch = run(fl.Fetcher.of(str.upper, undo=fl.Try(1, 0)(undo)), ["a", "b"])
    undone = batch.undo()
    assert undone.n_failed == 1
    failing.append(False)
    assert undone.retry_failed().values == ["B", "A"]
    assert len(batch.undo()) == 0


def test_an_undo_that_takes_something_else_is_refused_where_it_is_declared() -> None:
    def no_value(item: str) -> None: ...

    def with_session(item: str, value: str, *, session: Any = fl.injected) -> None: ...

    with pytest.raises(TypeError, match=r"no_value\(item: .*\) does not take"):
        fl.Fetcher.of(str.upper, undo=no_value)
    fl.Fetcher.of(str.upper, undo=with_session)


def test_failed_items_of_a_run_that_raised_are_run_again_and_merged() -> None:
    failing = [False, True]

    def put(item: str) -> str:
        if item == "b" and failing.pop():
            raise ValueError("not now")
        return item.upper()

    with pytest.raises(fl.BatchFailed) as caught:
        run(put, ["a", "b", "c"], on_error="raise")
    merged = caught.value.batch.retry_failed()
    assert merged.values == ["A", "B", "C"]


def test_nothing_to_undo_gives_an_empty_batch() -> None:
    assert len(run(Shelf().fetcher(), ["bad"]).undo()) == 0


def test_a_fetcher_without_undo_says_how_to_declare_it() -> None:
    with pytest.raises(TypeError, match=r"@fetcher\(undo=\.\.\.\)"):
        run(fl.Fetcher.of(str.upper), ["a"]).undo()
    with pytest.raises(TypeError, match="undo must be a function"):
        fl.Fetcher.of(str.upper, undo="delete")


def test_results_of_a_merged_batch_can_be_undone() -> None:
    shelf = Shelf()
    batch = run(shelf.fetcher(), ["a", "bad", "c"]).retry_failed()
    assert [result.key for result in batch.undo()] == ["c", "a"]
