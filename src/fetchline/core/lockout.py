"""Whether anybody gets in at all: a login that is refused for one item after the other is not tried for them all."""

from __future__ import annotations

from fetchline.interfaces import Verdict

__all__ = ["Lockout"]

_MOST = 10


class Lockout:
    """Counts items in a row that ended because no session could be opened."""

    __slots__ = ("_count", "_settled")

    def __init__(self) -> None:
        self._count = 0
        self._settled = -1

    def is_complete(self, verdict: Verdict, before: int, after: int) -> bool:
        """Take an attempt that failed; whether it is one too many for want of a session with nothing else in between.

        Args:
            before: items finished before it ended.
            after: the same now; more, if it was the last attempt of its item.
        """
        shut_out = verdict.code == "session" or (verdict.code == "unavailable" and verdict.alike)
        if after == before or not shut_out:
            return False
        self._count = self._count + 1 if before == self._settled else 1
        self._settled = after
        return self._count >= _MOST
