"""Bulk: how many items one call of a function is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fetchline.durations import seconds
from fetchline.retry import check_count

__all__ = ["Bulk"]


@dataclass(frozen=True, slots=True)
class Bulk:
    """How many items one call is for.

    Args:
        size: items in a call, at the most.
        linger: seconds an incomplete call waits for the next items of an input that is slow.

    >>> Bulk(50)
    Bulk(size=50, linger=0.1)
    """

    size: int
    linger: float = 0.1

    def __post_init__(self) -> None:
        check_count("bulk", self.size)
        object.__setattr__(self, "linger", seconds("linger", self.linger))

    @classmethod
    def of(cls, bulk: Any) -> Bulk | None:
        """Accept a Bulk, its size, or None."""
        return bulk if bulk is None or isinstance(bulk, Bulk) else cls(bulk)
