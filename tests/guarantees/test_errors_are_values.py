"""Guarantee 4: an item's error is its result, and nobody else's affair."""

from __future__ import annotations

import logging

import pytest
from lanes import Lane, Log

import fetchline as fl


class Odd(Exception):
    """An error of the user's own, with arguments of its own."""

    def __init__(self, symbol: str, code: int) -> None:
        super().__init__(f"{symbol} has {code}")
        self.symbol = symbol
        self.code_of_mine = code


def odd_ones(n: int) -> int:
    if n % 3 == 0:
        raise KeyError(n)
    if n % 5 == 0:
        raise ConnectionRefusedError(f"nobody listens to {n}")
    return n


def test_errors_are_values_of_their_own_items_only(lane: Lane) -> None:
    batch = lane.run(odd_ones, range(30))
    for n, result in enumerate(batch):
        if n % 3 == 0:
            assert isinstance(result.error, KeyError)
            assert result.error.args == (n,)
            assert (result.error_code, result.key, result.attempts) == ("error", str(n), 1)
        elif n % 5 == 0:
            assert result.error_code == "unavailable"
            assert result.message == f"ConnectionRefusedError: nobody listens to {n}"
        else:
            assert result.value == n


def test_errors_are_values_with_the_traceback_of_the_function(lane: Lane) -> None:
    import traceback

    failure = lane.run(odd_ones, [0])[0]
    assert "raise KeyError(n)" in "".join(traceback.format_exception(failure.error))


def test_errors_are_values_where_nobody_awaited_what_the_function_returned(lane: Lane) -> None:
    async def far_away(n: int) -> int:
        return n

    def forgets(n: int) -> object:
        return far_away(n) if n == 1 else n

    batch = lane.run(forgets, range(3))
    assert [batch[0].value, batch[2].value] == [0, 2]
    assert batch[1].error_code == "error"
    assert "nobody awaited what the function returned (of the type coroutine)" in batch[1].message


def test_errors_are_values_even_where_an_exception_does_not_survive_pickling(lane: Lane) -> None:
    def raises(n: int) -> int:
        if n == 2:
            raise Odd("AAPL", 7)
        return n

    batch = lane.run(raises, range(5))
    assert batch.values == [0, 1, 3, 4]
    assert "AAPL has 7" in batch[2].message
    assert "Odd" in batch[2].message


def test_errors_are_values_and_a_run_warns_once_at_its_end(
    lane: Lane, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="fetchline"):
        lane.run(odd_ones, range(30))
    assert len(caplog.records) == 1
    said = caplog.records[0].getMessage()
    assert "14 of 30 items failed" in said
    assert "10 error (first: '" in said
    assert "4 unavailable (first: '" in said


def test_errors_are_values_and_the_first_key_of_each_code_is_the_first_in_the_input(lane: Lane) -> None:
    batch = lane.run(odd_ones, range(60))
    assert batch.summary.codes == {"error": 20, "unavailable": 8}
    assert batch.summary.first_keys["error"] in {str(n) for n in range(0, 60, 3)}
    assert batch.summary.first_keys["unavailable"] in {str(n) for n in range(5, 60, 5)}


def test_errors_are_values_and_a_run_without_any_is_silent(
    lane: Lane, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="fetchline"):
        lane.run(lambda n: n, range(30))
    assert caplog.records == []


def test_errors_are_values_until_asked_to_raise_the_first_completed_one(wide: Lane, log: Log) -> None:
    """Item 0 comes first in the order and fails as well, but later."""

    def races(n: int) -> int:
        if n == 0:
            log.wait_for("settled", patience=3)
            raise ValueError("the slow one")
        if n == 1:
            raise ValueError("the quick one")
        return n

    def settled(done: int, total: int | None) -> None:
        log.note("settled")

    with pytest.raises(fl.BatchFailed, match="the quick one") as caught:
        wide.run(races, range(20), on_error="raise", on_progress=settled)
    error = caught.value
    assert error.failure is not None
    assert error.failure.index == 1
    assert error.__cause__ is error.failure.error
    assert len(error.batch) == 20
    assert error.batch[1].error_code == "error"
    assert not error.batch.complete


def test_errors_are_values_in_streams_until_asked_to_raise(lane: Lane) -> None:
    def fourth(n: int) -> int:
        if n == 4:
            raise ValueError("four")
        return n

    assert [r.is_success for r in lane.stream(fourth, range(6))] == [True] * 4 + [False, True]
    got = []
    with pytest.raises(fl.BatchFailed, match="four") as caught:
        got.extend(lane.stream(fourth, iter(range(10_000)), on_error="raise", window=16))
    assert [r.value for r in got[:4]] == [0, 1, 2, 3]
    assert caught.value.failure is not None
    assert caught.value.failure.index == 4


def test_errors_are_values_that_one_call_turns_into_an_exception_group(lane: Lane) -> None:
    batch = lane.run(odd_ones, range(6))
    with pytest.raises(ExceptionGroup, match="3 of 6 items failed") as caught:
        batch.raise_for_failures()
    assert [type(error) for error in caught.value.exceptions] == [KeyError, KeyError, ConnectionRefusedError]
    assert caught.value.exceptions[1].__notes__[-1] == "item 3, key '3', error"


def test_errors_are_values_and_failed_items_alone_are_tried_again(lane: Lane, log: Log) -> None:
    def second_time(n: int) -> int:
        log.note("call", n)
        if n % 2 and log.count("call", n) == 1:
            raise ConnectionError
        return n

    batch = lane.run(second_time, range(10))
    assert batch.n_failed == 5
    merged = batch.retry_failed()
    assert merged.values == list(range(10))
    assert log.count("call") == 15
