"""Where items and parameters come from, and that nothing starts before all of them fit."""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from click.testing import Result

Command = Callable[..., subprocess.CompletedProcess[str]]
Invoke = Callable[..., Result]


def rows(ended: Result) -> list[dict[str, str]]:
    assert ended.exit_code == 0, ended.stderr
    return list(csv.DictReader(io.StringIO(ended.stdout)))


def test_items_are_converted_by_the_first_parameters_annotation(invoke: Invoke) -> None:
    got = rows(invoke("run", "shop.double", "1", "20", "--out", "-"))
    assert got == [{"key": "1", "twice": "2"}, {"key": "20", "twice": "40"}]


def test_a_negative_item_stands_after_two_dashes(invoke: Invoke) -> None:
    assert rows(invoke("run", "shop.double", "--out", "-", "--", "-3")) == [{"key": "-3", "twice": "-6"}]


def test_a_span_of_periods_is_several_items(invoke: Invoke) -> None:
    got = rows(invoke("run", "shop.quarter", "2023-Q4:2024-Q1", "2024-05-01", "--out", "-"))
    assert [(row["key"], row["days"]) for row in got] == [
        ("2023-Q4", "92"),
        ("2024-Q1", "91"),
        ("2024-05-01", "1"),
    ]


def test_parameters_are_converted_by_their_annotations(invoke: Invoke) -> None:
    options = ["-p", "start=2024-01-02", "-p", "side=SELL", "-p", "kind=adj", "-p", "limit=none"]
    (row,) = rows(invoke("run", "shop.typed", "7", *options, "--out", "-"))
    assert row["said"] == repr((7, date(2024, 1, 2), "SELL", "adj", None)).replace(
        "'SELL'", "<Side.SELL: 's'>"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["shop.double"], "there are no items: give them as arguments, or by --from, --column or --grid"),
        (["shop.double", "1", "x", "3", "y"], "item 2: 'x' is no whole number; 1 more item too. Nothing was"),
        (["shop.double", "1", "--from", "a.txt"], "one place, not from arguments and --from"),
        (["shop.double", "--from", "a.txt"], "a.txt cannot be read: No such file"),
        (["shop.double", "--column", "a.csv:n"], "there is no file a.csv"),
        (["shop.double", "--column", "n"], "--column takes FILE:COLUMN"),
        (["shop.double", "--column", "a.txt:n"], "the format is told by the suffix"),
        (["shop.typed", "1"], "needs start too: -p start=..."),
        (["shop.typed", "1", "-p", "stat=1"], "no parameter 'stat' for -p; did you mean 'start'?"),
        (["shop.typed", "1", "-p", "start"], "-p takes NAME=VALUE, not 'start'"),
        (["shop.typed", "1", "-p", "start=soon"], "'soon' is no date such as 2024-01-31"),
        (["shop.typed", "1", "-p", "limit=1", "-p", "limit=2"], "-p limit= is given twice"),
        (
            ["shop.typed", "1", "-p", "start=2024-01-01", "-p", "n=2"],
            "'n' is given by the items and by -p n=",
        ),
        (["shop.daily", "A", "-p", "period=2024-Q1:2024-Q2"], "several Periods, which --grid takes"),
        (["shop.daily", "--grid"], "--grid needs axes"),
        (["shop.daily", "--grid", "A"], "--grid takes axes as NAME=VALUES, not 'A'"),
        (["shop.daily", "--grid", "symbl=A"], "no parameter 'symbl' for --grid; did you mean 'symbol'?"),
        (["shop.daily", "--grid", "symbol=,"], "the grid axis 'symbol' has no values"),
        (["shop.daily", "--grid", "symbol=A", "symbol=B"], "the grid axis 'symbol' is given twice"),
        (["shop.daily", "--grid", "symbol=@none.txt"], "none.txt cannot be read"),
        (["shop.daily", "--grid", "period=2024"], "needs symbol too"),
        (["shop.daily", "--grid", "symbol=A", "period=2024-Q4:2024-Q1"], "runs backwards"),
        (["shop.daily", "--grid", "symbol=A", "-p", "symbol=B"], "'symbol' is given by the items and by -p"),
        (["shop.daily", "A", "--key-column", "symbol,period"], "which is no axis of --grid"),
        (["shop.daily", "A", "--out", "prices"], "--out prices: the format is told by the suffix"),
        (["shop.daily", "A", "--out", "no/such.csv"], "there is no folder"),
        (["shop.daily", "A", "--failures", "no/such.csv"], "--failures no/such.csv: there is no folder"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "plan"])
def test_what_does_not_fit_is_refused_before_anything_starts(
    invoke: Invoke, verb: str, arguments: list[str], complaint: str
) -> None:
    if verb == "plan" and {"--out", "--failures", "--key-column"} & set(arguments):
        pytest.skip("an option of run")
    if verb == "plan" and ("no whole number" in complaint or "runs backwards" in complaint):
        pytest.skip("a plan lists items that do not convert")
    ended = invoke(verb, *arguments)
    assert ended.exit_code == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert complaint in line


def test_a_plan_lists_the_items_that_do_not_convert(invoke: Invoke) -> None:
    ended = invoke("plan", "shop.double", "1", "x", "3", "--call-time", "2s", "-j", "2")
    assert ended.exit_code == 1
    assert ended.stdout.splitlines() == [
        "shop.double: 2 calls on thread x 2",
        "  items     1, 3",
        "  refused   'x': 'x' is no whole number",
        "  expected  2.0 s, if a call takes 2 s",
    ]


