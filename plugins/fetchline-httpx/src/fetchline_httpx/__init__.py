"""httpx sessions for fetchline; httpx itself is imported when one is opened."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any

from fetchline.hookspecs import hookimpl
from fetchline.http import HTTPFailure
from fetchline.interfaces import SessionSpec, keywords
from fetchline_httpx.errors import judge, portable

if TYPE_CHECKING:
    import httpx

__all__ = ["HTTPFailure", "async_client", "client", "judge", "portable"]


def client(**options: Any) -> AbstractContextManager[httpx.Client]:
    """Make a client.

    Args:
        options: ``raise_for_status`` (default True) and any keyword of ``httpx.Client``; ``follow_redirects``
            is True unless given.
    """
    from fetchline_httpx.clients import Client

    return Client(**options)


def async_client(**options: Any) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    """Make an async client; the options are those of ``client``."""
    from fetchline_httpx.clients import AsyncClient

    return AsyncClient(**options)


def options() -> set[str]:
    """Give the names of all options."""
    import httpx

    from fetchline_httpx.clients import Client

    return keywords(Client, httpx.Client)


@hookimpl
def fetchline_register_sessions() -> list[SessionSpec]:
    return [
        SessionSpec(
            name="httpx",
            factory=client,
            async_factory=async_client,
            accepts=options,
            judge=judge,
            portable=portable,
            summary="an httpx client for each worker",
        )
    ]
