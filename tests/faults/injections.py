"""Faults of the function itself: what it raises, how its process dies, how long it takes.

An injection is ``inject(log) -> Trial``. Just before the fault it notes ``fired``, where the fault is; workers import
this module, so it imports neither pytest nor Polars.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from lanes import Log

__all__ = ["BAD", "ITEMS", "TIMEOUT_S", "Inject", "Trial", "at_the_item"]

ITEMS = 12
BAD = 5
TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class Trial:
    """What is run, with a fault in it.

    Attributes:
        body: the fetch function; every item is its own value.
        async_body: the coroutine function, where it is more than the body with ``async`` before it.
        bad: the place of the item that the fault hits.
        policies: of the fetcher.
        options: of the run.
    """

    body: Callable[..., Any]
    async_body: Callable[..., Any] | None = None
    items: Iterable[Any] = range(ITEMS)
    bad: int = BAD
    policies: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


Inject = Callable[[Log], Trial]


def at_the_item(fault: Callable[[], Any], *, once: bool = False) -> Inject:
    """Have the function do something when it comes to the bad item."""

    def inject(log: Log) -> Trial:
        def fetch(n: int) -> int:
            log.note("call", n, os.getpid())
            if n == BAD and not (once and log.count("fired")):
                log.note("fired")
                fault()
            return n

        return Trial(fetch)

    return inject


def raising(error: Callable[[], BaseException]) -> Inject:
    def raises() -> NoReturn:
        raise error()

    return at_the_item(raises)


# -- what it raises ----------------------------------------------------------------------------------------


class OwnArguments(Exception):
    """Pickles, and does not unpickle: its arguments are others than those of ``__init__``."""

    def __init__(self, *, symbol: str, status: int) -> None:
        super().__init__(f"{symbol} has {status}")


class HoldsALock(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class Mute(Exception):
    """Nothing can be said of it but its type."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def recurses(depth: int = 0) -> int:
    return recurses(depth + 1)


def runs_out_of_memory() -> None:
    """Ask for more than the limit on the process allows; the limit is put back."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20), limits[1]))
    try:
        bytearray(1 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def system_exit() -> NoReturn:
    sys.exit("left by sys.exit")


# -- how its process dies ----------------------------------------------------------------------------------


def exits_at_once() -> NoReturn:
    os._exit(3)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def segfaults() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def aborts() -> NoReturn:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.abort()


def fills_its_cgroup(log: Log) -> Trial:
    """Move into the group whose folder is in ``group`` beside the log, and take memory until the kernel acts."""

    def fills() -> None:
        group = Path((log.path.parent / "group").read_text())
        (group / "cgroup.procs").write_text(str(os.getpid()))
        held = []
        while True:
            held.append(b"x" * (1 << 20))

    return at_the_item(fills)(log)


# -- how long it takes -------------------------------------------------------------------------------------

LONG_S = 2.2  # longer than it takes to see that a loop in a worker process does not answer


def hangs(log: Log) -> Trial:
    def fetch(n: int) -> int:
        log.note("call", n, os.getpid())
        if n == BAD:
            log.note("fired")
            _wait_for_release(log)
            log.note("late")
        return n

    async def fetch_async(n: int) -> int:
        log.note("call", n, os.getpid())
        if n == BAD:
            log.note("fired")
            await asyncio.sleep(3600)
            log.note("late")
        return n

    return Trial(fetch, fetch_async, policies={"timeout": TIMEOUT_S})


def _wait_for_release(log: Log) -> None:
    until = time.monotonic() + LONG_S
    while time.monotonic() < until and not log.count("release"):
        time.sleep(0.01)


def spins(log: Log) -> Trial:
    def fetch(n: int) -> int:
        log.note("call", n, os.getpid())
        if n == BAD:
            log.note("fired")
            until = time.monotonic() + LONG_S
            while time.monotonic() < until:
                pass
            log.note("late")
        return n

    return Trial(fetch, policies={"timeout": TIMEOUT_S})


def raises_late(log: Log) -> Trial:
    def fetch(n: int) -> int:
        if n == BAD:
            log.note("fired")
            time.sleep(LONG_S)
            raise ValueError("too late")
        return n

    async def fetch_async(n: int) -> int:
        if n == BAD:
            log.note("fired")
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                raise ValueError("too late") from None
        return n

    return Trial(fetch, fetch_async, policies={"timeout": TIMEOUT_S})


def swallows_its_cancellation(log: Log) -> Trial:
    async def fetch(n: int) -> int:
        if n == BAD:
            log.note("fired")
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                await asyncio.sleep(TIMEOUT_S / 2)
                log.note("late")
                return -1
        return n

    return Trial(abs, fetch, policies={"timeout": TIMEOUT_S})
