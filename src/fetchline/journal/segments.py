"""Segments: many values in one Parquet file, the key of each beside its rows."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fetchline.journal.encoding import decode
from fetchline.journal.entries import BODY, FRAME, NO_FILE, TEXT, Entry
from fetchline.journal.records import Broken, digest_of

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Packed", "Segment", "Shelf", "checked", "pack", "staged_segment", "to_parquet"]

_KEPT_BYTES = 256 << 20
_KEPT_FILES = 16
_SEGMENT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of values.

    Attributes:
        name: where it is in the store.
        staged: where it is until its record is in the log, and until it has been given its name.
        kind: of its values.
        size, digest: of its bytes.
        rows: how many it has, outdated ones too.
    """

    name: str
    staged: str
    kind: int
    size: int
    digest: str
    rows: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Packed:
    """Entries as files.

    Attributes:
        files: kind, bytes and number of rows of each.
        places: for each entry the number of its file, its first row and its number of rows.
        refused: positions of entries that could not be written, and why; the others are as if they were not there.
    """

    files: list[tuple[int, bytes, int]]
    places: list[tuple[int, int, int]]
    refused: dict[int, Exception]


def pack(entries: Sequence[Entry]) -> Packed:
    """Put values into files: one for each kind and schema."""
    packed = Packed([], [(NO_FILE, 0, 0)] * len(entries), {})
    groups: dict[Any, list[int]] = {}
    for at, entry in enumerate(entries):
        if entry.kind == FRAME:
            schema = entry.value.schema
            groups.setdefault((FRAME, tuple(schema.names()), tuple(schema.dtypes())), []).append(at)
        elif entry.kind in (TEXT, BODY):
            groups.setdefault((entry.kind,), []).append(at)
    for group, positions in groups.items():
        _pack_group(entries, positions, group[0], packed)
    return packed


def _pack_group(entries: Sequence[Entry], positions: list[int], kind: int, packed: Packed) -> None:
    import polars as pl

    some = [entries[at] for at in positions]
    try:
        data = _parquet(some, kind)
    except (
        Exception,
        pl.exceptions.PanicException,
    ) as error:  # not all of polars' are its own
        if len(positions) > 1:
            # Which of them it is, is found out one by one; that happens once, if ever.
            for at in positions:
                _pack_group(entries, [at], kind, packed)
            return
        why = TypeError(f"the value of {some[0].key!r} cannot be stored: {error}")
        why.__cause__ = error
        packed.refused[positions[0]] = why
        return
    number, row = len(packed.files), 0
    for at, entry in zip(positions, some, strict=True):
        rows = entry.value.height if kind == FRAME else 1
        packed.places[at] = (number, row, rows)
        row += rows
    packed.files.append((kind, data, row))


def staged_segment(name: str, token: str, file: tuple[int, bytes, int]) -> Segment:
    """Name a file of values; ``token`` tells staged files of one writer from those of another."""
    kind, data, rows = file
    return Segment(
        name=f"data/{name}.parquet",
        staged=f"staged/{name}-{token}.parquet",
        kind=kind,
        size=len(data),
        digest=digest_of(data),
        rows=rows,
    )


def _parquet(entries: Sequence[Entry], kind: int) -> bytes:
    import polars as pl

    keys = pl.Series("_key", [one.key for one in entries], dtype=pl.String)
    if kind == FRAME:
        frame = _under_one_another([one.value for one in entries], keys)
    else:
        values = pl.Series(
            "_value", [one.value for one in entries], dtype=pl.String if kind == TEXT else pl.Binary
        )
        frame = pl.DataFrame([keys, values])
    return to_parquet(frame)


def to_parquet(frame: pl.DataFrame) -> bytes:
    body = io.BytesIO()
    frame.write_parquet(body, compression="zstd", compression_level=1)
    return body.getvalue()


def _under_one_another(frames: Sequence[pl.DataFrame], keys: pl.Series) -> pl.DataFrame:
    import polars as pl

    heights = [frame.height for frame in frames]
    # Frames without rows would leave a null.
    there = pl.DataFrame({"_key": keys, "rows": heights}).filter(pl.col("rows") > 0)
    column = there.select(pl.col("_key").repeat_by("rows").explode()).to_series()
    name = "_key"
    while name in frames[0].columns:
        name = "_" + name
    whole = pl.concat(frames) if len(frames) > 1 else frames[0]
    return pl.DataFrame([column.alias(name), *whole.get_columns()])


class Shelf:
    """Segments that have been read; the least recently used ones are dropped.

    Args:
        fetch: gives the bytes of a segment.
    """

    def __init__(self, fetch: Callable[[Segment], bytes]) -> None:
        self._fetch = fetch
        self._frames: OrderedDict[str, tuple[pl.DataFrame, int]] = OrderedDict()

    def frame(self, segment: Segment) -> pl.DataFrame:
        """The whole segment, the keys first.

        Raises:
            Broken: it is not there, or not what was written.
        """
        import polars as pl

        held = self._frames.get(segment.name)
        if held is not None:
            self._frames.move_to_end(segment.name)
            return held[0]
        frame = pl.read_parquet(io.BytesIO(checked(segment, self._fetch(segment))))
        self._frames[segment.name] = frame, int(frame.estimated_size())
        while len(self._frames) > 1 and (
            len(self._frames) > _KEPT_FILES or sum(size for _, size in self._frames.values()) > _KEPT_BYTES
        ):
            self._frames.popitem(last=False)
        return frame

    def value(self, segment: Segment, offset: int, rows: int) -> Any:
        """A value, as it was fetched."""
        value = self.raw(segment, offset, rows)
        return decode(value) if segment.kind == TEXT else value

    def raw(self, segment: Segment, offset: int, rows: int) -> Any:
        """A value, as it is stored."""
        frame = self.frame(segment)
        if segment.kind == FRAME:
            return frame.slice(offset, rows).drop(frame.columns[0])
        return frame.item(offset, 1)


def checked(segment: Segment, data: bytes) -> bytes:
    """Give the bytes of a segment if they are those that were written."""
    if len(data) != segment.size:
        raise Broken(f"has {len(data):,} bytes of {segment.size:,}")
    if digest_of(data) != segment.digest:
        raise Broken("is not what was written")
    return data
