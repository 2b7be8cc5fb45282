"""What finished results weigh until they have left: a bound on what is started."""

from __future__ import annotations

from collections import deque

from fetchline.core.slots import READY, Slot

__all__ = ["Weights"]


class Weights:
    """Weights of the results that are held, and what a start is expected to add.

    Nobody knows what an attempt will bring, so each in flight is reckoned at the average so far. The first
    ones of a run are reckoned at nothing.

    Attributes:
        limit: what may be held, expected results included.
        held: what is held.
        flying: attempts in flight.
    """

    __slots__ = ("_count", "_leaving", "_of", "_total", "flying", "held", "limit")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.held = 0.0
        self.flying = 0
        self._of: dict[int, float] = {}
        self._leaving: deque[int] = deque()
        self._total = 0.0
        self._count = 0

    def add(self, index: int, weight: float) -> None:
        """A result is there."""
        self._of[index] = weight
        self.held += weight
        self._total += weight
        self._count += 1

    def leaves(self, index: int) -> None:
        """A result is handed out; it is held until as many have been released."""
        self._leaving.append(index)

    def release(self, count: int) -> None:
        """The first so many of those that were handed out have left for good."""
        for _ in range(count):
            self.held -= self._of.pop(self._leaving.popleft(), 0.0)

    def bear(self, ready: deque[Slot], head: Slot | None) -> bool:
        """Whether there is room for what the next start brings; if not, the head of the line goes first."""
        if self.spare > 0:
            return True
        if head is None or head.state != READY:
            return False
        if ready[0] is not head:
            first = next(slot for slot in ready if slot is head or head in slot.members)
            ready.remove(first)
            ready.appendleft(first)
        return True

    @property
    def spare(self) -> float:
        """How many more starts there is room for; 0 or less is none."""
        if self.held >= self.limit:
            return 0.0
        if not self._total:
            return float("inf")
        return (self.limit - self.held) * self._count / self._total - self.flying
