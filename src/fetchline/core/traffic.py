"""What may start now, as far as the other side is concerned: pace, cooldown, outage, and what it bears.

Made when there is something to keep to: a pace that was declared, or the first answer that asks for restraint.
"""

from __future__ import annotations

from fetchline.core.adaptive import Level, Tempo
from fetchline.core.limits import NEVER, Grants, Limits, StartGate
from fetchline.interfaces import Verdict

__all__ = ["UNANSWERED", "Outage", "Traffic"]

_FIRST_PROBE_S, _PROBE_S = 0.125, 1.5

UNANSWERED = frozenset({"unavailable", "unknown_outcome"})
"""Codes that say that the other side did not answer."""

# No word of the other side, and none about it.
_SILENT = frozenset({"timeout", "crashed", "session", "cancelled"})


class Outage:
    """A circuit breaker: once nobody gets an answer any more, a start now and then asks whether there is one again.

    Args:
        items: how many different ones must have failed, one after another; fewer may be at fault themselves. Where
            no item is, as when a session does not open, attempts count.

    Attributes:
        since: when it was noticed; None while there is none.
    """

    __slots__ = ("_failed", "_items", "_next", "_pause", "since")

    def __init__(self, items: int) -> None:
        self.since: float | None = None
        self._items = items
        self._failed: set[int] = set()
        self._pause = 0.0
        self._next = 0.0

    def due(self, now: float) -> float:
        return now if self.since is None else max(now, self._next)

    def started(self, now: float) -> None:
        if self.since is not None:
            self._next = now + self._pause
            self._pause = min(2 * self._pause, _PROBE_S)

    def failed(self, sign: int, now: float) -> bool:
        """An item got no answer; whether that is an outage by now, and not to be charged to it."""
        if self.since is None:
            self._failed.add(sign)
            if len(self._failed) < self._items:
                return False
            self.since = now
            self._pause, self._next = _FIRST_PROBE_S, now + _FIRST_PROBE_S
        return True

    def answered(self) -> float | None:
        """Somebody got an answer; when the outage began that this ends, or None."""
        self._failed.clear()
        since, self.since = self.since, None
        return since


