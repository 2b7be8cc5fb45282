"""Segments as a LazyFrame: more rows than memory holds."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from fetchline.errors import StoreDamaged
from fetchline.interfaces import ObjectStore
from fetchline.journal.records import Broken
from fetchline.journal.segments import Segment, checked

if TYPE_CHECKING:
    import polars as pl

__all__ = ["scan", "scan_object"]


def scan(objects: ObjectStore, parts: Sequence[tuple[Segment, list[tuple[int, int]]]]) -> pl.LazyFrame:
    """Read some frames of some segments lazily, in the order in which they are stored; the keys are ``key``.

    Each file is read once beforehand, to see whether it is what was written.

    Args:
        parts: segments, and of each the first row and the number of rows of every frame that is wanted.

    Raises:
        StoreDamaged: a file is missing, or not what was written.
    """
    import polars as pl

    frames = []
    for segment, spans in parts:
        try:
            checked(segment, objects.get(segment.name))
        except (Broken, FileNotFoundError) as error:
            what = str(error) if isinstance(error, Broken) else "is missing"
            raise StoreDamaged(
                f"{objects.url} is damaged: {segment.name} {what}", {segment.name: what}
            ) from error
        lazy = scan_object(objects, segment.name, partial(objects.get, segment.name)).with_row_index("__row")
        first, *others = lazy.drop("__row").collect_schema().names()
        wanted = _ranges(spans)
        inside = pl.lit(False)
        if len(wanted) > 16:  # a long condition is slower than a lookup
            rows = [row for start, stop in wanted for row in range(start, stop)]
            inside = pl.col("__row").is_in(pl.Series(rows, dtype=pl.UInt32).implode())
        else:
            for start, stop in wanted:
                inside |= pl.col("__row").is_between(start, stop, closed="left")
        frames.append(lazy.filter(inside).select(pl.col(first).alias("key"), *map(pl.col, others)))
    return (
        pl.concat(frames, how="vertical_relaxed") if frames else pl.LazyFrame({"key": []}, {"key": pl.String})
    )


def scan_object(objects: ObjectStore, name: str, data: Callable[[], bytes]) -> pl.LazyFrame:
    """Read a Parquet file lazily; where polars cannot read, from its bytes, which ``data`` gives."""
    import polars as pl

    if objects.storage_options is None:
        return pl.read_parquet(io.BytesIO(data())).lazy()
    return pl.scan_parquet(
        f"{objects.url.rstrip('/')}/{name}", glob=False, storage_options=dict(objects.storage_options) or None
    )


def _ranges(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Rows from, to; neighbours are one range."""
    ranges: list[tuple[int, int]] = []
    for start, rows in sorted(set(spans)):
        if ranges and ranges[-1][1] == start:
            ranges[-1] = ranges[-1][0], start + rows
        else:
            ranges.append((start, start + rows))
    return ranges
