"""Many values to one frame: what becomes of a dict or a LazyFrame, and how 5,000 frames become one."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, TypeAlias, cast

if TYPE_CHECKING:
    import polars as pl

__all__ = ["as_frame", "conform", "is_of", "join"]

_Shape: TypeAlias = "tuple[tuple[str, ...], tuple[pl.DataType, ...]]"


def as_frame(value: Any, key: str) -> pl.DataFrame:
    """Make a frame of what a fetch function returned.

    A frame stays as it is; a LazyFrame is collected; a Series is a column; a dict of scalars is a row and a
    dict of lists is columns; a list of dicts, a dataclass instance or pydantic model and a list of them are rows.

    Args:
        value: what was returned.
        key: the item it was returned for; errors name it.

    Raises:
        TypeError: the value is none of these.
        ValueError: polars makes no frame of these values.

    >>> as_frame([{"day": 1, "close": 9.5}, {"day": 2}], "AAPL").shape
    (2, 2)
    """
    import polars as pl

    if isinstance(value, pl.DataFrame):
        return value
    if isinstance(value, pl.LazyFrame):
        return value.collect()
    if isinstance(value, pl.Series):
        return value.to_frame()
    plain = _plain(value, key)
    if plain is not None:
        try:
            return pl.DataFrame(plain, infer_schema_length=None)
        except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
            name = type(value).__name__
            raise ValueError(f"the {name} returned for {key!r} makes no frame: {error}") from error
    if _is_from("pyarrow", "Table", value):
        return pl.DataFrame(pl.from_arrow(value))
    if _is_from("pandas", "DataFrame", value):
        return pl.from_pandas(value)
    inside = f" of {type(value[0]).__name__}" if isinstance(value, list) else ""
    otherwise = "read the values one by one instead of as a frame"
    if isinstance(value, bytes | bytearray | memoryview | str):
        otherwise = 'say what the bodies are: frame(decode="csv")'
    raise TypeError(
        f"the fetcher returned a {type(value).__name__}{inside} for {key!r}, which is no frame: return a"
        f" frame, a dict, a list of dicts or dataclasses; or {otherwise}"
    )


def _plain(value: Any, key: str) -> dict[Any, Any] | list[dict[Any, Any]] | None:
    """Give the columns or rows that a dict, a dataclass or a list of them means; None for anything else."""
    if isinstance(value, Mapping):
        columnar = [_is_column(column) for column in value.values()]
        if any(columnar) and not all(columnar):
            raise TypeError(
                f"the dict returned for {key!r} mixes lists and scalars: return a list of that dict if it is"
                " one row, or make every value a list"
            )
        return dict(value) if all(columnar) else [dict(value)]
    if _is_record(value):
        return [_row(value)]
    if isinstance(value, list) and all(isinstance(row, Mapping) or _is_record(row) for row in value):
        return [_row(row) for row in value]
    return None


def _is_column(value: object) -> bool:
    # Series and arrays have a shape; numpy's scalars have one too, an empty one.
    return isinstance(value, list | tuple | range) or getattr(value, "shape", ()) != ()


def _is_record(value: object) -> bool:
    if isinstance(value, type):
        return False
    return dataclasses.is_dataclass(value) or callable(getattr(value, "model_dump", None))  # pydantic's


def _row(value: Any) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    dumped: dict[Any, Any] = value.model_dump()
    return dumped


def _is_from(package: str, name: str, value: object) -> bool:
    # A value of such a type cannot exist unless its package is imported, so none is imported here.
    kind = getattr(sys.modules.get(package), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


# -- joining -----------------------------------------------------------------------------------------------


def join(
    values: Sequence[Any],
    keys: Sequence[str],
    *,
    key: str | tuple[str, ...] | None = "key",
    parts: Sequence[tuple[str, ...]] | None = None,
    schema: Mapping[str, pl.DataType] | pl.Schema | None = None,
) -> pl.DataFrame:
    """Put the rows of all values under one another, the key of each beside its rows.

    Frames without columns are left out. Columns are matched by name and stand as in the first frame. A
    declared schema wins; otherwise numeric types widen. A column without a value in some frame, because the
    frame is empty or all is null there, takes any type.

    Args:
        values: what ``as_frame`` takes.
        keys: the key of each value.
        key: the name of the key column; a tuple names several, filled from ``parts``; None leaves it out.
        parts: for each value its part of each key column.
        schema: column names and types of the result, without the key.

    Returns:
        A frame in one piece: String key columns first, then the values' columns.

    Raises:
        TypeError: a value makes no frame.
        ValueError: columns differ, types do not agree or do not cast, or a key column's name is taken.

    >>> import polars as pl
    >>> join([pl.DataFrame({"close": [1, 2]}), {"close": 3.5}], ["A", "B"]).rows()
    [('A', 1.0), ('A', 2.0), ('B', 3.5)]
    """
    import polars as pl

    if len(values) != len(keys):
        raise ValueError(f"{len(values)} values have {len(keys)} keys")
    labels = _labels(keys, key, parts)
    frames = [
        value if type(value) is pl.DataFrame else as_frame(value, name)
        for value, name in zip(values, keys, strict=True)
    ]
    if not all(frame.width for frame in frames):
        wide = [frame.width > 0 for frame in frames]
        frames, keys = list(compress(frames, wide)), list(compress(keys, wide))
        labels = {name: list(compress(label, wide)) for name, label in labels.items()}

    joined = _stack(frames, keys, None if schema is None else pl.Schema(schema)).rechunk()
    for name in labels:
        if name in joined.columns:
            raise ValueError(
                f"the frames have a column {name!r} of their own: give key= another name, or key=None"
            )
    return pl.DataFrame([*_key_columns(labels, [frame.height for frame in frames]), *joined.get_columns()])


def _labels(
    keys: Sequence[str], key: str | tuple[str, ...] | None, parts: Sequence[tuple[str, ...]] | None
) -> dict[str, Sequence[str]]:
    """Give by key column what each value has in it."""
    if key is None:
        return {}
    if isinstance(key, str):
        return {key: keys}
    if len(set(key)) < len(key):
        raise ValueError(f"key={key!r} names a column twice")
    parts = parts or ()
    if len(parts) != len(keys) or any(len(part) != len(key) for part in parts):
        raise ValueError(f"key={key!r} needs {len(key)} parts for each of {len(keys)} values")
    return {name: [part[place] for part in parts] for place, name in enumerate(key)}


def _key_columns(labels: Mapping[str, Sequence[str]], heights: list[int]) -> Iterator[pl.Series]:
    """Repeat each label ``height`` times: mark the rows where a frame begins, count the marks, gather."""
    import polars as pl

    if not labels:
        return
    # Frames without rows would begin where the next one does.
    ends = pl.Series([height for height in heights if height], dtype=pl.UInt32).cum_sum()
    which = pl.zeros(sum(heights), dtype=pl.UInt32, eager=True).scatter(ends[:-1], 1).cum_sum()
    for name, label in labels.items():
        yield pl.Series(name, list(compress(label, heights)), dtype=pl.String).gather(which)


def _stack(frames: list[pl.DataFrame], keys: Sequence[str], schema: pl.Schema | None) -> pl.DataFrame:
    import polars as pl

    if not frames:
        return pl.DataFrame(schema=schema)
    stacked = _stack_alike(frames)
    if stacked is not None:
        if schema is None:
            return stacked
        _check_declared(stacked, keys[0], schema)
        return _cast(stacked, frames, keys, schema, declared=True)

    # Looking at the types of every frame takes as long as joining them, hence only here.
    places: dict[_Shape, list[int]] = {}
    for place, frame in enumerate(frames):
        places.setdefault((tuple(frame.columns), tuple(frame.dtypes)), []).append(place)
    for first, *_ in places.values():
        if schema is not None:
            _check_declared(frames[first], keys[first], schema)
        else:
            _check_same_columns(frames[0], keys[0], frames[first], keys[first])
    target = schema or pl.Schema({name: _type_of(name, places, frames, keys) for name in frames[0].columns})

    # Frames alike are cast in one go, then cut again and put back where they stood.
    pieces = list(frames)
    for having in places.values():
        alike = [frames[place] for place in having]
        cast_alike = _cast(
            pl.concat(alike), alike, [keys[place] for place in having], target, declared=schema is not None
        )
        if len(places) == 1:
            return cast_alike
        start = 0
        for place, frame in zip(having, alike, strict=True):
            pieces[place] = cast_alike.slice(start, frame.height)
            start += frame.height
    return pl.concat(pieces)


def _stack_alike(frames: list[pl.DataFrame]) -> pl.DataFrame | None:
    """Stack frames whose columns are the same; None if they are not, or if polars would not notice."""
    import polars as pl

    # polars stacks decimals of any scale without a word and cuts their digits, also when nested.
    if len(frames) > 1 and any(dtype.is_nested() or dtype.is_decimal() for dtype in frames[0].dtypes):
        return None
    try:
        return pl.concat(frames, rechunk=True)
    except (pl.exceptions.ShapeError, pl.exceptions.SchemaError):
        return None


def is_of(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value is a frame of just these columns and types; False says nothing."""
    kind = type(value)
    if kind.__name__ != "DataFrame" or not kind.__module__.startswith("polars"):
        return False
    columns: list[str] = value.columns
    return columns == [*schema] and value.dtypes == [*schema.values()]


