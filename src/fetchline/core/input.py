"""The input of a run, as far as its schedule has taken it, up to what may start."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice, takewhile
from typing import Any

from fetchline.core.limits import Limits
from fetchline.core.slots import READY, Slot

__all__ = ["Input"]

_BITE = 64


class Input(ABC):
    """How many items are welcome, what is left of those that are at hand, and which may start.

    Args:
        limits: what to keep to.

    Attributes:
        unwritten: what may not start before it is written down that it will; None if nothing need be.
    """

    __slots__ = (
        "_ahead",
        "_backlog",
        "_backlog_at",
        "_backlog_keys",
        "_closed",
        "_fed",
        "_few",
        "_ready",
        "_released",
        "_window",
        "unwritten",
    )

    def __init__(self, limits: Limits) -> None:
        self._window = limits.window
        # As many are written down as run at once, and again when half of them have started.
        self._ahead = limits.concurrency * limits.bulk
        self._few = (self._ahead + limits.bulk) // 2
        self._ready: deque[Slot] = deque()
        self.unwritten: deque[Slot] | None = deque() if limits.write_ahead else None
        self._backlog: Sequence[Any] = ()
        self._backlog_keys: Sequence[Any] | None = None
        self._backlog_at = 0
        self._closed = False
        self._fed = 0
        self._released = 0

    @abstractmethod
    def feed(self, items: Sequence[Any], now: float, keys: Iterable[Any] | None = None) -> None:
        """Take items in."""

    def room(self) -> int:
        """How many items are welcome now."""
        return self._window - (self._fed - self._released)

    def feed_from(self, backlog: Sequence[Any], keys: Sequence[Any] | None = None) -> None:
        """Take a whole list, tuple or range as the input: slots are made of it as room allows."""
        self._backlog, self._backlog_keys = backlog, keys
        self._closed = True

    def close_input(self) -> None:
        """No more items will come."""
        self._closed = True

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def fed(self) -> int:
        return self._fed

    @property
    def backlog(self) -> int:
        """How many items of a whole input no slot has been made of."""
        return len(self._backlog) - self._backlog_at

    def _bite(self, now: float) -> bool:
        """Make slots of the backlog; whether any could be made."""
        size = self._mouthful()
        if size <= 0:
            return False
        end = self._backlog_at + size
        keys = None if self._backlog_keys is None else self._backlog_keys[self._backlog_at : end]
        self.feed(self._backlog[self._backlog_at : end], now, keys)
        self._backlog_at = end
        return True

    def _mouthful(self) -> int:
        """How many slots would be made of the backlog now; none while enough wait to be written down."""
        if self.unwritten and len(self.unwritten) >= self._ahead:
            return 0
        return min(_BITE, self.room(), len(self._backlog) - self._backlog_at)

    def _welcome(self, slots: Iterable[Slot]) -> None:
        """Take in slots that nothing is known of."""
        (self._ready if self.unwritten is None else self.unwritten).extend(slots)

    def _take_back(self, slots: Sequence[Slot]) -> None:
        """Slots whose wait is over go before slots that never started: they are older."""
        for slot in reversed(slots):
            if self.unwritten is not None and _begins_anew(slot):
                self.unwritten.appendleft(slot)
            else:
                slot.state = READY
                self._ready.appendleft(slot)

    def to_write(self) -> list[Slot]:
        """Which slots come next and may not start before that is written down; none while enough may start.

        They are few, as of each that is written down nobody knows later whether it was started; of those that begin
        anew that is so already.
        """
        if not self.wants_writing:
            return []
        assert self.unwritten is not None
        again = sum(1 for _ in takewhile(_begins_anew, self.unwritten))
        return list(islice(self.unwritten, max(again, self._ahead - len(self._ready))))

    @property
    def wants_writing(self) -> bool:
        """Whether slots are to be written down, so that workers need not wait for it."""
        if not self.unwritten:
            return False
        return len(self._ready) < self._few or _begins_anew(self.unwritten[0])

    def admit(self, slots: Sequence[Slot]) -> None:
        """These may start: that is written down. Others may have come before them meanwhile."""
        written, others = set(map(id, slots)), []
        while self.unwritten and written:
            slot = self.unwritten.popleft()
            if id(slot) not in written:
                others.append(slot)
                continue
            written.discard(id(slot))
            slot.state = READY
            if _begins_anew(slot):
                self._ready.appendleft(slot)
            else:
                self._ready.append(slot)
        if self.unwritten is not None:
            self.unwritten.extendleft(reversed(others))


def _begins_anew(slot: Slot) -> bool:
    """Whether it has left nothing by which its task could be asked about, or has nothing any more."""
    troubles = slot.troubles
    is_pending = troubles is not None and troubles.pending_since is not None and troubles.memo is None
    return is_pending and not slot.members
