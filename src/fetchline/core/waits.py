"""Slots that wait for a time: a heap."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Generic, TypeVar

__all__ = ["Waits"]

S = TypeVar("S")


class Waits(Generic[S]):
    """Slots by the time at which they may go on; equal times leave in the order they came.

    ``when`` is the earliest time anything waits for: infinite if nothing does.
    """

    __slots__ = ("_heap", "_seq", "when")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, S]] = []
        self._seq = 0
        self.when = float("inf")

    def __len__(self) -> int:
        return len(self._heap)

    def all(self) -> list[S]:
        """What waits, in no order."""
        return [entry[2] for entry in list(self._heap)]

    def add(self, when: float, slot: S) -> None:
        self._seq += 1
        heappush(self._heap, (when, self._seq, slot))
        self.when = self._heap[0][0]

    def due(self, now: float) -> list[S]:
        """Take out what has waited long enough, earliest first."""
        out: list[S] = []
        while self._heap and self._heap[0][0] <= now:
            out.append(heappop(self._heap)[2])
        self.when = self._heap[0][0] if self._heap else float("inf")
        return out

    def clear(self) -> list[S]:
        """Take out everything."""
        out = [entry[2] for entry in sorted(self._heap, key=lambda entry: entry[:2])]
        self._heap.clear()
        self.when = float("inf")
        return out