def conform(value: Any, schema: Mapping[str, Any] | pl.Schema, key: str) -> Any:
    """Hold a value against a declared schema; a frame is given back in its types, anything else as it is.

    Raises:
        TypeError: it makes no frame.
        ValueError: its columns are others, or do not cast.

    >>> import polars as pl
    >>> conform(pl.DataFrame({"n": [1, 2]}), {"n": pl.Int8}, "AAPL")["n"].dtype
    Int8
    """
    import polars as pl

    frame = as_frame(value, key)
    if not frame.width:
        return value
    declared = pl.Schema(schema)
    _check_declared(frame, key, declared)
    cast = _cast(frame.select(declared.names()), [frame], [key], declared, declared=True)
    return cast if isinstance(value, pl.DataFrame) else value


def _check_declared(frame: pl.DataFrame, key: str, schema: pl.Schema) -> None:
    if missing := [name for name in schema if name not in frame.columns]:
        raise ValueError(f"the frame of {key!r} lacks {_listed(missing)}, which the schema declares")
    if extra := [name for name in frame.columns if name not in schema]:
        raise ValueError(f"the frame of {key!r} has {_listed(extra)}, which the schema does not declare")


def _check_same_columns(first: pl.DataFrame, first_key: str, other: pl.DataFrame, other_key: str) -> None:
    pair = [(first, first_key), (other, other_key)]
    for (having, having_key), (lacking, lacking_key) in (pair, pair[::-1]):
        if only := [name for name in having.columns if name not in lacking.columns]:
            raise ValueError(
                f"the frame of {having_key!r} has {_listed(only)}, the frame of {lacking_key!r} has not:"
                " return the same columns for every item"
            )


