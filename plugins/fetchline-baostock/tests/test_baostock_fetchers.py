from __future__ import annotations

import contextlib
import io
import pickle
import random
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date, datetime
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from baostock_server import (
    NO_LOGIN,
    SYSTEM,
    BaostockServer,
    Question,
    Reply,
    instead,
    refusal,
    volume,
)
from fetchline_baostock import fetchers, fetchline_register_sessions
from fetchline_baostock.columns import DAILY

import fetchline as fl
from fetchline.catalog import Catalog
from fetchline.interfaces import SessionSpec
from fetchline.testing import FakeSession

Q1 = fl.Period.Q1(2024)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BaostockServer]:
    with BaostockServer() as server:
        monkeypatch.setenv("BAOSTOCK_HOST", server.host)
        monkeypatch.setenv("BAOSTOCK_PORT", str(server.port))
        yield server


def asked(server: BaostockServer, method: str) -> list[list[str]]:
    """What came after the user, the page and its size."""
    return [list(q.parts[2:]) for q in server.asked if q.method == method]


# -- by name -----------------------------------------------------------------------------------------------


def test_the_catalog_finds_it_and_the_specs_pickle() -> None:
    catalog = Catalog(entry_points=lambda: [EntryPoint("baostock", "fetchline_baostock", "fetchline")])
    spec = catalog.session("baostock")
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert isinstance(spec, SessionSpec)
    assert fetchline_register_sessions() == [spec]


def fresh(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_neither_baostock_nor_pandas_is_imported_before_a_session_is_opened(server: BaostockServer) -> None:
    code = """
import sys
import fetchline as fl
plan = fl.plan("baostock.ohlcv", ["sh.600000"], params={"period": fl.Period.Q1(2024)})
assert not {"baostock", "pandas"} & set(sys.modules)
batch = fl.run("baostock.ohlcv", ["sh.600000"], params={"period": fl.Period.Q1(2024)}, progress=None)
assert "baostock" in sys.modules
print(batch.frame().height)
"""
    assert fresh(code).split() == ["91"]


def command(*words: str, folder: Path | None = None) -> tuple[str, set[str]]:
    """What a command prints, and the modules that it imports."""
    code = f"import sys; sys.argv = {['fetchline', *words]!r}; from fetchline.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "importtime", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    return done.stdout, {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


def test_the_examples_of_the_readme_run(
    server: BaostockServer, tmp_path: Path, fetchline_registry: fl.Registry
) -> None:
    page = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "readme"}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            exec(block, names)
    assert names["batch"].frame()["code"].unique(maintain_order=True).to_list() == names["codes"]
    assert names["everything"].height == 23 * len(server.codes)
    assert said.getvalue().endswith("['名sh.600000', '名sz.000001']\n")
    (tmp_path / "days.txt").write_text("2024-01-05\n2024-01-08\n")
    ran = [line[2:] for line in page.splitlines() if line.startswith("$ fetchline")]
    assert len(ran) == 2
    for line in ran:
        command(*shlex.split(line)[1:], folder=tmp_path)
    assert pl.read_parquet(tmp_path / "prices.parquet")["code"].n_unique() == 2
    assert pl.read_parquet(tmp_path / "days.parquet").height == 2 * len(server.codes)


def test_the_command_line_runs_it_by_name_and_lists_it_unimported(
    server: BaostockServer, tmp_path: Path
) -> None:
    listed, imported = command("list")
    assert "baostock.*" in listed
    assert "click" in imported
    assert not {"fetchline_baostock", "baostock"} & imported
    out = tmp_path / "day.parquet"
    command("run", "baostock.day", "2024-01-05", "--out", str(out))
    assert pl.read_parquet(out)["code"].to_list() == server.codes
    command(
        "run",
        "baostock.ohlcv",
        "sh.600000",
        "-p",
        "period=2024-Q1",
        "-p",
        "adjust=forward",
        "--out",
        str(out),
    )
    assert pl.read_parquet(out).height == 91
    assert asked(server, "query_history_k_data_plus")[0][-1] == "2"


