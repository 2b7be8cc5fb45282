"""Period: its bounds, its names, its parts, and how it crosses borders."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchline.periods import Period

days = st.dates(date(1, 1, 1), date(9999, 12, 31))
named = st.one_of(
    st.builds(Period.from_year, st.integers(1, 9999)),
    st.builds(Period.from_month, st.integers(1, 9999), st.integers(1, 12)),
    st.builds(lambda q, y: getattr(Period, f"Q{q}")(y), st.integers(1, 4), st.integers(1, 9999)),
)


@st.composite
def stretches(draw: Any, longest: int = 1500) -> Period:
    start = draw(days)
    length = draw(st.integers(0, min(longest, (date.max - start).days)))
    return Period(start, start + timedelta(days=length))


# -- bounds


@pytest.mark.parametrize(
    "start",
    [
        "2024-01-01",
        date(2024, 1, 1),
        datetime(2024, 1, 1),
        datetime(2024, 1, 1, tzinfo=UTC),
        "2024-01-01T00:00:00",
    ],
)
def test_a_bound_is_text_a_date_or_a_midnight(start: Any) -> None:
    period = Period(start, date(2024, 3, 31))
    assert period == Period.Q1(2024)
    assert type(period.start) is date


@pytest.mark.parametrize("bound", [datetime(2024, 1, 1, 0, 0, 0, 1), "2024-01-01T09:30"])
def test_a_moment_within_the_day_is_refused(bound: Any) -> None:
    with pytest.raises(ValueError, match=r"start is a whole day.*\.date\(\)"):
        Period(bound, "2024-12-31")


@pytest.mark.parametrize("bound", [None, 2024, 20240101.0, True, ("2024", 1)])
def test_what_is_no_date_is_refused_with_its_type(bound: Any) -> None:
    with pytest.raises(TypeError, match=f"end is a date or its ISO text, not {type(bound).__name__}"):
        Period("2024-01-01", bound)


def test_a_name_as_a_bound_points_to_parse() -> None:
    with pytest.raises(ValueError, match=r"'2024-Q1'.*Period\.parse"):
        Period("2024-Q1", "2024-12-31")


def test_a_period_cannot_end_before_it_starts() -> None:
    with pytest.raises(ValueError, match="starts on 2024-01-02 cannot end on 2024-01-01"):
        Period("2024-01-02", "2024-01-01")


def test_quarters_years_and_months_have_their_bounds() -> None:
    assert [Period.Q1(2023), Period.Q2(2023), Period.Q3(2023), Period.Q4(2023)] == Period.from_year(
        2023
    ).quarters()
    assert Period.from_month(2024, 2) == Period("2024-02-01", "2024-02-29")
    assert Period.from_month(9999, 12).end == date.max


# -- records


def test_periods_are_frozen_hashable_slotted_and_ordered_by_start_then_end() -> None:
    period = Period.Q1(2024)
    with pytest.raises(AttributeError):
        period.start = date(2020, 1, 1)  # type: ignore[misc]
    assert not hasattr(period, "__dict__")
    assert len({period, Period.parse("2024Q1")}) == 1
    assert sorted([Period.from_year(2024), Period.Q2(2024), period]) == [
        period,
        Period.from_year(2024),
        Period.Q2(2024),
    ]


@given(stretches())
def test_pickle_and_repr_give_the_same_period(period: Period) -> None:
    assert pickle.loads(pickle.dumps(period)) == period
    assert eval(repr(period)) == period


# -- names


@pytest.mark.parametrize("text", ["2024", "2024-Q1", "2024-01", "2024-01-05", "2024-01-05..2024-02-07"])
def test_the_canonical_forms_are_their_own_text(text: str) -> None:
    assert str(Period.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "2023-01-01..2024-01-31",
        "2023-01-01..2024-03-31",
        "2023-01-01..2024-12-31",
        "2024-02-01..2024-04-30",
        "2024-01-01..2024-02-28",
        "2024-01-02..2024-01-31",
    ],
)
def test_what_is_nearly_a_month_quarter_or_year_has_both_its_days_as_a_name(text: str) -> None:
    assert str(Period.parse(text)) == text


@given(stretches() | named)
def test_parse_reads_what_str_writes(period: Period) -> None:
    assert Period.parse(str(period)) == period


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2024Q1", "2024-Q1"),
        ("2024q4", "2024-Q4"),
        ("2024-01..2024-12", "2024"),
        ("2024-01-01..2024-01-01", "2024-01-01"),
    ],
)
def test_other_spellings_become_canonical(text: str, canonical: str) -> None:
    assert str(Period.parse(text)) == canonical


@pytest.mark.parametrize(
    "text",
    ["", "24", "2024-13", "2024-00", "2024-Q5", "2024-02-30", "2024-01-00", "0000", "2024..", "..2024",
     "2024..2025..2026", " 2024", "2024-Q1\n", "\uff12\uff10\uff12\uff14"],
)  # fmt: skip
def test_text_that_names_no_period_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="names no period"):
        Period.parse(text)


# -- spans


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("2024-Q1:2024-Q4", ["2024-Q1", "2024-Q2", "2024-Q3", "2024-Q4"]),
        ("2024:2026", ["2024", "2025", "2026"]),
        ("2023-12:2024-02", ["2023-12", "2024-01", "2024-02"]),
        ("2024-02-28:2024-03-01", ["2024-02-28", "2024-02-29", "2024-03-01"]),
        ("2024Q4:2024-Q4", ["2024-Q4"]),
        ("2024-Q1", ["2024-Q1"]),
        ("2024-01-05..2024-02-07", ["2024-01-05..2024-02-07"]),
    ],
)
def test_a_span_lists_the_periods_of_its_kind(text: str, names: list[str]) -> None:
    assert [str(period) for period in Period.span(text)] == names


def test_a_span_of_two_kinds_is_refused() -> None:
    with pytest.raises(ValueError, match="'2024-Q1:2024-12' mixes two kinds"):
        Period.span("2024-Q1:2024-12")


def test_a_span_that_runs_backwards_is_refused_with_its_reverse() -> None:
    with pytest.raises(ValueError, match="write 2024:2026"):
        Period.span("2026:2024")


# -- parts


@given(stretches(), st.sampled_from(["months", "quarters", "days"]))
def test_parts_cover_the_period_exactly_and_in_order(period: Period, kind: str) -> None:
    parts = getattr(period, kind)()
    assert (parts[0].start, parts[-1].end) == (period.start, period.end)
    assert all(after.start - before.end == timedelta(days=1) for before, after in pairwise(parts))


@given(stretches())
def test_no_month_or_quarter_reaches_over_its_border(period: Period) -> None:
    assert all(part.start.month == part.end.month for part in period.months())
    assert all((part.start.month - 1) // 3 == (part.end.month - 1) // 3 for part in period.quarters())
    assert all(before.start.month != after.start.month for before, after in pairwise(period.months()))
    assert len(period.days()) == period.n_days


def test_the_last_day_there_is_can_be_split() -> None:
    assert Period(date.max, date.max).months() == [Period(date.max, date.max)]


# -- days


def test_containing_days_moments_and_periods() -> None:
    period = Period.Q1(2024)
    assert date(2024, 3, 31) in period
    assert datetime(2024, 3, 31, 23, 59) in period
    assert date(2024, 4, 1) not in period
    assert Period.from_month(2024, 2) in period
    assert Period.from_year(2024) not in period


def test_params_are_iso_text_and_days_are_counted_inclusively() -> None:
    assert Period.Q1(2024).as_params() == {"start": "2024-01-01", "end": "2024-03-31"}
    assert (Period.Q1(2024).n_days, Period("2024-01-01", "2024-01-01").n_days) == (91, 1)


# -- pydantic


class Request(pydantic.BaseModel):
    period: Period


@pytest.mark.parametrize(
    "given_as",
    [
        "2024-Q1",
        Period.Q1(2024),
        {"start": "2024-01-01", "end": "2024-03-31"},
        {"start": date(2024, 1, 1), "end": "2024-03-31"},
    ],
)
def test_pydantic_validates_text_periods_and_bounds(given_as: Any) -> None:
    assert Request(period=given_as).period == Period.Q1(2024)


@pytest.mark.parametrize(
    "given_as", ["2024-Q9", 2024, None, {"start": "2024-01-01"}, {"start": 1, "end": 2}, ["2024"]]
)
def test_pydantic_reports_what_is_no_period_as_a_validation_error(given_as: Any) -> None:
    with pytest.raises(pydantic.ValidationError, match="period"):
        Request(period=given_as)


def test_pydantic_writes_text_and_reads_it_back() -> None:
    request = Request(period=Period.Q1(2024))
    assert request.model_dump_json() == '{"period":"2024-Q1"}'
    assert request.model_dump(mode="json") == {"period": "2024-Q1"}
    assert Request.model_validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_pydantic_describes_a_period_as_a_string(mode: Any) -> None:
    assert Request.model_json_schema(mode=mode)["properties"]["period"]["type"] == "string"
