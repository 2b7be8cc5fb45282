"""Sessions: opened in the worker that uses them, once for their scope, closed exactly once by it.

An opened session belongs to a ``Worker`` (``interfaces``), which closes it at its end, on its own thread; with
a warm pool that is later than the end of the run. Sessions are never pickled: what travels is a ``SessionUse``.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from fetchline.errors import SessionFailed
from fetchline.interfaces import SessionSpec, Worker

__all__ = ["OPENING", "LoopSessions", "SessionUse", "ThreadSessions", "counts"]

_log = logging.getLogger("fetchline.session")

OPENING = float("inf")
"""When an attempt began whose session is still opening: a login is not part of the attempt's timeout."""


@dataclass(slots=True)
class Counts:
    """Logins and logouts of this process; differences are taken, so nothing resets them."""

    opened: int = 0
    closed: int = 0


counts = Counts()


@dataclass(frozen=True, slots=True, eq=False)
class SessionUse:
    """A session a fetcher asked for: its spec, options for the factory, and where it is injected.

    ``parameter`` is the name of the parameter whose default is ``fetchline.injected``; None is ambient.
    """

    spec: SessionSpec
    options: Mapping[str, Any] = field(default_factory=dict)
    parameter: str | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SessionUse):
            return NotImplemented
        return self.spec == other.spec and dict(self.options) == dict(other.options)

    def __hash__(self) -> int:
        return hash((self.spec.name, tuple(sorted(self.options))))

    def make(self, *, asynchronous: bool) -> Any:
        """Build the context manager, not yet entered."""
        spec = self.spec
        factory: Callable[..., Any] | None = spec.factory
        if asynchronous and spec.async_factory is not None:
            factory = spec.async_factory
        if factory is None:
            raise TypeError(f"session {spec.name!r} is for async functions only")
        return factory(**self.options)


class _Shared:
    """A process-wide session: opened by the first worker that asks, closed by the last that leaves."""

    def __init__(self, use: SessionUse) -> None:
        self.use = use
        self.lock = threading.Lock()
        self.holders = 0
        self.stack: ExitStack | None = None
        self.value: Any = None

    def join(self) -> Any:
        with self.lock:
            if self.stack is None:
                self.value, self.stack = _enter(self.use)
            self.holders += 1
            return self.value

    def leave(self) -> None:
        with self.lock:
            self.holders -= 1
            if self.holders == 0 and self.stack is not None:
                stack, self.stack, self.value = self.stack, None, None
                _close(stack, self.use)


_shared: dict[SessionUse, _Shared] = {}
_shared_lock = threading.Lock()


def _shared_of(use: SessionUse) -> _Shared:
    with _shared_lock:
        return _shared.setdefault(use, _Shared(use))


class ThreadSessions:
    """The sessions of one worker that makes one attempt at a time, on its own thread."""

    __slots__ = ("_use", "_worker")

    def __init__(self, use: SessionUse, worker: Worker) -> None:
        self._use = use
        self._worker = worker

    @contextmanager
    def session(self, call: Any) -> Iterator[Any]:
        """Give the session for one attempt; opens it if it is not open."""
        use = self._use
        kept = self._worker.kept
        if use in kept:
            yield kept[use][0]
            return
        call.began = OPENING
        try:
            if use.spec.scope == "attempt":
                value, stack = _enter(use)
            else:
                stack = None
                value = self._open()
        finally:
            call.began = time.monotonic()
        try:
            yield value
        finally:
            if stack is not None:
                _close(stack, use)

    def renew(self) -> None:
        """Close the session, so that the next attempt opens a new one."""
        held = self._worker.kept.get(self._use)
        if held is not None:
            held[1]()

    def _open(self) -> Any:
        use, worker = self._use, self._worker
        if use.spec.scope == "process":
            shared = _shared_of(use)
            value, close = shared.join(), shared.leave
        else:
            value, stack = _enter(use)

            def close() -> None:
                _close(stack, use)

        def forget() -> None:
            if worker.kept.pop(use, None) is not None:
                close()

        worker.kept[use] = (value, forget)
        worker.callback(forget)
        return value


def _enter(use: SessionUse) -> tuple[Any, ExitStack]:
    stack = ExitStack()
    try:
        manager = use.make(asynchronous=False)
        if not hasattr(manager, "__enter__"):
            raise TypeError(
                f"session {use.spec.name!r} is no context manager but {type(manager).__name__}; a sync function "
                "needs one with __enter__ and __exit__"
            )
        value = stack.enter_context(manager)
    except Exception as error:
        raise _failed(use, error) from error
    counts.opened += 1
    return value, stack


def _close(stack: ExitStack, use: SessionUse) -> None:
    counts.closed += 1
    try:
        stack.close()
    except Exception as error:
        _log.warning("session %r did not close cleanly: %r", use.spec.name, error)


def _failed(use: SessionUse, error: Exception) -> SessionFailed:
    return SessionFailed(f"session {use.spec.name!r} could not be opened: {type(error).__name__}: {error}")


class LoopSessions:
    """The sessions of one event loop, shared by its attempts.

    Each is opened and closed by one task of its own: cancel scopes and context variables must not be entered
    in one task and left in another.
    """

    def __init__(self) -> None:
        self._open: dict[SessionUse, asyncio.Future[Any]] = {}
        self._keepers: dict[SessionUse, tuple[asyncio.Task[None], asyncio.Event]] = {}

    async def get(self, use: SessionUse) -> Any:
        """Give the session; whoever asks first opens it while the others wait."""
        ready = self._open.get(use)
        if ready is None:
            ready = self._open[use] = asyncio.get_running_loop().create_future()
            leave = asyncio.Event()
            task = asyncio.create_task(self._keep(use, ready, leave))
            self._keepers[use] = (task, leave)
        # An attempt that is cancelled while it waits must not cancel the opening for the others.
        return await asyncio.shield(ready)

    async def _keep(self, use: SessionUse, ready: asyncio.Future[Any], leave: asyncio.Event) -> None:
        try:
            manager = use.make(asynchronous=True)
            asynchronous = hasattr(manager, "__aenter__")
            value = await manager.__aenter__() if asynchronous else manager.__enter__()
        except BaseException as error:
            self._open.pop(use, None)
            self._keepers.pop(use, None)
            if not isinstance(error, Exception):
                ready.cancel()
                raise
            failed = _failed(use, error)
            failed.__cause__ = error
            ready.set_exception(failed)
            ready.exception()  # nobody may be waiting any more
            return
        counts.opened += 1
        ready.set_result(value)
        try:
            await leave.wait()
        finally:
            counts.closed += 1
            try:
                if asynchronous:
                    await manager.__aexit__(None, None, None)
                else:
                    manager.__exit__(None, None, None)
            except Exception as error:
                _log.warning("session %r did not close cleanly: %r", use.spec.name, error)

    async def renew(self, use: SessionUse) -> None:
        """Close the session, so that the next attempt opens a new one."""
        self._open.pop(use, None)
        keeper = self._keepers.pop(use, None)
        if keeper is not None:
            keeper[1].set()
            await asyncio.wait([keeper[0]])

    async def close(self) -> None:
        """Close every session, each in the task that opened it."""
        tasks = []
        for task, leave in self._keepers.values():
            leave.set()
            tasks.append(task)
        self._keepers.clear()
        self._open.clear()
        if tasks:
            await asyncio.wait(tasks)