class Traffic:
    """Decides about starts, by what was declared and by how attempts ended.

    Attributes:
        gate: the declared rates, and cooldowns.
        outage: the breaker; None where attempts are not repeated anyway.
        level, tempo: what the other side bears; None where that is not to be found out.
        limited_s: seconds for which something was ready to start, with a worker for it, and had to wait.
        cooled_s: seconds that cooldowns held everything back.
        outage_s: seconds of outages that have ended.
        refused: attempts that were answered with 429.
    """

    __slots__ = (
        "_barred_at",
        "_most",
        "_patience",
        "_ramp",
        "_refused_at",
        "cooled_s",
        "gate",
        "level",
        "limited_s",
        "outage",
        "outage_s",
        "refused",
        "tempo",
    )

    def __init__(self, limits: Limits) -> None:
        self.gate: StartGate | Grants = Grants() if limits.granted else StartGate(limits.rates)
        self.outage = Outage(limits.breaker) if limits.breaker else None
        self.level = Level(limits.concurrency) if limits.adaptive else None
        self.tempo = Tempo() if limits.adaptive else None
        self.limited_s = 0.0
        self.cooled_s = 0.0
        self.outage_s = 0.0
        self.refused = 0
        self._most = limits.concurrency
        self._patience = limits.patience
        self._ramp = NEVER
        self._barred_at: float | None = None
        self._refused_at: float | None = None  # the first of the refusals that no answer came between

    @property
    def allowed(self) -> float:
        """How many attempts may be in flight: at least 1, infinite if any number."""
        return self._ramp if self.level is None else min(self._ramp, self.level.allowed)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to keep to now."""
        down = self.outage is not None and self.outage.since is not None
        return self.level is None and not self.gate.paced and self._ramp == NEVER and not down

    @property
    def found(self) -> tuple[int | None, float | None]:
        """How many at once, and how many starts a second, an adaptive pace came to; None is no limit."""
        level, tempo = self.level, self.tempo
        return level.borne if level is not None else None, tempo.rate if tempo is not None else None

    def hopeless(self, now: float) -> bool:
        """Whether there has been no answer for longer than anybody has patience for."""
        outage = self.outage
        return outage is not None and outage.since is not None and now - outage.since >= self._patience

    def shut(self, running: int, now: float) -> bool:
        """Whether everybody has been refused for longer than anybody has patience for; not one that is at work."""
        return not running and self._refused_at is not None and now - self._refused_at > self._patience

    def may_start(self, running: int, now: float) -> bool:
        """Whether another attempt may start, beside so many in flight."""
        if running < self.allowed and self.due(now) <= now:
            if self._barred_at is not None:
                self.limited_s += now - self._barred_at
                self._barred_at = None
            return True
        if self._barred_at is None:
            self._barred_at = now
        return False

    def wants(self, running: int) -> bool:
        """Whether another start has to be granted before it could be made, beside so many attempts in flight."""
        return isinstance(self.gate, Grants) and self.gate.at == NEVER and running < self.allowed

    def grant(self, at: float) -> None:
        """Allow one start from ``at`` on, where every start is granted."""
        assert isinstance(self.gate, Grants)
        self.gate.at = at

    def due(self, now: float) -> float:
        """When the next start is allowed; ``now`` if it is now."""
        due = self.gate.due(now)
        if self.tempo is not None:
            due = max(due, self.tempo.due(now))
        if self.outage is not None:
            due = max(due, self.outage.due(now))
        return due

    def started(self, token: int, running: int, now: float) -> None:
        self.gate.started(now)
        if self.level is not None and self.tempo is not None:
            self.level.started(token, running)
            self.tempo.started(now)
        if self.outage is not None:
            self.outage.started(now)

    def cool_down(self, now: float, until: float) -> None:
        """Start nothing before ``until``, and then not with everything at once."""
        if until > now:
            self.cooled_s += max(0.0, until - max(now, self.gate.cool_until))
            self.gate.cool_down(until)
            self._slow_start()

    def succeeded(self, token: int, now: float) -> None:
        if self.level is not None and self.tempo is not None:
            self.level.succeeded(token, now)
            self.tempo.answered(now)
        self._answered(now)

    def failed(self, verdict: Verdict, index: int, token: int, began: float, now: float) -> bool:
        """Take a failed attempt's verdict; whether it is a part of an outage, and not to be charged.

        A throttled one brings its cooldown.
        """
        down = verdict.code in UNANSWERED
        self.refused += verdict.code == "throttled"
        if verdict.kind == "throttled":
            self.cool_down(now, now + verdict.delay)
            self._refused_at = now if self._refused_at is None else self._refused_at
        if self.level is not None and self.tempo is not None:
            if down or verdict.code == "timeout":
                self.level.overloaded(token, now)
            else:
                self.level.forget(token)
            if verdict.code == "throttled":
                self.tempo.refused(began, now, max(now, self.gate.cool_until))
        if down:
            # What any other item would have met as well is a sign each time, and not one for each item.
            sign = -token if verdict.alike else index
            return self.outage is not None and self.outage.failed(sign, now)
        if verdict.kind != "throttled" and verdict.code not in _SILENT:
            if self.tempo is not None:
                self.tempo.answered(now)
            self._answered(now)
        return False

    def forget(self, token: int) -> None:
        """An attempt never started after all, or its answer is not waited for."""
        if self.level is not None:
            self.level.forget(token)

    def _slow_start(self) -> None:
        self._ramp = 1 if self._most > 1 else NEVER

    def _answered(self, now: float) -> None:
        self._refused_at = None
        if self.outage is not None and (since := self.outage.answered()) is not None:
            self.outage_s += now - since
            self._slow_start()
        if self._ramp < NEVER and now >= self.gate.cool_until:
            # One more for each answer doubles them with every round of answers.
            self._ramp += 1
            if self._ramp >= self._most:
                self._ramp = NEVER
