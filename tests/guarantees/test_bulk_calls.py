"""One call for many items: each has its own result, in order, on every executor."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lanes import Lane, Log, Session, until

import fetchline as fl
from fetchline.interfaces import AttemptInfo


def said(log: Log) -> list[str]:
    return [line[0] for line in log.lines()]


@pytest.mark.parametrize("shape", ["mapping", "mapping by key", "list", "frame"])
def test_bulk_answers_of_every_shape_are_dealt_out_in_order(lane: Lane, shape: str) -> None:
    def squares(numbers: list[int]) -> Any:
        match shape:
            case "mapping":
                return {n: n * n for n in reversed(numbers)}
            case "mapping by key":
                return {str(n): n * n for n in reversed(numbers)}
            case "list":
                return [n * n for n in numbers]
        rows = [n for n in reversed(numbers) for _ in range(2)]
        return pl.LazyFrame({"n": rows, "square": [n * n for n in rows]})

    fetcher = lane.fetcher(squares, bulk=7, key_column="n" if shape == "frame" else None)
    batch = lane.run(fetcher, range(50))
    if shape == "frame":
        assert batch.frame(key=None)["square"].to_list() == [n * n for n in range(50) for _ in range(2)]
    else:
        assert batch.values == [n * n for n in range(50)]
    assert [result.key for result in batch] == [str(n) for n in range(50)]
    assert batch.summary.calls == 8 and batch.summary.attempts == 50


def test_bulk_keys_that_were_left_out_are_missing(lane: Lane) -> None:
    batch = lane.run(
        lane.fetcher(lambda keys: {key: key for key in keys if key != "c"}, bulk=3), list("abcde")
    )
    assert [result.is_success for result in batch] == [True, True, False, True, True]
    assert batch[2].error_code == "missing" and isinstance(batch[2].error, fl.Missing)
    assert "'c'" in batch[2].message and "'a'" in batch[2].message


def test_bulk_values_may_be_errors_of_single_items(lane: Lane) -> None:
    def some(keys: list[str]) -> dict[str, Any]:
        return {key: {"b": ValueError("b is odd"), "c": fl.NoData("none")}.get(key, key) for key in keys}

    batch = lane.run(lane.fetcher(some, bulk=4), list("abcd"))
    assert [result.status for result in batch] == ["success", "failure", "empty", "success"]
    assert batch[1].message == "ValueError: b is odd" and batch[1].error_code == "error"


def test_bulk_poison_stands_alone_and_its_neighbours_are_delivered(lane: Lane) -> None:
    def fussy(numbers: list[int]) -> list[int]:
        if 13 in numbers:
            raise ValueError("13 is not served")
        return numbers

    batch = lane.run(lane.fetcher(fussy, bulk=16), range(40))
    assert [result.index for result in batch.failures] == [13]
    assert batch[13].message == "ValueError: 13 is not served"
    assert batch.summary.calls <= 3 + 2 * 4


def test_bulk_calls_are_tried_again_as_they_were(lane: Lane, log: Log) -> None:
    def flaky(keys: list[str]) -> list[str]:
        log.note(",".join(keys))
        if fl.attempt().number == 1:
            raise ConnectionError("not now")
        return [key.upper() for key in keys]

    batch = lane.run(lane.fetcher(flaky, bulk=2, retry=fl.Try(2, 0)), list("abcd"))
    assert batch.values == list("ABCD") and {result.attempts for result in batch} == {2}
    assert sorted(said(log)) == ["a,b", "a,b", "c,d", "c,d"]


def test_bulk_calls_keep_the_pace_as_one(lane: Lane) -> None:
    batch = lane.run(lane.fetcher(lambda keys: keys, bulk=10, pace="10/s"), range(40))
    assert batch.values == list(range(40))
    assert 0.25 <= batch.summary.wall_s < 3


def test_bulk_calls_time_out_and_are_halved(wide: Lane) -> None:
    def slow(keys: list[str]) -> list[str]:
        if "c" in keys:
            time.sleep(1.5)
        return keys

    batch = wide.run(wide.fetcher(slow, bulk=4, timeout=0.3), list("abcd"))
    assert [result.is_success for result in batch] == [True, True, False, True]
    assert batch[2].error_code == "timeout"


def test_a_bulk_call_that_kills_its_worker_costs_the_item_that_did_it() -> None:
    def deadly(keys: list[str]) -> list[str]:
        if "c" in keys:
            os.kill(os.getpid(), signal.SIGKILL)
        return keys

    batch = fl.run(
        fl.Fetcher.of(deadly, bulk=4), list("abcdefg"), executor="process", workers=2, progress=None
    )
    assert [result.is_success for result in batch] == [key != "c" for key in "abcdefg"]
    assert batch[2].error_code == "crashed"


def test_bulk_writes_that_must_not_be_sent_twice_are_sent_once(lane: Lane, log: Log) -> None:
    def write(keys: list[str]) -> list[str]:
        log.note(",".join(keys))
        raise ConnectionResetError("gone")

    batch = lane.run(lane.fetcher(write, bulk=4, idempotent=False, retry=3), list("abcd"))
    assert {failure.error_code for failure in batch.failures} == {"unknown_outcome"}
    assert said(log) == ["a,b,c,d"]


def test_a_remote_bulk_task_keeps_its_memo_and_its_items(lane: Lane) -> None:
    def remote(keys: list[str]) -> dict[str, str]:
        memo = fl.attempt().memo
        if memo is None:
            raise fl.NotReady(0.02, memo="+".join(keys))
        assert memo == "+".join(keys)
        return dict.fromkeys(keys, memo)

    batch = lane.run(lane.fetcher(remote, bulk=2), list("abcdef"))
    assert batch.values == ["a+b", "a+b", "c+d", "c+d", "e+f", "e+f"]


def test_a_bulk_call_does_not_wait_for_a_slow_generator() -> None:
    """What is there goes after ``linger``, though the call is not full and the input goes on."""
    served: list[list[int]] = []

    def numbers(keys: list[int]) -> list[int]:
        served.append(keys)
        return keys

    def slow() -> Iterator[int]:
        yield from range(3)
        until(lambda: bool(served), "the first call, though the input blocks")
        yield 3

    fetcher = fl.Fetcher.of(numbers, bulk=fl.Bulk(100, linger=0.05))
    assert [result.value for result in fl.stream(fetcher, slow())] == [0, 1, 2, 3]
    assert served == [[0, 1, 2], [3]]


def test_a_bulk_call_does_not_wait_for_a_source_that_pauses(wide: Lane) -> None:
    """Nobody looks again when nothing comes: a timer has to."""
    go = threading.Event()

    def pausing() -> Iterator[str]:
        time.sleep(0.3)  # every worker has found nothing by now
        yield "a"
        assert go.wait(20)

    fetcher = wide.fetcher(lambda keys: list(keys), bulk=fl.Bulk(25, linger=0.05))
    for result in wide.stream(fetcher, pausing()):
        assert result.value == "a"
        go.set()


def test_a_window_smaller_than_a_call_goes_on(wide: Lane) -> None:
    fetcher = wide.fetcher(lambda keys: list(keys), bulk=fl.Bulk(25, linger=30))
    results = wide.stream(fetcher, itertools.count(), window=10)
    assert [next(results).value for _ in range(35)] == list(range(35))
    results.close()


def test_bulk_items_of_one_call_share_a_session_and_equal_ones_are_one(lane: Lane, log: Log) -> None:
    def ask(keys: list[str], *, session: Session = fl.injected) -> dict[str, str]:
        log.note(",".join(keys))
        return {key: key.upper() for key in keys}

    fetcher = lane.fetcher(ask, bulk=4, session=lambda: Session(log))
    batch = lane.run(fetcher, list("abcabcabc"), dedupe=True)
    assert batch.values == list("ABCABCABC")
    assert [result.origin for result in batch] == ["fetched"] * 3 + ["shared"] * 6
    assert batch.summary.calls == 1


def test_a_list_that_does_not_fit_is_nobodys(lane: Lane) -> None:
    """Nobody knows which of the items was left out, so none gets another's value."""
    batch = lane.run(lane.fetcher(lambda keys: [key for key in keys if key != "b"], bulk=3), list("abc"))
    assert [result.is_success for result in batch] == [True, False, True]
    assert batch[1].error_code == "wrong_answer"


