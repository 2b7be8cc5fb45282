"""aiohttp sessions for fetchline; aiohttp itself is imported when one is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fetchline.hookspecs import hookimpl
from fetchline.interfaces import SessionSpec, keywords
from fetchline_aiohttp.errors import judge, portable

if TYPE_CHECKING:
    from fetchline_aiohttp.sessions import Session

__all__ = ["judge", "portable", "session"]


def session(**options: Any) -> Session:
    """Make a session, to be entered by ``async with`` on the loop that uses it.

    Args:
        options: those of ``fetchline_aiohttp.sessions.Session``.
    """
    from fetchline_aiohttp.sessions import Session

    return Session(**options)


def options() -> set[str]:
    """Give the names of all options."""
    import aiohttp

    from fetchline_aiohttp.sessions import Session

    return keywords(Session, aiohttp.ClientSession, aiohttp.TCPConnector)


@hookimpl
def fetchline_register_sessions() -> list[SessionSpec]:
    return [
        SessionSpec(
            name="aiohttp",
            async_factory=session,
            accepts=options,
            judge=judge,
            portable=portable,
            summary='an aiohttp session for each event loop; for plain functions there is session="httpx"',
        )
    ]
