"""What fetch functions under test use to ask a server; workers import it, so it imports neither pytest nor Polars."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.client import HTTPConnection
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import fetchline as fl
from fetchline.demo.session import HttpStatusError, Reply

__all__ = ["Login", "ask", "getting", "is_expired", "login"]


def ask(
    url: str, method: str = "GET", headers: Mapping[str, str] | None = None, timeout: float = 10
) -> Reply:
    """Ask once, on a connection of its own.

    Raises:
        HttpStatusError: the server answered with an error.
        OSError, HTTPException: it could not be reached, or closed the connection.
    """
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request(method, parts.path, headers={"Connection": "close", **(headers or {})})
        answer = connection.getresponse()
        reply = Reply(url, answer.status, answer.reason, answer.headers, answer.read())
    finally:
        connection.close()
    if reply.status_code >= 400:
        raise HttpStatusError(reply)
    return reply


def getting(url: str) -> Callable[[Any], Any]:
    """Make a fetch function that asks for ``/{item}`` and returns the item."""

    def get(item: Any) -> Any:
        ask(f"{url}/{item}")
        return item

    return get


def is_expired(error: BaseException) -> bool:
    """Whether the server does not know the login (any more)."""
    return isinstance(error, HttpStatusError) and error.response.status_code == 401


class Login:
    """A login, shared by whoever has it: it holds a token and no connection.

    Attributes:
        thread: the one that logged in.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.thread = 0
        self._token = ""

    def get(self, item: Any) -> Any:
        ask(f"{self.url}/{item}", headers={"Authorization": self._token})
        return item

    def __enter__(self) -> Login:
        self.thread = threading.get_ident()
        self._token = ask(f"{self.url}/login", "POST").content.decode()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ask(f"{self.url}/logout", "POST", {"Authorization": self._token})


def login(url: str, **options: Any) -> fl.SessionSpec:
    """The session that a ``Desk`` at this address asks for."""
    options = {"expired": is_expired, "factory": lambda: Login(url), **options}
    return fl.SessionSpec(name="desk", **options)
