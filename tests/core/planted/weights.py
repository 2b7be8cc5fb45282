"""Bugs in what results may weigh."""

from __future__ import annotations

from typing import Any

from fetchline.core.limits import NEVER
from fetchline.core.schedule import Schedule
from fetchline.core.slots import Slot
from planted._bugs import BUGS, bug, told

BUGS["HoldsWhatItLikes"] = told(hold=lambda _: NEVER)


@bug
class LetsNobodyPastWhatIsHeld(Schedule):
    def _bear(self) -> bool:
        assert self._weights is not None
        return self._weights.spare > 0


@bug
class ForgetsWhatIsInFlight(Schedule):
    def _bear(self) -> bool:
        assert self._weights is not None
        self._weights.flying = 0
        return super()._bear()


@bug
class HoldsWhatHasLeft(Schedule):
    def release(self, count: int) -> None:
        weights, self._weights = self._weights, None
        super().release(count)
        self._weights = weights


@bug
class StartsWhoeverIsNextInsteadOfTheHead(Schedule):
    def _bear(self) -> bool:
        borne = super()._bear()
        if borne and self._weights and self._weights.spare <= 0:
            self._ready.rotate(-1)
        return borne


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
