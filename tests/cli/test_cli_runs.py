"""``run --store`` and ``fetchline runs``: stored runs on the command line."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from click.testing import Result

import fetchline as fl

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
    assert "XX: error stored before: ValueError: no such ticker: XX" in kept.stderr


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


def test_a_stored_value_that_cannot_be_read_any_more_is_told_of_after_the_run(
    invoke: Invoke, stored: str
) -> None:
    file = next(Path(stored, "data").iterdir())
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 1
    file.write_bytes(body)
    result = invoke("run", "shop.daily", "AAPL", "IBM", "--store", stored)
    assert result.exit_code == 1  # 2 would say that nothing was started
    assert f"data/{file.name} is not what was written" in result.stderr


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


def test_runs_are_listed_and_shown(invoke: Invoke, stored: str, app: str) -> None:
    lines = invoke("runs", "list").stdout.splitlines()
    assert lines[0].split() == ["STORE", "FETCHER", "STATUS", "SUCCEEDED", "FAILED", "SIZE", "UPDATED"]
    assert lines[1].split()[:7] == ["runs/one", "shop.daily", "completed", "2", "of", "3", "1"]
    shown = invoke("runs", "show", stored)
    assert shown.stdout.startswith(
        "runs/one: shop.daily, completed\n  succeeded  2 of 3\n  failed     1: 1 error\n"
    )
    assert "  error      XX: ValueError: no such ticker: XX" in shown.stdout
    assert f"fetchline --app {app} runs resume runs/one goes on with it" in shown.stderr
    Path("empty").mkdir()
    assert "there are no runs in empty" in invoke("runs", "list", "empty").stderr
    missing = invoke("runs", "show", "nowhere")
    assert (missing.exit_code, "there is no run in" in missing.stderr) == (2, True)


def test_a_run_is_resumed_by_its_place(invoke: Invoke, stored: str) -> None:
    resumed = invoke("runs", "resume", stored, "-j", "2")
    assert resumed.exit_code == 1
    assert "succeeded 2, 2 of them stored before" in resumed.stderr
    assert "XX: error after 2 attempts" in resumed.stderr


def test_what_a_run_came_to_is_written_where_resume_is_told(invoke: Invoke, stored: str) -> None:
    resumed = invoke("runs", "resume", stored, "--out", "all.csv", "--failures", "bad.csv")
    assert (resumed.exit_code, resumed.stdout) == (1, "")
    assert "wrote 4 rows to all.csv, 1 failure to bad.csv" in resumed.stderr
    assert pl.read_csv("all.csv")["key"].to_list() == ["AAPL", "AAPL", "MSFT", "MSFT"]
    assert pl.read_csv("bad.csv")["key"].to_list() == ["XX"]
    refused = invoke("runs", "resume", stored, "--out", "all.xlsx")
    assert (refused.exit_code, "--out" in refused.stderr) == (2, True)


def test_a_run_is_shown_as_one_object(invoke: Invoke, stored: str) -> None:
    (listed,) = invoke("runs", "list", "--json").stdout.splitlines()
    (shown,) = invoke("runs", "show", stored, "--json").stdout.splitlines()
    assert json.loads(shown) == {**json.loads(listed), "store": json.loads(shown)["store"]}
    assert json.loads(shown)["codes"] == {"error": 1}


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


@pytest.fixture
def running(invoke: Invoke) -> Iterator[str]:
    """A run that has one of its two results on disk and waits with the other."""
    told, may_end = threading.Event(), threading.Event()

    def waits(symbol: str) -> dict[str, str]:
        if symbol == "MSFT":
            assert may_end.wait(60)
        return {"symbol": symbol}

    job = fl.submit(
        waits, ["AAPL", "MSFT"], store="runs/now", concurrency=2, on_progress=lambda *_: told.set()
    )
    try:
        assert told.wait(60)
        yield "runs/now"
    finally:
        may_end.set()
        assert job.result(60).n_succeeded == 2


def test_a_run_that_goes_on_can_be_looked_at(invoke: Invoke, running: str) -> None:
    assert invoke("runs", "list").stdout.splitlines()[1].split()[2:6] == ["running", "1", "of", "2"]
    shown = invoke("runs", "show", running)
    assert "  succeeded  1 of 2\n  missing    1\n" in shown.stdout
    assert "resume" not in shown.stderr  # it would be refused
    assert invoke("runs", "export", running, "out.csv").exit_code == 0
    assert Path("out.csv").read_text() == "key,symbol\nAAPL,AAPL\n"
    assert invoke("runs", "verify", running).exit_code == 0


def test_a_run_that_goes_on_is_left_alone(invoke: Invoke, running: str) -> None:
    for arguments in (
        ("run", "shop.daily", "AAPL", "--store", running),
        ("runs", "compact", running),
        ("runs", "verify", running, "--repair"),
    ):
        refused = invoke(*arguments)
        assert refused.exit_code == 2, arguments
        assert "is in use by process " in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_a_damaged_run_is_named_beside_the_others(invoke: Invoke, stored: str) -> None:
    invoke("run", "shop.daily", "IBM", "--store", "runs/two")
    (data,) = Path("runs/two/data").iterdir()
    data.unlink()
    listed = invoke("runs", "list")
    assert (listed.exit_code, len(listed.stdout.splitlines())) == (1, 2)
    assert listed.stdout.splitlines()[1].startswith(stored)
    assert f"data/{data.name} is missing" in listed.stderr
    assert listed.stderr.count("\n") == 1


def test_runs_are_listed_as_json(invoke: Invoke, stored: str) -> None:
    invoke("run", "shop.daily", "IBM", "--store", "runs/two")
    one, two = map(json.loads, invoke("runs", "list", "--json").stdout.splitlines())
    assert Path(one["store"]) == Path(stored).resolve()
    assert (one["succeeded"], one["failed"], one["total"], one["missing"]) == (2, 1, 3, 0)
    assert one["codes"] == {"error": 1}
    assert one["started"] <= one["updated"]
    assert two["codes"] == {}
    Path("empty").mkdir()
    assert invoke("runs", "list", "empty", "--json").stdout == ""


def test_where_there_is_no_run_nothing_is_said_to_be_well(invoke: Invoke) -> None:
    for repair in ((), ("--repair",)):
        result = invoke("runs", "verify", "nowhere", *repair)
        assert (result.exit_code, "there is no run in" in result.stderr) == (2, True)
    assert not Path("nowhere").exists()


def test_what_was_put_aside_is_counted(invoke: Invoke, stored: str) -> None:
    (data,) = Path(stored, "data").iterdir()
    data.unlink()
    assert "2 items without an outcome now" in invoke("runs", "verify", stored, "--repair").stderr


def test_runs_alone_says_what_there_is(invoke: Invoke) -> None:
    result = invoke("runs")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "  compact " in result.stdout


def test_a_resumed_run_may_keep_what_the_store_has(invoke: Invoke, stored: str) -> None:
    assert "attempts  0" in invoke("runs", "resume", stored, "--reuse", "all").stderr
    assert "attempts  4" in invoke("runs", "resume", stored, "--reuse", "none").stderr  # XX twice
    record = Path(stored, "run.json")
    assert json.loads(record.read_text())["version"] == "1"
    fl.run(_of_the_shop("2"), ["AAPL"], store="runs/newer", progress=None)
    refused = invoke("runs", "resume", "runs/newer")
    assert refused.exit_code == 2
    assert "version: stored '2', now '1'; give another store, or --on-change keep if" in refused.stderr
    kept = invoke("runs", "resume", "runs/newer", "--on-change", "keep")
    assert (kept.exit_code, "attempts  0" in kept.stderr) == (0, True)


def _of_the_shop(version: str) -> fl.Fetcher:
    def daily(symbol: str) -> pl.DataFrame:
        return pl.DataFrame({"symbol": [symbol]})

    return fl.Fetcher.of(daily, name="shop.daily", version=version)


def test_bodies_are_exported_as_their_fetcher_decodes_them(invoke: Invoke) -> None:
    invoke("run", "shop.body", "AAPL", "--store", "runs/bodies")
    assert invoke("runs", "export", "runs/bodies", "out.csv").exit_code == 0
    assert Path("out.csv").read_text() == "key,name,n\nAAPL,AAPL,1\n"


def test_rows_are_exported_to_standard_output(invoke: Invoke, stored: str) -> None:
    assert invoke("runs", "export", stored, "out.csv").exit_code == 0
    printed = invoke("runs", "export", stored, "-")
    assert (printed.stdout, printed.stderr) == (Path("out.csv").read_text(), "")
    assert invoke("runs", "export", stored, "-", "--format", "parquet").exit_code == 2


def test_plain_values_are_exported_as_a_column(invoke: Invoke) -> None:
    invoke("run", "shop.greeting", "A", "B", "--store", "runs/plain")
    for column in ("key", "name"):
        assert invoke("runs", "export", "runs/plain", "out.csv", "--key-column", column).exit_code == 0
        assert Path("out.csv").read_text() == f"{column},value\nA,hello A\nB,hello B\n"


def test_a_format_is_said_where_the_suffix_says_none(invoke: Invoke, stored: str) -> None:
    for form in ("parquet", "csv", "ndjson", "arrow"):
        assert invoke("runs", "export", stored, "out", "--format", form).exit_code == 0
    assert pl.read_ipc("out").height == 4


def test_a_column_named_as_the_key_asks_for_another_name(invoke: Invoke) -> None:
    invoke("run", "shop.keyed", "AAPL", "--store", "runs/keyed")
    refused = invoke("runs", "export", "runs/keyed", "out.csv")
    assert refused.exit_code == 1
    assert "a column 'key' of their own; give --key-column another name" in refused.stderr
    assert not Path("out.csv").exists()
    assert invoke("runs", "export", "runs/keyed", "out.csv", "--key-column", "item").exit_code == 0
    assert Path("out.csv").read_text() == "item,key\nAAPL,7\n"
    assert invoke("runs", "export", "runs/keyed", "out.csv", "--key-column", "none").exit_code == 0
    assert Path("out.csv").read_text() == "key\n7\n"


def test_a_run_without_a_success_is_not_exported(invoke: Invoke) -> None:
    invoke("run", "shop.daily", "XX", "--store", "runs/none")
    result = invoke("runs", "export", "runs/none", "out.csv")
    assert result.exit_code == 1
    assert "no item succeeded, so out.csv is not written" in result.stderr
    assert not Path("out.csv").exists()


def test_frames_are_exported_without_their_app_and_bodies_say_that_it_is_missing(
    invoke: Invoke, command: Callable[..., subprocess.CompletedProcess[str]], stored: str
) -> None:
    invoke("run", "shop.body", "AAPL", "--store", "runs/bodies")
    frames = command("--app", "gone.py", "runs", "export", stored, "out.csv")
    assert (frames.returncode, "there is no file gone.py" in frames.stderr) == (0, True)
    bodies = command("runs", "export", "runs/bodies", "bodies.csv")
    assert (bodies.returncode, "name its module, --app module" in bodies.stderr) == (1, True)


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_store_of_something_else_is_refused_with_the_options_that_help(
    verb: str, invoke: Invoke, stored: str
) -> None:
    refused = invoke(verb, "shop.daily", "AAPL", "--store", stored, "-p", "adjusted=true")
    assert refused.exit_code == 2
    assert "params: stored {}, now {'adjusted': 'true'}; give another store, or --on-change" in refused.stderr
    assert "on_change=" not in refused.stderr and "Usage" not in refused.stderr


@pytest.fixture
def lost(tmp_path: Path) -> str:
    """The store of writes of which two had no answer."""

    def send(key: str) -> str:
        if key != "a":
            raise TimeoutError("no answer")
        return key

    store = str(tmp_path / "orders")
    fl.run(fl.Fetcher.of(send, "shop.send", idempotent=False), ["a", "b", "c"], store=store, progress=None)
    return store


def test_writes_of_unknown_outcome_are_listed_and_settled(invoke: Invoke, lost: str) -> None:
    shown = invoke("runs", "show", lost, "--failures", "lost.csv")
    assert shown.exit_code == 0 and "wrote 2 failures to lost.csv" in shown.stderr
    assert pl.read_csv("lost.csv")["key"].to_list() == ["b", "c"]
    settled = invoke("runs", "settle", lost, "--sent", "b", "--not-sent", "c")
    assert (settled.exit_code, settled.stderr) == (0, "settled 2 writes\n")
    state = fl.run_state(lost)
    assert (state.succeeded, state.failed, state.missing) == (2, 0, 1)


def test_keys_to_settle_may_stand_in_a_file(invoke: Invoke, lost: str) -> None:
    Path("arrived.txt").write_text("b\n\nc\n")
    assert invoke("runs", "settle", lost, "--sent", "@arrived.txt").stderr == "settled 2 writes\n"
    assert fl.run_state(lost).failed == 0
    assert "arrived.csv cannot be read" in invoke("runs", "settle", lost, "--sent", "@arrived.csv").stderr


def test_what_cannot_be_settled_is_refused_in_one_line(invoke: Invoke, lost: str) -> None:
    refused = invoke("runs", "settle", lost, "--sent", "x")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("fetchline: nothing was settled: 'x' has no outcome here")
    assert refused.stderr.endswith("Of this run unknown is what became of 'b', 'c'\n")
    silent = invoke("runs", "settle", lost)
    assert (silent.exit_code, "nothing is said: give --sent or --not-sent" in silent.stderr) == (2, True)
    assert "there is no run in" in invoke("runs", "settle", "nowhere", "--sent", "x").stderr


def test_a_repair_says_what_becomes_of_writes(invoke: Invoke, lost: str) -> None:
    for file in Path(lost, "data").iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    assert (
        "writes of unknown outcome now: they are not sent again"
        in invoke("runs", "verify", lost, "--repair").stderr
    )