# -- what they fetch ---------------------------------------------------------------------------------------


def test_ohlcv_gives_bars_in_declared_types(server: BaostockServer) -> None:
    batch = fl.run("baostock.ohlcv", ["sh.600000", "sz.000001"], params={"period": Q1}, progress=None)
    frame = batch.frame(key=None)
    assert frame.schema == pl.Schema(DAILY)
    assert frame.height == 2 * 91
    row = frame.row(0, named=True)
    assert (row["date"], row["code"], row["close"]) == (date(2024, 1, 1), "sh.600000", 600.0)
    assert row["volume"] == volume("sh.600000", date(2024, 1, 1))
    assert (row["tradestatus"], row["isST"], row["peTTM"]) == (True, False, None)


@pytest.mark.parametrize(("adjust", "flag"), [("none", "3"), ("forward", "2"), ("backward", "1")])
def test_ohlcv_asks_as_it_is_told(adjust: Any, flag: str, server: BaostockServer) -> None:
    with fetchers.ohlcv.open() as fetch:
        fetch("sh.600000", Q1, frequency="w", adjust=adjust)
    [[page, size, code, names, start, end, frequency, adjusted]] = asked(server, "query_history_k_data_plus")
    assert (page, size, code, start, end) == ("1", "2000", "sh.600000", "2024-01-01", "2024-03-31")
    assert (frequency, adjusted) == ("w", flag)
    assert {"preclose", "isST", "peTTM"}.isdisjoint(names.split(","))


def test_weeks_have_the_columns_of_days(server: BaostockServer) -> None:
    frame = fetchers.ohlcv("sh.600000", Q1, frequency="w")
    assert frame.schema == pl.Schema(DAILY)
    assert frame["preclose"].null_count() == frame.height == 91


def test_minutes_have_the_time_at_which_a_bar_ends(server: BaostockServer) -> None:
    frame = fetchers.minutes("sh.600000", fl.Period("2024-01-05", "2024-01-05"), frequency="60")
    assert frame["time"].to_list() == [datetime(2024, 1, 5, 10 + n) for n in range(4)]
    assert frame["volume"].to_list() == [volume("sh.600000", date(2024, 1, 5), n) for n in range(4)]


def test_day_is_all_stocks_of_a_day_in_one_call(server: BaostockServer) -> None:
    days = [date(2024, 1, 5), "2024-01-08"]
    batch = fl.run(fetchers.day, days, progress=None)
    assert [frame["code"].to_list() for frame in batch.values] == [server.codes] * 2
    assert [frame["date"].unique().to_list() for frame in batch.values] == [
        [date(2024, 1, 5)],
        [date(2024, 1, 8)],
    ]
    assert batch.frame(key=None).schema == pl.Schema(DAILY)
    assert server.count("query_daily_history_k_AStock") == 2


def test_stocks_basic_and_trade_dates(server: BaostockServer) -> None:
    assert fetchers.stocks("2024-01-05").rows()[0] == ("sh.600000", True, "名sh.600000")
    basic = fetchers.basic("sh.600001").row(0, named=True)
    assert basic["ipoDate"] == date(1999, 11, 10)
    assert (basic["outDate"], basic["type"], basic["status"]) == (None, 1, True)
    calendar = fetchers.trade_dates(fl.Period.from_year(2024))
    assert calendar.height == 366
    assert calendar.row(0) == (date(2024, 1, 1), True)
    assert calendar["is_trading_day"].sum() == 262


@pytest.mark.parametrize("name", ["profit", "operation", "growth", "balance", "cash_flow", "dupont"])
def test_a_quarterly_table_has_a_row_for_each_quarter_of_the_period(
    name: str, server: BaostockServer
) -> None:
    batch = fl.run(
        f"baostock.{name}",
        ["sh.600000", "sh.600001"],
        params={"period": fl.Period("2023-11-15", "2024-04-01")},
        progress=None,
    )
    frame = batch.frame()
    ends = [date(2023, 12, 31), date(2024, 3, 31), date(2024, 6, 30)]
    assert frame["statDate"].to_list() == ends * 2
    assert frame["code"].to_list() == frame["key"].to_list() == ["sh.600000"] * 3 + ["sh.600001"] * 3
    assert frame.columns[4:] and set(frame.dtypes[4:]) == {pl.Float64}
    assert frame.item(0, 4) is None  # an empty text
    assert frame.item(0, 5) == 1.5


