"""What the simulator's oracle notes of each item."""

from __future__ import annotations

from typing import Any

from fetchline.core.limits import NEVER
from fetchline.core.slots import Slot
from fetchline.results import ErrorCode

__all__ = ["DRAINED", "HELD", "LEFT", "LIVE", "OVER", "WAITING", "Item"]

WAITING, LIVE, HELD, OVER, DRAINED, LEFT = range(6)


class Item:
    """The oracle's page for one item; most of it is only ever written for items in trouble."""

    state = WAITING
    token = 0
    attempts = 0
    charged = 0
    crashes = 0
    held_since = NEVER
    pending_since = NEVER
    not_before = 0.0
    began = 0.0
    ended = 0.0
    alone = False
    weight = 0.0
    memo: Any = None
    timeout: float | None = None
    error: Any = None
    begins_anew = False  # it is to be written down once more before it starts
    # What must come out of it, once it is over.
    good = False
    value: Any = None
    code: ErrorCode | None = None
    # The driver's: what it holds while the attempt is in flight.
    slot: Slot
    chunk: list[int]

    def __init__(self, index: int) -> None:
        self.index = index
