"""Text to typed arguments."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional, Union

import pytest

from fetchline.cli.typed import reader, spans
from fetchline.periods import Period


class Side(enum.Enum):
    BUY = "b"
    SELL = 2


@dataclass
class Point:
    x: int


Symbol = NewType("Symbol", str)
Count = NewType("Count", int)


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (Any, "1", "1"),
        (str, "1", "1"),
        (Symbol, "1", "1"),
        (Count, "1", 1),
        (int, "-12", -12),
        (float, "1.5", 1.5),
        (bool, "Yes", True),
        (bool, "off", False),
        (date, "2024-01-31", date(2024, 1, 31)),
        (datetime, "2024-01-31T16:00+00:00", datetime(2024, 1, 31, 16, tzinfo=UTC)),
        (Period, "2024-Q1", Period.Q1(2024)),
        (Path, "a/b", Path("a/b")),
        (Side, "SELL", Side.SELL),
        (Side, "2", Side.SELL),
        (Literal["adj", 5], "5", 5),
        (int | None, "none", None),
        (Optional[int], "4", 4),  # noqa: UP045  # users write it
        (Union[str, int], "4", 4),  # noqa: UP007
        (str | int, "four", "four"),
        (date | Period, "2024-Q2", Period.Q2(2024)),
        (Annotated[int, "how many"], "4", 4),
        (Decimal, "1.10", Decimal("1.10")),
        (timedelta, "PT90S", timedelta(seconds=90)),
        (list[int], "1, 2", [1, 2]),
        (list[int], "[1, 2]", [1, 2]),
        (list[str], "A,B", ["A", "B"]),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (Point, '{"x": 1}', Point(1)),
    ],
)
def test_text_becomes_a_value_of_the_annotation(annotation: Any, text: str, value: object) -> None:
    got = reader(annotation)(text)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("annotation", "text", "why"),
    [
        (int, "1.5", "'1.5' is no whole number"),
        (float, "much", "'much' is no number"),
        (bool, "2", "'2' is neither true nor false"),
        (date, "31.1.2024", "'31.1.2024' is no date such as 2024-01-31"),
        (Side, "HOLD", "'HOLD' is none of b, 2, BUY, SELL"),
        (Literal["adj", "raw"], "x", "'x' is none of adj, raw"),
        (int | None, "x", "'x' is no whole number"),
        (int | date, "x", "'x' is no whole number, and 'x' is no date such as 2024-01-31"),
        (Decimal, "x", "'x' is no Decimal"),
        (list[int], "1,x", "'1,x' is no list"),
    ],
)
def test_text_that_does_not_fit_is_refused_in_words(annotation: Any, text: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        reader(annotation)(text)
    assert str(caught.value).startswith(why)


def test_a_type_that_no_text_makes_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="no text makes a value of Thread"):
        from threading import Thread

        reader(Thread)


def test_plain_types_need_no_pydantic_and_others_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    plain: list[tuple[Any, str]] = [(int, "1"), (date | None, "none"), (Side, "b"), (Period, "2024")]
    for annotation, text in plain:
        reader(annotation)(text)
    with pytest.raises(TypeError, match=r"Decimal needs pydantic: pip install 'fetchline\[pydantic\]'"):
        reader(Decimal)


@pytest.mark.parametrize("annotation", [Period, Period | None, Annotated[Period, "when"], date | Period])
def test_spans_are_for_periods(annotation: Any) -> None:
    assert spans(annotation)
    ordinary: list[Any] = [str, int | None, date, list[Period]]
    assert not any(map(spans, ordinary))


def test_none_is_no_None_where_only_text_is_wanted() -> None:
    read: Callable[[str], Any] = reader(str)
    assert read("none") == "none"
