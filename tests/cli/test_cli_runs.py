"""``run --store`` and ``fetchline runs``: stored runs on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from click.testing import Result

Invoke = Callable[..., Result]


@pytest.fixture
def stored(invoke: Invoke) -> str:
    result = invoke("run", "shop.daily", "AAPL", "XX", "MSFT", "--store", "runs/one")
    assert result.exit_code == 1
    assert "1 of 3" not in result.stdout
    return "runs/one"


def test_the_same_line_again_fetches_what_failed_only(invoke: Invoke, stored: str) -> None:
    again = invoke("run", "shop.daily", "AAPL", "XX", "MSFT", "IBM", "--store", stored)
    assert "succeeded 3, 2 of them stored before" in again.stderr
    assert "attempts  3" in again.stderr  # XX twice, IBM once
    kept = invoke("run", "shop.daily", "AAPL", "XX", "--store", stored, "--reuse", "all")
    assert "attempts  0" in kept.stderr
    assert "XX: error before it started: ValueError: no such ticker: XX" in kept.stderr


def test_what_is_used_again_can_be_said(invoke: Invoke, stored: str) -> None:
    for reuse, calls in (("none", 2), ("fresh=1d", 0), ("fresh=0.001s", 2), ("except-last=1", 1)):
        result = invoke("run", "shop.daily", "AAPL", "MSFT", "--store", stored, "--reuse", reuse)
        assert result.exit_code == 0
        assert f"attempts  {calls};" in result.stderr, reuse
    for wrong in ("some", "fresh=soon", "except-last=x", "all=1"):
        assert invoke("run", "shop.daily", "AAPL", "--store", stored, "--reuse", wrong).exit_code == 2
    alone = invoke("run", "shop.daily", "AAPL", "--reuse", "all")
    assert alone.exit_code == 2
    assert "--reuse says what of a store is used: give --store too" in alone.stderr


def test_a_store_of_other_parameters_is_refused_in_one_line(invoke: Invoke, stored: str) -> None:
    other = invoke("run", "shop.daily", "AAPL", "-p", "adjusted=true", "--store", stored)
    assert other.exit_code == 2
    assert "params: stored {}, now {'adjusted': 'true'}" in other.stderr
    kept = invoke(
        "run", "shop.daily", "AAPL", "-p", "adjusted=true", "--store", stored, "--on-change", "refetch"
    )
    assert kept.exit_code == 0


def test_a_place_with_names_in_it_is_a_file_for_each_item(invoke: Invoke) -> None:
    for stored in ("", ", 2 of them stored before"):
        result = invoke("run", "shop.double", "1", "2", "--store", "doubles/{n}.json")
        assert f"succeeded 2{stored}\n" in result.stderr
    assert sorted(path.name for path in Path("doubles").glob("*.json")) == ["1.json", "2.json"]


def test_plan_says_what_is_held(invoke: Invoke, stored: str) -> None:
    planned = invoke("plan", "shop.daily", "AAPL", "MSFT", "IBM", "--store", stored)
    assert planned.stdout.splitlines() == [
        "shop.daily: 1 call on thread x 10",
        "  items     IBM",
        "  stored    2 items, not fetched again",
    ]
    before = sorted(Path().rglob("*"))
    assert "stored" not in invoke("plan", "shop.daily", "AAPL", "--store", "runs/none").stdout
    assert sorted(Path().rglob("*")) == before


def test_runs_are_listed_and_shown(invoke: Invoke, stored: str) -> None:
    lines = invoke("runs", "list").stdout.splitlines()
    assert lines[0].split() == ["STORE", "FETCHER", "STATUS", "SUCCEEDED", "FAILED", "SIZE", "UPDATED"]
    assert lines[1].split()[:7] == ["runs/one", "shop.daily", "completed", "2", "of", "3", "1"]
    shown = invoke("runs", "show", stored)
    assert shown.stdout.startswith(
        "runs/one: shop.daily, completed\n  succeeded  2 of 3\n  failed     1: 1 error\n"
    )
    assert "  error      XX: ValueError: no such ticker: XX" in shown.stdout
    assert "fetchline runs resume runs/one" in shown.stderr
    Path("empty").mkdir()
    assert "there are no runs in empty" in invoke("runs", "list", "empty").stderr
    missing = invoke("runs", "show", "nowhere")
    assert (missing.exit_code, "there is no run in" in missing.stderr) == (2, True)


def test_a_run_is_resumed_by_its_place(invoke: Invoke, stored: str) -> None:
    resumed = invoke("runs", "resume", stored, "-j", "2")
    assert resumed.exit_code == 1
    assert "succeeded 2, 2 of them stored before" in resumed.stderr
    assert "XX: error after 2 attempts" in resumed.stderr


def test_damage_is_named_and_put_aside(invoke: Invoke, stored: str) -> None:
    assert invoke("runs", "verify", stored).exit_code == 0
    (data,) = Path(stored, "data").iterdir()
    data.write_bytes(data.read_bytes()[:-1])
    found = invoke("runs", "verify", stored)
    assert found.exit_code == 1
    assert found.stdout.startswith(f"data/{data.name} has ")
    put = invoke("runs", "verify", stored, "--repair")
    assert (put.exit_code, "put aside 1 file" in put.stderr) == (0, True)
    assert "succeeded 1" in invoke("run", "shop.daily", "AAPL", "--store", stored).stderr


def test_rows_are_exported(invoke: Invoke, stored: str) -> None:
    for suffix in ("parquet", "csv", "ndjson", "arrow"):
        result = invoke("runs", "export", stored, f"out.{suffix}")
        assert result.exit_code == 0, result.stderr
    frame = pl.read_parquet("out.parquet")
    assert frame.columns == ["key", "day", "adjusted"]
    assert sorted(frame["key"]) == ["AAPL", "AAPL", "MSFT", "MSFT"]
    assert pl.read_csv("out.csv").height == pl.read_ndjson("out.ndjson").height == 4
    assert invoke("runs", "export", stored, "out.xlsx").exit_code == 2


def test_a_run_is_compacted(invoke: Invoke, stored: str) -> None:
    invoke("run", "shop.daily", "IBM", "--store", stored)
    assert invoke("runs", "compact", stored).exit_code == 0
    assert len(list(Path(stored, "data").iterdir())) == 1
