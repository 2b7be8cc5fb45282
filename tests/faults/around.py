"""Faults around the function: sessions, the input, and what watches a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from lanes import Log

import fetchline as fl

from .injections import BAD, Inject, Trial
from .pickles import FEW, Act, a_lock, raises

__all__ = [
    "display",
    "input_raises",
    "judge",
    "middleware",
    "no_key",
    "observer",
    "session",
    "session_factory",
]


# -- sessions ----------------------------------------------------------------------------------------------


class Session:
    def __init__(self, log: Log, opening: Act | None, closing: Act | None, once: bool) -> None:
        self.log = log
        self.opening = opening
        self.closing = closing
        self.once = once

    def __enter__(self) -> Session:
        self.log.note("open", os.getpid())
        self._act(self.opening)
        return self

    def __exit__(self, *_: object) -> None:
        self.log.note("close")
        self._act(self.closing)

    def _act(self, act: Act | None) -> None:
        if act is not None and not (self.once and self.log.count("fired")):
            self.log.note("fired")
            act()


class AsyncSession(Session):
    async def __aenter__(self) -> Session:
        return super().__enter__()

    async def __aexit__(self, *_: object) -> None:
        super().__exit__()


def session(
    opening: Act | None = None, closing: Act | None = None, *, once: bool = False, **policies: Any
) -> Inject:
    def inject(log: Log) -> Trial:
        spec = fl.SessionSpec(
            name="probe",
            factory=lambda: Session(log, opening, closing, once),
            async_factory=lambda: AsyncSession(log, opening, closing, once),
        )
        return Trial(_uses(log), items=range(FEW), bad=0, policies={"session": spec, **policies})

    return inject


def _uses(log: Log) -> Callable[..., int]:
    def fetch(n: int, *, session: Any = fl.injected) -> int:
        log.note("call", n, os.getpid())
        return n

    return fetch


def session_factory(log: Log) -> Trial:
    held = a_lock(log)
    spec = fl.SessionSpec(name="probe", factory=lambda: Session(log, None, None, bool(held.locked())))
    return Trial(_uses(log), items=range(FEW), bad=0, policies={"session": spec})


# -- the input ---------------------------------------------------------------------------------------------


def input_raises(log: Log) -> Trial:
    def items() -> Iterator[int]:
        yield from range(BAD)
        log.note("fired")
        raise RuntimeError("the source ran dry")

    return Trial(abs, _echo, items=items())


async def _echo(n: int) -> int:
    return n


def no_key(log: Log) -> Trial:
    def items() -> Iterator[Any]:
        yield from range(BAD)
        log.note("fired")
        yield {"symbol": "AAPL"}

    return Trial(abs, _echo, items=items())


def key_raises(log: Log) -> Trial:
    def key(n: int) -> str:
        if n == BAD:
            log.note("fired")
            raises()
        return str(n)

    return Trial(abs, _echo, items=iter(range(FEW + BAD)), options={"key": key})


# -- what watches ------------------------------------------------------------------------------------------


def judge(log: Log) -> Trial:
    def on(error: BaseException) -> bool:
        log.note("fired")
        raises()

    def fetch(n: int) -> int:
        if n == BAD:
            raise ValueError("judge me")
        return n

    return Trial(fetch, policies={"retry": fl.Try(retry=3, sleep=0, on=on)})


class Around:
    """Middleware; the fault is at the bad item only."""

    def __init__(self, log: Log, act: Act) -> None:
        self.log = log
        self.act = act

    def __enter__(self) -> None:
        if fl.attempt().key == str(BAD):
            self.log.note("fired")
            self.act()

    def __exit__(self, *_: object) -> None: ...


def middleware(act: Act) -> Inject:
    def inject(log: Log) -> Trial:
        class Plugin:
            @fl.hookimpl
            def fetchline_worker_middleware(self, run: Any) -> list[Any]:
                return [lambda: Around(log, act)]

        return Trial(abs, _echo, options={"plugins": [Plugin()]})

    return inject


def observer(log: Log) -> Trial:
    class Observer:
        @fl.hookimpl
        def fetchline_item_finished(self, run: Any, result: Any) -> None:
            log.note("fired")
            raises()

    return Trial(abs, _echo, options={"plugins": [Observer()]})


class Display:
    def __init__(self, log: Log, where: str) -> None:
        self.log = log
        self.where = where

    def start(self, total: int | None, label: str) -> None: ...

    def update(self, progress: Any) -> None:
        self._act("update")

    def close(self) -> None:
        self._act("close")

    def _act(self, where: str) -> None:
        if where == self.where:
            self.log.note("fired")
            raises()


def display(where: str) -> Inject:
    return lambda log: Trial(abs, _echo, options={"progress": Display(log, where)})


def tick(log: Log) -> Trial:
    def on_progress(done: int, total: int | None) -> None:
        log.note("fired")
        raises()

    return Trial(abs, _echo, options={"on_progress": on_progress})