@pytest.mark.parametrize("answer", ["text", 7, None])
def test_an_answer_that_cannot_be_taken_apart_says_what_could_be(lane: Lane, answer: Any) -> None:
    batch = lane.run(lane.fetcher(lambda keys: answer, bulk=2), list("ab"))
    assert all("returns a mapping" in failure.message for failure in batch.failures) and batch.n_failed == 2


def test_a_frame_without_a_key_column_says_how_to_declare_it(lane: Lane) -> None:
    batch = lane.run(lane.fetcher(lambda keys: pl.DataFrame({"k": keys}), bulk=2), list("ab"))
    assert "key_column=" in batch[0].message


@pytest.mark.parametrize("form", [pl.DataFrame, dict, list], ids=["frame", "mapping", "rows"])
def test_rows_of_others_do_not_reach_anybody(lane: Lane, form: Any) -> None:
    """Somebody else's row in the place of one that was asked for: it may be somebody else's answer altogether."""

    def rows(keys: list[str]) -> Any:
        there = ["z", *keys[1:]] if fl.attempt().number == 1 else keys
        if form is dict:
            return {key: [{"k": key}] for key in there}
        return pl.DataFrame({"k": there}) if form is pl.DataFrame else [{"k": key} for key in there]

    column = None if form is dict else "k"
    once = lane.run(lane.fetcher(rows, bulk=3, key_column=column), list("abc"))
    assert [result.is_success for result in once] == [False, True, True]
    assert once[0].error_code == "wrong_answer" and "'z' was not asked for" in once[0].message
    assert once.frame(key=None)["k"].to_list() == ["b", "c"]
    twice = lane.run(lane.fetcher(rows, bulk=3, key_column=column, retry=fl.Try(2, 0)), list("abc"))
    assert twice.frame(key=None)["k"].to_list() == ["a", "b", "c"]
    assert [result.attempts for result in twice] == [2, 1, 1]


