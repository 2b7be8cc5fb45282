"""A named pace is one for everything that uses the name on this machine, and outlives the process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clients import getting
from servers import Answer, Seen, Server
from timing import most_within

import fetchline as fl

Serving = Callable[..., Server]

PER_S = 20
SLACK = 3
"""Starts of catch-up, one for each of those who share, and one that arrives late beside one that does not."""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where named paces live, for this process and those it starts."""
    folder = tmp_path / "state"
    monkeypatch.setenv("FETCHLINE_STATE", str(folder))
    return folder


def vendor() -> fl.Pace:
    return fl.Pace("20/s, 40/min", name="vendor")


def keeps_to(server: Server, n: int) -> None:
    times = sorted(seen.at for seen in server.seen)
    assert len(times) == n
    assert most_within(times, 1.0) <= PER_S + SLACK
    assert times[-1] - times[0] >= (n - 1 - SLACK) / PER_S


def test_two_runs_of_one_process_share_a_named_pace(serving: Serving) -> None:
    server = serving()
    jobs = [
        fl.submit(fl.Fetcher.of(getting(server.url), name, pace=vendor()), range(19), progress=None)
        for name in ("one", "other")
    ]
    for job in jobs:
        assert job.result(timeout=30).n_succeeded == 19
    keeps_to(server, 38)


def test_paces_of_other_names_and_of_none_are_not_shared(serving: Serving) -> None:
    server = serving()
    paces = [fl.Pace("20/s", name="first"), fl.Pace("20/s", name="second"), fl.Pace("20/s")]
    jobs = [
        fl.submit(fl.Fetcher.of(getting(server.url), pace=pace), range(20), progress=None) for pace in paces
    ]
    for job in jobs:
        assert job.result(timeout=30).n_succeeded == 20
    times = sorted(seen.at for seen in server.seen)
    assert most_within(times, 1.0) > 40


PROGRAM = """
import sys
import fetchline as fl
from clients import getting
from test_named_pace import vendor

url, n, deadline = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
fetcher = fl.Fetcher.of(getting(url), pace=vendor())
print("ready", flush=True)
sys.stdin.readline()
batch = fl.run(fetcher, range(n), deadline=deadline, progress=None)
print(batch.n_succeeded, dict(batch.summary.codes), flush=True)
"""


@contextlib.contextmanager
def program(folder: Path, url: str, n: int, deadline: float) -> Iterator[subprocess.Popen[str]]:
    """A process that fetches so many items once it is sent a line."""
    script = folder / "program.py"
    script.write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, str(script), url, str(n), str(deadline)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        try:
            assert process.stdout and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    line = process.stdout.readline()
    assert process.wait(30) == 0
    return line.strip()


def test_two_processes_at_once_share_a_named_pace(serving: Serving, tmp_path: Path) -> None:
    server = serving()
    with program(tmp_path, server.url, 19, 30) as one, program(tmp_path, server.url, 19, 30) as other:
        go(one), go(other)
        assert said(one) == said(other) == "19 {}"
    keeps_to(server, 38)


def test_a_long_window_holds_across_a_restart_of_the_process(serving: Serving, tmp_path: Path) -> None:
    """40 a minute: after 25 in the first process, 15 are left for the second, whose time is up before the minute."""
    server = serving()
    with program(tmp_path, server.url, 25, 30) as first:
        go(first)
        assert said(first) == "25 {}"
    with program(tmp_path, server.url, 25, 4) as second:
        go(second)
        assert said(second) == "15 {'deadline': 10}"
    assert len(server.seen) == 40


def test_a_named_pace_holds_after_a_process_that_was_killed(serving: Serving, tmp_path: Path) -> None:
    server = serving(lambda seen: killing(seen))
    with program(tmp_path, server.url, 40, 30) as first:

        def killing(seen: Seen) -> Answer:
            if len(server.seen) == 20:
                first.kill()
            return Answer()

        go(first)
        first.wait(30)
    before = len(server.seen)
    assert before < 40
    with program(tmp_path, server.url, 40, 4) as second:
        go(second)
        assert said(second).endswith("{'deadline': " + str(40 - (len(server.seen) - before)) + "}")
    # A start that was granted and never made may count; one that was made must.
    assert 30 <= len(server.seen) <= 40


def test_state_is_kept_where_it_was_asked_for(serving: Serving, state: Path) -> None:
    server = serving()
    batch = fl.run(fl.Fetcher.of(getting(server.url), pace=vendor()), range(2), progress=None)
    assert batch.n_succeeded == 2
    assert any(path.is_file() for path in state.rglob("*"))
