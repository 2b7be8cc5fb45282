"""Items with equal keys: the first is attempted, and the others get what becomes of it."""

from __future__ import annotations

from collections.abc import Hashable

from fetchline.core.limits import Dedupe
from fetchline.core.slots import Slot, Troubles

__all__ = ["Twins", "share"]


class Twins:
    """Knows who was first with a key, and who waits for what comes of it."""

    __slots__ = ("_first", "_forgets", "_keys", "_waiting", "waiting")

    def __init__(self, dedupe: Dedupe) -> None:
        self._forgets = dedupe == "window"
        self._first: dict[Hashable, Slot] = {}
        self._keys: dict[int, Hashable] = {}
        self._waiting: dict[int, list[Slot]] = {}
        self.waiting = 0

    def first(self, key: Hashable, slot: Slot) -> Slot | None:
        """Whose outcome this slot is to share, or None if it is the first with its key."""
        first = self._first.setdefault(key, slot)
        if first is not slot:
            return first
        if self._forgets:
            self._keys[slot.index] = key
        return None

    def wait(self, slot: Slot, first: Slot) -> None:
        self._waiting.setdefault(first.index, []).append(slot)
        self.waiting += 1

    def waiting_for(self, first: Slot) -> list[Slot]:
        """Take those that wait for a slot that is finished now."""
        waiting = self._waiting.pop(first.index, None)
        if waiting is None:
            return []
        self.waiting -= len(waiting)
        return waiting

    def left(self, slot: Slot) -> None:
        """A slot has left: whoever comes later with its key is attempted anew."""
        key = self._keys.pop(slot.index, None)
        if key is not None:
            del self._first[key]


def share(slot: Slot, first: Slot) -> None:
    """Give a slot the outcome of another; no attempt was made for it."""
    slot.troubles = Troubles()
    slot.troubles.verdict = first.verdict
    slot.value = first.value