def test_a_plan_lists_what_does_not_convert_in_a_grid(invoke: Invoke) -> None:
    ended = invoke("plan", "shop.daily", "--grid", "symbol=A,B", "period=2024-Q1,soon")
    assert ended.exit_code == 1 and "A/2024-Q1, B/2024-Q1" in ended.stdout and "'soon'" in ended.stdout


def test_items_of_a_bulk_fetcher_are_converted_each(invoke: Invoke) -> None:
    (three, *_) = got = rows(invoke("run", "shop.squares", "3", "4", "3", "--dedupe", "--out", "-"))
    assert three == {"key": "3", "n": "3", "square": "9"} and len(got) == 3
    planned = invoke("plan", "shop.squares", "3", "4", "3", "--dedupe")
    assert (
        planned.exit_code == 0
        and "1 call on" in planned.stdout
        and "1 more item with keys of these" in planned.stdout
    )


def test_items_from_a_file_skip_blank_lines_and_keep_order(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_bytes(b"\xef\xbb\xbf3\r\n\r\n  1  \n2")
    assert [row["key"] for row in rows(invoke("run", "shop.double", "--from", "n.txt", "--out", "-"))] == [
        "3",
        "1",
        "2",
    ]


def test_standard_input_is_read_when_asked_for_only(invoke: Invoke) -> None:
    asked = invoke("run", "shop.double", "--from", "-", "--out", "-", stdin="5\n6\n")
    assert [row["key"] for row in rows(asked)] == ["5", "6"]
    assert invoke("run", "shop.double", stdin="5\n6\n").exit_code == 2


def test_a_file_that_is_no_text_is_refused(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_bytes(b"1\n\xff\n")
    assert "n.txt is no UTF-8 text" in invoke("run", "shop.double", "--from", "n.txt").stderr


@pytest.mark.parametrize("suffix", ["parquet", "csv", "ndjson", "jsonl", "arrow"])
def test_items_from_a_column_of_a_table(invoke: Invoke, tmp_path: Path, suffix: str) -> None:
    table = pl.DataFrame({"n": [4, None, 5], "period": ["2024", "2023", "2022"]})
    form = {"arrow": "ipc", "jsonl": "ndjson"}.get(suffix, suffix)
    getattr(table, f"write_{form}")(tmp_path / f"t.{suffix}")
    got = rows(invoke("run", "shop.double", "--column", f"t.{suffix}:n", "--out", "-"))
    assert [row["twice"] for row in got] == ["8", "10"]
    got = rows(invoke("run", "shop.quarter", "--column", f"t.{suffix}:period", "--out", "-"))
    assert [row["key"] for row in got] == ["2024", "2023", "2022"]
    near = invoke("run", "shop.double", "--column", f"t.{suffix}:perod")
    assert near.exit_code == 2
    assert f"t.{suffix} has no column 'perod'; did you mean 'period'?" in near.stderr


def test_leading_zeros_of_a_csv_column_survive(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text("code\n000001\n600000\n")
    got = rows(invoke("run", "shop.loud", "--column", "codes.csv:code", "--out", "-"))
    assert [row["name"] for row in got] == ["000001", "600000"]


def test_a_column_of_numbers_fits_a_parameter_of_text(invoke: Invoke, tmp_path: Path) -> None:
    pl.DataFrame({"code": [1, 2]}).write_parquet(tmp_path / "codes.parquet")
    got = rows(invoke("run", "shop.loud", "--column", "codes.parquet:code", "--out", "-"))
    assert [row["name"] for row in got] == ["1", "2"]


def test_a_broken_table_is_refused(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("no parquet at all, but long enough")
    ended = invoke("run", "shop.double", "--column", "t.parquet:n")
    assert ended.exit_code == 2
    assert ended.stderr.count("\n") == 1
    assert "t.parquet cannot be read" in ended.stderr


def test_a_grid_combines_lists_files_and_spans_of_periods(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "symbols.txt").write_text("AAPL\nMSFT\n")
    axes = ["symbol=@symbols.txt", "period=2024-Q1:2024-Q2,2023"]
    got = rows(invoke("run", "shop.daily", "--grid", *axes, "-p", "adjusted=yes", "--out", "-"))
    assert [row["key"] for row in got][::2] == [
        f"{symbol}/{period}" for symbol in ("AAPL", "MSFT") for period in ("2024-Q1", "2024-Q2", "2023")
    ]
    assert {row["adjusted"] for row in got} == {"true"}
    split = invoke("run", "shop.daily", "--grid", *axes, "--key-column", "symbol,period", "--out", "-")
    assert list(rows(split)[0])[:2] == ["symbol", "period"]
    assert "key" not in rows(invoke("run", "shop.daily", "A", "--key-column", "none", "--out", "-"))[0]


def test_a_plan_calls_nothing(invoke: Invoke) -> None:
    ended = invoke("plan", "shop.loud", "A", "B", "-j", "2")
    assert ended.exit_code == 0
    assert ended.stdout.splitlines()[0] == "shop.loud: 2 calls on thread x 2"
    assert "loud A" not in ended.output


def test_an_annotation_for_type_checkers_only_is_refused_for_what_needs_it(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "late.py").write_text(
        "from __future__ import annotations\n"
        "import fetchline as fl\n"
        "@fl.fetcher\n"
        "def late(n: int, *, when: datetime = None) -> pl.DataFrame:\n"
        "    return {'n': n}\n"
    )
    assert command("--app", "late", "run", "late", "1").returncode == 0
    refused = command("--app", "late", "run", "late", "1", "-p", "when=2024-01-01")
    assert refused.returncode == 2
    assert (
        "'when' of fetcher 'late' cannot be given here: its annotation 'datetime' says nothing"
        in refused.stderr
    )
