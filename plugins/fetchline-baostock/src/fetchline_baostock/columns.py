"""The columns of baostock's tables, under its own names, and their types: baostock itself sends text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from fetchline.errors import WrongAnswer

__all__ = [
    "BALANCE",
    "BASIC",
    "CASH_FLOW",
    "DAILY",
    "DUPONT",
    "GROWTH",
    "MINUTES",
    "OPERATION",
    "PROFIT",
    "STOCKS",
    "TRADE_DATES",
    "VALUATION",
    "Schema",
    "typed",
]

Schema = Mapping[str, Any]

_BAR = {
    **dict.fromkeys(("open", "high", "low", "close"), pl.Float64()),
    "volume": pl.Int64(),
    "amount": pl.Float64(),
}
VALUATION = dict.fromkeys(("peTTM", "pbMRQ", "psTTM", "pcfNcfTTM"), pl.Float64())
DAILY: Schema = {
    "date": pl.Date(),
    "code": pl.String(),
    **_BAR,
    "preclose": pl.Float64(),
    "turn": pl.Float64(),
    "pctChg": pl.Float64(),
    "tradestatus": pl.Boolean(),
    "isST": pl.Boolean(),
    **VALUATION,
}
MINUTES: Schema = {"date": pl.Date(), "time": pl.Datetime("ms"), "code": pl.String(), **_BAR}
STOCKS: Schema = {"code": pl.String(), "tradeStatus": pl.Boolean(), "code_name": pl.String()}
BASIC: Schema = {
    "code": pl.String(),
    "code_name": pl.String(),
    "ipoDate": pl.Date(),
    "outDate": pl.Date(),
    "type": pl.Int8(),
    "status": pl.Boolean(),
}
TRADE_DATES: Schema = {"calendar_date": pl.Date(), "is_trading_day": pl.Boolean()}


def _quarterly(*names: str) -> Schema:
    published = {"code": pl.String(), "pubDate": pl.Date(), "statDate": pl.Date()}
    return published | dict.fromkeys(names, pl.Float64())


PROFIT = _quarterly(
    "roeAvg", "npMargin", "gpMargin", "netProfit", "epsTTM", "MBRevenue", "totalShare", "liqaShare"
)
OPERATION = _quarterly(
    "NRTurnRatio", "NRTurnDays", "INVTurnRatio", "INVTurnDays", "CATurnRatio", "AssetTurnRatio"
)
GROWTH = _quarterly("YOYEquity", "YOYAsset", "YOYNI", "YOYEPSBasic", "YOYPNI")
BALANCE = _quarterly(
    "currentRatio", "quickRatio", "cashRatio", "YOYLiability", "liabilityToAsset", "assetToEquity"
)
CASH_FLOW = _quarterly(
    "CAToAsset", "NCAToAsset", "tangibleAssetToAsset", "ebitToInterest", "CFOToOR", "CFOToNP", "CFOToGr"
)
DUPONT = _quarterly(
    "dupontROE",
    "dupontAssetStoEquity",
    "dupontAssetTurn",
    "dupontPnitoni",
    "dupontNitogr",
    "dupontTaxBurden",
    "dupontIntburden",
    "dupontEbittogr",
)


def typed(answer: pl.DataFrame, schema: Schema, *, optional: bool = False) -> pl.DataFrame:
    """Give an answer in the declared types; columns that are not declared are left out.

    Args:
        optional: a declared column that is missing is null.

    Raises:
        WrongAnswer: a declared column is missing, or has something that is not of its type.
    """
    columns = []
    for name, dtype in schema.items():
        if name in answer.columns:
            columns.append(_cast(answer[name], dtype))
        elif optional:
            columns.append(pl.Series(name, [None] * answer.height, dtype=dtype))
        else:
            raise WrongAnswer(f"the answer has no column {name!r}; it has {', '.join(answer.columns)}")
    return pl.DataFrame(columns)


def _cast(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    try:
        if dtype == pl.Boolean:  # "1" and "0"
            return column.cast(pl.Int8).cast(pl.Boolean)
        if isinstance(dtype, pl.Datetime):  # 20240105093500000
            return column.str.to_datetime("%Y%m%d%H%M%S%3f", time_unit="ms")
        if dtype == pl.Date:
            return column.str.to_date("%Y-%m-%d")
        return column.cast(dtype)
    except pl.exceptions.PolarsError as error:
        raise WrongAnswer(f"the column {column.name!r} does not cast to {dtype}: {error}") from error
