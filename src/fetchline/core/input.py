"""The input of a run, as far as its schedule has taken it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["Input"]

_BITE = 64


class Input(ABC):
    """How many items are welcome, and what is left of those that are at hand.

    Args:
        window: items between the input and the one last released, at the most.
    """

    __slots__ = ("_backlog", "_backlog_at", "_backlog_keys", "_closed", "_fed", "_released", "_window")

    def __init__(self, window: int) -> None:
        self._window = window
        self._backlog: Sequence[Any] = ()
        self._backlog_keys: Sequence[Any] | None = None
        self._backlog_at = 0
        self._closed = False
        self._fed = 0
        self._released = 0

    @abstractmethod
    def feed(self, items: Sequence[Any], now: float, keys: Iterable[Any] | None = None) -> None:
        """Take items in."""

    def room(self) -> int:
        """How many items are welcome now."""
        return self._window - (self._fed - self._released)

    def feed_from(self, backlog: Sequence[Any], keys: Sequence[Any] | None = None) -> None:
        """Take a whole list, tuple or range as the input: slots are made of it as room allows."""
        self._backlog, self._backlog_keys = backlog, keys
        self._closed = True

    def close_input(self) -> None:
        """No more items will come."""
        self._closed = True

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def fed(self) -> int:
        return self._fed

    @property
    def backlog(self) -> int:
        """How many items of a whole input no slot has been made of."""
        return len(self._backlog) - self._backlog_at

    def _bite(self, now: float) -> bool:
        """Make slots of the backlog; whether any could be made."""
        size = min(_BITE, self.room(), len(self._backlog) - self._backlog_at)
        if size <= 0:
            return False
        end = self._backlog_at + size
        keys = None if self._backlog_keys is None else self._backlog_keys[self._backlog_at : end]
        self.feed(self._backlog[self._backlog_at : end], now, keys)
        self._backlog_at = end
        return True
