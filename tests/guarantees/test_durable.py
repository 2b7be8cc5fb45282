"""Guarantee 13: what was reported is on disk; killed at any moment, the same call goes on; one process at a time."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lanes import LANES, Log, Script, until

import fetchline as fl

COUNT = 60
ROUNDS = 6

PROGRAM = """
    import sys
    from pathlib import Path

    import lanes
    from fetchline import keeping
    from fetchline.drive import host
    from fetchline.hookspecs import hookimpl
    from fetchline.journal import owner

    keeping.FLUSH_S = host._TICK_S = 0.01
    owner.BEAT_S, owner.STALE_S = 0.1, float(sys.argv[4])
    name, store, log = sys.argv[1], sys.argv[2], lanes.Log(Path(sys.argv[3]))
    hold = sys.argv[6:]

    def body(n):
        import time
        import polars as pl

        log.note("call", n)
        if hold:
            log.wait_for(hold[0])
        time.sleep(0.01)  # as a server takes
        return pl.DataFrame({"n": [n, n]}) if n % 2 else {"n": n}

    class Told:
        @hookimpl
        def fetchline_item_finished(self, run, result):
            assert result.is_success, result
            log.note("told", result.key)

    if __name__ == "__main__":
        with lanes.lane_of(name) as lane:
            print("begun", flush=True)
            try:
                batch = lane.run(lane.fetcher(body), range(int(sys.argv[5])), store=store, plugins=[Told()])
            except Exception as error:
                print("raised", type(error).__name__, error, flush=True)
            else:
                print("values", len(batch), batch.frame()["n"].to_list(), flush=True)
"""


def _keys(log: Log, kind: str) -> list[str]:
    return [str(line[1]) for line in log.lines() if line[0] == kind]


def _stored(store: Path) -> set[str]:
    try:
        return {result.key for result in fl.open_run(store) if result.is_success}
    except fl.StoreError:  # it was killed before there was anything
        return set()


@pytest.mark.parametrize("name", LANES)
def test_durable_is_what_was_reported_and_a_killed_run_goes_on(
    name: str, script: Callable[..., Script], tmp_path: Path
) -> None:
    """Killed again and again by its pid, at some moment; what it leaves is never fetched again."""
    chance, store, told = random.Random(f"kills of {name}"), tmp_path / "store", set[str]()
    killed = 0
    for number in range(ROUNDS + 1):
        before = _stored(store)
        assert told <= before
        log = Log(tmp_path / f"log{number}")
        program = script(PROGRAM, name, store, log.path, 30, COUNT, name=f"round{number}.py")
        if number < ROUNDS:
            moment = [chance.choice(["call", "told"])] if number else ["told"]

            def has_come(log: Log = log, moment: list[str] = moment, program: Script = program) -> bool:
                return log.count(*moment) > 0 or program.process.poll() is not None

            until(has_come, "the moment of a kill")
            time.sleep(chance.uniform(0, 0.03))  # at any moment, and not just after a call
            program.process.send_signal(signal.SIGKILL)
            killed += program.process.wait(20) == -signal.SIGKILL
            program.kill()  # its workers, too, as they may still note a call
        else:
            assert program.end() == 0, program.stderr
        assert not before & set(_keys(log, "call")), "fetched again"
        reported = _keys(log, "told")
        assert len(reported) == len(set(reported)), "reported twice"
        assert not told & set(reported), "reported again"
        told |= set(reported)
    assert killed >= 2 and before, "it was not killed in the middle"
    assert program.wait_for("values") == f"{COUNT} {_expected()}"
    assert told <= _stored(store) == {str(n) for n in range(COUNT)}
    assert fl.verify(store) == {}
    rows: Counter[str] = Counter()
    import polars as pl

    for path in (store / "data").iterdir():
        rows.update(pl.read_parquet(path)["_key"].to_list())
    assert rows == {str(n): 2 if n % 2 else 1 for n in range(COUNT)}


def _expected() -> list[int]:
    return [n for n in range(COUNT) for _ in range(2 if n % 2 else 1)]


@pytest.mark.parametrize("name", LANES)
def test_durable_stores_refuse_a_second_process_by_name(
    name: str, script: Callable[..., Script], tmp_path: Path, log: Log
) -> None:
    first = script(PROGRAM, name, tmp_path / "store", log.path, 30, COUNT, "go", name="first.py")
    log.wait_for("call")
    other = Log(tmp_path / "other")
    second = script(PROGRAM, name, tmp_path / "store", other.path, 30, COUNT, name="second.py")
    second.wait_for("begun")
    begun = time.monotonic()
    said = second.wait_for("raised")
    assert time.monotonic() - begun < 2.0
    assert said.startswith("StoreBusy") and f"in use by process {first.process.pid} on " in said
    assert not other.lines()
    log.note("go")
    assert first.end() == 0, first.stderr
    assert first.wait_for("values") == f"{COUNT} {_expected()}"


@pytest.mark.parametrize("name", ["serial", "thread", "process", "asyncio"])
def test_durable_stores_are_not_written_by_who_was_stopped_and_taken_over(
    name: str, script: Callable[..., Script], tmp_path: Path, log: Log
) -> None:
    """As a laptop that was closed, or a machine that was thought to be dead."""
    store = tmp_path / "store"
    first = script(PROGRAM, name, store, log.path, 1, COUNT, "go", name="first.py")
    log.wait_for("call")
    os.kill(first.process.pid, signal.SIGSTOP)
    try:
        other = Log(tmp_path / "other")
        second: list[Script] = []

        def has_taken_over() -> Any:
            if second and second[-1].process.poll() is None:
                return False
            if second and any(line.startswith("values") for line in second[-1].said):
                return True
            second.append(script(PROGRAM, name, store, other.path, 1, COUNT, name=f"second{len(second)}.py"))
            return False

        until(has_taken_over, "the mark to grow old")
        assert second[-1].wait_for("values") == f"{COUNT} {_expected()}"
        left = _files(store)
    finally:
        os.kill(first.process.pid, signal.SIGCONT)
    log.note("go")
    first.end()
    assert first.wait_for("raised").startswith("StoreBusy")
    assert not _keys(log, "told")
    assert _files(store) == left
    assert fl.verify(store) == {}
    assert _stored(store) == {str(n) for n in range(COUNT)}


def _files(store: Path) -> dict[str, bytes]:
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file()
        and path.parent.name != ".drafts"  # it may have been stopped in the middle of a file
    }
