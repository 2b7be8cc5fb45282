"""One item on its way from the input to its result."""

from __future__ import annotations

from typing import Any

from fetchline.interfaces import Verdict

__all__ = ["DONE", "FAILED", "HELD", "READY", "RUNNING", "Slot", "Troubles"]

READY, RUNNING, HELD, DONE, FAILED = range(5)


class Troubles:
    """What a slot carries once its first attempt did not succeed; most slots never do."""

    __slots__ = (
        "attempts",
        "charged",
        "crashes",
        "first",
        "held_since",
        "memo",
        "pending_since",
        "timeout",
        "verdict",
    )

    def __init__(self) -> None:
        self.attempts = 0
        self.charged = 0
        self.first = 0.0  # when the first attempt began
        self.crashes = 0
        self.held_since: float | None = None  # held back without a break, uncharged
        self.pending_since: float | None = None  # not ready, since the first time
        self.memo: Any = None
        self.timeout: float | None = None  # of the next attempt, if it is not the fetcher's
        self.verdict: Verdict | None = None

    def has_patience(self, verdict: Verdict, now: float, patience: float) -> bool:
        """Whether the item may be held back once more, as the verdict of now says."""
        if verdict.kind == "not_ready":
            self.held_since = None
            if self.pending_since is None:
                self.pending_since = now
            since = self.pending_since
            patience = patience if verdict.patience is None else verdict.patience
        else:
            if self.held_since is None:
                self.held_since = now
            since = self.held_since
        return now + verdict.delay - since <= patience


class Slot:
    """An item from ``feed`` to its result.

    ``token`` is the identity of the attempt in flight: it grows with every start, so a late answer of an
    attempt that was given up cannot be taken for the answer of the one after it. 0 is no attempt.
    ``value`` is the value of a success and the error of a failure; the core looks at neither. ``size`` is how many
    items it stands for: more than one only for a ``Group``, whose ``members`` are slots.
    """

    __slots__ = ("began", "ended", "fed", "index", "item", "state", "token", "troubles", "value")

    began: float
    ended: float
    value: Any
    size = 1
    members: tuple[Slot, ...] = ()

    def __init__(self, index: int, item: Any, fed: float) -> None:
        self.index = index
        self.item = item
        self.fed = fed
        self.state = READY
        self.token = 0
        self.troubles: Troubles | None = None

    @property
    def number(self) -> int:
        """The number of the attempt in flight, from 1."""
        return 1 if self.troubles is None else self.troubles.attempts + 1

    @property
    def attempts(self) -> int:
        """How many attempts were made, once the slot is finished."""
        if self.troubles is None:
            return 1 if self.token or self.state == DONE else 0
        return self.troubles.attempts

    @property
    def charged(self) -> int:
        """How many attempts have been charged to the retry policy."""
        return 0 if self.troubles is None else self.troubles.charged

    @property
    def verdict(self) -> Verdict | None:
        return None if self.troubles is None else self.troubles.verdict
