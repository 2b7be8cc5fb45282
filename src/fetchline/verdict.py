"""What an exception means: the worker judges it here, the schedule only ever sees the ``Verdict``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from fetchline.errors import (
    AttemptTimeout,
    LoginTrouble,
    Missing,
    NoData,
    NotReady,
    RetryAfter,
    SessionFailed,
    Unpicklable,
    WrongAnswer,
)
from fetchline.interfaces import SessionSpec, Verdict
from fetchline.results import ErrorCode
from fetchline.retry import Try
from fetchline.waiting import waits

__all__ = [
    "RETRY_AFTER_CAP",
    "Judge",
    "login_trouble",
    "note_arrival",
    "note_freshness",
    "retry_after",
]

_FRESH, _ARRIVED = "_fetchline_fresh", "_fetchline_arrived"

RETRY_AFTER_CAP = 300.0
"""Seconds a server may ask for at the most."""

_RETRIABLE_4XX = frozenset({408, 425, 429})  # RFC 9110 timeout, RFC 8470 too early, RFC 6585 too many


@dataclass(frozen=True, slots=True)
class Judge:
    """Judge the exceptions of one fetcher's attempts.

    The order is: fetchline's own signals; ``expired=`` of the session; an HTTP answer that asks for a pause;
    what the session knows about its own errors; the retry policy.
    """

    policy: Try
    session: SessionSpec | None = None
    idempotent: bool = True
    patience: float = 300.0
    waits: bool = field(default_factory=waits)  # as it was where the judge was made: it travels to workers

    def __call__(self, error: BaseException, *, failed: int, attempt: int, elapsed: float) -> Verdict:
        """Say what ``error`` means.

        Args:
            error: what the attempt raised.
            failed: charged attempts that have failed, this one counted.
            attempt: the attempt's number, charged or not.
            elapsed: seconds since the item's first attempt.
        """
        verdict = self._judge(error, failed, attempt, elapsed)
        return verdict if self.waits else _at_once(verdict, 1 + attempt - failed, self.patience)

    def _judge(self, error: BaseException, failed: int, attempt: int, elapsed: float) -> Verdict:
        if not self.idempotent and _has_arrived(error):
            return Verdict("permanent", "unknown_outcome")
        match error:
            case NoData():
                return Verdict("no_data")
            case NotReady():
                return Verdict("not_ready", "not_ready", error.after, error.memo, error.limit, error.timeout)
            case RetryAfter():
                return Verdict("throttled", "throttled", _capped(error.seconds))
            case Unpicklable():
                return Verdict("permanent", "unpicklable")
            case Missing():
                return Verdict("permanent", "missing")
            case SystemExit():
                return self.crash()
        verdict = self._known(error, failed, attempt)
        if not self.idempotent and _may_have_arrived(error, verdict):
            is_all_over = verdict is not None and verdict.kind == "stop"
            return Verdict("stop" if is_all_over else "permanent", "unknown_outcome")
        if verdict is None:
            verdict = Verdict("retry", _code(error))
        if verdict.kind == "retry":
            verdict = self._policy(error, verdict, failed, elapsed)
        return verdict

    def crash(self, *, begun: bool = True) -> Verdict:
        """Say what it means that a worker died under its item, or while a session was opening for it."""
        if self.idempotent or not begun:
            return Verdict("retry", "crashed")
        return Verdict("permanent", "unknown_outcome")

    def lost_value(self) -> Verdict:
        """Say what it means that the function returned, and what it returned could not be had."""
        return Verdict("permanent", "unpicklable" if self.idempotent else "unknown_outcome")

    def _known(self, error: BaseException, failed: int, attempt: int) -> Verdict | None:
        session = self.session
        if isinstance(error, SessionFailed) and session is not None:
            return self._shut_out(session, error, attempt)
        if session is not None and _is_expired(session, error):
            # A login that is refused though it was made for this attempt will not be better the next time. The first
            # one may have been a session that remembered an old login.
            if attempt > 1 and getattr(error, _FRESH, False):
                return Verdict("permanent", "session")
            return Verdict("expired", "session")
        pause = self._asks_for_a_pause(error, attempt)
        if pause is not None:
            return pause
        verdict = session.judge(error) if session is not None and session.judge is not None else None
        answer = _http_answer(error)
        if verdict is None and answer is not None:
            status = answer[0]
            if _is_final(status):
                # Whoever is not let in with one item is not with another.
                verdict = Verdict("permanent", "permanent", alike=status in (401, 407))
            elif status >= 500:
                verdict = Verdict("retry", "unavailable")
        if verdict is not None and verdict.kind == "permanent" and _decides(self.policy):
            # A function given as on= has looked at the error itself; it may know better than a status code.
            return Verdict("retry", verdict.code)
        return verdict

    def _shut_out(self, session: SessionSpec, error: SessionFailed, attempt: int) -> Verdict:
        cause = error.__cause__ or error
        said = None if session.judge is None else session.judge(cause)
        if said is not None and said.kind in ("stop", "throttled"):
            return said
        pause = self._asks_for_a_pause(cause, attempt)
        if pause is not None:
            return pause
        # Another worker may be let in, whatever else was said.
        return Verdict("retry", "unavailable" if error.reason == "unreachable" else "session", alike=True)

    def _asks_for_a_pause(self, error: BaseException, attempt: int) -> Verdict | None:
        asked = _pause_asked(error)
        if asked is None:
            return None
        code, seconds = asked
        return Verdict("throttled", code, (self.policy.delay(attempt) or 0.1) if seconds is None else seconds)

    def _policy(self, error: BaseException, verdict: Verdict, failed: int, elapsed: float) -> Verdict:
        if isinstance(error, AttemptTimeout | SessionFailed | WrongAnswer) or _is_cancellation(error):
            # These are worth another attempt whatever exceptions on= names.
            delay: float | None = self.policy.delay(failed)
        elif not isinstance(error, Exception):
            delay = None
        else:
            delay = self.policy.judge(error, failed, elapsed)
        if delay is None:
            return replace(verdict, kind="permanent", delay=0.0)
        return replace(verdict, delay=max(delay, verdict.delay))


def login_trouble(session: SessionSpec, error: BaseException) -> LoginTrouble:
    """Say what an error of opening a session means for the logins to come."""
    verdict = None
    with contextlib.suppress(Exception):  # it is asked again when the attempt is judged, and found out then
        verdict = session.judge(error) if session.judge is not None else None
    if verdict is not None:
        if verdict.kind in ("permanent", "stop"):
            return "refused"
        if verdict.kind == "throttled":
            return "throttled"
        return "unreachable" if verdict.code == "unavailable" else ""
    if _pause_asked(error) is not None:
        return "throttled"
    answer = _http_answer(error)
    if answer is not None and _is_final(answer[0]):
        return "refused"
    is_silent = _code(error) == "unavailable" if answer is None else answer[0] >= 500
    return "unreachable" if is_silent else ""


def note_freshness(error: BaseException, fresh: bool) -> None:
    """Note on an error that says the login is over whether the session had been opened for this very attempt."""
    with contextlib.suppress(AttributeError):  # an exception without a dict
        setattr(error, _FRESH, fresh)


def note_arrival(error: BaseException) -> None:
    """Note on an error that the function had returned before it: a write has arrived."""
    with contextlib.suppress(AttributeError):
        setattr(error, _ARRIVED, True)


def retry_after(headers: Any) -> float | None:
    """Read a Retry-After header (RFC 9110, 10.2.3): seconds or an HTTP date, between 0 and the cap.

    A date is measured against the answer's own Date header where there is one, so clocks may differ.

    >>> retry_after({"Retry-After": "3"}), retry_after({"Retry-After": "soon"}), retry_after({})
    (3.0, None, None)
    """
    text = _header(headers, "Retry-After")
    if text is None:
        return None
    try:
        pause = float(text)
    except ValueError:
        when = _http_date(text)
        if when is None:
            return None
        now = _http_date(_header(headers, "Date") or "") or datetime.now(UTC)
        pause = (when - now).total_seconds()
    if pause != pause:
        return None
    return _capped(pause)


def _capped(seconds: float) -> float:
    return min(max(seconds, 0.0), RETRY_AFTER_CAP)


def _at_once(verdict: Verdict, held: int, patience: float) -> Verdict:
    """Leave the wait out, the ``held``-th of its item; what patience would not have waited for is given up."""
    delay = verdict.delay
    before = (held - 1) * delay * 1.001  # no wait is shorter than asked for
    patience = patience if verdict.patience is None else verdict.patience
    if verdict.kind in ("throttled", "not_ready") and before + delay > patience:
        return replace(verdict, kind="permanent", delay=0.0)
    return replace(verdict, delay=0.0)


def _http_date(text: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _pause_asked(error: BaseException) -> tuple[ErrorCode, float | None] | None:
    """The code of an error that asks everybody to come later, and after how many seconds, if it says so."""
    if isinstance(error, RetryAfter):
        return "throttled", _capped(error.seconds)
    answer = _http_answer(error)
    if answer is None or answer[0] not in (429, 503):
        return None
    seconds = retry_after(answer[1])
    if answer[0] == 429:
        return "throttled", seconds
    return None if seconds is None else ("unavailable", seconds)


def _header(headers: Any, name: str) -> str | None:
    try:
        value = headers.get(name)
        if value is None:
            value = headers.get(name.lower())
    except AttributeError:
        return None
    return None if value is None else str(value).strip()


def _is_final(status: int) -> bool:
    return 400 <= status < 500 and status not in _RETRIABLE_4XX


def _http_answer(error: BaseException) -> tuple[int, Any] | None:
    """Find a status and headers on the error or on its response: httpx, requests, niquests, aiohttp, urllib."""
    for holder in (getattr(error, "response", None), error):
        for name in ("status_code", "status", "code"):
            status = getattr(holder, name, None)
            if isinstance(status, int) and not isinstance(status, bool) and 100 <= status < 600:
                return status, getattr(holder, "headers", None)
    return None


def _is_cancellation(error: BaseException) -> bool:
    # asyncio's, concurrent.futures' and anyio's are different classes, and asyncio is not imported for this.
    return type(error).__name__ == "CancelledError"


def _code(error: BaseException) -> Any:
    if _is_cancellation(error):
        return "cancelled"
    match error:
        case AttemptTimeout():
            return "timeout"
        case SessionFailed():
            return "session"
        case WrongAnswer():
            return "wrong_answer"
    return "unavailable" if any(_is_of_connection(one) for one in _chain(error)) else "error"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from: clients wrap the socket's error in their own."""
    seen: set[int] = set()
    pending = [error]
    while pending and len(seen) < 10:
        one = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        behind = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args[:1])
        pending.extend(inner for inner in behind if isinstance(inner, BaseException))


