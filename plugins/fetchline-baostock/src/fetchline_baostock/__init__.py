"""baostock for fetchline: sessions and fetchers by name; baostock itself is imported when a session opens."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from fetchline.hookspecs import hookimpl
from fetchline.interfaces import SessionSpec, keywords
from fetchline.retry import Try
from fetchline_baostock.errors import BaostockError, expired, judge, passes

if TYPE_CHECKING:
    from fetchline_baostock.sessions import Session

__all__ = ["BaostockError", "expired", "judge", "session"]


def session(**options: Any) -> Session:
    """Make a session, which logs in when it is entered.

    Args:
        options: those of ``fetchline_baostock.sessions.Session``.
    """
    from fetchline_baostock.sessions import Session

    return Session(**options)


def options() -> set[str]:
    """Give the names of all options."""
    from fetchline_baostock.sessions import Session

    return keywords(Session)


_SPEC = SessionSpec(
    name="baostock",
    factory=session,
    accepts=options,
    workers=1,
    expired=expired,
    judge=judge,
    login=Try(retry=3, sleep=0.5, on=passes),
    summary="a login at baostock for each worker of a run; one, unless it says workers=",
)


@hookimpl
def fetchline_register_sessions() -> list[SessionSpec]:
    return [_SPEC]


@hookimpl
def fetchline_register_fetchers() -> list[ModuleType]:
    from fetchline_baostock import fetchers

    return [fetchers]
