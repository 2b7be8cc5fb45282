"""What a server bears, found out by asking it: how many attempts at once, and how many starts a second.

Two limits, because servers have two kinds. One that is overloaded (5xx, no connection, timeouts) is asked by fewer
at once: additive increase, and a decrease to below the level that failed; the idea is that of ``AIMDLimit`` in
Netflix's concurrency-limits. One that counts requests (429) is asked at the rate at which it lately answered, as by
the client-side rate limiter of the AWS SDKs' adaptive retry mode, and the search for more slows down with every
refusal, for the same reason as in CUBIC (RFC 9438). Neither limit ever rises because of an error.

The constants were chosen on a virtual clock against leaky buckets of 5 to 200 requests a second, with and without
delay, that ask for pauses of 0.1 to 1 s (``tests/core/test_adaptive.py``).
"""

from __future__ import annotations

import math
from collections import deque

__all__ = ["Level", "Tempo"]

_NEVER = float("inf")

_HOLD_S, _HOLD_GROWTH, _LONGEST_HOLD_S = 2.0, 4.0, 60.0

_RECENT_S = 1.0
_MARGIN = 0.92
_SLOWEST = 0.1
_DOUBLES_S = 0.5
_SLOWER = 4
_LONG_S = 10.0  # a longer gap between two starts says no more
_EASES_S = 60.0  # without a refusal, and the search is one step faster again
_FASTEST = 1e6


class Level:
    """How many attempts at once.

    Attributes:
        allowed: as many, from 1 to ``most``.
    """

    __slots__ = ("_ceiling", "_hold", "_part", "_started_at", "_until", "allowed", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.allowed = 1
        self._part = 0.0
        self._ceiling = most
        self._hold = _HOLD_S
        self._until = 0.0
        self._started_at: dict[int, int] = {}

    @property
    def borne(self) -> int | None:
        """The level that was found to be the most; None where none has failed."""
        return self._ceiling if self._until else None

    def started(self, token: int, running: int) -> None:
        """An attempt has started, ``running`` of them now in flight."""
        self._started_at[token] = running

    def succeeded(self, token: int, now: float) -> None:
        """One more for each success until something failed, then one more for each round of them."""
        level = self._started_at.pop(token, 0)
        if self.allowed >= self.most or level < self.allowed:
            return  # what was not made use of says nothing about more
        if self.allowed < self._ceiling:
            self.allowed += 1
        elif now >= self._until:
            self._part += 1 / self.allowed
            if self._part >= 1:
                self.allowed += 1
                self._ceiling = self.allowed
                self._part = 0.0

    def overloaded(self, token: int, now: float) -> None:
        """An attempt failed as it does where there are too many; one that was alone says nothing of that."""
        level = self._started_at.pop(token, 0)
        if level < 2 or level > self.allowed:
            return
        # Where more was tried and not borne, it is not tried again so soon.
        again = level in (self._ceiling, self._ceiling + 1)
        self._hold = min(self._hold * _HOLD_GROWTH, _LONGEST_HOLD_S) if again else _HOLD_S
        self._until = now + self._hold
        self.allowed = self._ceiling = level - 1
        self._part = 0.0

    def forget(self, token: int) -> None:
        """An attempt ended in a way that says nothing of the server."""
        self._started_at.pop(token, None)


class Tempo:
    """How many starts a second; unlimited until something was refused.

    Attributes:
        rate: starts a second; None is no limit.
    """

    __slots__ = ("_answered", "_at", "_cuts", "_eased", "_next", "_recent", "_since", "rate")

    def __init__(self) -> None:
        self.rate: float | None = None
        self._answered = 0
        self._recent: deque[float] = deque()
        self._since = -_NEVER
        self._at = 0.0
        self._next = -_NEVER
        self._cuts = 0
        self._eased = 0.0

    def due(self, now: float) -> float:
        """When the next start is allowed."""
        return max(now, self._next)

    def started(self, now: float) -> None:
        if self._since == -_NEVER:
            self._since = now
        if self.rate is None:
            return
        passed, self._at = min(max(0.0, now - self._at), _LONG_S), now
        if now - self._eased > _EASES_S and self._cuts > 2:
            self._cuts, self._eased = self._cuts - 1, now
        self.rate *= 2 ** (passed / _DOUBLES_S / self._cuts**_SLOWER)
        if self.rate > _FASTEST:
            self.rate = None
            return
        interval = 1 / self.rate
        late = now - self._next
        self._next = (self._next if late < interval else now) + interval

    def answered(self, now: float) -> None:
        """An attempt was not refused."""
        recent = self._recent
        self._answered += 1
        recent.append(now)
        while recent[0] <= now - _RECENT_S:
            recent.popleft()

    def refused(self, began: float, now: float, until: float) -> None:
        """An attempt that began then was refused, and nothing starts before ``until``."""
        if began < self._since:
            return  # it was on its way when the tempo was slowed already
        resumes = max(now, until)
        if self.rate is not None and not self._answered:
            # Refused again before anything was answered: that is no rate, but a pause that goes on.
            self._since = self._at = self._next = self._eased = resumes
            return
        average = self._answered / max(now - self._since, _RECENT_S)
        recent = sum(at > now - _RECENT_S for at in self._recent) / _RECENT_S
        # On the way up the average is too low; in the last second is what a server lets pass as a burst.
        found = _MARGIN * math.sqrt(average * max(average, recent))
        self.rate = max(found if self.rate is None else min(found, self.rate), _SLOWEST)
        self._cuts += 1
        self._answered = 0
        self._recent.clear()
        self._since = self._at = self._next = self._eased = resumes
