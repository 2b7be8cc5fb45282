"""Sessions: opened in the worker that uses them, once for their scope, closed exactly once by it.

An opened session belongs to a ``Worker`` (``interfaces``), which closes it at its end, on its own thread; with
a warm pool that is later than the end of the run. Sessions are never pickled: what travels is a ``SessionUse``.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from fetchline.errors import SessionFailed, text_of
from fetchline.interfaces import SessionSpec, Worker

__all__ = ["OPENING", "Login", "LoopSessions", "SessionUse", "ThreadSessions"]

_log = logging.getLogger("fetchline.session")

_LEAVE_S = 5.0
OPENING = float("inf")
"""When an attempt began whose session is still opening: a login is not part of the attempt's timeout."""


class Counts:
    """Sessions that one run opened and closed in this process."""

    __slots__ = ("_lock", "closed", "opened")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.opened = 0
        self.closed = 0

    def open(self) -> None:
        with self._lock:
            self.opened += 1

    def close(self) -> None:
        with self._lock:
            self.closed += 1

    def __reduce__(self) -> tuple[type[Counts], tuple[()]]:
        return Counts, ()


_tokens: deque[tuple[SessionSpec, Mapping[str, Any], str]] = deque(maxlen=256)
_tokens_lock = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class SessionUse:
    """A session a fetcher asked for: its spec, options for the factory, and where it is injected.

    ``parameter`` is the name of the parameter whose default is ``fetchline.injected``; None is ambient.
    ``token`` is its identity, the same for equal specs and options: a factory that travels by value would not
    be equal to itself in a warm worker.
    """

    spec: SessionSpec
    options: Mapping[str, Any] = field(default_factory=dict)
    parameter: str | None = None
    token: str = ""
    counts: Counts = field(default_factory=Counts)

    @classmethod
    def of(cls, spec: SessionSpec, options: Mapping[str, Any], parameter: str | None) -> SessionUse:
        """Make a use; equal ones made before give their token."""
        with _tokens_lock:
            for known, held, token in _tokens:
                if known == spec and held == options:
                    return cls(spec, options, parameter, token)
            token = uuid.uuid4().hex
            _tokens.append((spec, dict(options), token))
        return cls(spec, options, parameter, token)

    def __eq__(self, other: object) -> bool:
        return self.token == other.token if isinstance(other, SessionUse) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.token)

    def is_expired(self, error: BaseException) -> bool:
        """Whether the error says that the login is no longer valid; a predicate that raises has not said so."""
        expired = self.spec.expired
        if isinstance(expired, type | tuple):
            return isinstance(error, expired)
        try:
            return bool(expired(error))
        except Exception as bug:
            error.add_note(f"expired= raised {bug!r}")
            return False

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
    """A process-wide login: opened by the first worker that asks, closed by the last that leaves it."""

    def __init__(self, use: SessionUse) -> None:
        self.use = use
        self.value, self._stack = _enter(use)
        self.holders = 0
        self.stale = False

    def leave(self) -> None:
        with _shared_lock:
            self.holders -= 1
            last = self.holders == 0
            if last and _shared.get(self.use) is self:
                del _shared[self.use]
        if last:
            _close(self._stack, self.use)

    def expire(self) -> None:
        """The next worker that asks logs in anew; those at work with this one keep it until they are done."""
        with _shared_lock:
            self.stale = True
            if _shared.get(self.use) is self:
                del _shared[self.use]


_shared: dict[SessionUse, _Shared] = {}
_shared_lock = threading.RLock()  # held while one worker logs in and the others wait


def _join(use: SessionUse) -> _Shared:
    with _shared_lock:
        shared = _shared.get(use)
        if shared is None:
            shared = _shared[use] = _Shared(use)
        shared.holders += 1
        return shared


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
        held: _Held | None = self._worker.kept.get(use)
        if held is not None and held.stale():
            held.close()
            held = None
        if held is not None:
            yield held.value
            return
        call.began = OPENING
        try:
            held = self._open()
        finally:
            call.began = time.monotonic()
        try:
            yield held.value
        finally:
            if use.spec.scope == "attempt":
                held.close()

    def renew(self) -> None:
        """The login is no longer valid: the next attempt opens a new one."""
        held: _Held | None = self._worker.kept.get(self._use)
        if held is not None:
            held.expire()
            held.close()

    def _open(self) -> _Held:
        use, worker = self._use, self._worker
        if use.spec.scope == "process":
            shared = _join(use)
            held = _Held(shared.value, shared.leave, shared.expire, lambda: shared.stale)
        else:
            value, stack = _enter(use)
            held = _Held(value, lambda: _close(stack, use))
        if use.spec.scope == "attempt":
            return held

        def leave() -> None:
            if worker.kept.get(use) is held:
                del worker.kept[use]

        held.on_close(leave)
        worker.kept[use] = held
        worker.callback(held.close)
        return held


