"""The shipped prices are the ones their note describes."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from fetchline.demo.prices import PRICES, load_frame, load_series


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return load_frame()


def test_every_ticker_has_its_days_and_no_more(frame: pl.DataFrame) -> None:
    spans = frame.group_by("ticker", maintain_order=True).agg(
        pl.len(), first=pl.min("date"), last=pl.max("date")
    )
    end = date(2013, 3, 1)
    assert spans.rows() == [
        ("AAPL", 3270, date(2000, 3, 1), end),
        ("FB", 196, date(2012, 5, 18), end),
        ("GOOG", 2148, date(2004, 8, 19), end),
        ("IBM", 3270, date(2000, 3, 1), end),
        ("MSFT", 3270, date(2000, 3, 1), end),
    ]


def test_no_day_comes_twice_and_the_days_are_in_order(frame: pl.DataFrame) -> None:
    assert frame.select("ticker", "date").is_unique().all()
    assert frame.equals(frame.sort("ticker", "date"))


def test_the_prices_hold_together(frame: pl.DataFrame) -> None:
    assert frame.null_count().sum_horizontal().item() == 0
    assert frame.filter((pl.col("low") <= 0) | (pl.col("volume") <= 0)).is_empty()
    for price in ("open", "close"):
        assert frame.filter(~pl.col(price).is_between(pl.col("low"), pl.col("high"))).is_empty()


def test_known_days_have_their_known_prices(frame: pl.DataFrame) -> None:
    def close(ticker: str, day: date) -> float:
        return frame.filter(ticker=ticker, date=day)["close"].item()

    assert close("AAPL", date(2012, 9, 19)) == 702.10  # its highest close before the split of 2014
    assert close("GOOG", date(2004, 8, 19)) == 100.335  # the day of its offering
    assert close("FB", date(2012, 5, 18)) == 38.2318  # the day of its offering
    assert frame.schema == {
        "ticker": pl.String,
        "date": pl.Date,
        **dict.fromkeys(("open", "high", "low", "close"), pl.Float64),
        "volume": pl.Int64,
        "adj_close": pl.Float64,
    }


def test_the_file_is_small_and_its_source_is_told_beside_it() -> None:
    assert PRICES.stat().st_size < 500_000
    note = PRICES.with_name("PRICES.md").read_text()
    assert "Public domain" in note
    assert "bokeh_sampledata" in note


def test_a_slice_holds_both_its_ends_and_nothing_else(frame: pl.DataFrame) -> None:
    ibm = load_series()["IBM"]
    start, end = date(2008, 9, 15), date(2008, 10, 10)
    rendered = pl.read_csv(ibm.csv(start, end), try_parse_dates=True)
    assert rendered.equals(frame.filter(pl.col("date").is_between(start, end), ticker="IBM").drop("ticker"))
    assert rendered["date"].min() == start
    assert rendered["date"].max() == end


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (date(1999, 1, 1), date(1999, 12, 31)),
        (date(2008, 9, 13), date(2008, 9, 14)),  # a weekend
        (date(2020, 1, 1), date(2020, 1, 31)),
        (date(2010, 2, 1), date(2010, 1, 1)),
    ],
)
def test_a_span_without_trading_is_only_the_header(start: date, end: date) -> None:
    assert load_series()["IBM"].csv(start, end) == b"date,open,high,low,close,volume,adj_close\n"


def test_all_slices_together_are_the_whole(frame: pl.DataFrame) -> None:
    series = load_series()
    assert sum(one.csv().count(b"\n") - 1 for one in series.values()) == frame.height
