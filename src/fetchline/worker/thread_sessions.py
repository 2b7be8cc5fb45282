"""The sessions of threads: opened by the worker that uses them, once for their scope, closed exactly once by it.

An opened session belongs to a ``Worker`` (``interfaces``), which closes it at its end, on its own thread; with
a warm pool that is later than the end of the run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from fetchline.errors import SessionFailed
from fetchline.interfaces import Worker
from fetchline.worker.sessions import LEAVE_S, OPENING, SessionUse, close, is_old, open_

__all__ = ["ThreadSessions"]

_log = logging.getLogger("fetchline.session")


class ThreadSessions:
    """The sessions of one worker that makes one attempt at a time, on its own thread."""

    __slots__ = ("_use", "_worker", "fresh")

    def __init__(self, use: SessionUse, worker: Worker) -> None:
        self._use = use
        self._worker = worker
        self.fresh = False

    @contextmanager
    def session(self, call: Any) -> Iterator[Any]:
        """Give the session for one attempt; opens it if it is not open.

        ``fresh`` tells until the next one whether it was opened for this attempt.
        """
        use = self._use
        held: _Held | None = self._worker.kept.get(use)
        self.fresh = held is None or held.is_over()
        if held is not None and not self.fresh:
            yield held.value
            return
        call.began = OPENING  # for good, if that fails: the function was never called
        token = getattr(call, "token", None)
        if held is not None:
            self._close(held)
        if getattr(call, "token", None) == token:
            held = self._open()
            call.began = time.monotonic()
        if held is None or getattr(call, "token", None) != token:
            raise SessionFailed("the attempt is not waited for any more: its session took too long")
        try:
            yield held.value
        finally:
            if use.spec.scope == "attempt":
                held.close()

    def renew(self) -> None:
        """The login is no longer valid: the next attempt closes it and opens a new one."""
        held: _Held | None = self._worker.kept.get(self._use)
        if held is not None:
            held.expire()
            held.expired = True

    def _close(self, held: _Held) -> None:
        """Close a session in the middle of a run; the worker is left behind if that hangs."""
        lock, abandon = threading.Lock(), self._worker.abandon

        def left() -> None:
            with lock:  # what it does next must not be taken for what it is stuck in
                if watch.finished.is_set():
                    return
                what = (
                    "" if abandon is None else "; its worker is left, and what it has in hand goes to another"
                )
                _log.warning("session %r did not close within %g s%s", self._use.spec.name, LEAVE_S, what)
                if abandon is not None:
                    abandon()

        watch = threading.Timer(LEAVE_S, left)
        watch.daemon = True
        watch.start()
        try:
            held.expire()
            held.close()
        finally:
            with lock:
                watch.cancel()

    def _open(self) -> _Held:
        use, worker = self._use, self._worker
        if use.spec.scope == "process":
            shared, self.fresh = _join(use)
            assert shared.held is not None
            held = _Held(shared.held[0], shared.leave, shared.expire, lambda: shared.stale)
            held.opened_at = shared.opened_at
        else:
            value, stack = open_(use)
            held = _Held(value, lambda: close(stack, use))
        held.max_age = use.spec.max_age
        if use.spec.scope == "attempt":
            return held

        def leave() -> None:
            if worker.kept.get(use) is held:
                del worker.kept[use]

        held.onclose(leave)
        worker.kept[use] = held
        if ("closes", use) not in worker.kept:
            worker.kept["closes", use] = True
            worker.callback(_close_kept, worker, use)
        return held


class _Shared:
    """A process-wide login: opened by the first worker that asks, closed by the last that leaves it."""

    def __init__(self, use: SessionUse) -> None:
        self.use = use
        self.lock = threading.RLock()  # held while one worker logs in and the others wait
        self.held: tuple[Any, ExitStack] | None = None
        self.failed: SessionFailed | None = None
        self.opened_at = 0.0
        self.holders = 0
        self.stale = False

    def open(self) -> bool:
        """Log in, unless somebody has; whether this was it."""
        with self.lock:
            if self.failed is not None:
                # It failed while this one waited: trying again for each would lock an account.
                failed = self.failed
                raise SessionFailed(
                    str(failed), reason=failed.reason, login=failed.login
                ) from failed.__cause__
            if self.held is not None:
                return False
            try:
                self.held = open_(self.use)
            except SessionFailed as error:
                self.failed = error
                self.expire()  # whoever comes later tries anew
                raise
            self.opened_at = time.monotonic()
            return True

    def leave(self) -> None:
        with _shared_lock:
            self.holders -= 1
            last = self.holders == 0
            if last and _shared.get(self.use) is self:
                del _shared[self.use]
        if last and self.held is not None:
            close(self.held[1], self.use)

    def expire(self) -> None:
        """The next worker that asks logs in anew; those at work with this one keep it until they are done."""
        with _shared_lock:
            self.stale = True
            if _shared.get(self.use) is self:
                del _shared[self.use]


_shared: dict[SessionUse, _Shared] = {}
_shared_lock = threading.Lock()


def _join(use: SessionUse) -> tuple[_Shared, bool]:
    """Share the process's login; the second says whether it was opened for this."""
    with _shared_lock:
        shared = _shared.get(use)
        if shared is None:
            shared = _shared[use] = _Shared(use)
        shared.holders += 1
    try:
        return shared, shared.open()
    except BaseException:
        shared.leave()
        raise


def _close_kept(worker: Worker, use: SessionUse) -> None:
    held: _Held | None = worker.kept.get(use)
    if held is not None:
        held.close()


def _never() -> bool:
    return False


def _nothing() -> None: ...


class _Held:
    """A session as one worker holds it; ``close`` acts once."""

    __slots__ = ("_close", "_left", "_stale", "expire", "expired", "max_age", "opened_at", "value")

    def __init__(
        self,
        value: Any,
        close: Callable[[], None],
        expire: Callable[[], None] = _nothing,
        stale: Callable[[], bool] = _never,
    ) -> None:
        self.value = value
        self.expire = expire
        self.expired = False
        self.opened_at = time.monotonic()
        self.max_age: float | None = None
        self._stale = stale
        self._close: Callable[[], None] | None = close
        self._left: Callable[[], None] = _nothing

    def is_over(self) -> bool:
        """Whether it must not be used any more: somebody found it expired, or it is too old."""
        return self.expired or self._stale() or is_old(self.opened_at, self.max_age)

    def onclose(self, left: Callable[[], None]) -> None:
        self._left = left

    def close(self) -> None:
        close, self._close = self._close, None
        if close is not None:
            self._left()
            close()
