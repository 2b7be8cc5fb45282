"""Faults that come by signal, or from the machine: Ctrl-C, kill -9 of the program, no descriptor left.

Ctrl-C on the other executors: ``test_interrupt_keeps_work``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lanes import Log, Script, gone, until

from .executors import EXECUTORS
from .programs import source
from .stays import DONE

BACK_S = 1.5
SLACK_S = 0.4  # for a busy machine
LEFT_S = 5.0

REST = ("spawn", "coroutines", "processpool")


@pytest.mark.parametrize("whom", ["group", "parent"])
@pytest.mark.parametrize("name", REST)
def test_ctrl_c_gives_control_back_with_what_was_finished(
    name: str, whom: str, script: Callable[..., Script]
) -> None:
    run = script(source(f"interrupted({name!r})"))
    run.wait_for("stuck")
    sent = run.interrupt(group=whom == "group")
    report = json.loads(run.wait_for("back"))
    assert report["at"] - sent < BACK_S + SLACK_S
    assert (report["type"], report["complete"]) == ("BatchInterrupted", False)
    assert report["values"] == list(range(DONE))
    assert report["size"] == 40
    assert run.wait_for("again") == "[0, 1, 2]"
    ends_without_leftovers(run)


@pytest.mark.parametrize("name", REST)
def test_a_second_ctrl_c_does_not_wait(name: str, script: Callable[..., Script]) -> None:
    run = script(source(f"interrupted({name!r})"))
    run.wait_for("stuck")
    run.interrupt(group=True)
    run.wait_for("stopping")  # the first has been seen: what had not started is being cancelled
    sent = run.interrupt(group=True)
    report = json.loads(run.wait_for("back"))
    assert report["at"] - sent < 0.5
    assert set(report["values"]) <= set(range(DONE))
    assert report["size"] == 40
    ends_without_leftovers(run)


def ends_without_leftovers(run: Script) -> None:
    assert run.end(10) == 0, run.stderr
    until(lambda: not run.leftover(), "its processes to be gone", patience=LEFT_S)


CELL = """
import json, time
from pathlib import Path
from lanes import Log
from faults.executors import named
from faults.stays import stays
import fetchline as fl
log, executor = Log(Path("log")), named({name!r})
with executor.options() as options:
    try:
        fl.run(stays(log, executor, seconds=3600), range(40), **options)
    except KeyboardInterrupt as error:
        back = time.monotonic()
        print(json.dumps([back, type(error).__name__, error.batch.values, len(error.batch)]))
    finally:
        log.note("release")
"""


def test_ctrl_c_in_a_notebook_gives_control_back_with_what_was_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    """The kernel's *interrupt*, cell after cell."""
    with warnings.catch_warnings():  # ipykernel is not asked to be free of them
        warnings.simplefilter("ignore")
        manager = pytest.importorskip("jupyter_client").KernelManager()
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
        manager.start_kernel(cwd=str(tmp_path))
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=30)
            for name in [executor.name for executor in EXECUTORS]:
                log.path.unlink(missing_ok=True)
                client.execute(CELL.format(name=name))
                log.wait_for("at", DONE)
                sent = time.monotonic()
                manager.interrupt_kernel()
                back, *rest = json.loads(printed(client))
                assert rest == ["BatchInterrupted", list(range(DONE)), 40], name
                assert back - sent < BACK_S + SLACK_S
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def printed(client: Any) -> str:
    """What the cell at hand prints, or why it fails."""
    while True:
        message = client.get_iopub_msg(timeout=20)
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
            text: str = message["content"]["text"]
            return text
        assert message["msg_type"] != "error", "\n".join(message["content"]["traceback"])


@pytest.mark.parametrize("busy", ["sleeps", "computes", "in-c-code"])
@pytest.mark.parametrize("name", ["process", "spawn", "coroutines"])
def test_workers_leave_when_their_parent_is_killed(
    name: str, busy: str, script: Callable[..., Script], log: Log
) -> None:
    run = script(source(f"orphaned({name!r}, {busy!r})"))
    log.wait_for("at", times=2)
    pids = {pid for line in log.lines() for pid in line[1:]} - {run.process.pid}
    assert len(pids) == (2 if name == "spawn" else 3)  # the fork server, too
    os.kill(run.process.pid, signal.SIGKILL)
    try:
        until(lambda: all(map(gone, pids)), "all workers to be gone", patience=LEFT_S)
        until(lambda: not run.leftover(), "its processes to be gone", patience=LEFT_S)
    finally:
        run.kill()


@pytest.mark.parametrize("name", ["process", "spawn", "coroutines"])
def test_no_file_descriptor_left_is_a_failure_and_the_next_run_is_fine(
    name: str, script: Callable[..., Script]
) -> None:
    run = script(source(f"without_descriptors({name!r})"))
    run.wait_for("full")
    report: dict[str, Any] = json.loads(run.wait_for("done"))
    assert report["codes"] == {"crashed": 5}
    assert "Too many open files" in report["message"]
    assert report["again"] == [0, 1, 2]
    ends_without_leftovers(run)