def test_a_quarterly_row_of_another_quarter_is_a_wrong_answer(server: BaostockServer) -> None:
    server.twist = lambda q, r: instead(q, '"2024-03-31"', '"2023-03-31"', r)
    fetcher = fetchers.profit.replace(retry=fl.Try(retry=2, sleep=0))
    result = fl.run(fetcher, ["sh.600000"], params={"period": Q1}, progress=None)[0]
    assert (result.error_code, result.attempts) == ("wrong_answer", 2)


@pytest.mark.parametrize(
    ("fetcher", "item", "params"),
    [
        ("ohlcv", "sh.600000", {"period": fl.Period.Q1(1980)}),
        ("minutes", "sh.600000", {"period": fl.Period.Q1(1980)}),
        ("day", "1980-01-01", {}),
        ("stocks", "1980-01-01", {}),
        ("basic", "sh.999999", {}),
        ("profit", "sh.600000", {"period": fl.Period.Q1(2040)}),
    ],
)
def test_nothing_is_an_empty_success_with_the_columns(
    fetcher: str, item: str, params: dict[str, Any], server: BaostockServer
) -> None:
    batch = fl.run(f"baostock.{fetcher}", [item], params=params, progress=None)
    assert (batch[0].is_success, batch[0].empty) == (True, True)
    declared = getattr(fetchers, fetcher).policies.schema
    assert batch.frame(key=None).schema == pl.Schema(declared)


@pytest.mark.parametrize(
    ("fetcher", "item", "params"),
    [
        ("day", "2024-13-01", {}),
        ("day", "today", {}),
        ("day", 20240105, {}),
        ("stocks", "2024/01/05", {}),
        ("ohlcv", "600000", {"period": Q1}),
        ("ohlcv", "SH.600000", {"period": Q1}),
        ("ohlcv", "sh.600000", {"period": Q1, "adjust": "sideways"}),
        ("profit", "600000.SH", {"period": Q1}),
        ("basic", "", {}),
    ],
)
def test_what_is_no_date_and_no_code_is_a_permanent_error_and_not_asked_for(
    fetcher: str, item: Any, params: dict[str, Any], server: BaostockServer
) -> None:
    result = fl.run(f"baostock.{fetcher}", [item], params=params, progress=None)[0]
    assert (result.error_code, result.attempts) == ("permanent", 1)
    assert {question.method for question in server.asked} <= {"login", "logout"}


@pytest.mark.parametrize(
    ("fetcher", "item", "column", "other"),
    [
        (fetchers.ohlcv, "sh.600000", "code", "sh.600001"),
        (fetchers.day, "2024-01-05", "date", "2024-01-08"),
        (fetchers.basic, "sh.600000", "code", "sh.600001"),
        (fetchers.profit, "sh.600000", "code", "sh.600001"),
    ],
)
def test_a_fetcher_holds_rows_against_its_item_whatever_session_gives_them(
    fetcher: Any, item: str, column: str, other: str
) -> None:
    declared = fetcher.policies.schema
    texts = {name: "2024-01-05" if dtype == pl.Date else "1" for name, dtype in declared.items()}
    texts |= {"statDate": "2024-03-31"} if "statDate" in texts else {}
    for value, success in ((item, True), (other, False)):
        rows = pl.DataFrame([texts | {column: value}])
        double = FakeSession(rows, rows)
        plain = fetcher.replace(session=lambda double=double: double, retry=fl.Try(retry=2, sleep=0))
        params = {"period": Q1} if column == "code" and fetcher is not fetchers.basic else {}
        result = fl.run(plain, [item], params=params, executor="serial", progress=None)[0]
        assert result.is_success == success
        assert success or result.error_code == "wrong_answer"


