"""``fetchline run``: what it writes, prints and leaves with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from click.testing import Result

from fetchline.cli.tables import _replacing

Command = Callable[..., subprocess.CompletedProcess[str]]
Invoke = Callable[..., Result]

READ = {
    "parquet": pl.read_parquet,
    "csv": pl.read_csv,
    "ndjson": pl.read_ndjson,
    "jsonl": pl.read_ndjson,
    "arrow": pl.read_ipc,
}


@pytest.mark.parametrize("executor", ["serial", "thread", "process", "asyncio"])
def test_all_well_is_exit_code_0_and_the_frame_is_printed(command: Command, app: str, executor: str) -> None:
    ended = command("--app", app, "run", "shop.double", "1", "2", "--executor", executor)
    assert ended.returncode == 0
    assert "│ 2   ┆ 4     │" in ended.stdout
    assert ended.stderr.startswith("shop.double: 2 items in ")
    assert "succeeded 2" in ended.stderr


def test_some_failed_is_exit_code_1_and_the_good_ones_are_written(
    command: Command, app: str, tmp_path: Path
) -> None:
    ended = command(
        "--app", app, "run", "shop.daily", "A", "X1", "B", "X2", "--out", "o.parquet", "--failures", "f.csv"
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert pl.read_parquet(tmp_path / "o.parquet")["key"].to_list() == ["A", "A", "B", "B"]
    failed = pl.read_csv(tmp_path / "f.csv")
    assert failed["key"].to_list() == ["X1", "X2"]
    assert failed["index"].to_list() == [1, 3]
    assert failed["error_code"].to_list() == ["error", "error"]
    assert failed["attempts"].to_list() == [2, 2]
    assert failed["error"].to_list() == [f"ValueError: no such ticker: {key}" for key in ("X1", "X2")]
    assert "  X1: error after 2 attempts: ValueError: no such ticker: X1\n" in ended.stderr
    assert ended.stderr.endswith("wrote 4 rows to o.parquet, 2 failures to f.csv\n")
    assert "items failed" not in ended.stderr, "the summary says it, so the log need not"
    # What failed can be given again.
    again = command("--app", app, "plan", "shop.daily", "--column", "f.csv:key")
    assert again.stdout.startswith("shop.daily: 2 calls")


@pytest.mark.parametrize("suffix", list(READ))
def test_every_format_holds_the_frame_and_the_failures(invoke: Invoke, tmp_path: Path, suffix: str) -> None:
    ended = invoke("run", "shop.daily", "A", "X", "--out", f"o.{suffix}", "--failures", f"f.{suffix}")
    assert ended.exit_code == 1
    assert READ[suffix](tmp_path / f"o.{suffix}").columns == ["key", "day", "adjusted"]
    assert READ[suffix](tmp_path / f"f.{suffix}")["key"].to_list() == ["X"]


def test_the_failures_file_is_written_without_failures_too(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("of an earlier run")
    assert invoke("run", "shop.double", "1", "--failures", "f.csv").exit_code == 0
    assert (tmp_path / "f.csv").read_text() == "key,index,error_code,attempts,error,item\n"


def test_when_none_succeeded_an_earlier_file_stays(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("of an earlier run")
    ended = invoke("run", "shop.daily", "X", "--out", "o.csv")
    assert ended.exit_code == 1
    assert "no item succeeded, so o.csv is not written" in ended.stderr
    assert (tmp_path / "o.csv").read_text() == "of an earlier run"


def test_no_items_in_a_file_are_no_failure(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n")
    assert invoke("run", "shop.double", "--from", "none.txt", "--out", "o.csv").exit_code == 0
    assert (tmp_path / "o.csv").read_text() == "key\n"


def test_on_error_raise_stops_and_writes_what_there_is(invoke: Invoke, tmp_path: Path) -> None:
    options = ["--on-error", "raise", "--executor", "serial", "--out", "o.csv", "--failures", "f.csv"]
    ended = invoke("run", "shop.daily", "A", "X", "B", *options)
    assert ended.exit_code == 1
    assert pl.read_csv(tmp_path / "o.csv")["key"].to_list() == ["A", "A"]
    assert pl.read_csv(tmp_path / "f.csv")["error_code"].to_list() == ["error", "cancelled"]


def test_a_run_that_breaks_says_why(command: Command, tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(
        "import time, fetchline as fl\n"
        "@fl.fetcher(timeout=0.2)\n"
        "def stuck(n: int) -> int:\n"
        "    return time.sleep(n % 2 * 3600) or n\n"
    )
    ended = command("run", "stuck", *map(str, range(30)), "--app", "stuck.py", "--workers", "1")
    assert ended.returncode == 1
    assert ended.stderr.startswith("fetchline: the run broke: 3 attempts are stuck past their timeout")
    assert "cancelled" in ended.stderr


def test_a_deadline_ends_the_run_with_exit_code_1(command: Command, app: str, tmp_path: Path) -> None:
    arguments = ["shop.stuck", "0", "1", "2", "3", "-j", "1", "--deadline", "0.5s", "--out", "o.csv"]
    ended = command("--app", app, "run", *arguments)
    assert ended.returncode == 1
    assert pl.read_csv(tmp_path / "o.csv")["n"].to_list() == [0, 1]
    assert "deadline" in ended.stderr


def test_values_that_are_no_frames_are_told_in_one_line(invoke: Invoke, tmp_path: Path) -> None:
    for out in ([], ["--out", "o.csv"]):
        ended = invoke("run", "shop.text", "A", *out)
        assert ended.exit_code == 1
        last = ended.stderr.splitlines()[-1]
        assert last.startswith("fetchline: the values make no frame: the fetcher returned a bytes for 'A'")
    assert list(tmp_path.iterdir()) == []


def test_plain_values_are_a_column(invoke: Invoke, tmp_path: Path) -> None:
    assert "│ B   ┆ hello B │" in invoke("run", "shop.greeting", "A", "B").stdout
    assert invoke("run", "shop.greeting", "A", "B", "--out", "o.csv").exit_code == 0
    assert (tmp_path / "o.csv").read_text() == "key,value\nA,hello A\nB,hello B\n"
    grid = ["--grid", "name=A,B", "odd=C", "--key-column", "name,odd", "--out", "o.csv"]
    assert invoke("run", "shop.greeting", *grid).exit_code == 0
    assert (tmp_path / "o.csv").read_text() == "name,odd,value\nA,C,hello A\nB,C,hello B\n"


def test_plain_values_of_two_kinds_are_no_column(invoke: Invoke) -> None:
    ended = invoke("run", "shop.greeting", "A", "B", "-p", "odd=B")
    assert ended.exit_code == 1
    told = "the values make no frame: the column 'value' is String for 'A' and Int64 for 'B'"
    assert told in ended.stderr.splitlines()[-1]


def test_a_frame_the_format_cannot_hold_leaves_the_earlier_file(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("of an earlier run")
    ended = invoke("run", "shop.nested", "1", "--out", "o.csv")
    assert ended.exit_code == 1
    last = ended.stderr.splitlines()[-1]
    assert "o.csv cannot hold the frame" in last and last.endswith("What was fetched is in o.parquet")
    assert (tmp_path / "o.csv").read_text() == "of an earlier run"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.csv", "o.parquet"]
    assert pl.read_parquet(tmp_path / "o.parquet").height == 1
    kept = (tmp_path / "o.parquet").read_bytes()
    assert "o.parquet" not in invoke("run", "shop.nested", "2", "--out", "o.csv").stderr
    assert (tmp_path / "o.parquet").read_bytes() == kept


def test_a_file_is_replaced_when_it_is_complete_and_a_link_stays_one(tmp_path: Path) -> None:
    target, link = tmp_path / "t.csv", tmp_path / "l.csv"
    target.write_text("old")
    link.symlink_to(target)
    with pytest.raises(KeyboardInterrupt), _replacing(link) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    with _replacing(link) as file:
        file.write(b"new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l.csv", "t.csv"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable_is_refused_beforehand(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    ended = invoke("run", "shop.double", "1", "--out", "locked/o.csv")
    assert ended.exit_code == 2
    assert "is not writable" in ended.stderr


def test_a_folder_is_no_file_to_write(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "o.csv").mkdir()
    assert invoke("run", "shop.double", "1", "--out", "o.csv").exit_code == 2


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_csv_on_standard_output_is_kept_clean_of_what_fetchers_print(
    command: Command, app: str, executor: str
) -> None:
    ended = command("--app", app, "run", "shop.loud", "A", "B", "--executor", executor, "--out", "-")
    assert ended.stdout == "key,name\nA,A\nB,B\n"
    assert ended.stderr.count("loud") == 3  # the summary names the fetcher, too


def test_a_pipe_that_nobody_reads_any_more_ends_the_command_quietly(
    command: Command, app: str, tmp_path: Path
) -> None:
    (tmp_path / "n.txt").write_text("\n".join(map(str, range(50_000))))
    line = f"{os.sys.executable} -m fetchline.cli --app {app} run shop.double --from n.txt --out - | head -1"  # type: ignore[attr-defined]
    from cli_support import environment

    ended = subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, cwd=tmp_path, env=environment(), check=True
    )
    assert ended.stdout == "key,twice\n"
    assert "Error" not in ended.stderr


def test_rows_and_failures_are_printed_up_to_a_limit(invoke: Invoke) -> None:
    items = [*map(str, range(30)), *(f"X{n}" for n in range(5))]
    ended = invoke("run", "shop.daily", *items, "--limit-print", "3")
    assert ended.stderr.count(": error after") == 3
    assert "  ...\n" in ended.stderr
    assert ended.stdout.count("2024-01-01") <= 3
    assert invoke("run", "shop.daily", *items, "--limit-print", "0").stdout == ""


def test_progress_is_shown_when_asked_for_and_not_otherwise(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "100%" not in invoke("run", "shop.double", "1").stderr
    assert "100%" in invoke("run", "shop.double", "1", "--progress").stderr
    monkeypatch.setenv("FETCHLINE_PROGRESS", "jsonl")
    assert '"event": "end"' in invoke("run", "shop.double", "1").stderr
    assert '"event": "end"' in invoke("run", "shop.double", "1", "--progress").stderr
    assert '"event": "end"' not in invoke("run", "shop.double", "1", "--no-progress").stderr


def test_log_lines_are_shown_at_their_level(invoke: Invoke) -> None:
    import logging

    before = logging.getLogger("fetchline").level, list(logging.getLogger().handlers)
    assert "INFO    fetchline: run " in invoke("run", "shop.double", "1", "--log-level", "info").stderr
    assert "INFO" not in invoke("run", "shop.double", "1", "--log-level", "warning").stderr
    assert (logging.getLogger("fetchline").level, list(logging.getLogger().handlers)) == before


def test_options_of_the_environment_hold_unless_said_otherwise(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FETCHLINE_EXECUTOR", "serial")
    assert "on serial x 1" in invoke("run", "shop.double", "1").stderr
    assert "on thread x 2" in invoke("run", "shop.double", "1", "2", "--executor", "thread", "-j", "2").stderr
