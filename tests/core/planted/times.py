"""Bugs in waits, charges, pace, stops and timers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fetchline.core.limits import NEVER, Limits, StartGate
from fetchline.core.schedule import Schedule
from fetchline.core.slots import HELD, Slot
from fetchline.core.traffic import Traffic
from fetchline.interfaces import Verdict
from planted._bugs import BUGS, bug, told

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


# -- traffic -----------------------------------------------------------------------------------------------


def traffic(cls: type[Traffic]) -> type[Traffic]:
    """Plant a bug in the schedule's traffic."""

    class Misled(Schedule):
        def __init__(self, limits: Limits, *, ordered: bool = False) -> None:
            super().__init__(limits, ordered=ordered)
            self.traffic = cls(limits)

    BUGS[cls.__name__] = Misled
    return cls


@traffic
class StartsInACooldown(Traffic):
    def cool_down(self, now: float, until: float) -> None:
        pass


@traffic
class ShortensACooldown(Traffic):
    def cool_down(self, now: float, until: float) -> None:
        super().cool_down(now, until)
        self.gate.cool_until = until


@traffic
class NeverEndsACooldown(Traffic):
    def cool_down(self, now: float, until: float) -> None:
        super().cool_down(now, until + 1.0)


@traffic
class GoesOnWithEverythingAtOnce(Traffic):
    def cool_down(self, now: float, until: float) -> None:
        super().cool_down(now, until)
        self._ramp = NEVER


@traffic
class StaysSlowAfterACooldown(Traffic):
    def _answered(self, now: float) -> None:
        ramp = self._ramp
        super()._answered(now)
        self._ramp = min(ramp, self._ramp)


@traffic
class TakesAFailureForAnAnswer(Traffic):
    def failed(self, verdict: Verdict, index: int, token: int, began: float, now: float) -> bool:
        excused = super().failed(verdict, index, token, began, now)
        self._answered(now)
        return excused


@traffic
class NoticesNoOutage(Traffic):
    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.outage = None


@traffic
class TakesOneItemForAnOutage(Traffic):
    def failed(self, verdict: Verdict, index: int, token: int, began: float, now: float) -> bool:
        return super().failed(verdict, token, token, began, now)


@traffic
class ChargesAnOutage(Traffic):
    def failed(self, verdict: Verdict, index: int, token: int, began: float, now: float) -> bool:
        super().failed(verdict, index, token, began, now)
        return False


@traffic
class ProbesWithoutAPause(Traffic):
    def started(self, token: int, running: int, now: float) -> None:
        super().started(token, running, now)
        if self.outage is not None:
            self.outage._next = now


@traffic
class NeverComesBack(Traffic):
    def _answered(self, now: float) -> None:
        outage, self.outage = self.outage, None
        super()._answered(now)
        self.outage = outage


@traffic
class NeverGivesUp(Traffic):
    def hopeless(self, now: float) -> bool:
        return False


class _Generous(StartGate):
    def started(self, now: float) -> None:
        super().started(now)
        self._next -= self._interval / 4


class _Unspaced(StartGate):
    def started(self, now: float) -> None:
        super().started(now)
        self._next = now


@traffic
class StartsTooClose(Traffic):
    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.gate = _Generous(limits.rates)


@traffic
class StartsInBursts(Traffic):
    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.gate = _Unspaced(limits.rates)


@bug
class ForgetsThePaceOfRetries(Schedule):
    def lease(self, now: float) -> Slot | None:
        known = self.traffic
        if self._ready and self._ready[0].troubles is not None:
            self.traffic = None
        try:
            return super().lease(now)
        finally:
            self.traffic = known


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
class ForgetsATimeoutOfOnesOwn(Schedule):
    def _allow(self, timeout: float | None) -> None:
        if self._timeouts is not None:
            super()._allow(timeout)


@bug
class RingsForTheUsualTimeoutOnly(Schedule):
    def next_expiry(self, now: float) -> float:
        timeouts = self._timeouts
        if timeouts is None:
            return NEVER
        return min([now + timeouts.usual, *(due for due, _, _ in timeouts._clock)])


@bug
class TimesALoginOut(Schedule):
    def expired(self, now: float) -> list[tuple[Slot, int]]:
        for _, slot, _ in self._timeouts._clock if self._timeouts else ():
            slot.began = min(slot.began, now - 1.0)
        return super().expired(now)


@bug
class TimesALaterAttemptOut(Schedule):
    def expired(self, now: float) -> list[tuple[Slot, int]]:
        clock = self._timeouts._clock if self._timeouts else ()
        late = [(slot, slot.token) for due, slot, _ in clock if due <= now and slot.token]
        super().expired(now)
        return late
