"""Put a fault into a run and see what comes of it; ``main`` does it as a program of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lanes import Log, until

import fetchline as fl

from .executors import Executor, named
from .injections import Trial
from .matrix import faults

__all__ = ["finished", "no_worker_is_left", "perform"]

PATIENCE_S = 15.0
"""How long a run may take before it is said to hang."""


def perform(trial: Trial, executor: Executor, log: Log) -> Any:
    """Run it; the batch. Whatever still waits is released."""
    function = executor.function(trial.body, trial.async_body)
    fetcher = fl.Fetcher.of(function, "probe", **trial.policies)
    with executor.options() as options:
        try:
            return fl.run(fetcher, trial.items, **{**options, **trial.options})
        finally:
            log.note("back")
            log.note("release")


def finished(call: Callable[[], Any]) -> Any:
    """Call it in a thread that may be left behind: what hangs is said to hang."""
    out: list[Any] = []

    def work() -> None:
        try:
            out.append((call(), None))
        except BaseException as error:
            out.append((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    if not out:
        _end(_workers())
        raise AssertionError(f"it hangs: no result after {PATIENCE_S:g} s")
    value, error = out[0]
    if error is not None:
        raise error
    return value


def _workers() -> set[int]:
    """Worker processes of this one that are there: spawned ones, and those of our fork server."""
    found = dict(_processes())
    servers = {
        pid
        for pid, (parent, command) in found.items()
        if "fetchline.worker.nursery" in command and parent == os.getpid()
    }
    return {
        pid
        for pid, (parent, command) in found.items()
        if parent in servers
        or (parent == os.getpid() and ("fetchline.worker.child" in command or "spawn_main" in command))
    }


def _processes() -> Iterator[tuple[int, tuple[int, str]]]:
    """Every process that has not ended: its parent and its command."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] not in "ZX":
                yield int(entry.name), (int(fields[1]), command)


def _end(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def no_worker_is_left() -> None:
    try:
        until(lambda: not _workers(), "the last worker process to leave", patience=8)
    finally:
        _end(_workers())


def main(fault: str, executor: str, path: str) -> None:
    log = Log(Path(path))
    perform(faults()[fault].inject(log), named(executor), log)


if __name__ == "__main__":
    main(*sys.argv[1:])
