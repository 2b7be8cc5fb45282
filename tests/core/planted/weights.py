"""Bugs in what results may weigh."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from fetchline.core.limits import NEVER, Limits
from fetchline.core.schedule import Schedule
from fetchline.core.slots import Slot
from fetchline.core.weights import Weights
from planted._bugs import BUGS, bug, told

BUGS["HoldsWhatItLikes"] = told(hold=lambda _: NEVER)


def bearing(name: str, bear: Callable[[Weights, deque[Slot], Slot | None], bool]) -> None:
    """Plant another way to decide whether there is room for a start."""
    kind = type("Weighs", (Weights,), {"__slots__": (), "bear": bear})

    class Planted(Schedule):
        def __init__(self, limits: Limits, *, ordered: bool = False) -> None:
            super().__init__(limits, ordered=ordered)
            if self._weights is not None:
                self._weights = kind(limits.hold)

    Planted.__name__ = name
    BUGS[name] = Planted


def _forget(weights: Weights, ready: deque[Slot], head: Slot | None) -> bool:
    weights.flying = 0
    return Weights.bear(weights, ready, head)


def _rotate(weights: Weights, ready: deque[Slot], head: Slot | None) -> bool:
    borne = Weights.bear(weights, ready, head)
    if borne and weights.spare <= 0:
        ready.rotate(-1)
    return borne


bearing("LetsNobodyPastWhatIsHeld", lambda weights, ready, head: weights.spare > 0)
bearing("ForgetsWhatIsInFlight", _forget)
bearing("StartsWhoeverIsNextInsteadOfTheHead", _rotate)


@bug
class HoldsWhatHasLeft(Schedule):
    def release(self, count: int) -> None:
        weights, self._weights = self._weights, None
        super().release(count)
        self._weights = weights


@bug
class SleepsOnWithAHeadToStart(Schedule):
    @property
    def startable(self) -> bool:
        assert Schedule.startable.fget is not None
        can: bool = Schedule.startable.fget(self)
        return can and (self._weights is None or self._weights.spare > 0)


@bug
class WeighsFailuresOnly(Schedule):
    def succeed(self, slot: Slot, token: int, value: Any, now: float, *rest: Any) -> bool:
        return super().succeed(slot, token, value, now, *rest[:1])
