"""The fault matrix: all rows, under the heads they have on the page."""

from __future__ import annotations

from .record import Fault
from .rows_around import INPUT, SESSIONS, WATCHING
from .rows_function import DIED, LATE, RAISED
from .rows_travel import RETURNED, SENT

__all__ = ["MATRIX", "faults"]

MATRIX: dict[str, tuple[Fault, ...]] = {
    "The function raises": RAISED,
    "The worker dies under the function": DIED,
    "The function takes longer than its `timeout=`": LATE,
    "Something cannot travel to a worker": SENT,
    "Something cannot travel back": RETURNED,
    "A session fails": SESSIONS,
    "The input fails": INPUT,
    "What watches the run fails": WATCHING,
}


def faults() -> dict[str, Fault]:
    """Every row by its name."""
    rows = {fault.name: fault for group in MATRIX.values() for fault in group}
    assert len(rows) == sum(map(len, MATRIX.values())), "two rows have one name"
    return rows
