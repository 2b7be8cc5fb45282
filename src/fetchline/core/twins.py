"""Items with equal keys: the first is attempted, and the others get what becomes of it; so do those known before."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fetchline.core.limits import Dedupe
from fetchline.core.slots import DONE, FAILED, HELD, Slot, Troubles
from fetchline.interfaces import Verdict

__all__ = ["Known", "Pending", "Twins", "share"]


@dataclass(frozen=True, slots=True)
class Known:
    """An outcome that is known before any attempt, other than a plain value: a value or an error, and its verdict."""

    value: Any
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Pending:
    """Where a task had got to that another run left: what its next attempt is told, and how long it may take."""

    memo: Any
    timeout: float | None = None


class Twins:
    """Knows who was first with a key, and who waits for what comes of it.

    Args:
        dedupe: for how long a key is remembered.
        known: what is known of keys beforehand: a ``Known``, a ``Pending``, or else a value. It may grow meanwhile.
    """

    __slots__ = ("_first", "_forgets", "_keys", "_known", "_waiting", "waiting")

    def __init__(self, dedupe: Dedupe, known: Mapping[Any, Any] | None = None) -> None:
        self._forgets = dedupe != "run"
        self._known = {} if known is None else known
        self._first: dict[Hashable, Slot] = {}
        self._keys: dict[int, Hashable] = {}
        self._waiting: dict[int, list[Slot]] = {}
        self.waiting = 0

    def enter(self, slots: Sequence[Slot], keys: Iterable[Hashable]) -> tuple[list[Slot], list[Slot]]:
        """Take new slots in: those that are to be attempted, and those whose outcome is known already."""
        fresh: list[Slot] = []
        over: list[Slot] = []
        for slot, key in zip(slots, keys, strict=True):
            first = self.first(key, slot)
            if first is None:
                known = self._known.get(key)
                if known is None or self._is_told(slot, known):
                    fresh.append(slot)
                else:
                    self.left(slot)
                    over.append(slot)
            elif first.state < DONE:
                slot.state = HELD
                self.wait(slot, first)
            else:
                share(slot, first)
                slot.state = first.state
                over.append(slot)
        return fresh, over

    def _is_told(self, slot: Slot, known: Any) -> bool:
        """Tell a slot what is known of its key; whether it is to be attempted."""
        troubles = slot.troubles = Troubles()
        if isinstance(known, Pending):
            troubles.memo, troubles.timeout = known.memo, known.timeout
            return True
        slot.state, slot.value = DONE, known
        if isinstance(known, Known):
            slot.value, troubles.verdict = known.value, known.verdict
            slot.state = DONE if known.verdict.kind == "no_data" else FAILED
        return False

    def first(self, key: Hashable, slot: Slot) -> Slot | None:
        """Whose outcome this slot is to share, or None if it is the first with its key."""
        first = self._first.setdefault(key, slot)
        if first is not slot:
            return first
        if self._forgets:
            self._keys[slot.index] = key
        return None

    def wait(self, slot: Slot, first: Slot) -> None:
        self._waiting.setdefault(first.index, []).append(slot)
        self.waiting += 1

    def waiting_for(self, first: Slot) -> list[Slot]:
        """Take those that wait for a slot that is finished now."""
        waiting = self._waiting.pop(first.index, None)
        if waiting is None:
            return []
        self.waiting -= len(waiting)
        return waiting

    def left(self, slot: Slot) -> None:
        """A slot has left: whoever comes later with its key is attempted anew."""
        key = self._keys.pop(slot.index, None)
        if key is not None:
            del self._first[key]

    def stored(self, slots: Iterable[Slot]) -> None:
        """Their outcomes are among those known now; failures are kept for those that come later."""
        for slot in slots:
            if slot.state == DONE:
                self.left(slot)


def share(slot: Slot, first: Slot) -> None:
    """Give a slot the outcome of another; no attempt was made for it."""
    slot.troubles = Troubles()
    slot.troubles.verdict = first.verdict
    slot.value = first.value
