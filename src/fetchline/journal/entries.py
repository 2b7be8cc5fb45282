"""What a store keeps of an item: how it came out, and where its value is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from fetchline.frames import as_frame
from fetchline.journal.encoding import encode

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "BODY",
    "EMPTY",
    "FAILURE",
    "FRAME",
    "GONE",
    "NO_FILE",
    "TASK_GOES_ON",
    "TEXT",
    "Begun",
    "Entry",
    "as_stored",
    "table_of",
]

FRAME, TEXT, BODY, EMPTY, FAILURE, GONE = range(6)
"""Kinds of outcomes: a frame, a value as text, a value of bytes, nothing (``NoData``), a failure; none any more."""

NO_FILE = -1

TASK_GOES_ON = frozenset({"not_ready", "throttled", "unavailable", "timeout", "session"})
"""Failures of an item whose remote task has not failed: it was only not waited for any longer."""

Begun: TypeAlias = tuple[int, str | None]
"""An item that may be under way: its index, and the item as text, if that is not its key."""


@dataclass(slots=True)
class Entry:
    """One outcome.

    Attributes:
        key, index, attempts, waited_s, ran_s: as on ``Result``.
        kind: which of the six kinds.
        value: a frame, or the text or the bytes of a value.
        item: the item as text, if that is not its key.
        code, error: of a failure.
        at: when it was stored, in seconds since 1970.
    """

    key: str
    index: int
    kind: int
    value: Any = None
    item: str | None = None
    attempts: int = 1
    waited_s: float = 0.0
    ran_s: float = 0.0
    code: str | None = None
    error: str | None = None
    at: float = 0.0


_FRAMES = {
    ("polars", "DataFrame"),
    ("polars", "LazyFrame"),
    ("pyarrow", "Table"),
    ("pandas", "DataFrame"),
}


def as_stored(value: Any) -> tuple[int, Any]:
    """Give the kind of a value, and what is stored of it: a frame, bytes, or text.

    Raises:
        TypeError: there is no text for it.
    """
    kind = type(value)
    if (
        kind.__module__.partition(".")[0],
        kind.__name__,
    ) in _FRAMES:  # none of their homes is imported for it
        return FRAME, as_frame(value, "")
    if isinstance(value, bytes | bytearray | memoryview):
        return BODY, bytes(value)
    return TEXT, encode(value)


def table_of(entries: Sequence[Entry], places: Sequence[tuple[int, int, int]]) -> pl.DataFrame:
    """Give the table of a record: for each entry its file (a position in the record's list), first row and rows."""
    import polars as pl

    return pl.DataFrame(
        {
            "key": [one.key for one in entries],
            "index": [one.index for one in entries],
            "kind": [one.kind for one in entries],
            "file": [place[0] for place in places],
            "offset": [place[1] for place in places],
            "rows": [place[2] for place in places],
            "attempts": [one.attempts for one in entries],
            "waited_s": [one.waited_s for one in entries],
            "ran_s": [one.ran_s for one in entries],
            "code": [one.code for one in entries],
            "error": [one.error for one in entries],
            "item": [one.item for one in entries],
            "at": [one.at for one in entries],
        },
        schema={
            "key": pl.String,
            "index": pl.UInt32,
            "kind": pl.UInt8,
            "file": pl.Int32,
            "offset": pl.UInt32,
            "rows": pl.UInt32,
            "attempts": pl.UInt32,
            "waited_s": pl.Float64,
            "ran_s": pl.Float64,
            "code": pl.String,
            "error": pl.String,
            "item": pl.String,
            "at": pl.Float64,
        },
    )
