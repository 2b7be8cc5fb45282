"""Guarantee 5: no worker is forked from a process that has used Polars."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from lanes import gone, until

import fetchline as fl

# Forks of the interpreter itself are what an audit hook sees; subprocess starts a fresh program.
SOURCE = """
import json, os, sys, threading
from pathlib import Path

forks = []
sys.addaudithook(lambda event, args: forks.append(event) if event in ("os.fork", "os.forkpty") else None)

import polars as pl
import fetchline as fl

def used_polars():
    frame = pl.DataFrame({"a": list(range(10_000)), "b": [n % 7 for n in range(10_000)]})
    return frame.lazy().group_by("b").agg(pl.col("a").sum()).collect().height

used = used_polars()
threads = len(os.listdir("/proc/self/task"))

def whence(n):
    parent = os.getppid()
    return {
        "pid": os.getpid(),
        "parent": parent,
        "command": Path("/proc/self/cmdline").read_text(),
        "parent_command": Path(f"/proc/{parent}/cmdline").read_text(),
        "parent_threads": len(os.listdir(f"/proc/{parent}/task")),
        "threads_before": len(os.listdir("/proc/self/task")),
        "polars": used_polars(),
    }

with fl.get_executor(fl.use("process", start=sys.argv[1]), max_workers=2) as pool:
    batch = fl.run(whence, range(8), executor=pool, progress=None)
print("done", json.dumps({
    "pid": os.getpid(), "threads": threads, "used": used, "forks": forks, "workers": batch.values,
    "failures": [f.message for f in batch.failures],
}))
"""


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
def test_no_fork_of_a_process_that_has_used_polars(script, start: str) -> None:  # type: ignore[no-untyped-def]
    import json

    run = script(SOURCE, start)
    seen: dict[str, Any] = json.loads(run.wait_for("done"))
    assert seen["used"] == 7
    assert seen["threads"] > 1, "this test wants a parent whose Polars threads run"
    assert seen["forks"] == []
    assert seen["failures"] == []
    assert len(seen["workers"]) == 8
    for worker in seen["workers"]:
        assert worker["polars"] == 7
        assert worker["pid"] != seen["pid"]
        if start == "spawn":
            # A fresh program: its command is its own, not the script's.
            assert worker["parent"] == seen["pid"]
            assert "script.py" not in worker["command"]
            assert "fetchline.worker.child" in worker["command"]
        else:
            assert worker["parent"] != seen["pid"]
            assert "fetchline.worker.nursery" in worker["parent_command"]
            assert "script.py" not in worker["parent_command"]
    assert run.end() == 0


def test_no_fork_even_while_many_threads_use_polars() -> None:
    """The deadlock of a forked child is a lock that another thread held at the time."""
    import threading

    import polars as pl

    stop = threading.Event()

    def busy() -> None:
        frame = pl.DataFrame({"a": range(1000)})
        while not stop.is_set():
            frame.lazy().group_by(pl.col("a") % 10).len().collect()

    def in_worker(n: int) -> int:
        return int(pl.DataFrame({"a": range(n + 1)}).lazy().select(pl.col("a").sum()).collect().item())

    threads = [threading.Thread(target=busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            batch = fl.run(in_worker, range(10), executor="process", workers=2, progress=None)
            assert batch.values == [n * (n + 1) // 2 for n in range(10)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_no_fork_server_that_has_run_polars_itself() -> None:
    """It has imported it; its compute threads, which a fork would lose, were never started."""

    def server(_: int) -> tuple[int, str]:
        parent = os.getppid()
        names = [(task / "comm").read_text().strip() for task in Path(f"/proc/{parent}/task").iterdir()]
        return parent, " ".join(sorted(names))

    batch = fl.run(server, range(3), executor="process", workers=2, progress=None)
    servers = {pid for pid, _ in batch.values}
    assert len(servers) == 1
    assert servers != {os.getpid()}
    assert all("polars-0" not in names for _, names in batch.values)


def test_no_fork_worker_outlives_its_pool() -> None:
    with fl.get_executor("process", max_workers=2) as pool:
        pids = {pool.submit(os.getpid).result() for _ in range(4)}
    for pid in pids:
        until(lambda pid=pid: gone(pid), f"process {pid} to end")


@pytest.mark.parametrize("executor", ["serial", "thread", "asyncio"])
def test_no_fork_where_there_are_no_worker_processes(executor: str) -> None:
    async def where_async(_: int) -> int:
        return os.getpid()

    def where(_: int) -> int:
        return os.getpid()

    function = where_async if executor == "asyncio" else where
    assert set(fl.run(function, range(5), executor=executor, progress=None).values) == {os.getpid()}
