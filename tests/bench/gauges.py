"""How a round becomes a figure: every gauge calls its subject once, checks the count and gives a number."""

from __future__ import annotations

import contextlib
import gc
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sized
from functools import partial
from pathlib import Path
from typing import Any

__all__ = ["Gauge", "efficiency", "first_after", "gigabytes", "growth", "milliseconds", "per_item"]

Gauge = Callable[[Callable[..., Any]], float]
"""Takes the subject, ready to be called, and gives the round's figure."""


def _run(subject: Callable[[], Any], count: int) -> float:
    began = time.perf_counter()
    results = subject()
    seen = len(results) if isinstance(results, Sized) else sum(1 for _ in results)
    took = time.perf_counter() - began
    if seen != count:
        raise RuntimeError(f"{seen} results came back for {count} items")
    return took


def per_item(count: int) -> Gauge:
    """Microseconds an item."""
    return lambda subject: _run(subject, count) / count * 1e6


def milliseconds(count: int = 1) -> Gauge:
    """Milliseconds in all."""
    return lambda subject: _run(subject, count) * 1e3


def efficiency(naps: Iterable[float], width: int) -> Gauge:
    """The time that ``width`` sleepers need without any overhead, as a share of the time it took."""
    naps = list(naps)
    ideal = max(sum(naps) / width, *naps)
    return lambda subject: ideal / _run(subject, len(naps))


def gigabytes(count: int, megabytes: int) -> Gauge:
    """Gigabytes a second that arrive in the parent."""
    return lambda subject: count * megabytes / 1e3 / _run(subject, count)


def first_after(ready: int, count: int) -> Gauge:
    """Milliseconds until the results of the first ``ready`` items are out; the rest is awaited unmeasured."""

    def gauge(subject: Callable[[], Any]) -> float:
        began = time.perf_counter()
        took, seen = 0.0, 0
        for seen, _ in enumerate(subject(), 1):
            if seen == ready:
                took = time.perf_counter() - began
        if seen != count:
            raise RuntimeError(f"{seen} results came back for {count} items")
        return took * 1e3

    return gauge


def growth(count: int, *, small: int = 100, unit: float = 1e6) -> Gauge:
    """Peak resident memory of this process over what it held before, in ``unit`` bytes.

    The subject is told how many items: ``small`` ones first, so that what it imports is not counted.
    """

    def gauge(subject: Callable[..., Any]) -> float:
        subject(small)
        gc.collect()
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts from here
        before = _resident()
        _run(partial(subject, count), count)
        return max(_peak() - before, 0) / unit

    return gauge


def _status(field: str) -> int | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return None


def _maxrss() -> int:
    # Linux hands a parent's mark on to its children; it serves only where there is no /proc.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _resident() -> int:
    return _status("VmRSS") or _maxrss()


def _peak() -> int:
    return _status("VmHWM") or _maxrss()
