"""The formats of bodies: which bodies may be read as one, and which of them have to be read again alone.

Rows are told apart by counting: a body takes part if no line of it hides in quotes or is blank, so that no line
can be more than one row. Then as many rows as lines mean that each line is one row.

Types are told by what polars found in all of them together, or expected after two lines of each. Where a body
alone might have had another type or lacked a column, it is doubtful: being wrong about that costs time only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Csv", "Ndjson", "Piece", "Whole"]

_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
# Options that change neither what a line is nor what becomes of values that do not fit.
_HARMLESS = {
    *("infer_schema", "infer_schema_length", "schema_overrides", "try_parse_dates", "decimal_comma"),
    *("separator", "null_values", "columns", "truncate_ragged_lines"),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A body whose lines from ``start`` to ``end`` are at most one row each; ``loose``: see ``Csv.cut``."""

    place: int
    body: bytes
    head: bytes
    start: int
    end: int
    rows: int
    loose: bool = False

    def lines(self) -> memoryview:
        return memoryview(self.body)[self.start : self.end]

    def first_and_last(self) -> Iterator[bytes]:
        if self.rows:
            first = self.body.find(b"\n", self.start, self.end)
            yield self.body[self.start : first if first >= 0 else self.end].rstrip(b"\r")
        if self.rows > 1:
            yield self.body[self.body.rfind(b"\n", self.start, self.end) + 1 : self.end]


@dataclass(frozen=True, slots=True)
class Whole:
    """A format of which only whole bodies can be read."""

    alone: Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class Csv:
    """Bodies with the same first line are joined, that line once."""

    options: dict[str, Any]
    given: frozenset[str]
    joins: bool

    @classmethod
    def of(cls, options: dict[str, Any], declared: pl.Schema) -> Csv:
        """Take keywords of ``polars.read_csv`` and the types that the fetcher declares.

        A declared number is found by inference and cast afterwards, so that 1.0 may be an integer. What is
        declared as anything else is read as that or as text, so that "007" keeps its zeros.
        """
        import polars as pl

        overrides = options.get("schema_overrides") or {}
        if not isinstance(overrides, Mapping):
            return cls(options, frozenset(), False)
        read_as = {
            name: dtype if isinstance(dtype, pl.Date | pl.Datetime | pl.Time) else pl.String()
            for name, dtype in declared.items()
            if not (dtype.is_integer() or dtype.is_float() or isinstance(dtype, pl.Boolean | pl.Null))
        }
        overrides = {**read_as, **overrides}
        joins = _HARMLESS.issuperset(options) and options["infer_schema_length"] is None
        return cls({**options, "schema_overrides": overrides}, frozenset(overrides), joins)

    def alone(self, body: bytes) -> Any:
        import polars as pl

        return pl.read_csv(body, **self.options)

    def cut(self, place: int, body: bytes) -> Piece | None:
        """Say where the rows are; None if the body is to be read alone."""
        start = body.find(b"\n") + 1
        head = body[:start].removeprefix(_BOM)
        if not self.joins or not head.strip() or _has_blank_lines(body):
            return None
        if b"\r" in body and not (body.count(b"\r") == body.count(b"\r\n") == body.count(b"\n")):
            return None
        if b'"' in body:
            outside_and_in = body.split(b'"')
            if len(outside_and_in) % 2 == 0 or b"\n" in b"".join(outside_and_in[1::2]):
                return None
        end = len(body)
        if body.endswith(b"\n"):
            end -= 2 if body.endswith(b"\r\n") else 1
        end = max(start, end)
        rows = body.count(b"\n", start, end) + 1 if end > start else 0
        return Piece(place, body, head, start, end, rows, self._is_loose(body))

    def _is_loose(self, body: bytes) -> bool:
        # Where polars expects a number it also takes these; inferring, it calls them text.
        before = (self.options.get("separator", ",").encode(), b"\n", b'"')
        odd = [one for one in (b" ", b"\t", b"+") if one in body]
        return any(first + one in body for one in odd for first in before) or (b'"' in body and b'""' in body)

    def read(self, joined: bytes, schema: pl.Schema | None) -> pl.DataFrame:
        import polars as pl

        if schema is None:
            return pl.read_csv(joined, **self.options)
        return pl.read_csv(joined, **{**self.options, "schema_overrides": schema, "infer_schema": False})

    def doubtful(self, frame: pl.DataFrame, joined: bytes, pieces: list[Piece], typed: bool) -> set[int]:
        """Find the pieces that alone might have had other types; ``typed`` if those of ``frame`` were expected."""
        import polars as pl

        bodies = _Bodies(pieces)
        found = {at for at, piece in enumerate(pieces) if typed and piece.loose}
        for name, dtype in frame.schema.items():
            if dtype.is_temporal():
                found |= bodies.having(self._is_unlike_the_first(joined, name))
            elif name in self.given or not self.options.get("infer_schema", True):
                continue
            elif dtype.is_float():
                found |= bodies.having(~frame[name].is_finite())
            elif dtype == pl.String:
                found |= bodies.without(frame[name], self._is_text)
        return found

    def _is_unlike_the_first(self, joined: bytes, name: str) -> pl.Series:
        """Mark dates that are written another way than the first: which ways polars takes depends on it."""
        import polars as pl

        text = {"columns": [name], "schema_overrides": {}, "infer_schema": False}
        shape = pl.read_csv(joined, **{**self.options, **text}).to_series().str.replace_all("[0-9]", "0")
        return ~shape.is_in(shape.drop_nulls().head(1).to_list())

    def _is_text(self, values: pl.Series) -> pl.Series:
        """Mark what is certainly nothing but text."""
        values = values.str.strip_chars()
        if self.options.get("decimal_comma"):
            values = values.str.replace(",", ".", literal=True)
        text = _is_no_number(values)
        return text & ~values.str.contains("^[0-9]") if self.options.get("try_parse_dates") else text


