"""Schedules with one bug each: the simulator has to find every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from fetchline.core.limits import StartGate
from fetchline.core.schedule import Limits, Schedule
from fetchline.core.slots import HELD, Slot
from fetchline.interfaces import Verdict

BUGS: dict[str, type[Schedule]] = {}


def bug(cls: type[Schedule]) -> type[Schedule]:
    BUGS[cls.__name__] = cls
    return cls


def told(**changes: Callable[[Any], Any]) -> type[Schedule]:
    """A schedule that keeps to other limits than it was given."""

    class Told(Schedule):
        def __init__(self, limits: Limits, *, ordered: bool = False) -> None:
            wrong = {name: change(getattr(limits, name)) for name, change in changes.items()}
            super().__init__(replace(limits, **wrong), ordered=ordered)

    return Told


# -- bounded -----------------------------------------------------------------------------------------------


@bug
class ForgetsToFreeAUnit(Schedule):
    def succeed(self, slot: Slot, token: int, value: Any, now: float, units: int = 1) -> bool:
        taken = super().succeed(slot, token, value, now, units)
        if taken and token % 3 == 0:
            self.running += units
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
    def succeed(self, slot: Slot, token: int, value: Any, now: float, units: int = 1) -> bool:
        return super().succeed(slot, slot.token or token, value, now, units)


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
    def succeed(self, slot: Slot, token: int, value: Any, now: float, units: int = 1) -> bool:
        return slot.number < 4 and super().succeed(slot, token, value, now, units)


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


# -- waiting, charges --------------------------------------------------------------------------------------


@bug
class DropsAHeldSlot(Schedule):
    def _hold(self, slot: Slot, until: float, again: bool) -> None:
        if again and self.stopping is None and self.held:
            slot.state = HELD
        else:
            super()._hold(slot, until, again)


@bug
class WaitsInTheWorker(Schedule):
    def fail(self, slot: Slot, token: int, error: Any, verdict: Verdict, now: float, units: int = 1) -> bool:
        held = self.held
        taken = super().fail(slot, token, error, verdict, now, units)
        self.running += units * (self.held > held)
        return taken

    def lease(self, now: float) -> Slot | None:
        held = self.held
        if self._waits.when <= now:
            self.running -= 1
        slot = super().lease(now)
        if self.held == held and self._waits.when <= now:
            self.running += 1
        return slot


@bug
class WaitsTooShort(Schedule):
    def fail(self, slot: Slot, token: int, error: Any, verdict: Verdict, now: float, units: int = 1) -> bool:
        if verdict.kind == "retry":
            verdict = replace(verdict, delay=verdict.delay * 0.9)
        return super().fail(slot, token, error, verdict, now, units)


@bug
class LetsNewItemsGoFirst(Schedule):
    def lease(self, now: float) -> Slot | None:
        held = self.held
        slot = super().lease(now)
        if slot is not None and held > self.held and self._ready and slot.troubles and not self.limits.rates:
            other = self._ready[-1]
            if other.troubles is None:
                self._ready.pop()
                other.state, other.token, other.began = slot.state, slot.token, now
                self.give_back([slot], 0)
                return other
        return slot


@bug
class ForgetsTheMemo(Schedule):
    def fail(self, slot: Slot, token: int, error: Any, verdict: Verdict, now: float, units: int = 1) -> bool:
        if verdict.memo and slot.number == 2:
            verdict = replace(verdict, memo=None)
        return super().fail(slot, token, error, verdict, now, units)


@bug
class ChargesAThrottle(Schedule):
    def fail(self, slot: Slot, token: int, error: Any, verdict: Verdict, now: float, units: int = 1) -> bool:
        taken = super().fail(slot, token, error, verdict, now, units)
        if taken and verdict.kind == "throttled" and slot.troubles is not None:
            slot.troubles.charged += 1
        return taken


@bug
class ChargesTheFirstLogin(Schedule):
    def fail(self, slot: Slot, token: int, error: Any, verdict: Verdict, now: float, units: int = 1) -> bool:
        if verdict.kind == "expired":
            verdict = replace(verdict, kind="retry")
        return super().fail(slot, token, error, verdict, now, units)


@bug
class ChargesWhatNeverStarted(Schedule):
    def give_back(self, slots: Iterable[Slot], units: int = 1, *, alone: bool = False) -> None:
        back = list(slots)
        super().give_back(back, units, alone=alone)
        for slot in back:
            if slot.troubles is not None:
                slot.troubles.attempts += 1


@bug
class SendsSuspectsInAChunk(Schedule):
    def give_back(self, slots: Iterable[Slot], units: int = 1, *, alone: bool = False) -> None:
        super().give_back(slots, units)


BUGS["RetriesOnceTooOften"] = told(retry=lambda retry: retry + 1)
BUGS["RetriesOnceTooRarely"] = told(retry=lambda retry: max(1, retry - 1))
BUGS["CrashesOnceTooOften"] = told(max_crashes=lambda crashes: crashes + 1)
BUGS["WaitsForEver"] = told(patience=lambda _: 1e9)
BUGS["GoesOnAfterTheFirstFailure"] = told(fail_fast=lambda _: False)


# -- pace --------------------------------------------------------------------------------------------------


@bug
class StartsInACooldown(Schedule):
    def cool_down(self, now: float, until: float) -> None:
        pass


@bug
class ShortensACooldown(Schedule):
    def cool_down(self, now: float, until: float) -> None:
        super().cool_down(now, until)
        assert self._gate is not None
        self._gate.cool_until = until


@bug
class NeverEndsACooldown(Schedule):
    def cool_down(self, now: float, until: float) -> None:
        super().cool_down(now, until + 1.0)


class _Generous(StartGate):
    def started(self, now: float) -> None:
        super().started(now)
        self._next -= self._interval / 4


class _Unspaced(StartGate):
    def started(self, now: float) -> None:
        super().started(now)
        self._next = now


@bug
class StartsTooClose(Schedule):
    def __init__(self, limits: Limits, *, ordered: bool = False) -> None:
        super().__init__(limits, ordered=ordered)
        if limits.rates:
            self._gate = _Generous(limits.rates)


@bug
class StartsInBursts(Schedule):
    def __init__(self, limits: Limits, *, ordered: bool = False) -> None:
        super().__init__(limits, ordered=ordered)
        if limits.rates:
            self._gate = _Unspaced(limits.rates)


@bug
class ForgetsThePaceOfRetries(Schedule):
    def lease(self, now: float) -> Slot | None:
        gate = self._gate
        if self._ready and self._ready[0].troubles is not None:
            self._gate = None
        try:
            return super().lease(now)
        finally:
            self._gate = gate


BUGS["CountsOneMoreInAPeriod"] = told(rates=lambda rates: tuple((n + (n > 2), s) for n, s in rates))
BUGS["IsSlowerThanItsPace"] = told(rates=lambda rates: tuple((n, s * 1.25) for n, s in rates))


# -- stops, timers, timeouts -------------------------------------------------------------------------------


@bug
class StartsAfterAStop(Schedule):
    def give_back(self, slots: Iterable[Slot], units: int = 1, *, alone: bool = False) -> None:
        code, self.stopping = self.stopping, None
        super().give_back(slots, units, alone=alone)
        self.stopping = code

    def lease(self, now: float) -> Slot | None:
        code, self.stopping = self.stopping, None
        slot = super().lease(now)
        self.stopping = code
        return slot


@bug
class RetriesAfterAStop(Schedule):
    def _hold(self, slot: Slot, until: float, again: bool) -> None:
        code, self.stopping = self.stopping, None
        super()._hold(slot, until, again)
        self.stopping = self.stopping or code


@bug
class SleepsTooLong(Schedule):
    def timer(self, now: float) -> float:
        return super().timer(now) + 0.5


@bug
class NeverSleeps(Schedule):
    def timer(self, now: float) -> float:
        return min(super().timer(now), now)


@bug
class EndsTooEarly(Schedule):
    @property
    def finished(self) -> bool:
        return self.closed and not (self.running or self.waiting or self._backlog_at < len(self._backlog))


@bug
class NeverEnds(Schedule):
    @property
    def finished(self) -> bool:
        return super().finished and self.fed < 5


@bug
class OverlooksATimeout(Schedule):
    def expired(self, now: float) -> list[tuple[Slot, int]]:
        return super().expired(now)[:1]


@bug
class TimesALoginOut(Schedule):
    def expired(self, now: float) -> list[tuple[Slot, int]]:
        for _, slot, _ in self._clock:
            slot.began = min(slot.began, now - 1.0)
        return super().expired(now)


@bug
class TimesALaterAttemptOut(Schedule):
    def expired(self, now: float) -> list[tuple[Slot, int]]:
        late = [(slot, slot.token) for due, slot, _ in self._clock if due <= now and slot.token]
        super().expired(now)
        return late