# A connection that ended in the middle of an answer has no socket error behind it in these clients, or hides it.
_LOST = frozenset(
    {
        "RemoteProtocolError",
        "ReadError",
        "WriteError",
        "ServerDisconnectedError",
        "ClientPayloadError",
        "ProtocolError",
        "IncompleteRead",
    }
)

# There was no connection yet; what these hide may be a timeout like any other.
_UNSENT = frozenset(
    {
        "ConnectionRefusedError",
        "ConnectError",
        "ConnectTimeout",
        "ConnectTimeoutError",
        "PoolTimeout",
        "NewConnectionError",
        "ClientConnectorError",
        "ConnectionTimeoutError",
    }
)


def _is_of_connection(error: BaseException) -> bool:
    return isinstance(error, ConnectionError | TimeoutError) or type(error).__name__ in _LOST


def _is_expired(session: SessionSpec, error: BaseException) -> bool:
    with contextlib.suppress(Exception):  # said by the worker, which asks before
        return session.is_expired(error)
    return False


def _decides(policy: Try) -> bool:
    return not isinstance(policy.on, type | tuple)


def _has_arrived(error: BaseException) -> bool:
    """Whether a write has, whatever came back, or was made of it."""
    if isinstance(error, NoData):
        return False
    return isinstance(error, WrongAnswer) or any(getattr(one, _ARRIVED, False) for one in _chain(error))


def _may_have_arrived(error: BaseException, verdict: Verdict | None) -> bool:
    """Whether a write may have taken effect though its answer was lost; the verdict is the session's, if any."""
    if isinstance(error, SessionFailed):
        return False  # nothing was sent without one
    if _is_cancellation(error):
        return True
    answer = _http_answer(error)
    if answer is not None:
        return answer[0] in (502, 504)
    chain = list(_chain(error))
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    if names & _UNSENT and not names & _LOST:
        return False
    lost = verdict is not None and verdict.code in ("unavailable", "undecodable")
    return lost or any(isinstance(one, AttemptTimeout) or _is_of_connection(one) for one in chain)