def test_more_than_was_asked_for_hurts_nobody(lane: Lane) -> None:
    fetcher = lane.fetcher(lambda keys: {key: key for key in "abcxyz"}, bulk=3)
    assert lane.run(fetcher, list("abc")).values == ["a", "b", "c"]


def test_rows_as_dicts_are_dealt_out_by_the_key_column(lane: Lane) -> None:
    def rows(keys: list[str]) -> list[dict[str, Any]]:
        return [{"k": key, "n": n} for n in range(2) for key in keys if key != "b"]

    batch = lane.run(lane.fetcher(rows, bulk=3, key_column="k"), list("abc"))
    assert batch[0].value == [{"k": "a", "n": 0}, {"k": "a", "n": 1}]
    assert batch[1].error_code == "missing"


def test_equal_items_of_one_call_are_asked_for_once(lane: Lane, log: Log) -> None:
    def rows(keys: list[str]) -> pl.DataFrame:
        log.note(",".join(keys))
        return pl.DataFrame({"k": keys})

    batch = lane.run(lane.fetcher(rows, bulk=4, key_column="k"), list("aaba"))
    assert batch.frame(key=None)["k"].to_list() == list("aaba")
    assert said(log) == ["a,b"]


def test_a_call_that_is_not_let_in_is_not_halved(lane: Lane) -> None:
    class Refused(Exception):
        status = 401

    def refused(keys: list[str]) -> None:
        raise Refused("who are you?")

    batch = lane.run(lane.fetcher(refused, bulk=50), range(100))
    assert batch.summary.calls == 2
    assert {failure.error_code for failure in batch.failures} == {"permanent"}


@pytest.mark.parametrize("bulk", [0, -1, True, "50"])
def test_a_bulk_size_is_a_count(bulk: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="bulk"):
        fl.Fetcher.of(lambda keys: keys, bulk=bulk)


class Told:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.attempts: list[AttemptInfo] = []

    @fl.hookimpl
    def fetchline_attempt_finished(self, run: fl.RunInfo, attempt: AttemptInfo) -> None:
        self.attempts.append(attempt)


def test_attempt_finished_is_told_of_each_item_of_a_bulk_call(lane: Lane) -> None:
    told = Told()
    fetcher = lane.fetcher(lambda keys: {key: key for key in keys if key != "b"}, bulk=3)
    lane.run(fetcher, list("abc"), plugins=[told])
    assert [(one.key, one.number, one.verdict and one.verdict.code) for one in told.attempts] == [
        ("a", 1, None),
        ("b", 1, "missing"),
        ("c", 1, None),
    ]


def test_what_a_worker_leaves_behind_goes_though_it_is_busy(wide: Lane) -> None:
    """Too little for a call, while the only one who knew of it is at work."""
    go = threading.Event()

    def ask(keys: list[int]) -> list[int]:
        if 0 in keys:
            assert go.wait(20)
        else:
            go.set()
        return keys

    def some() -> Iterator[int]:
        time.sleep(0.3)
        yield from range(5)
        assert go.wait(20)

    if wide.far:
        pytest.skip("the two calls tell each other by an event of this process")
    fetcher = wide.fetcher(ask, bulk=fl.Bulk(4, linger=0.05))
    assert [result.value for result in wide.stream(fetcher, some())] == list(range(5))


