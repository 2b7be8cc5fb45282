"""Sessions: what a fetcher asked for, how one is opened and closed, and who counts them.

Sessions are never pickled: what travels is a ``SessionUse``.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from fetchline.errors import SessionFailed, WrongAnswer, text_of
from fetchline.interfaces import SessionSpec
from fetchline.verdict import login_trouble
from fetchline.waiting import waits

__all__ = [
    "LEAVE_S",
    "OPENING",
    "SessionUse",
    "back_off_s",
    "close",
    "count",
    "failure",
    "is_old",
    "open_",
    "pause",
    "slow",
]

_log = logging.getLogger("fetchline.session")

OPENING = float("inf")
"""When an attempt began whose session is still opening: a login is not part of the attempt's timeout."""

LEAVE_S = 5.0
"""How long a logout is waited for, in seconds."""


class Counts:
    """Sessions that one run opened and closed, in this process and in worker processes of ours.

    Attributes:
        refused: logins that were refused for good since the last one that was not.
    """

    __slots__ = ("__weakref__", "_lock", "_token", "closed", "opened", "refused")

    def __init__(self, token: str = "") -> None:
        self._lock = threading.Lock()
        self._token = token
        self.opened = 0
        self.closed = 0
        self.refused = 0
        _counted[token] = self

    def open(self) -> None:
        with self._lock:
            self.opened += 1
            self.refused = 0
        report("+", self._token)

    def refuse(self) -> None:
        with self._lock:
            self.refused += 1
        report("!", self._token)

    def close(self) -> None:
        with self._lock:
            self.closed += 1
        report("-", self._token)

    def __reduce__(self) -> tuple[type[Counts], tuple[str]]:
        return Counts, (self._token,)


# Of several runs with one session the last counts: a warm worker does not know for whom it opens.
_counted: WeakValueDictionary[str, Counts] = WeakValueDictionary()


def _nobody(sign: str, token: str) -> None: ...


report: Callable[[str, str], None] = _nobody
"""Where a worker process tells its parent of each session."""


def count(sign: str, token: str) -> None:
    """Take such a report."""
    counts = _counted.get(token)
    if counts is not None:
        {"+": counts.open, "-": counts.close, "!": counts.refuse}[sign]()


_tokens: deque[tuple[SessionSpec, Mapping[str, Any], str]] = deque(maxlen=256)
_tokens_lock = threading.Lock()

_told: set[tuple[str, type, type]] = set()


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
                    return cls(spec, options, parameter, token, Counts(token))
            token = uuid.uuid4().hex
            _tokens.append((spec, dict(options), token))
        return cls(spec, options, parameter, token, Counts(token))

    def __eq__(self, other: object) -> bool:
        return self.token == other.token if isinstance(other, SessionUse) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.token)

    def is_expired(self, error: BaseException) -> bool:
        """Whether the error says that the session is of no use any more; a predicate that raises has not said so."""
        if isinstance(error, WrongAnswer):
            return error.suspect
        try:
            return self.spec.is_expired(error)
        except Exception as bug:
            error.add_note(f"expired= raised {bug!r}")
            if (self.token, type(bug), type(error)) not in _told:
                _told.add((self.token, type(bug), type(error)))
                _log.warning(
                    "expired= of session %r raised %r for %r, which is taken for no; told once for each type",
                    self.spec.name,
                    bug,
                    error,
                )
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


def is_old(opened_at: float, max_age: float | None) -> bool:
    return max_age is not None and time.monotonic() - opened_at >= max_age


def open_(use: SessionUse) -> tuple[Any, ExitStack]:
    """Open a session, as often and as long as its spec says."""
    failed, first = 0, time.monotonic()
    while True:
        try:
            timeout = use.spec.open_timeout
            return _open_once(use) if timeout is None else _open_aside(use, timeout)
        except SessionFailed as error:
            failed += 1
            wait = pause(use, error, failed, time.monotonic() - first)
            if wait is None:
                raise
            time.sleep(wait)


def back_off_s(failed: int) -> float:
    """Seconds to wait before another login, after so many that failed in a row."""
    return min(0.1 * 2.0 ** min(failed - 1, 5), 2.0) if failed and waits() else 0.0


def pause(use: SessionUse, error: SessionFailed, failed: int, elapsed: float) -> float | None:
    """Seconds to wait before another login; None for no further one."""
    policy = use.spec.login
    if policy is None or failed >= policy.limit or error.reason in ("refused", "throttled"):
        return None
    wait = policy.judge(error.__cause__ or error, failed, elapsed)
    return wait if wait is None or waits() else 0.0


def _open_once(use: SessionUse) -> tuple[Any, ExitStack]:
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
        raise failure(use, error) from error
    use.counts.open()
    return value, stack


def _open_aside(use: SessionUse, timeout: float) -> tuple[Any, ExitStack]:
    """Open on another thread, which nobody waits for any longer than ``timeout`` seconds."""
    opened: Future[tuple[Any, ExitStack]] = Future()

    def work() -> None:
        held, failed = None, None
        try:
            held = _open_once(use)
        except BaseException as error:  # SystemExit too: it is the attempt's
            failed = error
        if opened.set_running_or_notify_cancel():
            if failed is not None:
                opened.set_exception(failed)
            elif held is not None:
                opened.set_result(held)
        elif held is not None:
            close(held[1], use)  # too late: nobody wants it

    context, before = copy_context(), copy_context()
    threading.Thread(target=context.run, args=(work,), name="fetchline-login", daemon=True).start()
    try:
        try:
            value, stack = opened.result(timeout)
        except TimeoutError as late:
            if opened.cancel():
                raise slow(use, timeout) from late
            value, stack = opened.result()
    except KeyboardInterrupt:
        if not opened.cancel() and opened.exception() is None:
            close(opened.result()[1], use)
        raise
    # What the opening set for the function to see, and what the closing will put back, is in the thread's context.
    _follow(context, before)

    def close_there() -> None:
        before = context.copy()
        try:
            context.run(stack.close)
        finally:
            _follow(context, before)

    outer = ExitStack()
    outer.callback(close_there)
    return value, outer


def _follow(context: Context, before: Context) -> None:
    """Have here what has changed in another context."""
    for variable, new in context.items():
        if before.get(variable, _UNSET) is not new:
            variable.set(new)


_UNSET = object()


def slow(use: SessionUse, timeout: float) -> SessionFailed:
    return SessionFailed(f"session {use.spec.name!r} did not open within {timeout:g} s")


def close(stack: ExitStack, use: SessionUse) -> None:
    try:
        stack.close()
    except (Exception, SystemExit) as error:
        _log.warning("session %r did not close cleanly: %r", use.spec.name, error)
    use.counts.close()


def failure(use: SessionUse, error: Exception) -> SessionFailed:
    """What an opening ended with that raised; one that was refused is counted."""
    reason = login_trouble(use.spec, error)
    if reason == "refused":
        use.counts.refuse()
    return SessionFailed(
        f"session {use.spec.name!r} could not be opened: {type(error).__name__}: {text_of(error)}",
        reason=reason,
    )