def _never() -> bool:
    return False


def _nothing() -> None: ...


class _Held:
    """A session as one worker holds it; ``close`` acts once."""

    __slots__ = ("_close", "_left", "expire", "stale", "value")

    def __init__(
        self,
        value: Any,
        close: Callable[[], None],
        expire: Callable[[], None] = _nothing,
        stale: Callable[[], bool] = _never,
    ) -> None:
        self.value = value
        self.expire = expire
        self.stale = stale
        self._close: Callable[[], None] | None = close
        self._left: Callable[[], None] = _nothing

    def on_close(self, left: Callable[[], None]) -> None:
        self._left = left

    def close(self) -> None:
        close, self._close = self._close, None
        if close is not None:
            self._left()
            close()


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
    use.counts.open()
    return value, stack


def _close(stack: ExitStack, use: SessionUse) -> None:
    use.counts.close()
    try:
        stack.close()
    except (Exception, SystemExit) as error:
        _log.warning("session %r did not close cleanly: %r", use.spec.name, error)


def _failed(use: SessionUse, error: Exception) -> SessionFailed:
    return SessionFailed(
        f"session {use.spec.name!r} could not be opened: {type(error).__name__}: {text_of(error)}"
    )


class Login:
    """A session of a loop, opened; counted, so that it is not closed under an attempt that still uses it."""

    __slots__ = ("_leave", "opened", "ready", "stale", "task", "users", "value")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ready: asyncio.Future[None] = loop.create_future()
        self.value: Any = None
        self.users = 0
        self.opened = False
        self.stale = False
        self._leave = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def leave(self) -> None:
        self.users -= 1
        if self.stale and self.users == 0:
            self._leave.set()

    def end(self) -> None:
        """Close it once nobody uses it."""
        self.stale = True
        if self.users == 0:
            self._leave.set()

    def end_now(self) -> None:
        self._leave.set()

    async def keep(self, use: SessionUse) -> None:
        """Open, wait, close; all in one task of its own."""
        try:
            manager = use.make(asynchronous=True)
            asynchronous = hasattr(manager, "__aenter__")
            self.value = await manager.__aenter__() if asynchronous else manager.__enter__()
        except asyncio.CancelledError:
            self.ready.cancel()
            raise
        except BaseException as error:  # SystemExit here would end the loop: it is the attempt's
            failed: BaseException = error
            if isinstance(error, Exception):
                failed = _failed(use, error)
                failed.__cause__ = error
            self.ready.set_exception(failed)
            self.ready.exception()  # nobody may be waiting any more
            return
        use.counts.open()
        self.opened = True
        if not self.ready.done():
            self.ready.set_result(None)
        try:
            await self._leave.wait()
        finally:
            use.counts.close()
            try:
                if asynchronous:
                    await manager.__aexit__(None, None, None)
                else:
                    manager.__exit__(None, None, None)
            except (Exception, SystemExit) as error:
                _log.warning("session %r did not close cleanly: %r", use.spec.name, error)


class LoopSessions:
    """The sessions of one event loop, shared by its attempts.

    Each is opened and closed by one task of its own: cancel scopes and context variables must not be entered
    in one task and left in another.
    """

    def __init__(self) -> None:
        self._open: dict[SessionUse, Login] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def peek(self, use: SessionUse) -> Login | None:
        """Give the session if it is open, as ``get`` does; None: it is not."""
        login = self._open.get(use)
        if login is None or not login.opened:
            return None
        login.users += 1
        return login

    async def get(self, use: SessionUse) -> Login:
        """Give the session; whoever asks first opens it while the others wait. Give it back by ``leave``."""
        login = self._open.get(use)
        if login is None:
            login = self._open[use] = Login(asyncio.get_running_loop())
            login.task = asyncio.create_task(login.keep(use))
            self._tasks.add(login.task)
            login.task.add_done_callback(self._tasks.discard)
        # Counted before it is ready: whoever is first may find it expired before the others have gone on.
        login.users += 1
        try:
            # An attempt that is cancelled while it waits must not cancel the opening for the others.
            await asyncio.shield(login.ready)
        except BaseException as error:
            login.leave()
            if not isinstance(error, asyncio.CancelledError) and self._open.get(use) is login:
                del self._open[use]
            raise
        return login

    def renew(self, use: SessionUse, login: Login) -> None:
        """A login is no longer valid: the next attempt opens another; told twice, it is one new login."""
        if self._open.get(use) is login:
            del self._open[use]
        login.end()

    async def close(self) -> None:
        """Close every session, each in the task that opened it."""
        for login in self._open.values():
            login.end_now()
            if not login.ready.done() and login.task is not None:
                login.task.cancel()  # nobody waits for this opening any more
        self._open.clear()
        if self._tasks:
            # A logout that hangs is not waited for.
            await asyncio.wait(self._tasks, timeout=_LEAVE_S)
