"""A stretch of whole days: ``Period``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

__all__ = ["Period"]

_DAY = timedelta(days=1)
_NAMED = re.compile(r"([0-9]{4})(?:-?[Qq]([1-4])|-([0-9]{2})(?:-([0-9]{2}))?)?")
_FORMS = "2024, 2024-Q1, 2024-01, 2024-01-05 or 2024-01-05..2024-02-07"


@dataclass(frozen=True, slots=True, order=True, init=False, repr=False)
class Period:
    """The days from ``start`` to ``end``, both included.

    A bound is a date, its ISO text, or a datetime at midnight, whose time zone is dropped. Periods are
    hashable, and ordered by start, then end. ``str(period)`` is the shortest name that ``parse`` reads back.

    Args:
        start: the first day.
        end: the last day, not before ``start``.

    Raises:
        TypeError: a bound is no date at all.
        ValueError: a bound is not a whole day, or ``end`` is before ``start``.

    >>> str(Period("2024-01-01", "2024-03-31"))
    '2024-Q1'
    """

    start: date
    end: date

    def __init__(self, start: str | date, end: str | date) -> None:
        first, last = _whole_day(start, "start"), _whole_day(end, "end")
        if last < first:
            raise ValueError(f"a period that starts on {first} cannot end on {last}: swap the two")
        object.__setattr__(self, "start", first)
        object.__setattr__(self, "end", last)

    # -- by name -------------------------------------------------------------------------------------------

    @classmethod
    def from_year(cls, year: int) -> Period:
        """Give the whole year."""
        return cls(date(year, 1, 1), date(year, 12, 31))

    @classmethod
    def from_month(cls, year: int, month: int) -> Period:
        """Give the whole month, 1 to 12."""
        first = date(year, month, 1)
        return cls(first, _last_of_month(first))

    @classmethod
    def Q1(cls, year: int) -> Period:  # noqa: N802  # quarters are written so
        """Give January to March."""
        return cls(date(year, 1, 1), date(year, 3, 31))

    @classmethod
    def Q2(cls, year: int) -> Period:  # noqa: N802
        """Give April to June."""
        return cls(date(year, 4, 1), date(year, 6, 30))

    @classmethod
    def Q3(cls, year: int) -> Period:  # noqa: N802
        """Give July to September."""
        return cls(date(year, 7, 1), date(year, 9, 30))

    @classmethod
    def Q4(cls, year: int) -> Period:  # noqa: N802
        """Give October to December."""
        return cls(date(year, 10, 1), date(year, 12, 31))

    @classmethod
    def parse(cls, text: str) -> Period:
        """Read a period's name: a year, quarter, month, day, or two of them joined by ``..``.

        Raises:
            ValueError: the text names no period.

        >>> Period.parse("2024-Q1") == Period.parse("2024Q1") == Period.parse("2024-01..2024-03")
        True
        """
        first, dots, last = text.partition("..")
        if not dots:
            return _read(text)[0]
        return cls(_read(first)[0].start, _read(last)[0].end)

    @classmethod
    def span(cls, text: str) -> list[Period]:
        """List consecutive periods, from the first named to the last: ``2024-Q1:2024-Q4``.

        Both ends are of one kind: years, quarters, months or days. A name without ``:`` is that one period.

        Raises:
            ValueError: an end names no period, the kinds differ, or the last is before the first.

        >>> [str(period) for period in Period.span("2023-11:2024-02")]
        ['2023-11', '2023-12', '2024-01', '2024-02']
        """
        head, colon, tail = text.partition(":")
        if not colon:
            return [cls.parse(head)]
        (first, kind), (last, last_kind) = _read(head), _read(tail)
        if kind is not last_kind:
            raise ValueError(f"{text!r} mixes two kinds: write both ends as years, quarters, months or days")
        if last < first:
            raise ValueError(f"{text!r} runs backwards: write {tail}:{head}")
        return cls(first.start, last.end)._split(kind)

    def __str__(self) -> str:
        start, end = self.start, self.end
        if start == end:
            return start.isoformat()
        if start.day == 1 and start.year == end.year and end == _last_of_month(end):
            months = end.month - start.month + 1
            if months == 1:
                return f"{start.year:04}-{start.month:02}"
            if months == 3 and start.month % 3 == 1:
                return f"{start.year:04}-Q{end.month // 3}"
            if months == 12:
                return f"{start.year:04}"
        return f"{start.isoformat()}..{end.isoformat()}"

    def __repr__(self) -> str:
        return f"Period({self.start.isoformat()!r}, {self.end.isoformat()!r})"

    # -- in parts ------------------------------------------------------------------------------------------

    def quarters(self) -> list[Period]:
        """Split into calendar quarters; the first and the last are cut to this period."""
        return self._split(_last_of_quarter)

    def months(self) -> list[Period]:
        """Split into calendar months; the first and the last are cut to this period.

        >>> [str(month) for month in Period("2024-01-30", "2024-03-31").months()]
        ['2024-01-30..2024-01-31', '2024-02', '2024-03']
        """
        return self._split(_last_of_month)

    def days(self) -> list[Period]:
        """Split into days."""
        return self._split(_same_day)

    def _split(self, last_day: Callable[[date], date]) -> list[Period]:
        parts = []
        first = self.start
        while (last := last_day(first)) < self.end:
            parts.append(Period(first, last))
            first = last + _DAY
        parts.append(Period(first, self.end))
        return parts

    # -- as days -------------------------------------------------------------------------------------------

    @property
    def n_days(self) -> int:
        """How many days it has, at least 1."""
        return (self.end - self.start).days + 1

    def __contains__(self, day: date | Period) -> bool:
        if isinstance(day, Period):
            return self.start <= day.start and day.end <= self.end
        return self.start <= (day.date() if isinstance(day, datetime) else day) <= self.end

    def as_params(self) -> dict[str, str]:
        """Give both bounds as ISO text, for the parameters of a request.

        >>> Period.Q1(2024).as_params()
        {'start': '2024-01-01', 'end': '2024-03-31'}
        """
        return {"start": self.start.isoformat(), "end": self.end.isoformat()}

    # -- crossing borders ----------------------------------------------------------------------------------

    def __reduce__(self) -> tuple[type[Period], tuple[date, date]]:
        return (Period, (self.start, self.end))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            _from_outside, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string", "description": f"a period of days: {_FORMS}", "examples": ["2024-Q1"]}


def _from_outside(value: object) -> Period:
    """Validate for pydantic, which takes a ValueError only as a verdict on the input."""
    if isinstance(value, Period):
        return value
    if isinstance(value, str):
        return Period.parse(value)
    if isinstance(value, Mapping) and value.keys() == {"start", "end"}:
        try:
            return Period(value["start"], value["end"])
        except TypeError as error:
            raise ValueError(str(error)) from None
    raise ValueError(f'a period is text ({_FORMS}) or {{"start": ..., "end": ...}}, not {value!r}')


def _whole_day(value: object, bound: str) -> date:
    if isinstance(value, str):
        try:
            moment: date = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(
                f"a period's {bound} is an ISO date such as 2024-01-31, not {value!r}"
                " (Period.parse reads names such as 2024-Q1)"
            ) from None
    elif isinstance(value, date):
        moment = value
    else:
        raise TypeError(f"a period's {bound} is a date or its ISO text, not {type(value).__name__} {value!r}")
    if not isinstance(moment, datetime):
        return moment
    if moment.time() != time.min:
        raise ValueError(f"a period's {bound} is a whole day, not the moment {value}: pass its .date()")
    return moment.date()


def _read(text: str) -> tuple[Period, Callable[[date], date]]:
    """Read one name; also give the function that finds the last day of a unit of its kind."""
    match = _NAMED.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} names no period: write {_FORMS}")
    year, quarter, month, day = (int(part or 1) for part in match.groups())
    kind = match.lastindex or 1
    try:
        first = date(year, 3 * quarter - 2 if kind == 2 else month, day)
    except ValueError as error:
        raise ValueError(f"{text!r} names no period: {error}") from None
    last_day = (_last_of_year, _last_of_quarter, _last_of_month, _same_day)[kind - 1]
    return Period(first, last_day(first)), last_day


def _same_day(day: date) -> date:
    return day


def _last_of_month(day: date) -> date:
    # Not through the first of the next month, which year 9999 does not have.
    return day.replace(day=31) if day.month == 12 else date(day.year, day.month + 1, 1) - _DAY


def _last_of_quarter(day: date) -> date:
    return _last_of_month(day.replace(month=(day.month - 1) // 3 * 3 + 3, day=1))


def _last_of_year(day: date) -> date:
    return date(day.year, 12, 31)
