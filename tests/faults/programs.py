"""What the tests of signals run as programs of their own."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import threading
import time
from pathlib import Path
from typing import Any

from lanes import Log

import fetchline as fl

from .executors import named
from .stays import DONE, stays

__all__ = ["interrupted", "orphaned", "source", "without_descriptors"]

LOG = "log"


def interrupted(name: str) -> None:
    """Run until Ctrl-C, and tell what came back and when."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log, executor = Log(Path(LOG)), named(name)

    def watch() -> None:
        log.wait_for("at", DONE)
        print("stuck", flush=True)

    def told(done: int, total: int | None) -> None:
        if done == DONE + 10:
            print("stopping", flush=True)

    threading.Thread(target=watch, daemon=True).start()
    with executor.options() as options:
        try:
            fl.run(stays(log, executor, seconds=3600), range(40), on_progress=told, **options)
        except KeyboardInterrupt as error:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # one that was sent before this was told
            back = time.monotonic()
            _tell(error, back)
        finally:
            log.note("release")
        print("again", fl.run(abs, range(3), progress=None).values, flush=True)


def _tell(error: Any, back: float) -> None:
    batch = error.batch
    report = {
        "at": back,
        "type": type(error).__name__,
        "size": len(batch),
        "values": batch.values,
        "codes": sorted(batch.summary.codes),
        "complete": batch.complete,
    }
    print("back", json.dumps(report), flush=True)


def orphaned(name: str, busy: str) -> None:
    """Keep the workers busy until somebody kills this program."""
    log, executor = Log(Path(LOG)), named(name)

    def fetch(n: int) -> None:
        log.note("at", os.getpid(), os.getppid())
        match busy:
            case "sleeps":
                time.sleep(3600)
            case "computes":
                while True:
                    pass
            case "in-c-code":
                # Called with the GIL held: no other thread of the worker runs meanwhile.
                ctypes.PyDLL(None).sleep(3600)

    with executor.options() as options:
        fl.run(fl.Fetcher.of(executor.function(fetch, None), "busy"), range(4), **options)


def without_descriptors(name: str) -> None:
    """Run while no file can be opened any more, and again when it can."""
    executor = named(name)
    fetcher = fl.Fetcher.of(executor.function(_echo, None), "echo")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with executor.options() as options:
        fl.run(fetcher, range(3), **options)  # whatever it wants to import is imported
        used = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir()) + 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
        held = []
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            print("full", flush=True)
        batch = fl.run(fetcher, range(5), **options)
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        report = {
            "codes": dict(batch.summary.codes),
            "message": batch.failures[0].message if batch.failures else "",
            "values": batch.values,
            "again": fl.run(fetcher, range(3), **options).values,
        }
    print("done", json.dumps(report), flush=True)


def _echo(n: int) -> int:
    return n


def source(call: str) -> str:
    """A program that makes the call; spawned workers of a foreign pool import it again."""
    return f"from faults.programs import *\nif __name__ == '__main__':\n    {call}\n"
