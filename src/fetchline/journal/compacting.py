"""Fewer files: the log as one record, and what is current in as few files as it takes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

from fetchline.interfaces import ObjectStore
from fetchline.journal.entries import FAILURE, NO_FILE, Entry, table_of
from fetchline.journal.reading import Standing
from fetchline.journal.records import Broken, Record
from fetchline.journal.segments import Segment, Shelf, pack, staged_segment

if TYPE_CHECKING:
    import polars as pl

__all__ = ["gathered", "rewritten"]

_BYTES = 64 << 20
_ENTRIES = 20_000


def gathered(standing: Standing, without: frozenset[str] = frozenset()) -> Record:
    """One record that says what all of them say.

    Args:
        without: names of files that do not count: what is in them is not stored, or its outcome unknown, of a write.
    """
    import polars as pl

    entries = standing.entries
    if not entries.height:
        return _snapshot([], None, standing)
    is_bad = pl.col("file").is_in([at for at, one in enumerate(standing.segments) if one.name in without])
    if standing.is_of_writes:  # they are not sent again because their values are gone
        lost = {
            "kind": pl.lit(FAILURE, pl.UInt8),
            "file": pl.lit(NO_FILE, pl.Int32),
            "offset": pl.lit(0, pl.UInt32),
            "rows": pl.lit(0, pl.UInt32),
            "code": pl.lit("unknown_outcome"),
            "error": pl.lit("this write had arrived, and what it had returned was damaged in the store"),
        }
        entries = entries.with_columns(
            pl.when(is_bad).then(value).otherwise(pl.col(name)).alias(name) for name, value in lost.items()
        )
    else:
        entries = entries.filter(~is_bad)
    segments, tables = _kept(standing, entries)
    return _snapshot(segments, tables[0], standing)


def rewritten(
    objects: ObjectStore, standing: Standing, prefix: str, token: str, *, smaller_than: int
) -> tuple[Record, list[Segment]]:
    """The same, and values in new files, which are staged: those of files that hold outdated ones as well.

    Args:
        smaller_than: those of files with fewer bytes, too.
        prefix: of the new files' names, with ``%d`` for their number.
        token: what tells staged files of this writer from those of another.

    Raises:
        Broken: a file, its second argument, is not what was written.
        OSError: the store could not be read or written.
    """
    import polars as pl

    entries = standing.entries
    if not entries.height:
        return gathered(standing), []
    moved = _outdated(standing, entries)
    moved |= {at for at, segment in enumerate(standing.segments) if segment.size < smaller_than}
    is_moved = pl.col("file").is_in(list(moved))
    segments, tables = _kept(standing, entries.filter(~is_moved))
    staged: list[Segment] = []
    shelf = Shelf(lambda segment: objects.get(segment.name))
    numbers = count()
    for chunk in _chunks(shelf, standing, entries.filter(is_moved)):
        packed = pack(chunk)
        base = len(segments)
        for file in packed.files:
            segment = staged_segment(prefix % next(numbers), token, file)
            objects.put(segment.staged, file[1])
            segments.append(segment)
            staged.append(segment)
        places = [(at if at == NO_FILE else at + base, row, rows) for at, row, rows in packed.places]
        tables.append(table_of(chunk, places))
    return _snapshot(segments, pl.concat(tables), standing), staged


def _outdated(standing: Standing, entries: pl.DataFrame) -> set[int]:
    """The files that hold more rows than current values have."""
    import polars as pl

    current = dict(entries.group_by("file").agg(pl.col("rows").sum()).iter_rows())
    return {at for at, one in enumerate(standing.segments) if current.get(at, 0) < one.rows}


def _kept(standing: Standing, entries: pl.DataFrame) -> tuple[list[Segment], list[pl.DataFrame]]:
    """Files that stay as they are, and the table of what is in them."""
    import polars as pl

    used = entries["file"].filter(entries["file"] != NO_FILE).unique().sort().to_list()
    place = {NO_FILE: NO_FILE, **{old: new for new, old in enumerate(used)}}
    table = entries.drop("row").with_columns(pl.col("file").replace_strict(place, return_dtype=pl.Int32))
    return [standing.segments[at] for at in used], [table]


def _chunks(shelf: Shelf, standing: Standing, rows: pl.DataFrame) -> Iterator[list[Entry]]:
    entries: list[Entry] = []
    size = 0
    for row in rows.iter_rows(named=True):
        value: Any = None
        if row["file"] != NO_FILE:
            segment = standing.segments[row["file"]]
            try:
                value = shelf.raw(segment, row["offset"], row["rows"])
            except Broken as error:
                raise Broken(str(error), segment.name) from error
            size += value.estimated_size() if hasattr(value, "estimated_size") else len(value)
        entries.append(
            Entry(
                key=row["key"],
                index=row["index"],
                kind=row["kind"],
                value=value,
                item=row["item"],
                attempts=row["attempts"],
                waited_s=row["waited_s"],
                ran_s=row["ran_s"],
                code=row["code"],
                error=row["error"],
                at=row["at"],
            )
        )
        if size >= _BYTES or len(entries) >= _ENTRIES:
            yield entries
            entries, size = [], 0
    if entries:
        yield entries


def _snapshot(segments: list[Segment], table: pl.DataFrame | None, standing: Standing) -> Record:
    names = {one.name for one in segments}
    drops = [one.name for one in standing.segments if one.name not in names]
    files = [one.to_json() for one in segments]
    heads = [head for one in standing.runs for head in (one, one["end"]) if head is not None]
    return Record(
        {
            "kind": "snapshot",
            "files": files,
            "drops": drops,
            "keeps": [head["number"] for head in heads],
            "memos": standing.memos,
            "begun": standing.begun,
        },
        table,
    )
