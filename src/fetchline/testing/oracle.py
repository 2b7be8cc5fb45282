"""What a schedule promises, written down a second time: the simulator's judge.

Nothing here asks the schedule how it counts. The oracle is told what was done and what the schedule answered,
keeps its own books, and raises ``Broken`` as soon as the two differ. The promises are those of the kernel's
house rules: ``one_outcome``, ``input_order``, ``bounded``, ``waiting_frees_the_slot``, ``pace``,
``wait_is_kept``, ``stop_is_kept``, ``charges``, ``timeouts``, ``write_ahead`` and ``everything_ends``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fetchline.core.limits import NEVER, Limits
from fetchline.core.slots import DONE, FAILED, Slot
from fetchline.interfaces import Verdict
from fetchline.results import ErrorCode
from fetchline.testing.pages import DRAINED, HELD, LEFT, LIVE, OVER, WAITING, Item

__all__ = ["Broken", "Oracle"]


class Broken(AssertionError):
    """A promise was not kept; ``promise`` is its name."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise


class Oracle:
    """Keeps the books of one run.

    Args:
        limits: what the schedule was told to keep to.
        inputs: the items, in order.
        backlog: the schedule takes ``inputs`` whole and makes slots of it by itself.
        ordered: it keeps the line of the input order.
    """

    def __init__(self, limits: Limits, inputs: Sequence[Any], backlog: bool, ordered: bool) -> None:
        self.limits = limits
        self.ordered = ordered
        self.inputs = inputs
        self.backlog = backlog
        self.items = [Item(index) for index in range(len(inputs))]
        self.fed = self.idle = len(inputs) if backlog else 0
        self.concurrency = limits.concurrency
        self.units = 0
        self.unborn = 0
        self.last_token = 0
        self.unsettled = 0
        self.drained_count = 0
        self.left_count = 0
        self.released = 0
        self.written = 0 if limits.write_ahead else len(inputs)
        self.stop_code: ErrorCode | None = None
        self.cause: Any = None
        self.unanswered: Any = None  # the last error of an outage
        self.refused_at = NEVER
        self.cool_until = 0.0
        self.ramp = NEVER
        self.silent: set[int] = set()
        self.down_since = NEVER
        self.probe = self.probe_pause = 0.0
        self.starts: list[float] = []
        self.interval = 0.0
        self.place = -NEVER
        self.weights: list[float] = []
        self.handed: list[int] = []
        self._timeout = NEVER if limits.timeout is None else limits.timeout
        if limits.rates:
            count, period = min(limits.rates, key=lambda rate: rate[1])
            self.interval = period / count

    def took(self, count: int) -> None:
        """So many more items were fed."""
        self.fed += count
        self.idle += count

    # -- starting -------------------------------------------------------------------------------------------

    def started(self, slot: Slot, now: float) -> Item:
        """A lease was given: was it allowed?"""
        if self.units >= self.allowed:
            raise Broken("bounded", f"attempt {self.units + 1} at once of {self.allowed}")
        self.units += 1
        if now < self.cool_until:
            raise Broken("pace", f"a start at {now} in a cooldown until {self.cool_until}")
        if self.down_since < NEVER:
            self._probed(now)
        if self.interval:
            self._pace(now)
        fresh = slot.index >= self.unborn
        if slot.index != self.left_count and self.full():
            raise Broken("bounded", f"item {slot.index} started with no room for what it weighs")
        item = self._taken(slot, now)
        if fresh and slot.index != self.left_count:
            for other in self.items[self.left_count : slot.index]:
                is_due = other.state == HELD and other.not_before <= now and not other.begins_anew
                if other.state == WAITING or is_due:
                    raise Broken(
                        "input_order", f"item {slot.index} went before {other.index}, which is older"
                    )
        item.chunk = [1]
        return item

    def rode(self, slots: Iterable[Slot], now: float, first: Item) -> list[Item]:
        """Further slots were given to share one unit with ``first``."""
        riders = []
        for slot in slots:
            if now < self.cool_until or self.interval or self.ramp < NEVER or self.down_since < NEVER:
                raise Broken("pace", "a chunk while starts are limited")
            item = self._taken(slot, now)
            if item.attempts or item.alone:
                raise Broken("charges", f"item {item.index} travels in a chunk after trouble")
            item.chunk = first.chunk
            first.chunk[0] += 1
            riders.append(item)
        return riders

    def _taken(self, slot: Slot, now: float) -> Item:
        index = slot.index
        item = self.items[index]
        if self.stop_code is not None:
            raise Broken("stop_is_kept", f"item {index} started after the stop")
        if item.state == HELD:
            if now < item.not_before:
                raise Broken(
                    "wait_is_kept", f"item {index} started at {now}, to wait until {item.not_before}"
                )
        elif item.state != WAITING:
            raise Broken("one_outcome", f"item {index} started while in flight or finished")
        if item.begins_anew:
            raise Broken("write_ahead", f"item {index} began anew, and nobody has written that down")
        if slot.token <= self.last_token:
            raise Broken("one_outcome", f"token {slot.token} after {self.last_token}")
        if index >= self.unborn:
            if index > self.unborn:
                raise Broken("input_order", f"item {index} started before item {self.unborn}")
            if index >= self.written:
                raise Broken("write_ahead", f"item {index} started, and nobody has written that down")
            if index >= self.fed or index >= self.released + self.limits.window:
                raise Broken("bounded", f"item {index} was taken beyond the window")
            if slot.item != self.inputs[index]:
                raise Broken("one_outcome", f"item {index} is {slot.item!r}, not {self.inputs[index]!r}")
            self.unborn += 1
        self.last_token = item.token = slot.token
        troubles = slot.troubles
        if (item.attempts or troubles is not None) and (
            troubles is None
            or (slot.number, slot.charged, troubles.memo) != (item.attempts + 1, item.charged, item.memo)
        ):
            raise Broken("charges", f"item {index} was told a wrong attempt number, charge or memo")
        self.idle -= 1
        item.state = LIVE
        item.slot = slot
        item.began = now
        return item

    @property
    def allowed(self) -> float:
        """Units that may be in use: after a cooldown or an outage one, and one more for each answer."""
        return min(self.concurrency, self.ramp)

    def cooled(self, now: float, until: float) -> None:
        if until > now:
            self.cool_until = max(self.cool_until, until)
            self.ramp = 1 if self.limits.concurrency > 1 else NEVER

    def heard(self, now: float) -> None:
        """The other side has answered."""
        self.refused_at = NEVER
        self.silent.clear()
        if self.down_since < NEVER:
            self.down_since = NEVER
            self.ramp = 1 if self.limits.concurrency > 1 else NEVER
        if self.ramp < NEVER and now >= self.cool_until:
            self.ramp = self.ramp + 1 if self.ramp + 1 < self.limits.concurrency else NEVER

    def unheard(self, item: Item, verdict: Verdict, now: float) -> bool:
        """An item got no answer; whether that is an outage's fault."""
        if not self.limits.breaker:
            return False
        self.silent.add(-item.token if verdict.alike else item.index)
        if self.down_since == NEVER and len(self.silent) == self.limits.breaker:
            self.down_since, self.probe, self.probe_pause = now, now + 0.125, 0.125
        return self.down_since < NEVER

    def _probed(self, now: float) -> None:
        if now < self.probe:
            raise Broken("pace", f"a start at {now} in an outage, the next is due at {self.probe}")
        if self.hopeless(now):
            raise Broken("stop_is_kept", f"a start at {now} in an outage since {self.down_since}")
        self.probe, self.probe_pause = now + self.probe_pause, min(1.5, 2 * self.probe_pause)

    def hopeless(self, now: float) -> bool:
        return now >= self.down_since + self.limits.patience

    def full(self) -> bool:
        """Whether the results held, with those in flight reckoned at the average, weigh what they may."""
        if self.limits.hold == NEVER or not self.weights:
            return False
        gone = set(self.handed[: self.released])
        live = sum(item.state == LIVE for item in self.items)
        held = sum(item.weight for item in self.items if item.weight and item.index not in gone)
        return held >= self.limits.hold or (
            held + live * sum(self.weights) / len(self.weights) >= self.limits.hold
        )

    def _pace(self, now: float) -> None:
        # The starts have places, an interval apart. One that comes late keeps its place, and so lets the next
        # one catch up; one that comes a whole interval late has lost it.
        if now < self.place:
            raise Broken("pace", f"a start at {now}, due at {self.place}")
        self.place = self.interval + (self.place if now < self.place + self.interval else now)
        starts = self.starts
        for count, period in self.limits.rates:
            if len(starts) >= count and now - starts[-count] < period:
                raise Broken("pace", f"{count + 1} starts within {period} s at {now}")
        starts.append(now)

    def _paced(self) -> float:
        """From when on a start is allowed, as far as pace goes."""
        due, starts = self.cool_until, self.starts
        if self.down_since < NEVER:
            due = max(due, self.probe)
        if starts:
            due = max(due, self.place)
            for count, period in self.limits.rates:
                if len(starts) >= count:
                    due = max(due, starts[-count] + period)
        return due

    def startable(self, now: float) -> float:
        """When the next item may start at the latest, a free unit and no stop given; infinite if none may."""
        due = self._ready_at()
        return max(due, self._paced()) if due < NEVER else NEVER

    def _ready_at(self) -> float:
        """When an item is there to start, whatever the pace says."""
        due = NEVER
        if not self.idle:
            return due
        until = self.released + self.limits.window
        if self.full():
            until = min(until, self.left_count + 1) if self.ordered else 0
        for item in self.items[self.left_count : until]:
            if item.state == HELD and not item.begins_anew:
                due = min(due, item.not_before)
            elif item.state == WAITING and item.index < min(self.fed, self.written):
                return -NEVER
        return due

    def refused(self, now: float) -> None:
        """No lease was given: was there a reason?"""
        if self.units < self.allowed and self.stop_code is None and self.startable(now) <= now:
            raise Broken("waiting_frees_the_slot", f"nothing starts at {now} with {self.units} units in use")
        hopeless = self.stop_code is None and self.hopeless(now)
        if hopeless and self.units < self.concurrency and self._ready_at() <= now:
            raise Broken("stop_is_kept", f"the run goes on at {now}, though nothing will start in time")

    def wrote(self, slots: Sequence[Slot], now: float) -> None:
        """After a refused lease it is written down that these will start: the next ones, few, and never none."""
        known = self.items[: self.written]
        again = [item for item in known if item.begins_anew and item.state == HELD and item.not_before <= now]
        waiting = sum(item.state == WAITING for item in known)
        until = min(self.fed, self.released + self.limits.window)
        fresh = [slot.index for slot in slots if slot.index >= self.written]
        if fresh != list(range(self.written, self.written + len(fresh))):
            raise Broken("write_ahead", f"{slots} are not next after {self.written}")
        if not {slot.index for slot in slots}.issubset([*fresh, *(item.index for item in again)]):
            raise Broken("write_ahead", f"not all of {slots} are to be written down")
        if fresh and len(slots) + waiting > self.limits.concurrency:
            raise Broken("write_ahead", f"{len(slots)} more are written down than will start soon")
        idle = self.units < self.concurrency and self.stop_code is None and not waiting
        idle = idle and all(item.begins_anew for item in known if item.state == HELD)
        if not slots and idle and (again or self.written < until):
            raise Broken("write_ahead", f"{again or self.written} waits to be written down, and is not")

    def admitted(self, slots: Sequence[Slot]) -> None:
        """That is written down."""
        for slot in slots:
            self.written = max(self.written, slot.index + 1)
            self.items[slot.index].begins_anew = False

    def timer(self, due: float, now: float, live: Iterable[Item]) -> None:
        """After a refused lease the driver sleeps until ``due``: not too long, and not for nothing."""
        if due <= now:
            raise Broken("everything_ends", f"the timer rings at {due}, before {now}: a hot loop")
        if self.units < self.allowed and self.stop_code is None:
            anew = (item.not_before for item in self.items if item.begins_anew and item.not_before > now)
            latest = min(max(self.startable(now), now), *anew, NEVER)
            if due > latest:
                raise Broken("everything_ends", f"the timer rings at {due}, a start is due at {latest}")
        if self.limits.timed:
            for item in live:
                if due > self._late_at(item):
                    raise Broken(
                        "timeouts", f"the timer rings at {due}, after the timeout of item {item.index}"
                    )

    # -- ending ---------------------------------------------------------------------------------------------

    def answered(self, item: Item, accepted: bool, now: float) -> None:
        """An attempt in flight was answered: it must be taken, and its share of a unit is free."""
        if not accepted:
            raise Broken("one_outcome", f"the answer of item {item.index} was refused while in flight")
        self._free(item)
        item.attempts += 1
        item.ended = now

    def _free(self, item: Item) -> None:
        item.chunk[0] -= 1
        self.units -= item.chunk[0] == 0

    def ignored(self, accepted: bool) -> None:
        """An attempt that is no longer in flight was answered."""
        if accepted:
            raise Broken("one_outcome", "a late answer was taken")

    def succeeded(self, item: Item, value: Any, weight: float) -> None:
        self.heard(item.ended)
        item.weight = weight
        self.weights.append(weight)
        self._over(item, True, value, None)

    def failed(self, item: Item, error: Any, verdict: Verdict, now: float) -> None:
        """What the verdict means for the item, by the rules of what is charged."""
        item.error = error
        limits, kind = self.limits, verdict.kind
        until = now + verdict.delay
        if kind == "throttled":
            self.cooled(now, until)
            self.refused_at = min(self.refused_at, now)
        excused = False
        if verdict.code in ("unavailable", "unknown_outcome"):
            excused = self.unheard(item, verdict, now)
            self.unanswered = error if excused else self.unanswered
        elif kind != "throttled" and verdict.code not in ("timeout", "session"):
            self.heard(now)
        if kind == "retry" and excused:
            until = now
        if kind in ("throttled", "not_ready", "expired") or (kind == "retry" and excused):
            if kind == "not_ready":
                item.memo, item.timeout = verdict.memo, verdict.timeout
                item.held_since = NEVER
                item.pending_since = min(item.pending_since, now)
                patience = limits.patience if verdict.patience is None else verdict.patience
                again = until - item.pending_since <= patience
            else:
                item.held_since = min(item.held_since, now)
                again = until - item.held_since <= limits.patience
        elif kind == "retry":
            item.held_since = NEVER
            item.charged += 1
            again = item.charged < limits.retry
        elif kind == "no_data":
            self._over(item, True, error, verdict.code)
            return
        else:
            again = False
        self._go_on(item, again, until, verdict.code)
        if kind == "stop":
            self.stopped("cancelled", error)
        if kind == "throttled" and not self.units and now - self.refused_at > limits.patience:
            self.stopped(verdict.code, error)

    def crashed(self, item: Item, error: Any, verdict: Verdict, now: float) -> None:
        item.error = error
        item.crashes += 1
        again = verdict.kind == "retry" and item.crashes < self.limits.max_crashes
        self._go_on(item, again, now, verdict.code)

    def _go_on(self, item: Item, again: bool, until: float, code: ErrorCode) -> None:
        if not again:
            self._over(item, False, item.error, code)
            if self.limits.fail_fast:
                self.stopped("cancelled")
        elif self.stop_code is not None:
            self._over(item, False, item.error, self.stop_code)
        else:
            item.state = HELD
            item.not_before = until
            item.begins_anew = self.limits.write_ahead and item.pending_since < NEVER and item.memo is None
            self.idle += 1

    def _over(self, item: Item, good: bool, value: Any, code: ErrorCode | None) -> None:
        item.state = OVER
        item.good, item.value, item.code = good, value, code
        self.unsettled += 1

    def gave_back(self, item: Item, alone: bool) -> None:
        """An attempt that never started was returned: uncharged, and it may start at once."""
        self._free(item)
        item.state = WAITING
        self.idle += 1
        item.alone = item.alone or alone

    def gave_up(self, item: Item, accepted: bool, now: float) -> None:
        """The driver does without an attempt's answer; only a stop entitles it to."""
        if self.stop_code is None:
            if accepted:
                raise Broken("one_outcome", f"item {item.index} was given up without a stop")
            return
        self.answered(item, accepted, now)
        self._over(item, False, self._why(item), self.stop_code)

    def expired(self, late: Sequence[tuple[Slot, int]], live: Iterable[Item], now: float) -> None:
        """These attempts are said to be past the timeout: they are, and no others."""
        told = {token for _, token in late}
        if len(told) < len(late):
            raise Broken("timeouts", f"one attempt is late twice: {late}")
        for item in live:
            if item.token in told:
                told.discard(item.token)
                if now < self._late_at(item):
                    raise Broken("timeouts", f"item {item.index} is not past its timeout at {now}")
            elif now >= self._late_at(item):
                raise Broken("timeouts", f"item {item.index} is past its timeout at {now}, unnoticed")
        if told:
            raise Broken("timeouts", f"the tokens {told} are not in flight")

    def _late_at(self, item: Item) -> float:
        return item.began + (self._timeout if item.timeout is None else item.timeout)

    def stopped(self, code: ErrorCode, cause: Any = None) -> None:
        if self.stop_code is None:
            self.stop_code, self.cause = code, cause

    def _why(self, item: Item) -> Any:
        """The value of an item that was stopped: its own error, or what everything was stopped for."""
        return self.cause if item.error is None else item.error

    # -- leaving --------------------------------------------------------------------------------------------

    def drained(self, slots: Sequence[Slot], running: int) -> None:
        """Finished slots were taken: all that are, none twice, each with what came of it."""
        for slot in slots:
            item = self.items[slot.index]
            if item.state == OVER:
                self.unsettled -= 1
            elif item.state < LIVE or item.state == HELD:
                if self.stop_code is None:
                    raise Broken("one_outcome", f"item {slot.index} is finished without an answer")
                item.value, item.code = self._why(item), self.stop_code
                self.unborn = max(self.unborn, slot.index + 1)
                if slot.index >= self.released + self.limits.window:
                    raise Broken("bounded", f"item {slot.index} was taken beyond the window")
            else:
                raise Broken("one_outcome", f"item {slot.index} is finished twice, or while in flight")
            self._outcome(slot, item)
            item.state = DRAINED
            self.drained_count += 1
        if self.unsettled:
            raise Broken("one_outcome", f"{self.unsettled} finished items were not handed out")
        if running != self.units:
            raise Broken("bounded", f"the schedule says {running} in flight; it is {self.units}")

    def _outcome(self, slot: Slot, item: Item) -> None:
        verdict = slot.verdict
        code = None if verdict is None else verdict.code
        if (slot.state, slot.value, code, slot.attempts) != (
            DONE if item.good else FAILED,
            item.value,
            item.code,
            item.attempts,
        ):
            raise Broken(
                "one_outcome", f"item {slot.index} ended as {slot.state, slot.value, code, slot.attempts}"
            )
        if slot.item != self.inputs[slot.index] or (item.attempts and slot.ended != item.ended):
            raise Broken("one_outcome", f"item {slot.index} carries another's item or time")

    def left(self, slots: Sequence[Slot], limit: int) -> None:
        """Slots were handed out: in the order of the input, and as many as are ready."""
        at = self.left_count
        for slot in slots:
            if slot.index != at or self.items[at].state != DRAINED:
                raise Broken("input_order", f"item {slot.index} left where item {at} is next")
            self.items[at].state = LEFT
            at += 1
        self.left_count = at
        if len(slots) > limit:
            raise Broken("bounded", f"{len(slots)} slots left, {limit} were asked for")
        if len(slots) < limit and at < len(self.items) and self.items[at].state == DRAINED:
            raise Broken("input_order", f"item {at} is ready and was not handed out")

    def room(self, room: int) -> None:
        if room != self.limits.window - (self.fed - self.released):
            raise Broken("bounded", f"room for {room} with {self.fed} fed and {self.released} released")

    def finished(self, says: bool, closed: bool) -> None:
        """After a drain the schedule says whether that was all."""
        if says != (self.drained_count == self.fed and (closed or self.stop_code is not None)):
            raise Broken("everything_ends", f"finished is {says} after {self.drained_count} of {self.fed}")
