"""The demonstration's program: run the example against the web service, show what came and what it cost."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import textwrap
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import entry_points
from time import perf_counter
from types import ModuleType
from typing import TYPE_CHECKING, Any

import fetchline as fl
from fetchline.demo.server import DemoServer
from fetchline.demo.service import Manners

if TYPE_CHECKING:
    import polars as pl

__all__ = ["main"]

_WIDTH = 100
_SAMPLE = 20
_ACME_MONTHS = 3  # asked of a ticker that does not exist, so that failures can be seen
_OPTIONS: Mapping[str, Mapping[str, int]] = {
    "thread": {"concurrency": 16},
    "asyncio": {"concurrency": 16},
    "process": {"workers": 4},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration.

    Returns:
        0, or 1 where something failed that was not meant to, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="fetchline demo", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one year instead of fourteen")
    parser.add_argument("--executor", default="thread", metavar="NAME", help="thread (default), process, ...")
    asked = parser.parse_args(argv)
    period = fl.Period.from_year(2012) if asked.quick else fl.Period("2000-01-01", "2013-12-31")
    _reach_loopback_directly()
    try:
        return _demonstrate(period, asked.executor)
    except fl.UnknownName as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130


def _demonstrate(period: fl.Period, executor: str) -> int:
    example = importlib.import_module(f"fetchline.demo.{_example()}")
    options: dict[str, Any] = {"executor": executor, **_OPTIONS.get(executor, {})}
    manners = Manners()
    low, high = (round(seconds * 1000) for seconds in manners.latency)
    print(f"A web service on this machine sells daily prices. It takes {low} to {high} ms to answer, allows")
    print(f"{manners.rate:.0f} requests a second and is unavailable now and then. This fetches them all:\n")
    shown = ", ".join(f"{name}={value!r}" for name, value in options.items())
    print(f"    batch = download(url, fl.{period!r}, {shown})\n", flush=True)

    with DemoServer(manners) as server:
        began = perf_counter()
        batch = example.download(server.url, period, **options)
        took = perf_counter() - began
        stats = server.stats()
    with DemoServer(manners) as fresh:  # neither worn out by the batch nor past its first failures
        alone = _one_by_one(batch, fresh.url)

    _show_frames(batch.frame(key=("symbol", "period")))
    _show_failures(batch.failures)
    _title("batch.summary")
    for line in str(batch.summary).splitlines():
        print(textwrap.fill(line, _WIDTH, subsequent_indent=" " * 12))
    _title("time")
    serially = alone * len(batch)
    print(f"{len(batch)} items took {took:.1f} s. One by one they take about {serially:.0f} s, at", end=" ")
    print(f"{alone * 1000:.0f} ms an item as\n{_SAMPLE} of them did: {serially / took:.1f} times as long.")
    _title("what the server saw")
    print(f"{stats['requests']:6} requests")
    for status, count in stats["by_status"].items():
        print(f"{count:6} answered by {status} {HTTPStatus(int(status)).phrase}")
    _title(f"the code that did it: {example.__name__.replace('.', '/')}.py")
    print(_code(example))
    unmeant = [failure for failure in batch.failures if "ACME" not in failure.key]
    return 1 if unmeant or len(batch.failures) != _ACME_MONTHS else 0


def _show_failures(failures: Sequence[fl.Failure]) -> None:
    _title("batch.failures")
    for failure in failures[:10]:
        attempts = f"{failure.attempts} attempt{'' if failure.attempts == 1 else 's'}"
        line = f"{failure.key}  {failure.error_code} after {attempts}: {failure.message}".partition("\n")[0]
        print(line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3]}...")


def _show_frames(frame: pl.DataFrame) -> None:
    import polars as pl

    years = (pl.last("date") - pl.first("date")).dt.total_days() / 365.25
    by_ticker = frame.group_by("symbol", maintain_order=True).agg(
        days=pl.len(),
        first=pl.first("date"),
        last=pl.last("date"),
        low=pl.min("low"),
        high=pl.max("high"),
        shares_bn=(pl.sum("volume") / 1e9).round(1),
        growth_a_year=((pl.last("adj_close") / pl.first("adj_close")) ** (1 / years) - 1).round(3),
    )
    with pl.Config(tbl_width_chars=_WIDTH, tbl_cols=-1, tbl_rows=6, tbl_hide_column_data_types=True):
        _title('batch.frame(key=("symbol", "period"))')
        print(frame)
        _title("by ticker")
        print(by_ticker)


def _one_by_one(batch: fl.Batch[pl.DataFrame], url: str) -> float:
    """Seconds an item when each waits for the one before, measured on a few from all over the batch."""
    items = [result.item for result in batch if result.is_success]
    sample = [items[n * len(items) // _SAMPLE] for n in range(_SAMPLE)]
    began = perf_counter()
    fl.run("demo.ohlcv", sample, params={"url": url}, executor="serial", progress=False)
    return (perf_counter() - began) / _SAMPLE


def _example() -> str:
    plugins = {point.name for point in entry_points(group="fetchline")}
    return "example" if "httpx" in plugins else "example_stdlib"


def _reach_loopback_directly() -> None:
    # Where the environment names a proxy, the plugin's session would ask it for this machine.
    spared = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{spared},127.0.0.1".lstrip(",")


def _code(module: ModuleType) -> str:
    """A module's source as it runs, without its docstring."""
    return inspect.getsource(module).partition('"""\n\n')[2].rstrip()


def _title(text: str) -> None:
    print(f"\n── {text} ".ljust(_WIDTH + 1, "─"))
