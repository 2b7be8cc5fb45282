"""Rows that were not asked for never are a result, on every executor."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from lanes import Lane, Log, Session

import fetchline as fl


def quote(symbol: str) -> pl.DataFrame:
    return pl.DataFrame({"symbol": ["B" if symbol == "A" else symbol], "close": [1]})


def right(frame: pl.DataFrame, symbol: str) -> bool:
    return frame["symbol"].to_list() == [symbol]


@pytest.mark.parametrize("how", [{"key_column": "symbol"}, {"check": right}], ids=["column", "check"])
def test_rows_of_another_item_are_a_wrong_answer(lane: Lane, how: dict[str, Any]) -> None:
    batch = lane.run(lane.fetcher(quote, **how), ["A", "C"])
    assert [result.is_success for result in batch] == [False, True]
    assert batch[0].error_code == "wrong_answer" and isinstance(batch[0].error, fl.WrongAnswer)
    assert "'A'" in batch[0].message


def test_a_wrong_answer_is_charged_and_asked_again_on_a_fresh_session(lane: Lane, log: Log) -> None:
    """A session that mixes up its answers is not asked again; the items after it get the new one."""

    def ask(symbol: str, *, session: Session = fl.injected) -> dict[str, Any]:
        log.note("asked", symbol)
        wrong = symbol == "A" and fl.attempt().number == 1
        return {"symbol": "Z" if wrong else symbol}

    fetcher = lane.fetcher(ask, key_column="symbol", retry=fl.Try(2, 0), session=lambda: Session(log))
    batch = lane.run(fetcher, ["A", "B"])
    assert [result.value["symbol"] for result in batch] == ["A", "B"]
    assert [result.attempts for result in batch] == [2, 1]
    assert batch.summary.logins == batch.summary.logouts >= 2


def test_a_bulk_call_with_a_wrong_answer_in_it_gets_a_fresh_session(lane: Lane, log: Log) -> None:
    def ask(symbols: list[str], *, session: Session = fl.injected) -> dict[str, Any]:
        first = fl.attempt().number == 1
        return {symbol: {"symbol": "Z" if first and symbol == "B" else symbol} for symbol in symbols}

    fetcher = lane.fetcher(ask, bulk=3, key_column="symbol", retry=fl.Try(2, 0), session=lambda: Session(log))
    batch = lane.run(fetcher, ["A", "B", "C"])
    assert [result.value["symbol"] for result in batch] == ["A", "B", "C"]
    assert [result.attempts for result in batch] == [1, 2, 1]
    assert batch.summary.logins == 2


def test_a_wrong_answer_is_tried_again_whatever_on_names(lane: Lane) -> None:
    fetcher = lane.fetcher(quote, key_column="symbol", retry=fl.Try(3, 0, on=OSError))
    assert lane.run(fetcher, ["A"])[0].attempts == 3


def test_a_write_with_a_wrong_answer_is_not_sent_again(lane: Lane) -> None:
    fetcher = lane.fetcher(quote, key_column="symbol", retry=fl.Try(3, 0), idempotent=False)
    [result] = lane.run(fetcher, ["A"])
    assert (result.attempts, result.error_code) == (1, "unknown_outcome")


@pytest.mark.parametrize(
    ("returns", "policies"),
    [
        (None, {"check": lambda answer: answer["ok"]}),
        ({"ok": None}, {"check": lambda answer: answer["ok"]}),
        (7, {"key_column": "n"}),
        (7, {"schema": {"n": pl.Int64}}),
        (7, {"bulk": 5}),
        (pl.DataFrame({"n": [1]}), {"bulk": 5}),
    ],
    ids=["check", "a check that raises", "column", "schema", "shape", "no column"],
)
def test_a_write_that_returned_is_not_sent_again_whatever_its_answer_is(
    returns: Any, policies: dict[str, Any], log: Log
) -> None:
    """It has arrived: what goes wrong with its answer afterwards is no reason to send it twice."""

    def write(item: Any) -> Any:
        log.note("sent")
        return returns

    fetcher = fl.Fetcher.of(
        write, retry=fl.Try(3, 0), idempotent=False, undo=lambda item, value: None, **policies
    )
    batch = fl.run(fetcher, [1], progress=None)
    assert batch[0].error_code == "unknown_outcome" and log.count("sent") == 1
    assert batch.retry_failed() is batch
    assert [failure.key for failure in batch.undo().failures] == ["1"]


def test_a_frame_of_other_columns_fails_where_it_was_fetched_and_alone(lane: Lane) -> None:
    def typed(symbol: str) -> pl.DataFrame:
        return (
            pl.DataFrame({"close": [{"A": "1", "B": "n/a"}.get(symbol, 3)]})
            if symbol != "C"
            else pl.DataFrame({"x": [1]})
        )

    fetcher = lane.fetcher(typed, schema={"close": pl.Float64})
    batch = lane.run(fetcher, list("ABCD"))
    assert [result.is_success for result in batch] == [True, False, False, True]
    assert {failure.error_code for failure in batch.failures} == {"wrong_answer"}
    assert "'B'" in batch[1].message and "'C'" in batch[2].message
    assert batch[0].value.schema == {"close": pl.Float64}
    assert batch.frame()["close"].to_list() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        (pl.Int64, 1.5, "1.5 would become 1"),
        (pl.Boolean, 2, "2 would become True"),
        (pl.Date, 1.5, "1.5 would become"),
        (pl.Decimal(9, 1), Decimal("1.19"), "would become"),
        (pl.Date, datetime(2024, 1, 2, 16), "would become"),
        (pl.Int8, 1000, "Int8"),
    ],
)
def test_a_declared_type_changes_no_value(kind: Any, value: Any, why: str) -> None:
    fetcher = fl.Fetcher.of(lambda n: pl.DataFrame({"v": [value]}), schema={"v": kind})
    [result] = fl.run(fetcher, [1], progress=None)
    assert result.is_failure and result.error_code == "wrong_answer" and why in result.message


@pytest.mark.parametrize(
    ("kind", "value", "is_"),
    [
        (pl.Date, "2024-01-02", date(2024, 1, 2)),
        (pl.Datetime("us"), "2024-01-02T16:00:00", datetime(2024, 1, 2, 16)),
        (pl.Time, "16:00:01", time(16, 0, 1)),
        (pl.Date, datetime(2024, 1, 2), date(2024, 1, 2)),
        (pl.Int8, 7.0, 7),
        (pl.Float32, 0.1, pytest.approx(0.1)),
        (pl.Float64, "1.5", 1.5),
        (pl.Boolean, 1, True),
        (pl.String, 7, "7"),
        (pl.Int64, None, None),
    ],
)
def test_a_frame_arrives_in_the_declared_types(kind: Any, value: Any, is_: Any) -> None:
    fetcher = fl.Fetcher.of(lambda n: pl.DataFrame({"v": [value]}), schema={"v": kind})
    batch = fl.run(fetcher, [1], progress=None)
    assert batch.values[0]["v"].dtype == kind and batch.values[0]["v"][0] == is_
    assert batch.frame()["v"][0] == is_


def test_columns_that_do_not_fit_are_no_reason_to_log_in_again(lane: Lane, log: Log) -> None:
    def typed(symbol: str, *, session: Session = fl.injected) -> pl.DataFrame:
        return pl.DataFrame({"v": ["n/a"]})

    fetcher = lane.fetcher(typed, schema={"v": pl.Int64}, retry=fl.Try(3, 0), session=lambda: Session(log))
    batch = lane.run(fetcher, ["A"])
    assert batch[0].attempts == 3 and batch.summary.logins <= lane.width


@pytest.mark.parametrize("kind", [pl.Datetime, "float", pl.Decimal])
def test_half_a_type_is_refused_where_it_is_declared(kind: Any) -> None:
    with pytest.raises(TypeError, match="the type of 'v'"):
        fl.Fetcher.of(quote, schema={"v": kind})


# -- what is compared --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        pl.DataFrame({"n": [7, 7]}),
        pl.DataFrame({"n": []}),
        pl.DataFrame(),
        {"n": 7},
        {"n": [7, 7]},
        [{"n": 7}, {"n": "7"}],
        [],
    ],
    ids=repr,
)
def test_rows_of_the_item_are_right_in_every_form(value: Any) -> None:
    [result] = fl.run(fl.Fetcher.of(lambda n: value, key_column="n"), [7], progress=None)
    assert result.is_success, result


@pytest.mark.parametrize(
    "value",
    [
        pl.DataFrame({"n": [7, 8]}),
        pl.DataFrame({"n": [7, None]}),
        pl.DataFrame({"m": [7]}),
        {"n": 8},
        [{"n": 7}, {"n": 8}],
        [{"n": 7}, {"m": 7}],
    ],
    ids=repr,
)
def test_rows_of_others_are_wrong_in_every_form(value: Any) -> None:
    [result] = fl.run(fl.Fetcher.of(lambda n: value, key_column="n"), [7], progress=None)
    assert result.is_failure and result.error_code == "wrong_answer"


def test_an_answer_that_has_no_rows_to_look_at_says_so() -> None:
    [result] = fl.run(fl.Fetcher.of(lambda n: 7, key_column="n"), [7], progress=None)
    assert result.is_failure and "key_column='n' needs a frame" in result.message


def test_the_column_is_held_against_the_argument_of_its_name() -> None:
    def cell(symbol: str, year: int) -> dict[str, Any]:
        return {"year": year, "symbol": symbol}

    fetcher = fl.Fetcher.of(cell, key_column="year")
    assert fl.run(fetcher, fl.grid(symbol=["A", "B"], year=[1, 2]), progress=None).n_failed == 0
    assert fl.run(fetcher, ["A"], params={"year": 3}, progress=None).n_failed == 0
    assert fetcher("A", 3) == {"year": 3, "symbol": "A"}


def test_a_check_gets_the_arguments_it_names_however_they_were_given() -> None:
    told: list[Any] = []

    def check(answer: str, year: int, symbol: str) -> bool:
        told.append((answer, symbol, year))
        return True

    def cell(symbol: str, year: int = 9, other: int = 0) -> str:
        return f"{symbol}{year}"

    fetcher = fl.Fetcher.of(cell, check=check)
    fl.run(fetcher, ["A"], params={"year": 1}, progress=None)
    fl.run(fetcher, [fl.Args("B", 2)], progress=None)
    fl.run(fetcher, fl.grid(symbol=["C"], year=[3]), progress=None)
    fetcher("D")
    assert told == [("A1", "A", 1), ("B2", "B", 2), ("C3", "C", 3), ("D9", "D", 9)]


def test_a_check_that_takes_everything_gets_everything_but_the_session() -> None:
    told: list[dict[str, Any]] = []

    def check(answer: Any, **arguments: Any) -> bool:
        told.append(arguments)
        return True

    def cell(symbol: str, year: int = 9, *, session: Any = fl.injected) -> str:
        return symbol

    class Nothing:
        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    fl.run(fl.Fetcher.of(cell, check=check, session=Nothing), ["A"], progress=None)
    assert told == [{"symbol": "A", "year": 9}]


def test_a_check_of_bulk_answers_gets_each_with_its_item_and_the_params() -> None:
    def check(answer: int, item: int, factor: int) -> bool:
        return answer == item * factor and item != 2

    fetcher = fl.Fetcher.of(lambda numbers, factor: [n * factor for n in numbers], bulk=3, check=check)
    batch = fl.run(fetcher, range(4), params={"factor": 5}, progress=None)
    assert [result.is_success for result in batch] == [True, True, False, True]


def test_a_check_of_bulk_answers_gets_defaults_too() -> None:
    def ask(symbols: list[str], market: str = "X") -> dict[str, str]:
        return {symbol: symbol + market for symbol in symbols}

    def check(answer: str, symbol: str, market: str) -> bool:
        return answer == symbol + market

    assert fl.run(fl.Fetcher.of(ask, bulk=3, check=check), list("abc"), progress=None).n_failed == 0
    with pytest.raises(TypeError, match="'symbols'"):
        fl.Fetcher.of(ask, bulk=3, check=lambda answer, symbol, symbols: True)


def test_items_with_a_key_of_the_users_own_are_held_against_that(lane: Lane) -> None:
    items = [{"id": 1}, {"id": 2}]
    one = lane.fetcher(lambda item: {"id": item["id"]}, key_column="id")
    assert lane.run(one, items, key=_id_of).n_failed == 0
    many = lane.fetcher(
        lambda some: pl.DataFrame({"id": [one["id"] for one in some]}), bulk=2, key_column="id"
    )
    assert lane.run(many, items, key=_id_of).n_failed == 0


def _id_of(item: dict[str, int]) -> str:
    return str(item["id"])


def test_rows_of_a_bulk_call_over_a_grid_are_held_against_the_argument_of_the_columns_name(
    lane: Lane,
) -> None:
    def ask(cells: list[fl.Args]) -> list[dict[str, Any]]:
        return [{"symbol": cell.kwargs["symbol"], "year": cell.kwargs["year"]} for cell in cells]

    fetcher = lane.fetcher(ask, bulk=2, key_column="symbol")
    batch = lane.run(fetcher, fl.grid(symbol=["A", "B"], year=[1]))
    assert [result.value[0]["symbol"] for result in batch] == ["A", "B"]


def test_columns_of_series_are_rows_too() -> None:
    fetcher = fl.Fetcher.of(lambda n: {"n": pl.Series([7, 7])}, key_column="n")
    assert fl.run(fetcher, [7], progress=None).n_failed == 0


@pytest.mark.parametrize("gives", [None, 1, "yes"])
def test_a_check_that_gives_no_bool_says_so(gives: Any) -> None:
    [result] = fl.run(fl.Fetcher.of(quote, check=lambda answer: gives), ["C"], progress=None)
    assert result.is_failure and "True or False" in result.message and repr(gives) in result.message


def test_a_check_that_raises_is_an_error_of_the_item() -> None:
    def check(answer: pl.DataFrame) -> bool:
        return bool(answer["nowhere"].all())

    [result] = fl.run(fl.Fetcher.of(quote, check=check), ["C"], progress=None)
    assert result.is_failure and result.error_code == "error" and "nowhere" in result.message


@pytest.mark.parametrize(
    ("check", "why"),
    [
        (lambda: True, "the answer first"),
        (lambda answer, sym: True, "'sym'"),
        (lambda *args: True, "first"),
        (lambda answer, session: True, "'session'"),
    ],
)
def test_a_check_that_does_not_fit_is_refused_where_it_is_declared(check: Any, why: str) -> None:
    def ask(symbol: str, *, session: Any = fl.injected) -> str:
        return symbol

    with pytest.raises(TypeError, match=why):
        fl.Fetcher.of(ask, check=check)
    with pytest.raises(TypeError, match=why):
        fl.Fetcher.of(ask).replace(check=check)


def test_plain_calls_raise_a_wrong_answer() -> None:
    for how in ({"key_column": "symbol"}, {"check": right}):
        fetcher = fl.Fetcher.of(quote, **how)
        assert fetcher("C").height == 1
        with pytest.raises(fl.WrongAnswer, match="'A'"):
            fetcher("A")


def test_plain_calls_of_coroutines_raise_a_wrong_answer() -> None:
    async def ask(symbol: str) -> pl.DataFrame:
        return quote(symbol)

    with pytest.raises(fl.WrongAnswer, match="'A'"):
        asyncio.run(fl.Fetcher.of(ask, key_column="symbol")("A"))
