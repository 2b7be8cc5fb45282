"""Functions that the suites submit to plain executors: of a module, so that any pickle takes them."""

from __future__ import annotations

import os
from typing import Any

from fetchline.testing.evidence import Log

__all__ = ["LoadsNowhere", "arguments", "fail", "hold", "note", "pid", "stay"]


def arguments(*args: Any, **kwargs: Any) -> Any:
    """Give back what it was called with."""
    return args, kwargs


def fail(*args: Any) -> None:
    """Raise a ``LookupError`` of these arguments."""
    raise LookupError(*args)


def hold(log: Log, n: int = 0) -> int:
    """Note ``"in", n``, wait for ``"go"``, note ``"out", n``."""
    log.note("in", n)
    log.wait_for("go")
    log.note("out", n)
    return n


def stay(log: Log, n: int) -> int:
    """Note ``"in", n``, wait for ``"go", n``."""
    log.note("in", n)
    log.wait_for("go", n)
    return n


def note(log: Log, *facts: Any) -> None:
    """Note these facts."""
    log.note(*facts)


def pid(_: object = None) -> int:
    """The process it runs in."""
    return os.getpid()


class LoadsNowhere:
    """Pickles, and refuses to be unpickled."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> Any:
    raise RuntimeError("will not be loaded")
