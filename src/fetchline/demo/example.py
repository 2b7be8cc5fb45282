# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
"""The user's code of the demonstration, printed at its end as it stands below."""

import polars as pl

import fetchline as fl


@fl.fetcher("demo.ohlcv", retry=fl.Try(retry=5, sleep=0.1), session="httpx")
def ohlcv(symbol: str, period: fl.Period, url: str, *, session=fl.injected) -> pl.DataFrame:
    reply = session.get(f"{url}/daily/{symbol}.csv", params=period.as_params())
    if (frame := pl.read_csv(reply.content, try_parse_dates=True)).is_empty():
        raise fl.NoData(f"{symbol} did not trade in {period}")
    return frame


def download(url, period, **options):
    listed = fl.grid(symbol=["AAPL", "FB", "GOOG", "IBM", "MSFT"], period=period.months())
    unknown = fl.grid(symbol=["ACME"], period=fl.Period.Q1(2012).months())
    return fl.run("demo.ohlcv", [*listed, *unknown], params={"url": url}, **options)
