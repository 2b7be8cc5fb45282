"""Faults on the way to a worker and back: what happens while something is pickled or unpickled."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from lanes import Log

import fetchline as fl

from .injections import BAD, ITEMS, TIMEOUT_S, Inject, Trial

__all__ = ["error", "function", "item", "memo", "params", "unspeakable", "value"]

FEW = 3
"""Items of a run whose every item is hit."""


def raises() -> NoReturn:
    raise RuntimeError("a trap sprang")


def exits() -> NoReturn:
    sys.exit("a trap sprang")


def interrupts() -> NoReturn:
    raise KeyboardInterrupt("a trap sprang")


def dies() -> NoReturn:
    os._exit(3)


def dawdles() -> None:
    time.sleep(2 * TIMEOUT_S)


Act = Callable[[], Any]


class Trap:
    """Does something while it is pickled, or while it is unpickled in another process than that one."""

    def __init__(self, log: Log, *, packed: Act | None = None, unpacked: Act | None = None) -> None:
        self.log = log
        self.packed = packed
        self.unpacked = unpacked

    def __reduce__(self) -> Any:
        if self.packed is not None:
            self.log.note("fired")
            self.packed()
        return _unpack, (self.log, self.unpacked, os.getpid())


def _unpack(log: Log, unpacked: Act | None, home: int) -> Trap:
    if unpacked is not None and os.getpid() != home:
        log.note("fired")
        unpacked()
    return Trap(log, unpacked=unpacked)


class TrapError(Exception):
    """The same as an exception; ``anywhere`` springs in the process that pickled it, too."""

    def __init__(self, log: Log, packed: Act | None, unpacked: Act | None, anywhere: bool) -> None:
        super().__init__("the error's own text")
        self.traps = (log, packed, unpacked, anywhere)

    def __reduce__(self) -> Any:
        log, packed, *rest = self.traps
        if packed is not None:
            log.note("fired")
            packed()
        return _unpack_error, (log, *rest, os.getpid())


def _unpack_error(log: Log, unpacked: Act | None, anywhere: bool, home: int) -> TrapError:
    if unpacked is not None and (anywhere or os.getpid() != home):
        log.note("fired")
        unpacked()
    return TrapError(log, None, unpacked, anywhere)


class Unspeakable:
    """An item whose ``repr`` raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def a_lock(log: Log) -> Any:
    log.note("fired")  # it is there; nothing runs when it is pickled
    return threading.Lock()


def trap(*, packed: Act | None = None, unpacked: Act | None = None) -> Callable[[Log], Any]:
    return lambda log: Trap(log, packed=packed, unpacked=unpacked)


def unspeakable(log: Log) -> Any:
    log.note("fired")
    return Unspeakable()


# -- where it is -------------------------------------------------------------------------------------------


def item(make: Callable[[Log], Any], bad: int = BAD) -> Inject:
    def inject(log: Log) -> Trial:
        items: Sequence[Any] = [n if n != bad else make(log) for n in range(ITEMS)]

        def fetch(thing: Any) -> Any:
            log.note("call", thing if isinstance(thing, int) else bad, os.getpid())
            return thing if isinstance(thing, int) else bad

        return Trial(fetch, items=items, bad=bad, options={"key": _key})

    return inject


def _key(thing: Any) -> str:
    return str(thing) if isinstance(thing, int) else "odd"


def value(make: Callable[[Log], Any], items: int = ITEMS) -> Inject:
    def inject(log: Log) -> Trial:
        def fetch(n: int) -> Any:
            log.note("call", n, os.getpid())
            return make(log) if n == BAD else n

        return Trial(fetch, items=range(items))

    return inject


def error(*, packed: Act | None = None, unpacked: Act | None = None, anywhere: bool = False) -> Inject:
    def inject(log: Log) -> Trial:
        def raises_it(n: int) -> int:
            log.note("call", n, os.getpid())
            if n == BAD:
                raise TrapError(log, packed, unpacked, anywhere)
            return n

        return Trial(raises_it)

    return inject


def function(make: Callable[[Log], Any], **policies: Any) -> Inject:
    def inject(log: Log) -> Trial:
        held = make(log)

        def fetch(n: int) -> int:
            log.note("call", n, os.getpid())
            return n if held is not None else -1

        return Trial(fetch, items=range(FEW), bad=0, policies=policies)

    return inject


def params(make: Callable[[Log], Any]) -> Inject:
    def inject(log: Log) -> Trial:
        def fetch(n: int, extra: Any) -> int:
            return n

        return Trial(fetch, items=range(FEW), bad=0, options={"params": {"extra": make(log)}})

    return inject


def memo(log: Log) -> Trial:
    def fetch(n: int) -> int:
        if n == BAD and fl.attempt().memo is None:
            log.note("fired")
            raise fl.NotReady(0.01, memo=threading.Lock())
        return n

    return Trial(fetch)
