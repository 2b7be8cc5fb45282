"""Whether anybody gets in at all: a login that is refused for one item after the other is not tried for them all."""

from __future__ import annotations

from typing import Any

from fetchline.interfaces import Verdict

__all__ = ["Lockout"]

_ITEMS, _LOGINS = 10, 5


class Lockout:
    """Counts items in a row that ended because no session could be opened, and the logins they waited for.

    Many may have waited for one login, as on a loop, and one alone may fail.
    """

    __slots__ = ("_items", "_logins", "_settled")

    def __init__(self) -> None:
        self._items = 0
        self._logins: set[Any] = set()
        self._settled = -1

    def is_complete(self, verdict: Verdict, error: Any, before: int, after: int) -> bool:
        """Take an attempt that failed; whether it is one too many for want of a session with nothing else in between.

        Args:
            before: items finished before it ended.
            after: the same now; more, if it was the last attempt of its item.
        """
        if verdict.code != "session" and not (verdict.code == "unavailable" and verdict.alike):
            return False
        if before != self._settled:
            self._items = 0
            self._logins.clear()
        self._settled = after
        self._items += after != before
        if len(self._logins) < _LOGINS:
            self._logins.add(getattr(error, "login", id(error)))
        return self._items >= _ITEMS and len(self._logins) >= _LOGINS
