"""Sessions whose openings and closings are noted; workers import this module."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from fetchline.testing.evidence import Log

__all__ = ["Watched"]


class Watched:
    """A factory of somebody's sessions that notes ``open``, ``close`` and ``unclean`` of each.

    Args:
        factory: what gives the session.
        log: where it is noted, with process and thread.
    """

    def __init__(self, factory: Callable[..., Any], log: Log) -> None:
        self.factory = factory
        self.log = log

    def __call__(self, **options: Any) -> Any:
        manager = self.factory(**options)
        ways = [
            kind for name, kind in (("__enter__", _Sync), ("__aenter__", _Async)) if hasattr(manager, name)
        ]
        return type("Watching", tuple(ways), {})(manager, self.log)


class _Watching:
    def __init__(self, manager: Any, log: Log) -> None:
        self._manager = manager
        self._log = log

    def _note(self, what: str, *facts: Any) -> None:
        self._log.note(what, os.getpid(), threading.get_ident(), *facts)


class _Sync(_Watching):
    def __enter__(self) -> Any:
        value = self._manager.__enter__()
        self._note("open")
        return value

    def __exit__(self, *error: Any) -> Any:
        self._note("close")
        try:
            return self._manager.__exit__(*error)
        except BaseException as bug:
            self._note("unclean", repr(bug))
            raise


class _Async(_Watching):
    async def __aenter__(self) -> Any:
        value = await self._manager.__aenter__()
        self._note("open")
        return value

    async def __aexit__(self, *error: Any) -> Any:
        self._note("close")
        try:
            return await self._manager.__aexit__(*error)
        except BaseException as bug:
            self._note("unclean", repr(bug))
            raise
