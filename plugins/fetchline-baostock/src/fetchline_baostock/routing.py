"""Where baostock keeps what is global, each session has its own: its connection, its user, its API key.

The package keeps its state in attributes of one module, ``baostock.common.context``, and reaches the network by two
functions of another, ``socketutil.send_msg`` and ``SocketUtil.connect``. These are routed: to the session in
use where the caller runs, or to what the package does by itself where there is none. Threads do not see
each other's.
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

__all__ = ["Routed", "enter", "in_use", "leave", "package", "using"]

_log = logging.getLogger("fetchline.session")
_lock = threading.Lock()


class Routed(Protocol):
    """What a session is for the package.

    Attributes:
        kept: what the package would keep in its global module.
        closed: it works no more.
    """

    kept: dict[str, Any]
    closed: bool

    def connect(self, api_key: str) -> None: ...

    def send(self, message: str) -> str: ...


_current: ContextVar[Routed | None] = ContextVar("fetchline_baostock_session", default=None)


class _Here(threading.local):
    def __init__(self) -> None:
        self.entered: list[Routed] = []


_here = _Here()


def in_use() -> Routed | None:
    """The session for which the package works where the caller runs."""
    session = _current.get()
    if session is not None and not session.closed:
        return session
    return next((one for one in reversed(_here.entered) if not one.closed), None)


@contextmanager
def using(session: Routed) -> Iterator[None]:
    """Let the package work for this session."""
    token = _current.set(session)
    try:
        yield
    finally:
        _current.reset(token)


def enter(session: Routed) -> Routed | None:
    """Let the package work for this session from now on; gives the one before.

    In this context, wherever that goes on: a login with a time limit is made on a thread of its own. And in this
    thread: a direct call with a timeout makes each attempt in another context. Not every one of these is there when
    the session ends, so one that is closed may be found, and counts for nothing.
    """
    before = _current.get()
    _current.set(session)
    _here.entered.append(session)
    return before


def leave(session: Routed, before: Routed | None) -> None:
    if _current.get() is session:
        _current.set(before)
    if session in _here.entered:
        _here.entered.remove(session)


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
        session = in_use()
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
        session = in_use()
        return own_send(msg) if session is None else session.send(msg)

    def connect(self: Any, api_key: str) -> None:
        session = in_use()
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
    if in_use() is None:
        builtins.print(*words)  # noqa: T201  # as it does by itself
    else:
        _log.debug("baostock: %s", " ".join(map(str, words)))
