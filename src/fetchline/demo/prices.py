"""The shipped prices, and the CSV of one ticker between two dates without rendering anything twice."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

__all__ = ["PRICES", "Series", "load_frame", "load_series"]

PRICES = Path(__file__).with_name("prices.parquet")
"""Where the prices are; ``PRICES.md`` beside it tells their source and licence."""


@dataclass(frozen=True, slots=True)
class Series:
    """One ticker's rendered rows, oldest first.

    Attributes:
        header: the CSV's first line.
        days: the date of each row.
        text: all rows, rendered.
        starts: where each row begins in ``text``, and where the last one ends.
    """

    header: bytes
    days: list[date]
    text: bytes
    starts: list[int]

    def csv(self, start: date = date.min, end: date = date.max) -> bytes:
        """Cut out the CSV from ``start`` to ``end``, both included; only the header where nothing traded.

        >>> facebook = load_series()["FB"]
        >>> print(facebook.csv(date(2012, 5, 18), date(2012, 5, 18)).decode())
        date,open,high,low,close,volume,adj_close
        2012-05-18,42.05,45.0,38.0,38.2318,573576400,38.2318
        <BLANKLINE>
        """
        first, last = bisect_left(self.days, start), bisect_right(self.days, end)
        return self.header + self.text[self.starts[first] : self.starts[max(first, last)]]


def load_frame() -> pl.DataFrame:
    """Read the shipped prices: one row a ticker and day, ordered by both."""
    import polars as pl

    return pl.read_parquet(PRICES)


def load_series() -> dict[str, Series]:
    """Render the shipped prices by ticker."""
    series = {}
    for (ticker,), frame in load_frame().group_by("ticker", maintain_order=True):
        header, *rows = frame.drop("ticker").write_csv().encode().splitlines(keepends=True)
        starts = list(accumulate(map(len, rows), initial=0))
        series[str(ticker)] = Series(header, frame["date"].to_list(), b"".join(rows), starts)
    return series
