"""Which attempts have run too long."""

from __future__ import annotations

from collections import deque

from fetchline.core.slots import Slot
from fetchline.core.waits import Waits

__all__ = ["Timeouts"]


class Timeouts:
    """Watches the attempts in flight, all with the same timeout in seconds: due in the order of their starts."""

    __slots__ = ("_clock", "_moved", "timeout")

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._clock: deque[tuple[float, Slot, int]] = deque()
        self._moved: Waits[tuple[Slot, int]] = Waits()

    def started(self, slot: Slot, now: float) -> None:
        clock = self._clock
        clock.append((now + self.timeout, slot, slot.token))
        while clock[0][1].token != clock[0][2]:
            clock.popleft()

    def expired(self, now: float) -> list[tuple[Slot, int]]:
        """Take out those that are late, with the token they were started with."""
        clock = self._clock
        due = self._moved.due(now)
        while clock and (clock[0][0] <= now or clock[0][1].token != clock[0][2]):
            due.append(clock.popleft()[1:])
        out: list[tuple[Slot, int]] = []
        for slot, token in due:
            if slot.token != token:
                continue
            # The worker moves ``began`` while it opens a session: a login is not part of the attempt.
            if slot.began + self.timeout > now:
                self._moved.add(min(slot.began, now) + self.timeout, (slot, token))
            else:
                out.append((slot, token))
        return out

    def next(self, now: float) -> float:
        """When one may be late next, one that starts now counted."""
        first = self._clock[0][0] if self._clock else now + self.timeout
        return min(first, self._moved.when)
