"""Hands: the workers at work on a source, as it sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fetchline.core.slots import Slot
from fetchline.drive.gates import Gate
from fetchline.errors import FetchlineError
from fetchline.interfaces import Verdict

__all__ = ["Attempted", "Errand", "Hand", "nobody", "too_many_stuck"]

Attempted = tuple[Slot, int, Verdict | None, float]
"""An attempt that has ended: its slot, its number, how it ended and how long it ran, in seconds."""


class Hand:
    """One worker at work on a source: where it waits, and what it has in hand.

    One that ``leaves`` goes for good when there is nothing more for it, and is not asked back.
    ``riders`` are the further slots of a chunk; they hold no unit of concurrency of their own. ``shut_out`` counts
    the logins that failed, one after another.

    Each kind of worker has its own, and a coroutine's is made for a single item at the worst: it holds nothing that
    leads back to it, so that it is gone without a garbage collection.
    """

    __slots__ = ("gate", "leaves", "parked", "riders", "shut_out", "slot", "token")

    def __init__(self, gate: Gate, *, leaves: bool = True) -> None:
        self.gate = gate
        self.leaves = leaves
        self.slot: Slot | None = None
        self.token = 0
        self.parked = False
        self.riders: Sequence[tuple[Slot, int]] = ()
        self.shut_out = 0

    def replace(self) -> None:
        """Put another worker in the place of this one, which is stuck; where it goes on by itself, nothing."""

    def interrupt(self) -> bool:
        """End the attempt in hand, where that can be done; whether it can."""
        return False


class Errand:
    """The gate of a hand that went elsewhere: ringing it asks its executor for a worker, once."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def ring(self) -> None:
        call, self._call = self._call, nobody
        call()


def too_many_stuck(count: int, error: BaseException) -> FetchlineError:
    """What a run is stopped with that has too many attempts past their timeout."""
    bug = FetchlineError(
        f"{count} attempts are stuck past their timeout and hold their threads; the run is stopped. Give the "
        'function\'s own client a timeout, or use executor="process", whose workers can be ended'
    )
    bug.__cause__ = error
    return bug


def nobody() -> None:
    """What is called where there is nothing to do."""
