"""Hands: the workers at work on a source, as it sees them."""

from __future__ import annotations

from collections.abc import Callable

from fetchline.core.slots import Slot
from fetchline.drive.gates import Gate
from fetchline.interfaces import Verdict
from fetchline.waiting import waits

__all__ = ["Attempted", "Errand", "Hand", "exile_s", "nobody"]

Attempted = tuple[Slot, int, Verdict | None, float]
"""An attempt that has ended: its slot, its number, how it ended and how long it ran, in seconds."""


class Hand:
    """One worker at work on a source: where it waits, and what it has in hand.

    One that ``leaves`` goes for good when there is nothing more for it, and is not asked back.
    ``riders`` are the further slots of a chunk; they hold no unit of concurrency of their own.
    """

    __slots__ = ("gate", "interrupt", "leaves", "parked", "replace", "riders", "slot", "token")

    def __init__(
        self,
        gate: Gate,
        replace: Callable[[], None],
        interrupt: Callable[[], None] | None = None,
        *,
        leaves: bool = True,
    ) -> None:
        self.gate = gate
        self.leaves = leaves
        self.replace = replace
        self.interrupt = interrupt
        self.slot: Slot | None = None
        self.token = 0
        self.parked = False
        self.riders: list[tuple[Slot, int]] = []


class Errand:
    """The gate of a hand that went elsewhere: ringing it asks its executor for a worker, once."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def ring(self) -> None:
        call, self._call = self._call, nobody
        call()


def exile_s(failed: int) -> float:
    """Seconds for which a worker that failed to log in so often, one after another, leaves the work to others.

    It is idle sooner than those that succeed, and would fail every item before they come to it.
    """
    return min(0.1 * 2 ** (failed - 1), 2.0) if waits() else 0.0


def nobody() -> None:
    """What is rung where nobody waits any more, and replaced where nobody is at work."""
