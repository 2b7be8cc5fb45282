"""Bodies to frames: bytes that were fetched are parsed many at a time, as if each had been read alone.

Reading 2,000 small files costs 2,000 times what a parser does before its first row. So bodies are put under
one another, read once and cut again. What comes out is what reading each alone gives: ``bodies`` knows which may be
joined, and which have to be read again.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from fetchline.bodies import Csv, Ndjson, Piece, Whole
from fetchline.errors import Undecodable, text_of
from fetchline.interfaces import Use

if TYPE_CHECKING:
    import polars as pl

__all__ = ["FORMATS", "Decode", "check", "decode"]

Decode: TypeAlias = "str | Use | Callable[[bytes], Any]"

FORMATS = ("csv", "ndjson", "json", "parquet", "ipc")
GROUP_BYTES = 64 << 20
"""As many bytes of bodies are joined at a time; so much is held twice."""


def check(how: Decode) -> None:
    """Refuse what ``decode=`` cannot be.

    >>> check("cvs")
    Traceback (most recent call last):
    ValueError: decode='cvs' is no format; did you mean 'csv'?
    """
    if callable(how):
        return
    if not isinstance(how, str | Use):
        raise TypeError(f"decode must be a format, fetchline.use(format, ...) or a function, not {how!r}")
    name = how.name if isinstance(how, Use) else how
    if name not in FORMATS:
        near = difflib.get_close_matches(name, FORMATS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(FORMATS)}, or give a function"
        raise ValueError(f"decode={name!r} is no format; {hint}")


def decode(
    values: Sequence[Any],
    keys: Sequence[str],
    how: Decode,
    *,
    schema: Mapping[str, pl.DataType] | pl.Schema | None = None,
) -> list[Any]:
    """Read every body; what comes out is what reading each alone gives.

    Args:
        values: the bodies: bytes, bytearray, memoryview or str.
        keys: the key of each; errors name it.
        how: a format, ``fetchline.use(format, **options of polars' reader)``, or a function of one body.
        schema: the declared types: of a CSV, columns that are no numbers there are not guessed at.

    Returns:
        A frame for each body; of a function, what it returned.

    Raises:
        TypeError: a value is no body, or an option is none of the reader's.
        Undecodable: a body does not parse; the first is named, and how many there are.

    >>> a, b = decode([b"day,close\\n1,2", b"day,close\\n2,2.5\\n"], ["A", "B"], "csv")
    >>> a.rows(), b.rows()
    ([(1, 2.0)], [(2, 2.5)])
    """
    check(how)
    for value, key in zip(values, keys, strict=True):
        if not isinstance(value, bytes | bytearray | memoryview | str):
            raise TypeError(
                f"the fetcher returned a {type(value).__name__} for {key!r}, which is no body: decode= reads"
                " bytes and text"
            )
    form = _form(how, schema)
    found: list[Any] = [None] * len(values)
    errors: dict[int, BaseException] = {}
    for group in _groups(values):
        for place, frame in _read(form, group):
            if isinstance(frame, BaseException):
                errors[place] = frame
            else:
                found[place] = frame
    if errors:
        raise _undecodable(how, values, keys, errors) from errors[min(errors)]
    return found


def _undecodable(
    how: Decode, values: Sequence[Any], keys: Sequence[str], errors: Mapping[int, BaseException]
) -> Undecodable:
    place = min(errors)
    body = _body(values[place])
    start = f"{body[:60]!r}{'...' if len(body) > 60 else ''}"
    name = how.name if isinstance(how, Use) else how if isinstance(how, str) else None
    what = f"is no {name}" if name else "does not parse"
    why = " ".join(text_of(errors[place]).split())
    more = f"; {len(errors):,} of {len(values):,} bodies do not parse" if len(errors) > 1 else ""
    return Undecodable(f"the body of {keys[place]!r} ({start}) {what}: {why}{more}", keys[place])


def _body(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _groups(values: Sequence[Any]) -> Iterator[list[tuple[int, bytes]]]:
    group: list[tuple[int, bytes]] = []
    size = 0
    for place, value in enumerate(values):
        body = _body(value)
        group.append((place, body))
        size += len(body)
        if size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


# -- alone, and together -----------------------------------------------------------------------------------


def _read(form: Whole | Csv | Ndjson, group: list[tuple[int, bytes]]) -> Iterator[tuple[int, Any]]:
    if isinstance(form, Whole):
        yield from ((place, _alone(form, body)) for place, body in group)
        return
    by_head: dict[bytes, list[Piece]] = {}
    for place, body in group:
        piece = form.cut(place, body)
        if piece is None:
            yield place, _alone(form, body)
        else:
            by_head.setdefault(piece.head, []).append(piece)
    for pieces in by_head.values():
        yield from _together(form, pieces)


def _alone(form: Whole | Csv | Ndjson, body: bytes) -> Any:
    import polars as pl

    try:
        return form.alone(body)
    except (Exception, pl.exceptions.PanicException) as error:
        return error


def _together(form: Csv | Ndjson, pieces: list[Piece], *, infer: bool = True) -> Iterator[tuple[int, Any]]:
    """Read pieces as one; halve them where that does not work, until the odd ones are alone."""
    import polars as pl

    if len(pieces) == 1:
        yield pieces[0].place, _alone(form, pieces[0].body)
        return
    joined = _joined(pieces[0].head, [piece.lines() for piece in pieces if piece.rows])
    height = sum(piece.rows for piece in pieces)
    # Inferring types from every row takes longer than reading them; two lines of each body are a fair guess.
    for typed in (True, False) if infer else (True,):
        try:
            schema = form.read(_sample(pieces), None).schema if typed else None
            frame = form.read(joined, schema)
            if frame.height != height:
                break
            doubtful = form.doubtful(frame, joined, pieces, typed)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            continue
        if typed and infer and 2 * len(doubtful) > len(pieces):
            continue
        start = 0
        for at, piece in enumerate(pieces):
            alike = at not in doubtful
            yield piece.place, frame.slice(start, piece.rows) if alike else _alone(form, piece.body)
            start += piece.rows
        return
    del joined
    half = len(pieces) // 2
    yield from _together(form, pieces[:half], infer=False)
    yield from _together(form, pieces[half:], infer=False)


def _sample(pieces: list[Piece]) -> bytes:
    return _joined(pieces[0].head, [line for piece in pieces for line in piece.first_and_last()])


def _joined(head: bytes, lines: Sequence[bytes | memoryview]) -> bytes:
    end = b"\r\n" if head.endswith(b"\r\n") else b"\n"
    return b"".join([head, *(part for line in lines for part in (line, end))])


# -- the formats -------------------------------------------------------------------------------------------


def _form(how: Decode, schema: Mapping[str, pl.DataType] | pl.Schema | None) -> Whole | Csv | Ndjson:
    import polars as pl

    if not isinstance(how, str | Use):
        return Whole(how)
    name, options = (how.name, dict(how.options)) if isinstance(how, Use) else (how, {})
    readers: dict[str, Callable[..., Any]] = {
        "csv": pl.read_csv,
        "ndjson": pl.read_ndjson,
        "json": pl.read_json,
        "parquet": pl.read_parquet,
        "ipc": pl.read_ipc,
    }
    known = list(inspect.signature(readers[name]).parameters)[1:]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise TypeError(f"polars reads {name} without an option {option!r}; {hint}")
    if name in ("csv", "ndjson", "json"):
        options.setdefault("infer_schema_length", None)
    if name == "csv":
        return Csv.of(options, pl.Schema(schema or {}))
    if name == "ndjson":
        return Ndjson(options)
    if name == "ipc":
        return Whole(lambda body: _read_ipc(body, options))
    return Whole(lambda body: readers[name](body, **options))


def _read_ipc(body: bytes, options: dict[str, Any]) -> Any:
    import polars as pl

    return (pl.read_ipc if body.startswith(b"ARROW1") else pl.read_ipc_stream)(body, **options)
