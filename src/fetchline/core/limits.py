"""Limits of a run, and those on starting: evenly spaced rates, sliding counts, and the cooldown a server asked for.

The spacing is GCRA, the generic cell rate algorithm (ATM Forum TM 4.0, appendix A; the same as a leaky bucket
as a meter), with a burst of one: a start is due one interval after the one before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["NEVER", "Dedupe", "Grants", "Limits", "Rate", "StartGate"]

NEVER = float("inf")

Dedupe: TypeAlias = Literal["run", "window", "store"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a schedule keeps to.

    Attributes:
        concurrency: attempts in flight, at the most.
        window: items between the input and the one last released, at the most.
        retry: charged attempts an item may have.
        max_crashes: attempts that may take a worker down with them.
        patience: seconds an item may be held back uncharged.
        timeout: seconds an attempt may run; None is no limit.
        timed: timeouts are kept here; else they are the driver's own affair.
        fail_fast: the first failure stops the run.
        rates: ``(count, period)`` pairs: starts in any period of so many seconds.
        granted: every start is granted from outside, by ``Traffic.grant``: the pace is shared with others.
        adaptive: find out what the other side bears.
        breaker: so many items in a row that get no answer are an outage: from then on a start now and then asks
            whether there is an answer again, uncharged. 0 is never.
        hold: what the results may weigh that are finished and not released, those in flight included at the
            average weight. The head of the line starts all the same, or nothing would ever leave.
        dedupe: for how long items with equal keys are one attempt: the whole ``run``, or the ``window``, until the
            first of them has left, or until the ``store`` knows it. None is not at all.
        bulk: items an attempt may stand for.
        linger: seconds an attempt waits for more items, while there are fewer and the input goes on.
        idempotent: an attempt whose answer was lost may be made again, and one for several items that failed for good
            is made again for each half of them.
        write_ahead: nothing starts before it has been written down that it will; see ``Input.to_write``.
    """

    concurrency: int
    window: int = 1024
    retry: int = 1
    max_crashes: int = 3
    patience: float = 300.0
    timeout: float | None = None
    timed: bool = True
    fail_fast: bool = False
    rates: tuple[tuple[int, float], ...] = ()
    granted: bool = False
    adaptive: bool = False
    breaker: int = 0
    hold: float = NEVER
    dedupe: Dedupe | None = None
    bulk: int = 1
    linger: float = 0.0
    idempotent: bool = True
    write_ahead: bool = False


class Rate:
    """At most ``count`` starts in any ``period`` seconds."""

    __slots__ = ("_starts", "count", "period")

    def __init__(self, count: int, period: float) -> None:
        self.count = count
        self.period = period
        self._starts: deque[float] = deque(maxlen=count)

    def due(self, now: float) -> float:
        """When the next start is allowed, at the earliest ``now``."""
        if len(self._starts) < self.count:
            return now
        return max(now, self._starts[0] + self.period)

    def started(self, now: float) -> None:
        self._starts.append(now)


class StartGate:
    """Whether something may start now, and if not, when.

    The shortest rate is spaced evenly; longer ones are counted in sliding windows.
    """

    __slots__ = ("_interval", "_next", "_rates", "cool_until")

    def __init__(self, rates: Sequence[tuple[int, float]] = ()) -> None:
        ordered = sorted(rates, key=lambda rate: rate[1])
        self._interval = ordered[0][1] / ordered[0][0] if ordered else 0.0
        self._rates = [Rate(count, period) for count, period in ordered]
        self._next = float("-inf")
        self.cool_until = float("-inf")

    @property
    def paced(self) -> bool:
        """Whether there are rates to keep to."""
        return bool(self._rates)

    def due(self, now: float) -> float:
        """When the next start is allowed; ``now`` if it is now."""
        due = max(now, self.cool_until, self._next)
        for rate in self._rates:
            due = max(due, rate.due(now))
        return due

    def started(self, now: float) -> None:
        if self._interval:
            # A start that a timer brought late keeps its place, or the rate drifts below what was asked.
            late = now - self._next
            self._next = (self._next if late < self._interval else now) + self._interval
        for rate in self._rates:
            rate.started(now)

    def cool_down(self, until: float) -> None:
        """Start nothing before ``until``; a shorter cooldown never ends a longer one."""
        self.cool_until = max(self.cool_until, until)


class Grants:
    """The same for starts that somebody else gives out, one at a time."""

    __slots__ = ("at", "cool_until")

    paced = True

    def __init__(self) -> None:
        self.at = NEVER
        self.cool_until = float("-inf")

    def due(self, now: float) -> float:
        """When the start that was granted is allowed; never without one."""
        return max(now, self.cool_until, self.at)

    def started(self, now: float) -> None:
        self.at = NEVER

    def cool_down(self, until: float) -> None:
        """Start nothing before ``until``; a shorter cooldown never ends a longer one."""
        self.cool_until = max(self.cool_until, until)
        self.at = NEVER  # whoever grants starts knows of the pause, or will
