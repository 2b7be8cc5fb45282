"""The fetchers: ``baostock.ohlcv`` and its siblings.

Each gives one frame in declared types, or raises: ``NoData`` where baostock has no rows, ``BaostockError`` for what
it refuses, ``WrongAnswer`` for rows of another code or another time. Dates are checked before anything is asked.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any, Literal

import polars as pl

from fetchline.errors import NoData, WrongAnswer
from fetchline.fetchers import fetcher, injected
from fetchline.periods import Period
from fetchline.retry import Try
from fetchline_baostock import columns
from fetchline_baostock.columns import Schema, typed
from fetchline_baostock.errors import BaostockError
from fetchline_baostock.sessions import Session

__all__ = [
    "balance",
    "basic",
    "cash_flow",
    "day",
    "dupont",
    "growth",
    "minutes",
    "ohlcv",
    "operation",
    "profit",
    "stocks",
    "trade_dates",
]

Adjust = Literal["none", "forward", "backward"]
_FLAGS = {"backward": "1", "forward": "2", "none": "3"}
_CODE = re.compile(r"[a-z]{2}\.\d{6}")
_COMMON: dict[str, Any] = {"session": "baostock", "retry": Try(retry=5, sleep=0.5, max_sleep=30)}
_BY_CODE = _COMMON | {"key_column": "code"}


# -- prices ------------------------------------------------------------------------------------------------


def _bars_of(answer: pl.DataFrame, period: Period) -> bool:
    when = answer.get_column("time" if "time" in answer.columns else "date")
    return _within(answer.get_column("date"), period) and when.is_unique().all()


@fetcher("baostock.ohlcv", check=_bars_of, schema=columns.DAILY, **_BY_CODE)
def ohlcv(
    code: str,
    period: Period,
    frequency: Literal["d", "w", "m"] = "d",
    adjust: Adjust = "none",
    *,
    session: Session = injected,
) -> pl.DataFrame:
    """Fetch the bars of a stock or an index by day, week or month.

    The columns are the same for every frequency, and those of ``baostock.day``; by week and month, baostock has
    nothing for preclose, tradestatus, isST and the valuations, which are null.

    Args:
        code: such as ``sh.600000``.
        period: the first day and the last.
        frequency: ``d``, ``w`` or ``m``.
        adjust: ``none``, ``forward`` (the last price is the true one) or ``backward`` (the first).

    Raises:
        NoData: there are no bars.
    """
    names = list(columns.DAILY)
    if frequency != "d":
        never = {"preclose", "tradestatus", "isST", *columns.VALUATION}
        names = [name for name in names if name not in never]
    return _bars(session, code, names, period, frequency, adjust, columns.DAILY)


@fetcher("baostock.minutes", check=_bars_of, schema=columns.MINUTES, **_BY_CODE)
def minutes(
    code: str,
    period: Period,
    frequency: Literal["5", "15", "30", "60"] = "5",
    adjust: Adjust = "none",
    *,
    session: Session = injected,
) -> pl.DataFrame:
    """Fetch the bars of a stock by minutes; ``time`` is when a bar ends, in Shanghai. Indices have none.

    Args:
        code: such as ``sh.600000``.
        period: the first day and the last.
        frequency: minutes: ``5``, ``15``, ``30`` or ``60``.
        adjust: ``none``, ``forward`` or ``backward``.

    Raises:
        NoData: there are no bars.
    """
    return _bars(session, code, list(columns.MINUTES), period, frequency, adjust, columns.MINUTES)


def _bars(
    session: Session,
    code: str,
    names: list[str],
    period: Period,
    frequency: str,
    adjust: Adjust,
    schema: Schema,
) -> pl.DataFrame:
    if adjust not in _FLAGS:
        raise BaostockError("10004006", f"adjust is none, forward or backward, not {adjust!r}")
    first, last = period.as_params().values()
    answer = session.query(
        "query_history_k_data_plus",
        _checked(code),
        ",".join(names),
        start_date=first,
        end_date=last,
        frequency=str(frequency),
        adjustflag=_FLAGS[adjust],
    )
    if not answer.height:
        raise NoData(f"no bars of {code} in {period}")
    missing = [name for name in names if name not in answer.columns]
    if missing:
        raise WrongAnswer(f"the answer for {code} lacks {', '.join(missing)}")
    return typed(answer, schema, optional=True)


def _each_once(answer: pl.DataFrame) -> bool:
    return answer.get_column("code").is_unique().all()


@fetcher("baostock.day", key_column="date", check=_each_once, schema=columns.DAILY, **_COMMON)
def day(day: date | str, *, session: Session = injected) -> pl.DataFrame:
    """Fetch the daily bars of all A-shares of one day, unadjusted, in one call.

    Args:
        day: a date, or its ISO text.

    Raises:
        NoData: there was no trading.
    """
    asked = _iso(day)
    return _some(session.query("query_daily_history_k_AStock", asked), columns.DAILY, f"of {asked}")


# -- securities and days -----------------------------------------------------------------------------------


@fetcher("baostock.stocks", check=_each_once, schema=columns.STOCKS, **_COMMON)
def stocks(day: date | str, *, session: Session = injected) -> pl.DataFrame:
    """Fetch the securities of one day, indices included: code, name, and whether it was traded.

    Args:
        day: a date, or its ISO text.

    Raises:
        NoData: the day was no trading day.
    """
    asked = _iso(day)
    return _some(session.query("query_all_stock", asked), columns.STOCKS, f"of {asked}")


@fetcher("baostock.basic", schema=columns.BASIC, **_BY_CODE)
def basic(code: str, *, session: Session = injected) -> pl.DataFrame:
    """Fetch what is known of one security: name, listed since and until, type, and whether it is listed.

    Args:
        code: such as ``sh.600000``.

    Raises:
        NoData: there is no such security.
    """
    return _some(session.query("query_stock_basic", _checked(code)), columns.BASIC, f"of {code}")


def _days_of(answer: pl.DataFrame, period: Period) -> bool:
    days = answer.get_column("calendar_date")
    return _within(days, period) and days.is_unique().all()


@fetcher("baostock.trade_dates", check=_days_of, schema=columns.TRADE_DATES, **_COMMON)
def trade_dates(period: Period, *, session: Session = injected) -> pl.DataFrame:
    """Fetch the calendar of a period: each day, and whether it is a trading day.

    Args:
        period: the first day and the last.

    Raises:
        NoData: the exchange's calendar does not reach there.
    """
    answer = session.query("query_trade_dates", *period.as_params().values())
    return _some(answer, columns.TRADE_DATES, f"in {period}")


# -- by quarter --------------------------------------------------------------------------------------------


@fetcher("baostock.profit", schema=columns.PROFIT, **_BY_CODE)
def profit(code: str, period: Period, *, session: Session = injected) -> pl.DataFrame:
    """Fetch profitability, a row for each quarter that the period touches."""
    return _quarters(session, "query_profit_data", code, period, columns.PROFIT)


@fetcher("baostock.operation", schema=columns.OPERATION, **_BY_CODE)
def operation(code: str, period: Period, *, session: Session = injected) -> pl.DataFrame:
    """Fetch turnover of receivables, stock and assets, a row for each quarter that the period touches."""
    return _quarters(session, "query_operation_data", code, period, columns.OPERATION)


@fetcher("baostock.growth", schema=columns.GROWTH, **_BY_CODE)
def growth(code: str, period: Period, *, session: Session = injected) -> pl.DataFrame:
    """Fetch growth over the year before, a row for each quarter that the period touches."""
    return _quarters(session, "query_growth_data", code, period, columns.GROWTH)


@fetcher("baostock.balance", schema=columns.BALANCE, **_BY_CODE)
def balance(code: str, period: Period, *, session: Session = injected) -> pl.DataFrame:
    """Fetch solvency, a row for each quarter that the period touches."""
    return _quarters(session, "query_balance_data", code, period, columns.BALANCE)


@fetcher("baostock.cash_flow", schema=columns.CASH_FLOW, **_BY_CODE)
def cash_flow(code: str, period: Period, *, session: Session = injected) -> pl.DataFrame:
    """Fetch cash flow, a row for each quarter that the period touches."""
    return _quarters(session, "query_cash_flow_data", code, period, columns.CASH_FLOW)


@fetcher("baostock.dupont", schema=columns.DUPONT, **_BY_CODE)
def dupont(code: str, period: Period, *, session: Session = injected) -> pl.DataFrame:
    """Fetch the DuPont analysis, a row for each quarter that the period touches."""
    return _quarters(session, "query_dupont_data", code, period, columns.DUPONT)


def _quarters(session: Session, function: str, code: str, period: Period, schema: Schema) -> pl.DataFrame:
    parts = []
    for quarter in period.quarters():
        year, number = quarter.start.year, (quarter.start.month + 2) // 3
        answer = session.query(function, _checked(code), year=year, quarter=number)
        if not answer.height:
            continue  # not published
        part = typed(answer, schema)
        whole = (Period.Q1, Period.Q2, Period.Q3, Period.Q4)[number - 1](year)
        if not _within(part.get_column("statDate"), whole):
            raise WrongAnswer(f"the answer for {code}, {whole} has rows of another quarter")
        parts.append(part)
    if not parts:
        raise NoData(f"nothing published by {code} for {period}")
    return pl.concat(parts)


# -- what all of them do -----------------------------------------------------------------------------------


def _some(answer: pl.DataFrame, schema: Schema, whose: str) -> pl.DataFrame:
    if not answer.height:
        raise NoData(f"no rows {whose}")
    return typed(answer, schema)


def _within(days: pl.Series, period: Period) -> bool:
    return days.null_count() == 0 and days.is_between(period.start, period.end).all()


def _checked(code: str) -> str:
    """The code as the rows of the answer will have it; others are refused, since rows could not be told apart."""
    if isinstance(code, str) and _CODE.fullmatch(code):
        return code
    raise BaostockError("10004011", f"a code is written sh.600000 or sz.000001, not {code!r}")


def _iso(day: date | str) -> str:
    if isinstance(day, datetime):
        day = day.date()
    try:
        return (date.fromisoformat(day) if isinstance(day, str) else day).isoformat()
    except (AttributeError, ValueError):
        raise BaostockError(
            "10004010", f"a day is a date or its ISO text, such as 2024-01-05, not {day!r}"
        ) from None
