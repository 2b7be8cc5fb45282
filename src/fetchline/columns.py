"""Results in memory: where a Batch reads from, and how a record is made of what was kept."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fetchline.errors import FetchlineError, text_of
from fetchline.interfaces import Verdict
from fetchline.items import key_of
from fetchline.results import ErrorCode, Failure, Origin, Result, Success

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "Columns",
    "Finished",
    "Hit",
    "Listed",
    "Merged",
    "Readable",
    "Reading",
    "Results",
    "Row",
    "to_result",
]

_MISSING: Any = object()


class Row(int):
    """A value that is in a store and not in memory: which one."""

    __slots__ = ()


class Hit(Row):
    """The same, and it was there before: it was not fetched again."""

    __slots__ = ()


class Results(Protocol):
    """Where a Batch reads from: memory, a store, another machine."""

    def __len__(self) -> int: ...

    def get(self, index: int) -> Result[Any]: ...

    def row(self, index: int) -> int | None:
        """Where the value of a success is in the store; None if it is in memory, or there is no value."""


class Readable(Protocol):
    """Where values are that are not in memory."""

    def load(self, row: int, key: str) -> Any:
        """Read a value."""

    def scan(self, rows: Sequence[int]) -> pl.LazyFrame | None:
        """The rows of these frames, as they are stored, the keys first; None if they are no frames."""


class Finished(Protocol):
    """An item that came to its end; the schedule's slot is one."""

    index: int
    item: Any
    value: Any
    fed: float
    began: float
    ended: float

    @property
    def troubles(self) -> object | None: ...

    @property
    def attempts(self) -> int: ...

    @property
    def verdict(self) -> Verdict | None: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """How values and items of one fetcher are read: name, keys, schema, format, a way to call it again, the store."""

    fetcher: str = ""
    key: Callable[[Any], str] | None = None
    schema: Any = None
    decode: Any = None
    call: Callable[[Any], Any] | None = None
    store: Readable | None = None

    def value_of(self, value: Any, key: str) -> Any:
        """The value itself, read from the store if it is there."""
        if isinstance(value, Row):
            assert self.store is not None
            return self.store.load(value, key)
        return value

    def key_of(self, item: Any) -> str:
        return key_of(item) if self.key is None else self.key(item)

    def empty(self) -> Any:
        import polars as pl

        return pl.DataFrame(schema=self.schema)


_STOPS: Mapping[ErrorCode, str] = {
    "cancelled": "the run was stopped",
    "unknown_outcome": "the run was stopped while it was in flight, and nobody knows whether it arrived; that was",
    "deadline": "the run's deadline passed",
    "throttled": "everybody was refused for longer than the fetcher's patience, and the run was stopped",
    "session": "nobody was let in any more, and the run was stopped",
    "unavailable": "nobody got an answer for longer than the fetcher's patience, and the run was stopped",
}


def to_result(
    reading: Reading,
    index: int,
    item: Any,
    value: Any,
    attempts: int,
    verdict: Verdict | None,
    waited_s: float,
    ran_s: float,
    key: str | None = None,
) -> Result[Any]:
    """Make the record that users see; ``key`` is the item's, if it is known."""
    if key is None:
        key = reading.key_of(item)
    origin: Origin = "store" if type(value) is Hit else "fetched" if attempts else "shared"
    if verdict is None:
        value = reading.value_of(value, key)
        return Success(value, key, index, item, attempts, waited_s, ran_s, origin)
    if verdict.kind == "no_data":
        # Of a write that somebody has settled it is only known that it has arrived.
        value = None if verdict.code == "unknown_outcome" else reading.empty()
        return Success(value, key, index, item, attempts, waited_s, ran_s, origin, True)
    error = reading.value_of(value, key)
    if verdict.kind == "stop" and verdict.code in _STOPS:
        why = _STOPS[verdict.code]
        how = (
            f"after {attempts} attempt{'s' * (attempts != 1)} at this item"
            if attempts
            else "before it started"
        )
        # An error of the item's own, or the one that everything was stopped for.
        of = (
            f": {type(value).__name__}: {text_of(value)}"
            if value is not None and (not attempts or verdict.code in ("session", "unavailable", "throttled"))
            else ""
        )
        error = FetchlineError(f"{why} {how}{of}")
        error.__cause__ = value
    return Failure(error, key, index, item, attempts, waited_s, ran_s, verdict.code, reading.call)


class Columns:
    """Results in memory, by column: a record is made only when somebody looks at it.

    Args:
        items: the input where it is a sequence; None collects the items as they come.
    """

    __slots__ = ("_items", "_odd", "_own", "_ran", "_values", "_waited", "reading")

    def __init__(self, reading: Reading, items: Sequence[Any] | None = None) -> None:
        self.reading = reading
        self._own = items is None
        self._items: Any = [] if items is None else items
        self._values: list[Any] = [_MISSING] * len(self._items)
        self._waited = array("d", bytes(8 * len(self._items)))
        self._ran = array("d", bytes(8 * len(self._items)))
        self._odd: dict[int, tuple[int, Verdict | None]] = {}

    def add(self, finished: Iterable[Finished]) -> None:
        """Take items in any order."""
        values, waited, ran, items = self._values, self._waited, self._ran, self._items
        size, own = len(values), self._own
        for one in finished:
            index = one.index
            if index >= size:
                self._grow(index + 1)
                size = len(values)
            if own:
                items[index] = one.item
            values[index] = one.value
            if one.troubles is not None:
                verdict, attempts = one.verdict, one.attempts
                self._odd[index] = (attempts, verdict)
                if attempts == 0:
                    continue
            waited[index] = one.began - one.fed
            ran[index] = one.ended - one.began

    def _grow(self, size: int) -> None:
        more = size - len(self._values)
        self._values.extend([_MISSING] * more)
        self._waited.extend([0.0] * more)
        self._ran.extend([0.0] * more)
        if self._own:
            self._items.extend([None] * more)

    def __len__(self) -> int:
        return len(self._values)

    def get(self, index: int) -> Result[Any]:
        value = self._values[index]
        attempts, verdict = self._odd.get(index, (1, None))
        if value is _MISSING:
            value, attempts, verdict = None, 0, Verdict("stop", "cancelled")
        return to_result(
            self.reading,
            index,
            self._items[index],
            value,
            attempts,
            verdict,
            self._waited[index],
            self._ran[index],
        )

    def row(self, index: int) -> int | None:
        return None


class Merged:
    """Results of which some were replaced by those of a later run."""

    def __init__(self, base: Results, later: Mapping[int, Result[Any]]) -> None:
        self._base = base
        self._later = later

    def __len__(self) -> int:
        return len(self._base)

    def get(self, index: int) -> Result[Any]:
        return self._later[index] if index in self._later else self._base.get(index)

    def row(self, index: int) -> int | None:
        return None if index in self._later else self._base.row(index)


class Listed:
    """Results in a list, as a batch that was pickled has them."""

    def __init__(self, results: list[Result[Any]]) -> None:
        self._results = results

    def __len__(self) -> int:
        return len(self._results)

    def get(self, index: int) -> Result[Any]:
        return self._results[index]

    def row(self, index: int) -> int | None:
        return None