def test_a_named_pace_gives_its_starts_to_calls_that_have_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FETCHLINE_STATE", str(tmp_path))
    pace = fl.Pace("20/s", name="bulk")
    fetcher = fl.Fetcher.of(lambda keys: keys, bulk=fl.Bulk(5, linger=0.1), pace=pace)
    results = fl.stream(fetcher, list(range(8)), window=4)
    assert [result.value for result in results] == list(range(8))


def test_progress_can_be_looked_at_while_workers_are_busy() -> None:
    fetcher = fl.Fetcher.of(lambda keys: keys, bulk=100)
    job = fl.submit(fetcher, iter(range(100_000)), workers=8)
    while not job.wait(timeout=0.001):
        assert job.progress.done <= 100_000
    assert job.result().n_succeeded == 100_000


def test_remote_tasks_of_single_items_may_have_any_memo(lane: Lane) -> None:
    def ask(keys: list[str]) -> dict[str, Any]:
        if fl.attempt().memo is None:
            return {key: fl.NotReady(0.01, memo=pl.DataFrame({"k": [key]})) for key in keys}
        return {key: fl.attempt().memo["k"][0] for key in keys}

    assert lane.run(lane.fetcher(ask, bulk=3), list("abc")).values == list("abc")


def test_items_that_failed_alike_are_asked_for_again_together(lane: Lane) -> None:
    def ask(keys: list[int]) -> dict[int, Any]:
        first = fl.attempt().number == 1
        return {key: ValueError("not yet") if first else key for key in keys}

    batch = lane.run(lane.fetcher(ask, bulk=20, retry=fl.Try(3, 0.05)), range(20))
    assert batch.values == list(range(20)) and batch.summary.calls == 2


def test_a_memo_outlives_an_error_that_is_told_item_by_item(lane: Lane, log: Log) -> None:
    def ask(keys: list[str]) -> dict[str, Any]:
        attempt = fl.attempt()
        log.note(attempt.memo)
        match attempt.number:
            case 1:
                raise fl.NotReady(0, memo="task")
            case 2:
                return {key: ValueError("the poll failed") for key in keys}
        return dict.fromkeys(keys, "done")

    assert lane.run(lane.fetcher(ask, bulk=2, retry=fl.Try(2, 0)), list("ab")).values == ["done"] * 2
    assert said(log) == [None, "task", "task"]


class Expired(Exception):
    pass


def test_an_expired_login_told_item_by_item_is_one_new_login(lane: Lane, log: Log) -> None:
    def session() -> Session:
        return Session(log)

    def ask(keys: list[str], *, session: Session = fl.injected) -> dict[str, Any]:
        first = fl.attempt().number == 1
        return {key: Expired() if first and key == "b" else key for key in keys}

    def never(keys: list[str], *, session: Session = fl.injected) -> dict[str, Any]:
        return {key: Expired() for key in keys}

    spec = fl.SessionSpec(name="s", factory=session, expired=(Expired,))
    batch = lane.run(lane.fetcher(ask, bulk=3, session=spec), list("abc"))
    assert batch.values == list("abc") and batch.summary.logins == 2
    refused = lane.run(lane.fetcher(never, bulk=3, session=spec), list("abc"))
    assert {failure.error_code for failure in refused.failures} == {"session"}
    assert refused.summary.calls <= 3


def test_lazy_frames_in_a_bulk_answer_are_collected_where_they_were_made(lane: Lane) -> None:
    fetcher = lane.fetcher(lambda keys: {key: pl.LazyFrame({"k": [key]}) for key in keys}, bulk=2)
    batch = lane.run(fetcher, list("ab"))
    assert all(isinstance(value, pl.DataFrame) for value in batch.values)


def test_a_class_of_error_in_a_bulk_answer_is_one(lane: Lane) -> None:
    batch = lane.run(lane.fetcher(lambda keys: dict.fromkeys(keys, fl.NoData), bulk=2), list("ab"))
    assert [result.status for result in batch] == ["empty", "empty"]


def test_what_results_weigh_is_counted_right_over_many_attempts() -> None:
    """A stream that is tried again and again holds no more than one that is not."""
    tries: dict[int, int] = {}

    def ask(keys: list[int]) -> list[bytes]:
        tries[keys[0]] = tries.get(keys[0], 0) + 1
        if tries[keys[0]] < 3:
            raise ConnectionError("not yet")
        return [bytes(10_000)] * len(keys)

    fetcher = fl.Fetcher.of(ask, bulk=10, retry=fl.Try(3, 0))
    results = fl.stream(fetcher, range(400), window="1MB", workers=2)
    taken = [next(results) for _ in range(5)]
    time.sleep(0.5)  # whoever could start has
    assert sum(10 for key, count in tries.items() if count == 3) <= 160
    assert len([*taken, *results]) == 400
