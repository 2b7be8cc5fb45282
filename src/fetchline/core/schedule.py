"""The schedule of one run: which item may start now, what waits, what is done, in which order it leaves.

House rules:

- Nothing here reads a clock, blocks, or calls what it is given. Times are seconds of one monotonic clock.
- Every slot fed is finished exactly once; ``drain`` gives it in the order of completion, ``heads`` in the
  order of the input.
- Not thread-safe: the driver holds one lock round every call.
- A slot in flight belongs to the token it was leased with. ``succeed``, ``fail`` and ``crashed`` with any
  other token are late answers: they answer False and change nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, assert_never

from fetchline.core.input import Input
from fetchline.core.limits import NEVER, Limits
from fetchline.core.lockout import Lockout
from fetchline.core.slots import DONE, FAILED, HELD, READY, RUNNING, Slot, Troubles
from fetchline.core.timeouts import Timeouts, least_timeout
from fetchline.core.traffic import UNANSWERED, Traffic
from fetchline.core.twins import Twins, share
from fetchline.core.waits import Waits
from fetchline.core.weights import Weights
from fetchline.interfaces import Verdict
from fetchline.results import ErrorCode

__all__ = ["Schedule"]


class Schedule(Input):
    """Decides what starts when; see the module's house rules.

    Args:
        limits: what to keep to.
        ordered: keep the line of the input order, for ``heads``.
        known: outcomes of keys that need no attempt; see ``Twins``.

    Attributes:
        concurrency: attempts in flight, at the most; may be changed at any time.
        running: units of concurrency in use: attempts in flight, a chunk of them counted once.
        done: what has been finished and not drained.
        memos: who is not ready, and its verdict, for a store to take; None if there is none.
        twins: items with equal keys, if those are one attempt.
        stopping: the code of the stop, once there was one.
        traffic: what the other side lets start; None as long as nothing was ever asked of us.
    """

    lingers = False
    """Whether what is ready may wait for more to go with it."""

    __slots__ = (
        "_cause",
        "_line",
        "_lockout",
        "_settled",
        "_timeouts",
        "_token",
        "_waits",
        "_weights",
        "concurrency",
        "done",
        "limits",
        "memos",
        "running",
        "stopping",
        "traffic",
        "twins",
    )

    def __init__(
        self, limits: Limits, *, ordered: bool = False, known: Mapping[Any, Any] | None = None
    ) -> None:
        super().__init__(limits)
        self.limits = limits
        self.concurrency = limits.concurrency
        self.running = 0
        self.stopping: ErrorCode | None = None
        self._cause: Any = None  # of a stop; before one, the last error of an outage
        self.traffic = Traffic(limits) if limits.rates or limits.adaptive or limits.granted else None
        self._waits: Waits[Slot] = Waits()
        self._weights = Weights(limits.hold) if limits.hold < NEVER else None
        self._line: deque[Slot] | None = deque() if ordered else None
        self.done: deque[Slot] = deque()
        self._timeouts = Timeouts(limits.timeout) if limits.timed and limits.timeout is not None else None
        self.twins = Twins(limits.dedupe, known) if limits.dedupe is not None else None
        self.memos: deque[tuple[Slot, Verdict]] | None = deque() if limits.dedupe == "store" else None
        self._settled = self._token = 0
        self._lockout = Lockout()

    # -- the input ------------------------------------------------------------------------------------------

    def feed(self, items: Sequence[Any], now: float, keys: Iterable[Any] | None = None) -> None:
        """Take items in; more than ``room`` is allowed, and counted. ``keys`` say which are the same."""
        slots = [Slot(index, item, now) for index, item in enumerate(items, self._fed)]
        self._fed += len(slots)
        if self._line is not None:
            self._line.extend(slots)
        if self.stopping is not None:
            for slot in slots:
                self._cancel(slot)
        elif keys is None or self.twins is None:
            self._welcome(slots)
        else:
            fresh, over = self.twins.enter(slots, keys)
            self._welcome(fresh)
            self._allow(least_timeout(fresh))
            for slot in over:
                self._finish(slot, slot.state)

    # -- starting -------------------------------------------------------------------------------------------

    def lease(self, now: float) -> Slot | None:
        """Give out the next slot to attempt, or None if nothing may start now."""
        if self.running >= self.concurrency or self.stopping is not None:
            return None
        if self._waits.when <= now:
            self._wake(now)
        while not self._ready:
            if not self._bite(now):
                return None
        if self._weights is not None and not self._weights.bear(self._ready, self.head):
            return None
        traffic = self.traffic
        if traffic is not None:
            if traffic.hopeless(now):
                self.stop("unavailable", self._cause)
                return None
            if not traffic.may_start(self.running, now):
                return None
        slot = self._ready.popleft()
        slot.state = RUNNING
        self._token = slot.token = self._token + 1
        slot.began = now
        self.running += 1
        if traffic is not None:
            traffic.started(slot.token, self.running, now)
        if self._weights is not None:
            self._weights.flying += 1
        if self._timeouts is not None:
            self._timeouts.started(slot, now)
        return slot

    def lease_more(self, now: float, count: int) -> list[Slot]:
        """Give out up to ``count`` further slots that share one unit of concurrency with a lease: a chunk.

        Only first attempts travel together, and never while starts are limited: those go one by one.
        """
        slots: list[Slot] = []
        if self.stopping is not None or (self.traffic is not None and not self.traffic.idle):
            return slots
        # They hold no unit of their own: whoever finishes the chunk's last slot gives the one unit back.
        ready, token = self._ready, self._token
        if self._weights is not None:
            count = int(min(count, self._weights.spare))
        while len(slots) < count and (ready or (self._bite(now) and ready)):
            slot = ready[0]
            if slot.troubles is not None:
                break
            ready.popleft()
            slot.state = RUNNING
            token += 1
            slot.token = token
            slot.began = now
            slots.append(slot)
        self._token = token
        if self._weights is not None:
            self._weights.flying += len(slots)
        return slots

    def _wake(self, now: float) -> None:
        self._take_back(self._waits.due(now))

    def give_back(self, slots: Iterable[Slot], units: int = 1, *, alone: bool = False) -> None:
        """Return leased slots that never started, or whose answers were lost: uncharged, first in line.

        ``alone``: they shall not travel in a chunk again; one of them may have brought a worker down.
        """
        back = list(slots)
        for slot in back:
            if self.traffic is not None:
                self.traffic.forget(slot.token)
            slot.state = READY
            slot.token = 0
            if alone and slot.troubles is None:
                slot.troubles = Troubles()
        self._land(units, sum(slot.size for slot in back))
        if self.stopping is None:
            self._ready.extendleft(reversed(back))
        else:
            for slot in back:
                self._cancel(slot)

    # -- ending ---------------------------------------------------------------------------------------------

    def succeed(
        self, slot: Slot, token: int, value: Any, now: float, units: int = 1, weight: float = 0.0
    ) -> bool:
        """Finish a slot with its value; ``units`` of concurrency are free again."""
        if not token or slot.token != token:
            return False
        if self._weights is not None:
            self._weights.flying -= 1
            self._weights.add(slot.index, weight)
        if self.traffic is not None:
            self.traffic.succeeded(token, now)
        slot.state = DONE
        slot.token = 0
        slot.value = value
        slot.ended = now
        if (troubles := slot.troubles) is not None:
            troubles.attempts, troubles.verdict = troubles.attempts + 1, None
        self.running -= units
        self._settled += 1
        self.done.append(slot)
        if self.twins is not None:
            self._share(slot, self.twins)
        return True

    def fail(self, slot: Slot, token: int, error: Any, verdict: Verdict, now: float, units: int = 1) -> bool:
        """Take a failed attempt: the verdict says whether the slot waits, starts again or is finished."""
        if not token or slot.token != token:
            return False
        excused, settled = self._tell_traffic(slot, verdict, now), self._settled
        begun = slot.began < NEVER
        if excused and self.stopping is None:
            self._cause = error
        troubles = self._end_attempt(slot, error, verdict, now, units)
        if self.stopping is not None and verdict.code in ("cancelled", "unknown_outcome"):
            self._cancel(slot, unanswered=begun)  # the driver ended it: it failed of the stop, not of itself
            return True
        if excused and verdict.kind == "retry":
            self._hold_uncharged(slot, troubles, replace(verdict, delay=0.0), now)
        else:
            self._decide(slot, troubles, verdict, now)
        if verdict.kind == "throttled" and self.traffic is not None and self.traffic.shut(self.running, now):
            self.stop(verdict.code, error)
        if self._lockout.is_complete(verdict, error, settled, self._settled):
            self.stop("session", error)
        return True

    def _decide(self, slot: Slot, troubles: Troubles, verdict: Verdict, now: float) -> None:
        match verdict.kind:
            case "retry":
                troubles.held_since = None
                troubles.charged += 1
                self._hold(slot, now + verdict.delay, troubles.charged < self.limits.retry)
            case "expired" | "throttled":
                self._hold_uncharged(slot, troubles, verdict, now)
            case "not_ready":
                troubles.memo, troubles.timeout = verdict.memo, verdict.timeout
                self._allow(verdict.timeout)
                if self.memos is not None:
                    self.memos.append((slot, verdict))
                self._hold_uncharged(slot, troubles, verdict, now)
            case "permanent":
                self._finish(slot, FAILED)
            case "no_data":
                self._finish(slot, DONE)
            case "stop":
                self._finish(slot, FAILED)
                self.stop(cause=slot.value)
            case _:
                assert_never(verdict.kind)

    def crashed(
        self, slot: Slot, token: int, error: Any, verdict: Verdict, now: float, units: int = 1
    ) -> bool:
        """Take an attempt whose worker died: it is charged to ``max_crashes``, and to nothing else."""
        if not token or slot.token != token:
            return False
        if self.traffic is not None:
            self.traffic.forget(token)
        troubles = self._end_attempt(slot, error, verdict, now, units)
        troubles.crashes += 1
        again = troubles.crashes < self.limits.max_crashes and verdict.kind == "retry"
        self._hold(slot, now, again)
        return True

    def refuse(self, slot: Slot, token: int, error: Any, verdict: Verdict, now: float) -> bool:
        """Finish a slot that nobody would attempt: no attempt is counted."""
        if not token or slot.token != token:
            return False
        self._end_attempt(slot, error, verdict, now, 1).attempts -= 1
        if self.stopping is None:
            self._finish(slot, FAILED)
        else:
            self._cancel(slot)
        return True

    def expired(self, now: float) -> list[tuple[Slot, int]]:
        """Which attempts have run past the timeout, with their tokens; the driver judges and fails them."""
        return [] if self._timeouts is None else self._timeouts.expired(now)

    def cool_down(self, now: float, until: float) -> None:
        """Start nothing before ``until``."""
        self.traffic = self.traffic or Traffic(self.limits)
        self.traffic.cool_down(now, until)

    def stop(self, code: ErrorCode = "cancelled", cause: Any = None) -> None:
        """Start nothing more: what has not started ends with ``code``, and with ``cause`` if it has no error of its
        own; what runs is the driver's to end."""
        if self.stopping is not None:
            return
        self.stopping, self._cause = code, cause
        self._closed = True
        self.admit(list(self.unwritten or ()))
        for slot in (*self._waits.clear(), *self._ready):
            self._cancel(slot)
        self._ready.clear()

    def give_up(self, slot: Slot, token: int, now: float, units: int = 1) -> bool:
        """After a stop: finish an attempt in flight without its answer."""
        if not token or slot.token != token or self.stopping is None:
            return False
        slot.token = 0
        begun = slot.began < NEVER
        slot.began = min(slot.began, now)
        slot.ended = now
        self._land(units, slot.size)
        troubles = slot.troubles = slot.troubles or Troubles()
        troubles.attempts += 1
        self._cancel(slot, unanswered=begun)
        return True

    # -- leaving --------------------------------------------------------------------------------------------

    def drain(self, now: float) -> list[Slot]:
        """Take what has been finished since the last call, in the order of completion."""
        while self.stopping is not None and self._bite(now):
            pass  # what is left of the input is cancelled as it is taken
        out = list(self.done)
        self.done.clear()
        if self._line is None:
            self._leave(out)
        return out

    def heads(self, limit: int) -> list[Slot]:
        """Take the finished slots at the head of the line, in the order of the input."""
        line = self._line
        assert line is not None, "this schedule keeps no line"
        out: list[Slot] = []
        while line and line[0].state >= DONE and len(out) < limit:
            out.append(line.popleft())
        self._leave(out)
        return out

    def _leave(self, slots: Iterable[Slot]) -> None:
        if self._weights is not None:
            for slot in slots:
                self._weights.leaves(slot.index)
        if self.twins is not None and self.limits.dedupe == "window":
            for slot in slots:
                self.twins.left(slot)

    def release(self, count: int) -> None:
        """So many slots have left for good: their room is free again."""
        self._released += count
        if self._weights is not None:
            self._weights.release(count)

    @property
    def head(self) -> Slot | None:
        """The slot that leaves next in input order, finished or not."""
        return self._line[0] if self._line else None

    @property
    def finished(self) -> bool:
        """Whether every item of the input has been finished; some may still be to drain."""
        return self._closed and self._settled == self._fed and not self.backlog

    @property
    def unsettled(self) -> int:
        """How many items of the input known so far are not finished."""
        return self._fed - self._settled + self.backlog

    @property
    def held(self) -> int:
        """How many slots wait for another attempt."""
        return len(self._waits)

    @property
    def waiting(self) -> int:
        """How many slots could start but have not, or wait for what comes of an equal one."""
        twins = 0 if self.twins is None else self.twins.waiting
        return twins + len(self._ready) + len(self.unwritten or ())

    @property
    def startable(self) -> bool:
        """Whether there is anything to start, were it allowed now."""
        if self.stopping is not None:
            return False
        if self._weights is not None and self._weights.spare <= 0:
            return self.head is not None and self.head.state == READY
        return bool(self._ready) or self._mouthful() > 0

    @property
    def wants_grant(self) -> bool:
        """Whether something could start, were it granted from outside."""
        traffic, running = self.traffic, self.running
        return (
            traffic is not None and traffic.wants(running) and running < self.concurrency and self.startable
        )

    def timer(self, now: float) -> float:
        """When to ask again though nothing happens: a wait is over, the pace allows a start, a timeout."""
        when = self.next_expiry(now)
        traffic = self.traffic
        if self.running < self.concurrency and (traffic is None or self.running < traffic.allowed):
            when = min(when, self._waits.when)
            if traffic is not None and self.startable:
                when = min(when, traffic.due(now))
        return when

    def next_expiry(self, now: float) -> float:
        """When an attempt may next run past its timeout, those not started yet counted."""
        return NEVER if self._timeouts is None else self._timeouts.next(now)

    # -- inside ---------------------------------------------------------------------------------------------

    def _tell_traffic(self, slot: Slot, verdict: Verdict, now: float) -> bool:
        """Let a failure count against the other side; whether it is an outage's, and not to be charged."""
        if self.traffic is None:
            if verdict.kind != "throttled" and not (self.limits.breaker and verdict.code in UNANSWERED):
                return False
            self.traffic = Traffic(self.limits)
        return self.traffic.failed(verdict, slot.index, slot.token, slot.began, now)

    def _end_attempt(self, slot: Slot, error: Any, verdict: Verdict, now: float, units: int) -> Troubles:
        troubles = slot.troubles = slot.troubles or Troubles()
        slot.began = min(slot.began, now)  # a session may have been opening for it
        if not troubles.attempts:
            troubles.first = slot.began
        troubles.attempts += 1
        troubles.verdict = verdict
        slot.token = 0
        slot.value = error
        slot.ended = now
        self._land(units, slot.size)
        return troubles

    def _land(self, units: int, slots: int) -> None:
        """So many slots are no longer in flight, nor so many units of concurrency in use."""
        self.running -= units
        if self._weights is not None:
            self._weights.flying -= slots

    def _allow(self, timeout: float | None) -> None:
        """An attempt may come that has a timeout of its own."""
        if timeout is not None and self.limits.timed:
            if self._timeouts is None:
                self._timeouts = Timeouts()
            self._timeouts.allow(timeout)

    def _hold(self, slot: Slot, until: float, again: bool) -> None:
        if not again:
            self._finish(slot, FAILED)
        elif self.stopping is not None:
            self._cancel(slot)
        else:
            slot.state = HELD
            self._waits.add(until, slot)

    def _hold_uncharged(self, slot: Slot, troubles: Troubles, verdict: Verdict, now: float) -> None:
        patient = troubles.has_patience(verdict, now, self.limits.patience)
        self._hold(slot, now + verdict.delay, patient)

    def _finish(self, slot: Slot, state: int) -> None:
        slot.state = state
        self._settled += 1
        self.done.append(slot)
        if self.twins is not None:
            self._share(slot, self.twins)
        if state == FAILED and self.limits.fail_fast:
            self.stop()

    def _share(self, slot: Slot, twins: Twins) -> None:
        """Finish those that wait for what comes of this one."""
        for twin in twins.waiting_for(slot):
            share(twin, slot)
            twin.state = slot.state
            self._settled += 1
            self.done.append(twin)

    def _cancel(self, slot: Slot, *, unanswered: bool = False) -> None:
        """Finish a slot that a stop kept from going on; an error it already had stays its value.

        ``unanswered``: the function had been called, and a write may have arrived.
        """
        assert self.stopping is not None
        troubles = slot.troubles = slot.troubles or Troubles()
        if troubles.attempts == 0 or troubles.verdict is None:
            slot.value = self._cause
        lost = unanswered and not self.limits.idempotent
        troubles.verdict = Verdict("stop", "unknown_outcome" if lost else self.stopping)
        self._finish(slot, FAILED)
