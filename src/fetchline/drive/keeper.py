"""Time: a thread that knows when something is due in a run though nothing happens.

A wait is over, the pace allows a start, an attempt has run too long. It is started when it is first needed, so
that workers park without a timeout, and most runs never have one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from fetchline.core.limits import NEVER
from fetchline.core.slots import Slot
from fetchline.drive.gates import ThreadGate
from fetchline.drive.hands import nobody, too_many_stuck
from fetchline.errors import AttemptTimeout

if TYPE_CHECKING:
    from fetchline.drive.source import Source

__all__ = ["Keeper"]

_LONGEST_S = 86400.0


class Keeper:
    """Keeps the time of one source; ``gate`` wakes it, once it has been started."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._due = NEVER
        self.gate: ThreadGate | None = None

    def arm(self, now: float, *, anyway: bool = False) -> Callable[[], None]:
        """Look again when the schedule asks for it, or be there for when it will; with the lock held.

        Returns:
            What starts the thread, to be called without the lock.
        """
        due = self._source.schedule.timer(now)
        if due >= self._due and not (anyway and self.gate is None):
            return nobody
        self._due = due
        if self.gate is not None:
            self.gate.ring()
            return nobody
        self.gate = ThreadGate()
        return threading.Thread(target=self._work, name="fetchline-keeper", daemon=True).start

    def _work(self) -> None:
        source, gate = self._source, self.gate
        assert gate is not None
        try:
            while not source.closed:
                late, pause = self._look()
                for slot, token in late:
                    self._time_out(slot, token)
                if not late:
                    gate.wait(pause if pause < _LONGEST_S else -1)
        except BaseException as bug:  # a keeper that dies silently would hang the run
            source.broke(bug)

    def _look(self) -> tuple[list[tuple[Slot, int]], float]:
        """Which attempts are late, and seconds until something else is due."""
        source = self._source
        with source.lock:
            schedule, now = source.schedule, source.clock()
            late = schedule.expired(now)
            if late:
                return late, 0.0
            due = schedule.timer(now)
            if source.pacer is not None and schedule.wants_grant:
                source.pacer.want()
            if not source.parked:
                # Whoever comes back looks for itself; only timeouts need somebody to watch.
                due = schedule.next_expiry(now)
            elif due <= now:
                source.wake_one()
            # Whoever was rung needs a moment to take what is due.
            pause = max(due - now, 0.001)
            self._due = now + pause
            return [], pause

    def _time_out(self, slot: Slot, token: int) -> None:
        source = self._source
        timeout = source.program.timeout_of(slot)
        label = source.program.label(slot)
        error = AttemptTimeout(f"{label}: the attempt took longer than its timeout of {timeout:g} s")
        verdict = source.program.verdict(error, slot)
        with source.lock:
            if not source.fail_here(slot, token, error, verdict, source.clock()):
                return
            hand = next((one for one in source.hands if one.slot is slot), None)
            if hand is None:
                return
            source.hands.discard(hand)
            source.abandoned += 1
            stuck, is_over = source.abandoned, source.schedule.finished
        if stuck > source.max_abandoned and not is_over:
            source.broke(too_many_stuck(stuck, error))
        hand.replace()
