"""Results whose values are in a store: what is in memory of them is where they are."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from fetchline.columns import Columns, Finished, Hit, Reading, Row, to_result
from fetchline.results import Result

__all__ = ["RowOf", "StoredColumns"]

_HERE: Any = object()
_BEFORE: Any = object()


class RowOf(dict[str, Any]):
    """What a run knows of keys: the row of a value that is in the store, or what a schedule is told instead.

    Rows are plain numbers in it, as there may be millions, and a ``Hit`` for who asks.
    """

    def get(self, key: str, default: Any = None) -> Any:
        known = super().get(key, default)
        return Hit(known) if type(known) is int else known


class StoredColumns(Columns):
    """Results by column; of a value that is in the store, its row."""

    __slots__ = ("_rows",)

    def __init__(self, reading: Reading, items: Sequence[Any] | None = None) -> None:
        super().__init__(reading, items)
        self._rows = array("i", bytes(4 * len(self._items)))

    def add_hits(self, finished: Iterable[Finished]) -> None:
        """Take items whose values were in the store before."""
        for one in finished:
            self._place(one.index, one.value, _BEFORE)
            if self._own:
                self._items[one.index] = one.item

    def hold(self, index: int, row: Row) -> None:
        """Keep where a value is instead of the value."""
        self._place(index, row, _HERE)

    def _place(self, index: int, row: int, where: Any) -> None:
        if index >= len(self._rows):
            if index >= len(self._values):
                self._grow(index + 1)
            self._rows.extend([0] * (len(self._values) - len(self._rows)))
        self._values[index] = where
        self._rows[index] = row

    def get(self, index: int) -> Result[Any]:
        where = self._values[index]
        if where is _HERE:
            attempts, verdict = self._odd.get(index, (1, None))
            value: Row = Row(self._rows[index])
        elif where is _BEFORE:
            attempts, verdict = 0, None
            value = Hit(self._rows[index])
        else:
            return super().get(index)
        waited, ran = self._waited[index], self._ran[index]
        return to_result(self.reading, index, self._items[index], value, attempts, verdict, waited, ran)

    def row(self, index: int) -> int | None:
        where = self._values[index]
        return self._rows[index] if where is _HERE or where is _BEFORE else None