# -- how many ----------------------------------------------------------------------------------------------


def at_once(server: BaostockServer, *, together: bool = False, **options: Any) -> int:
    """The most logins that were open at one time."""
    lock, opened, most = threading.Lock(), [0], [0]
    barrier = threading.Barrier(2)

    def twist(question: Question, reply: Reply) -> Reply:
        with lock:
            opened[0] += {"login": 1, "logout": -1}.get(question.method, 0)
            most[0] = max(most[0], opened[0])
        if together and question.method == "query_daily_history_k_AStock":
            barrier.wait(30)  # until another connection asks, too
        return reply

    server.twist = twist
    days = [f"2024-01-{n:02}" for n in range(1, 21)]
    batch = fl.run(fetchers.day, days, progress=None, **options)
    assert all(result.is_success for result in batch)
    return most[0]


def test_a_run_has_one_worker_unless_it_is_told_otherwise(server: BaostockServer) -> None:
    assert at_once(server) == 1
    assert at_once(server, executor="process") == 1
    assert at_once(server, workers=4, together=True) >= 2


# -- how good ----------------------------------------------------------------------------------------------


class Trouble:
    """A server that has it all: cuts, delays, logins that end, other answers, errors; a good answer now and then."""

    def __init__(self) -> None:
        self._random = random.Random(20240101)
        self._lock = threading.Lock()
        self.made = dict.fromkeys(("cut", "expired", "refused", "other", "late"), 0)

    def __call__(self, question: Question, reply: Reply) -> Reply:
        with self._lock:
            luck, place = self._random.random(), self._random.random()
            delay = 0.004 * self._random.random() if self._random.random() < 0.3 else 0.0
            kind = self._kind(question, luck)
            self.made[kind or "late"] += kind is not None or delay > 0
        match kind:
            case "cut":
                return Reply(reply.data, delay).cut(int(place * len(reply.data)))
            case "expired":
                return Reply(refusal(question, *NO_LOGIN), delay)
            case "refused":
                return Reply(refusal(question, *SYSTEM), delay)
            case "other":
                code = question.parts[4]
                other = f"sh.{600000 + int(place * 400):06}"
                return Reply(
                    instead(question, code, other if other != code else "sh.699999", reply).data, delay
                )
        return Reply(reply.data, delay)

    @staticmethod
    def _kind(question: Question, luck: float) -> str | None:
        if question.method == "logout":
            return None
        if luck < 0.06:
            return "cut"
        if not question.method.startswith("query_"):
            return None
        if question.on_login > 2 and luck < 0.12:  # whoever has just logged in may ask
            return "expired"
        return "refused" if luck < 0.15 else "other" if luck < 0.20 else None


@pytest.mark.timeout(120)
@pytest.mark.parametrize("executor", ["thread", "process"])
def test_no_row_of_100_000_is_wrong_whatever_the_server_does(executor: str, server: BaostockServer) -> None:
    trouble = server.twist = Trouble()
    fetcher = fetchers.ohlcv.replace(retry=fl.Try(retry=12, sleep=0.005))
    codes = [f"sh.{600000 + n}" for n in range(400)]
    period = fl.Period.from_year(2024)
    batch = fl.run(fetcher, codes, params={"period": period}, executor=executor, workers=4, progress=None)
    assert batch.failures == []
    days = pl.date_range(date(2024, 1, 1), date(2024, 9, 6), eager=True)
    assert len(days) == 250
    right = pl.DataFrame(
        {
            "key": [code for code in codes for _ in days],
            "date": list(days) * len(codes),
            "volume": [volume(code, day) for code in codes for day in days],
        }
    )
    frame = batch.frame()
    assert frame.height == 100_000
    assert frame.filter(pl.col("key") != pl.col("code")).height == 0
    assert frame.select(right.columns).equals(right)
    assert min(trouble.made.values()) > 0, trouble.made
