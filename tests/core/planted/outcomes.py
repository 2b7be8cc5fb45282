"""Bugs in what is counted, finished and handed out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fetchline.core.schedule import Schedule
from fetchline.core.slots import Slot
from fetchline.interfaces import Verdict
from planted._bugs import bug

# -- bounded -----------------------------------------------------------------------------------------------


@bug
class ForgetsToFreeAUnit(Schedule):
    def succeed(self, slot: Slot, token: int, value: Any, now: float, *rest: Any) -> bool:
        taken = super().succeed(slot, token, value, now, *rest)
        if taken and token % 3 == 0:
            self.running += rest[0]
        return taken


@bug
class FreesAUnitTwice(Schedule):
    def fail(self, slot: Slot, token: int, error: Any, verdict: Verdict, now: float, units: int = 1) -> bool:
        taken = super().fail(slot, token, error, verdict, now, units)
        if taken and verdict.kind == "not_ready":
            self.running -= units
        return taken


@bug
class FreesAUnitForALateAnswer(Schedule):
    def crashed(
        self, slot: Slot, token: int, error: Any, verdict: Verdict, now: float, units: int = 1
    ) -> bool:
        taken = super().crashed(slot, token, error, verdict, now, units)
        if not taken:
            self.running -= units
        return taken


@bug
class RunsOneMoreAtOnce(Schedule):
    def lease(self, now: float) -> Slot | None:
        self.concurrency += 1
        try:
            return super().lease(now)
        finally:
            self.concurrency -= 1


@bug
class TakesOneBeyondTheWindow(Schedule):
    def room(self) -> int:
        return super().room() + 1


@bug
class CountsWhatLeftTwice(Schedule):
    def release(self, count: int) -> None:
        super().release(count + (count > 2))


@bug
class HoldsAUnitForEachRider(Schedule):
    def lease_more(self, now: float, count: int) -> list[Slot]:
        slots = super().lease_more(now, count)
        self.running += len(slots)
        return slots


# -- one outcome -------------------------------------------------------------------------------------------


@bug
class TakesALateValue(Schedule):
    def succeed(self, slot: Slot, token: int, value: Any, now: float, *rest: Any) -> bool:
        return super().succeed(slot, slot.token or token, value, now, *rest)


@bug
class TakesALateError(Schedule):
    def fail(self, slot: Slot, token: int, error: Any, verdict: Verdict, now: float, units: int = 1) -> bool:
        return super().fail(slot, slot.token or token, error, verdict, now, units)


@bug
class KnowsAttemptsByItemOnly(Schedule):
    def lease(self, now: float) -> Slot | None:
        slot = super().lease(now)
        if slot is not None:
            slot.token = slot.index + 1
        return slot


@bug
class RefusesAnAnswer(Schedule):
    def succeed(self, slot: Slot, token: int, value: Any, now: float, *rest: Any) -> bool:
        return slot.number < 4 and super().succeed(slot, token, value, now, *rest)


@bug
class HandsOutTwice(Schedule):
    def drain(self, now: float) -> list[Slot]:
        slots = super().drain(now)
        if len(slots) == 3:
            slots.append(slots[0])
        return slots


@bug
class KeepsTheLastOneBack(Schedule):
    def drain(self, now: float) -> list[Slot]:
        slots = super().drain(now)
        return slots[:2]


@bug
class LosesTheBacklogAtAStop(Schedule):
    def drain(self, now: float) -> list[Slot]:
        if self.stopping is not None:
            self._backlog = ()
            self._backlog_at = 0
        return super().drain(now)


@bug
class LosesWhatIsHeldAtAStop(Schedule):
    def stop(self, code: Any = "cancelled") -> None:
        self._waits.clear()
        super().stop(code)


@bug
class LosesWhatIsGivenBack(Schedule):
    def give_back(self, slots: Iterable[Slot], units: int = 1, *, alone: bool = False) -> None:
        super().give_back(list(slots)[:2], units, alone=alone)


@bug
class GivesUpWithoutAStop(Schedule):
    def give_up(self, slot: Slot, token: int, now: float, units: int = 1) -> bool:
        if self.stopping is None and slot.token == token:
            return self.fail(slot, token, None, Verdict("permanent", "cancelled"), now, units)
        return super().give_up(slot, token, now, units)


@bug
class ForgetsTheErrorOfACancelledItem(Schedule):
    def stop(self, code: Any = "cancelled") -> None:
        super().stop(code)
        for slot in self.done:
            if slot.verdict is not None and slot.verdict.code == code:
                slot.value = None


@bug
class ReportsTheLastStop(Schedule):
    def stop(self, code: Any = "cancelled") -> None:
        super().stop(code)
        self.stopping = code


# -- order -------------------------------------------------------------------------------------------------


@bug
class LeavesOutOfOrder(Schedule):
    def heads(self, limit: int) -> list[Slot]:
        return super().heads(limit)[::-1]


@bug
class StopsShortOfALimit(Schedule):
    def heads(self, limit: int) -> list[Slot]:
        return super().heads(min(limit, 3))


@bug
class PutsWhatIsGivenBackLast(Schedule):
    def give_back(self, slots: Iterable[Slot], units: int = 1, *, alone: bool = False) -> None:
        super().give_back(reversed(list(slots)), units, alone=alone)
        self._ready.rotate(-1)
