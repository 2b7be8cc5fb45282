"""Workers that could not log in, and for how long each of them leaves the work to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fetchline.drive.gates import ThreadGate
from fetchline.drive.hands import Hand
from fetchline.errors import SessionFailed
from fetchline.worker.sessions import back_off_s

if TYPE_CHECKING:
    from fetchline.drive.source import Source

__all__ = ["Exile"]

_REFUSALS = 10


class Exile:
    """The exiles of one source.

    A worker that cannot log in is idle sooner than those that can, and would fail every item before they come to it.
    Where nobody can, the desk is not stormed.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._hands: set[Hand] = set()

    def count(self) -> int:
        """How many of the source's workers are of no use to it now; call with its lock held."""
        return sum(hand.shut_out > 0 and hand in self._source.hands for hand in self._hands)

    def sentence(self, hand: Hand, error: BaseException) -> float:
        """Seconds for which a worker takes nothing after an error; 0 if it is not one of logging in.

        Where it is the last of too many, the run is stopped.
        """
        if not isinstance(error, SessionFailed):
            hand.shut_out = 0
            return 0.0
        with self._source.lock:
            hand.shut_out += 1
            self._hands.add(hand)
            hands = self._source.hands
            if any(not other.shut_out for other in hands):
                return back_off_s(hand.shut_out)
            if error.reason in ("unreachable", "throttled"):
                return 0.0  # an outage and a cooldown have their own pace
            if self._is_hopeless():
                self._source.stop_here("session", error)
            return min(back_off_s(hand.shut_out), 0.2 * len(hands))  # few must soon know

    def _is_hopeless(self) -> bool:
        """Whether logins were refused for good again and again, and nobody was ever let in: a wrong password."""
        use = self._source.program.session
        return use is not None and use.counts.opened == 0 and use.counts.refused >= _REFUSALS

    def serve(self, gate: ThreadGate, seconds: float) -> None:
        """Wait on the worker's thread, at most until the run is over."""
        source = self._source
        with source.lock:
            source.watchers.add(gate)
        if not source.is_over():
            gate.wait(seconds)
        with source.lock:
            source.watchers.discard(gate)