@dataclass(frozen=True, slots=True)
class Ndjson:
    """Bodies of one flat object a line are joined; what has objects or lists inside is read alone.

    A key that comes twice in one object is not looked for; polars takes the first, or refuses the body.
    """

    options: dict[str, Any]

    def alone(self, body: bytes) -> Any:
        import polars as pl

        # No lines are no rows; polars calls that an error.
        return pl.read_ndjson(body, **self.options) if body.strip(_SPACE) else pl.DataFrame()

    def cut(self, place: int, body: bytes) -> Piece | None:
        """Say where the rows are; None if the body is to be read alone."""
        lines = body.strip(_SPACE)
        rows = lines.count(b"\n") + 1
        flat = b"[" not in lines and lines.count(b"{") == rows
        if self.options != {"infer_schema_length": None} or not flat or _has_blank_lines(lines):
            return None
        start = len(body) - len(body.lstrip(_SPACE))
        return Piece(place, body, b"", start, start + len(lines), rows)

    def read(self, joined: bytes, schema: pl.Schema | None) -> pl.DataFrame:
        import polars as pl

        if schema is None:
            return pl.read_ndjson(joined, **self.options)
        return pl.read_ndjson(joined, schema=schema)

    def doubtful(self, frame: pl.DataFrame, joined: bytes, pieces: list[Piece], typed: bool) -> set[int]:
        """Find the pieces that alone might have had other types or columns."""
        import polars as pl

        # Then a name in quotes before a colon is a key, wherever it stands.
        plain = not any(odd in joined for odd in (b"\\", b"\t", b'" :', b"\r:"))
        keys = {name: b'"%b":' % name.encode() for name in frame.columns}
        if typed and not (plain and self._has_only(joined, frame, keys)):
            return set(range(len(pieces)))  # polars passes over keys that it does not expect
        bodies = _Bodies(pieces)
        found: set[int] = set()
        for name, dtype in frame.schema.items():
            column = frame[name]
            lacking = bodies.all - bodies.having(column.is_not_null())
            found |= {at for at in lacking if not (plain and keys[name] in pieces[at].body)}
            if dtype == pl.String and (mixed := bodies.without(column, _is_no_number)):
                other = re.compile(re.escape(keys[name]) + rb"\s*[^\s\"n]")
                found |= mixed if not plain or other.search(joined) else set()
        return found

    def _has_only(self, joined: bytes, frame: pl.DataFrame, keys: Mapping[str, bytes]) -> bool:
        """Whether every key is a column; mostly there are as many as values, which is quickly counted."""
        found = joined.count(b'":')
        values = frame.height * frame.width - sum(frame.null_count().row(0)) if frame.width else 0
        return found == values or found == sum(map(joined.count, keys.values()))


def _has_blank_lines(body: bytes) -> bool:
    return b"\n\n" in body or (b"\r" in body and b"\n\r\n" in body)


class _Bodies:
    """Which body a row is of."""

    def __init__(self, pieces: list[Piece]) -> None:
        import polars as pl

        self.all = set(range(len(pieces)))
        self._ends = pl.Series(accumulate(piece.rows for piece in pieces), dtype=pl.UInt32)
        self._firsts = [end - piece.rows for end, piece in zip(self._ends, pieces, strict=True) if piece.rows]

    def having(self, mask: pl.Series) -> set[int]:
        """The bodies with a row that is marked."""
        return set(self._ends.search_sorted(mask.fill_null(False).arg_true(), side="right").unique())

    def without(self, column: pl.Series, marks: Callable[[pl.Series], pl.Series]) -> set[int]:
        """The bodies with values, none of which is marked."""
        # Mostly the first value of each says it already.
        if marks(column.gather(self._firsts)).fill_null(False).all():
            return set()
        return self.having(column.is_not_null()) - self.having(marks(column))


def _is_no_number(values: pl.Series) -> pl.Series:
    import polars as pl

    number = values.cast(pl.Float64, strict=False).is_not_null()
    return ~(number | values.str.to_lowercase().is_in(["true", "false"]))
