"""A web session of the standard library alone, for where the httpx plugin is not installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from urllib.parse import urlencode, urlsplit

__all__ = ["HttpSession", "HttpStatusError", "Reply"]


class HttpStatusError(Exception):
    """The server answered with an error; ``response`` is its ``Reply``."""

    def __init__(self, response: Reply) -> None:
        super().__init__(response)
        self.response = response

    def __str__(self) -> str:
        reply = self.response
        text = reply.content.decode(errors="replace").strip().partition("\n")[0]
        return f"{reply.status_code} {reply.reason}{': ' if text else ''}{text} ({reply.url})"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answered; ``headers`` are found in upper and lower case alike."""

    url: str
    status_code: int
    reason: str
    headers: Message
    content: bytes


class HttpSession:
    """Keeps one connection to a server; for one thread at a time, so open one in each worker.

    Args:
        timeout: seconds that the server may stay silent.
        raise_for_status: whether a status of 400 or more raises, as with the plugin.

    >>> with HttpSession() as session:
    ...     session.get("ftp://example.org")
    Traceback (most recent call last):
    ValueError: only http://host:port/... can be fetched here, not 'ftp://example.org'
    """

    def __init__(self, *, timeout: float = 10.0, raise_for_status: bool = True) -> None:
        self._timeout = timeout
        self._raises = raise_for_status
        self._server = ""
        self._connection: HTTPConnection | None = None

    def get(self, url: str, params: Mapping[str, object] | None = None) -> Reply:
        """Fetch one address.

        Raises:
            HttpStatusError: the server answered with an error.
            OSError, HTTPException: the server could not be reached, or the answer broke off.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.netloc:
            raise ValueError(f"only http://host:port/... can be fetched here, not {url!r}")
        query = urlencode(params) if params else parts.query
        target = f"{parts.path or '/'}{'?' if query else ''}{query}"
        connection = self._connect(parts.netloc)
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, HTTPException):
            self.close()  # half an answer may be left on it
            raise
        reply = Reply(url, answer.status, answer.reason, answer.headers, content)
        if self._raises and reply.status_code >= 400:
            raise HttpStatusError(reply)
        return reply

    def close(self) -> None:
        """Close the connection; the next ``get`` opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> HttpSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self, server: str) -> HTTPConnection:
        if self._connection is None or self._server != server:
            self.close()
            self._connection, self._server = HTTPConnection(server, timeout=self._timeout), server
        return self._connection
