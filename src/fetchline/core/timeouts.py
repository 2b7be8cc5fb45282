"""Which attempts have run too long."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from fetchline.core.limits import NEVER
from fetchline.core.slots import Slot
from fetchline.core.waits import Waits

__all__ = ["Timeouts", "least_timeout"]


def least_timeout(slots: Iterable[Slot]) -> float | None:
    """The shortest of the timeouts that slots have of their own."""
    own = (slot.troubles.timeout for slot in slots if slot.troubles is not None)
    return min((timeout for timeout in own if timeout is not None), default=None)


class Timeouts:
    """Watches the attempts in flight.

    Those with the usual timeout are due in the order of their starts; the others stand in a heap.

    Args:
        usual: seconds an attempt may take, unless ``NotReady`` said something else for it.
    """

    __slots__ = ("_clock", "_least", "_moved", "usual")

    def __init__(self, usual: float = NEVER) -> None:
        self.usual = usual
        self._least = usual
        self._clock: deque[tuple[float, Slot, int]] = deque()
        self._moved: Waits[tuple[Slot, int]] = Waits()

    def allow(self, timeout: float) -> None:
        """There may be attempts with this timeout from now on."""
        self._least = min(self._least, timeout)

    def started(self, slot: Slot, now: float) -> None:
        timeout = self._of(slot)
        if timeout != self.usual:
            self._moved.add(now + timeout, (slot, slot.token))
            return
        if timeout == NEVER:
            return
        clock = self._clock
        clock.append((now + timeout, slot, slot.token))
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
            timeout = self._of(slot)
            # The worker moves ``began`` while it opens a session: a login is not part of the attempt.
            if slot.began + timeout > now:
                self._moved.add(min(slot.began, now) + timeout, (slot, token))
            else:
                out.append((slot, token))
        return out

    def next(self, now: float) -> float:
        """When one may be late next, one that starts now counted."""
        when = self._moved.when
        if self._clock:
            when = min(when, self._clock[0][0])
            if self._least == self.usual:
                return when
        return min(when, now + self._least)

    def _of(self, slot: Slot) -> float:
        own = None if slot.troubles is None else slot.troubles.timeout
        return self.usual if own is None else own
