"""A fetcher whose first items finish while the others stay: what is stopped, interrupted or orphaned."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from lanes import Log

import fetchline as fl

from .executors import Executor

__all__ = ["DONE", "stays"]

DONE = 6
"""Items that finish."""


def stays(log: Log, executor: Executor, done: int = DONE, seconds: float = 15.0) -> Any:
    """A fetcher whose first items finish; the others are released by the test, or cancelled."""

    def fetch(n: int) -> int:
        log.note("at", n, os.getpid())
        until = time.monotonic() + seconds
        while n >= done and not log.count("release") and time.monotonic() < until:
            time.sleep(0.01)
        return n

    async def fetch_async(n: int) -> int:
        log.note("at", n, os.getpid())
        if n >= done:
            try:
                await asyncio.sleep(3600)
            finally:
                log.note("unwound", n)
        return n

    return fl.Fetcher.of(executor.function(fetch, fetch_async), "stays")