def _listed(names: list[str]) -> str:
    return f"the column{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"


# -- types -------------------------------------------------------------------------------------------------


def _type_of(
    column: str, places: dict[_Shape, list[int]], frames: list[pl.DataFrame], keys: Sequence[str]
) -> pl.DataType:
    """Find the type that every frame's column can take; columns without a value adapt to the others."""
    import polars as pl

    found: pl.DataType = pl.Null()
    decided_by = 0
    hollow = []
    for (names, dtypes), having in places.items():
        dtype = dtypes[names.index(column)]
        if dtype == found:
            continue
        filled = next((at for at in having if frames[at][column].null_count() < frames[at].height), None)
        if filled is None:
            hollow.append(dtype)
            continue
        wider = _wider(found, dtype)
        if wider is None:
            raise ValueError(
                f"the column {column!r} is {found} for {keys[decided_by]!r} and {dtype} for {keys[filled]!r}:"
                " return one type, or declare a schema"
            )
        if wider != found:
            found, decided_by = wider, filled
    for dtype in hollow:
        wider = _wider(found, dtype)
        found = found if wider is None else wider
    return found


def _wider(one: pl.DataType, two: pl.DataType) -> pl.DataType | None:
    """Give the type that holds the values of both; None if only a conversion would."""
    import polars as pl

    if one == two or two == pl.Null:
        return one
    if one == pl.Null:
        return two
    if one.is_numeric() and two.is_numeric():
        empty = [pl.DataFrame(schema={"": dtype}) for dtype in (one, two)]
        return pl.concat(empty, how="vertical_relaxed").schema[""]
    if isinstance(one, pl.List) and isinstance(two, pl.List):
        # polars' annotations admit classes here; the types of an existing column are instances.
        inner = _wider(cast("pl.DataType", one.inner), cast("pl.DataType", two.inner))
        return None if inner is None else pl.List(inner)
    if isinstance(one, pl.Struct) and isinstance(two, pl.Struct):
        left, right = (
            {field.name: cast("pl.DataType", field.dtype) for field in s.fields} for s in (one, two)
        )
        if list(left) != list(right):
            return None
        fields = {name: _wider(left[name], right[name]) for name in left}
        return None if None in fields.values() else pl.Struct(cast("dict[str, pl.DataType]", fields))
    return None


def _cast(
    stacked: pl.DataFrame,
    frames: Sequence[pl.DataFrame],
    keys: Sequence[str],
    schema: pl.Schema,
    *,
    declared: bool,
) -> pl.DataFrame:
    """Cast frames that were stacked; an error names the one that does not cast."""
    import polars as pl

    if stacked.schema == schema:
        return stacked
    columns = []
    for name, dtype in schema.items():
        column = stacked[name]
        try:
            columns.append(_as_declared(column, dtype) if declared else column.cast(dtype))
        except (pl.exceptions.PolarsError, _Loss) as error:
            if len(frames) > 1:
                for frame, key in zip(frames, keys, strict=True):
                    _cast(frame, [frame], [key], schema, declared=declared)
            raise ValueError(
                f"the column {name!r} of {keys[0]!r} is {column.dtype} and does not cast to {dtype}: {error}"
            ) from error
    return pl.DataFrame(columns)


class _Loss(Exception):
    """A value would become another one."""


def _as_declared(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Cast a column to a declared type: text to dates and times too, but nothing that changes a value."""
    import polars as pl

    if column.dtype == dtype:
        return column
    if column.dtype == pl.String and dtype.is_temporal():
        match dtype:
            case pl.Date():
                return column.str.to_date()
            case pl.Datetime():
                return column.str.to_datetime().cast(dtype)
            case pl.Time():
                return column.str.to_time()
    cast = column.cast(dtype)
    plain = [kind.is_numeric() or kind.is_temporal() or kind == pl.Boolean for kind in (column.dtype, dtype)]
    if all(plain) and not (column.dtype.is_float() and dtype.is_float()):
        changed = column.ne_missing(cast.cast(column.dtype))
        if changed.any():
            place = changed.arg_max()
            assert place is not None
            raise _Loss(f"{column[place]!r} would become {cast[place]!r}")
    return cast
