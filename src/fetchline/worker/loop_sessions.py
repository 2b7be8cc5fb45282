"""The sessions of an event loop, shared by the attempts on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from fetchline.errors import SessionFailed
from fetchline.worker.sessions import LEAVE_S, SessionUse, back_off_s, failure, is_old, pause, slow

__all__ = ["Login", "LoopSessions"]

_log = logging.getLogger("fetchline.session")

_HEAD_START_S = 0.25


class Login:
    """A session of a loop, opened; counted, so that it is not closed under an attempt that still uses it.

    One that takes the place of another is at first for the attempt alone that asked first: if that is refused, it is
    the item's fault, for the session may be good for so many requests and cannot have been used up.
    """

    __slots__ = (
        "_alone",
        "_leave",
        "_opener",
        "is_open",
        "opened_at",
        "ready",
        "stale",
        "task",
        "users",
        "value",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Any, *, again: bool) -> None:
        self._opener = (call.index, call.number)
        self._alone: asyncio.Event | None = asyncio.Event() if again else None
        self.ready: asyncio.Future[None] = loop.create_future()
        self.value: Any = None
        self.users = 0
        self.opened_at = float("inf")
        self.is_open = False
        self.stale = False
        self._leave = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def is_over(self, max_age: float | None) -> bool:
        """Whether it is too old, or failed when nobody waited for it any more."""
        return (self.ready.done() and not self.is_open) or is_old(self.opened_at, max_age)

    def is_fresh_for(self, call: Any) -> bool:
        """Whether it was opened for this attempt."""
        return self._opener == (call.index, call.number)

    def is_for(self, call: Any) -> bool:
        """Whether the attempt may use it, or has to ``wait_for_first``."""
        return self._alone is None or self.is_fresh_for(call)

    async def wait_for_first(self) -> None:
        """Wait until the first attempt has ended, or has had its head start."""
        alone = self._alone
        if alone is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(alone.wait(), _HEAD_START_S)
            self._alone = None

    def leave(self) -> None:
        """An attempt has ended that used it."""
        if self._alone is not None:
            self._alone.set()
        self.let_go()

    def let_go(self) -> None:
        """One attempt less waits for it, or uses it."""
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

    async def keep(self, use: SessionUse, after_s: float) -> None:
        """Open, after so many seconds, wait, close; all in one task of its own."""
        try:
            if after_s:
                await asyncio.sleep(after_s)
            leave = await self._enter(use)
        except asyncio.CancelledError:
            self.ready.cancel()
            raise
        except BaseException as error:  # SystemExit here would end the loop: it is the attempt's
            self.ready.set_exception(error)
            self.ready.exception()  # nobody may be waiting any more
            return
        self.opened_at = time.monotonic()
        self.is_open = True
        use.counts.open()
        if not self.ready.done():
            self.ready.set_result(None)
        try:
            await self._leave.wait()
        finally:
            try:
                await leave()
            except (Exception, SystemExit) as error:
                _log.warning("session %r did not close cleanly: %r", use.spec.name, error)
            use.counts.close()

    async def _enter(self, use: SessionUse) -> Callable[[], Awaitable[Any]]:
        """Open, as often and as long as the spec says; what closes it again."""
        failed, first = 0, time.monotonic()
        while True:
            try:
                return await self._enter_once(use)
            except Exception as error:
                refused = error if isinstance(error, SessionFailed) else failure(use, error)
                if refused is not error:
                    refused.__cause__ = error
                failed += 1
                wait = pause(use, refused, failed, time.monotonic() - first)
                if wait is None:
                    raise refused from refused.__cause__
            await asyncio.sleep(wait)

    async def _enter_once(self, use: SessionUse) -> Callable[[], Awaitable[Any]]:
        manager, timeout = use.make(asynchronous=True), use.spec.open_timeout
        if not hasattr(manager, "__aenter__"):
            self.value = manager.__enter__()
            return _later(manager.__exit__)
        try:
            async with asyncio.timeout(timeout) as limit:
                self.value = await manager.__aenter__()
        except TimeoutError as error:
            if timeout is None or not limit.expired():
                raise
            raise slow(use, timeout) from error
        return lambda: manager.__aexit__(None, None, None)


def _later(leave: Callable[..., Any]) -> Callable[[], Awaitable[Any]]:
    async def call() -> None:
        leave(None, None, None)

    return call


class LoopSessions:
    """The sessions of one event loop, shared by its attempts.

    Each is opened and closed by one task of its own: cancel scopes and context variables must not be entered
    in one task and left in another.
    """

    def __init__(self) -> None:
        self._open: dict[SessionUse, Login] = {}
        self._failed: Counter[SessionUse] = Counter()  # logins in a row
        self._expired: set[SessionUse] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def peek(self, use: SessionUse, call: Any) -> Login | None:
        """Give the session as ``get`` does, if that needs no waiting; None: it does."""
        login = self._open.get(use)
        if login is None or not login.is_open or login.is_over(use.spec.max_age) or not login.is_for(call):
            return None
        login.users += 1
        return login

    async def get(self, use: SessionUse, call: Any) -> Login:
        """Give the session; whoever asks first opens it while the others wait. Give it back by ``leave``."""
        login = self._open.get(use)
        over = (
            login is not None and login.ready.done() and not login.is_open
        )  # it failed, with nobody waiting any more
        if login is not None and (over or is_old(login.opened_at, use.spec.max_age)):
            self.renew(use, login)
            login = None
            self._failed[use] += over
        if login is None:
            login = self._open[use] = Login(asyncio.get_running_loop(), call, again=use in self._expired)
            login.task = asyncio.create_task(login.keep(use, back_off_s(self._failed[use])))
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
                # An outage and a cooldown have their own pace.
                self._failed[use] += getattr(error, "reason", "") not in ("unreachable", "throttled")
            raise
        self._failed[use] = 0
        if not login.is_for(call):
            login.let_go()
            await login.wait_for_first()
            return self.peek(use, call) or await self.get(use, call)
        return login

    def renew(self, use: SessionUse, login: Login) -> None:
        """A login is no longer valid: the next attempt opens another; told twice, it is one new login."""
        if self._open.get(use) is login:
            del self._open[use]
            self._expired.add(use)
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
            await asyncio.wait(self._tasks, timeout=LEAVE_S)
        left = [*self._tasks]
        for task in left:
            task.cancel()
        if left:
            _log.warning("%d sessions did not close within %g s, and are left", len(left), LEAVE_S)
            await asyncio.wait(left, timeout=1.0)
