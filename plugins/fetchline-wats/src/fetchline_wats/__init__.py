"""WATS for fetchline: a session and fetchers; pywats itself is imported when a session is opened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fetchline.hookspecs import hookimpl
from fetchline.interfaces import SessionSpec, keywords
from fetchline_wats.errors import Answer, expired, judge, portable

if TYPE_CHECKING:
    from fetchline_wats.clients import Client

__all__ = ["Answer", "expired", "judge", "portable", "session"]


def session(**options: Any) -> Client:
    """Make a client, to be entered by ``async with`` on the loop that uses it.

    Args:
        options: those of ``fetchline_wats.clients.Client``.
    """
    from fetchline_wats.clients import Client

    return Client(**options)


def options() -> set[str]:
    """Give the names of all options."""
    from pywats import AsyncWATS

    from fetchline_wats.clients import Client

    return keywords(Client, AsyncWATS)


@hookimpl
def fetchline_register_sessions() -> list[SessionSpec]:
    return [
        SessionSpec(
            name="wats",
            async_factory=session,
            accepts=options,
            expired=expired,
            judge=judge,
            portable=portable,
            summary="a pywats client for each event loop; for async functions",
        )
    ]


@hookimpl
def fetchline_register_fetchers() -> Iterable[Any]:
    from fetchline_wats import analytics, reads, writes

    return [reads, writes, analytics]
