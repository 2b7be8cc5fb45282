"""Where baostock keeps what is global, each session has its own: its connection, its user, its API key.

The package keeps its state in attributes of one module, ``baostock.common.context``, and reaches the network by two
functions of another, ``socketutil.send_msg`` and ``SocketUtil.connect``. These are routed: to the session in
use where the caller runs, or to what the package does by itself where there is none. Which session that is, is a
context variable, so threads do not see each other's.
"""

from __future__ import annotations

import builtins
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any, Protocol

__all__ = ["Routed", "current", "package", "using"]

_log = logging.getLogger("fetchline.session")
_lock = threading.Lock()
_KEPT = ("user_id", "apiKey", "default_socket")


class Routed(Protocol):
    """What a session is for the package.

    Attributes:
        kept: what the package would keep in its global module.
    """

    kept: dict[str, Any]

    def connect(self, api_key: str) -> None: ...

    def send(self, message: str) -> str: ...


current: ContextVar[Routed | None] = ContextVar("fetchline_baostock_session", default=None)


@contextmanager
def using(session: Routed) -> Iterator[None]:
    """Let the package work for this session."""
    token = current.set(session)
    try:
        yield
    finally:
        current.reset(token)


def package() -> Any:
    """Import baostock and route it, the first time.

    Raises:
        ImportError: it is not installed, or not made as 0.9 is.
    """
    with _lock:
        import baostock  # type: ignore[import-untyped]
        from baostock.common import context  # type: ignore[import-untyped]
        from baostock.util import socketutil  # type: ignore[import-untyped]

        if not isinstance(context, _Context):
            _route(context, socketutil)
        return baostock


class _Kept:
    """An attribute of the package's module: of the session in use, or of the module."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def _place(self, module: ModuleType) -> dict[str, Any]:
        session = current.get()
        return module.__dict__ if session is None else session.kept

    def __get__(self, module: ModuleType, owner: type) -> Any:
        try:
            return self._place(module)[self._name]
        except KeyError:
            raise AttributeError(f"baostock keeps no {self._name!r} here") from None

    def __set__(self, module: ModuleType, value: Any) -> None:
        self._place(module)[self._name] = value

    def __delete__(self, module: ModuleType) -> None:
        del self._place(module)[self._name]


class _Context(ModuleType):
    user_id = _Kept()
    apiKey = _Kept()  # noqa: N815  # the package's name
    default_socket = _Kept()


def _route(context: ModuleType, socketutil: ModuleType) -> None:
    try:
        own_send, own_connect = socketutil.send_msg, socketutil.SocketUtil.connect
    except AttributeError as error:
        raise ImportError(f"this baostock is not made as 0.9 is: {error}") from error

    def send_msg(msg: str) -> Any:
        session = current.get()
        return own_send(msg) if session is None else session.send(msg)

    def connect(self: Any, api_key: str) -> None:
        session = current.get()
        if session is None:
            own_connect(self, api_key)
        else:
            session.connect(api_key)

    for name, module in sys.modules.items():
        if name.startswith("baostock."):
            module.__dict__.setdefault("print", _say)
    socketutil.send_msg = send_msg  # type: ignore[attr-defined]
    socketutil.SocketUtil.connect = connect
    context.__class__ = _Context


def _say(*words: Any) -> None:
    """What the package prints, such as "login success!": a session's goes to the log."""
    if current.get() is None:
        builtins.print(*words)  # noqa: T201  # as it does by itself
    else:
        _log.debug("baostock: %s", " ".join(map(str, words)))
