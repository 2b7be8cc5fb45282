"""Tables in files: a column is read, a frame is written, and a file is there whole or not at all."""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fetchline.cli.common import Problem, Trouble

if TYPE_CHECKING:
    import polars as pl

__all__ = ["SUFFIXES", "check_target", "read_column", "sink", "write"]

SUFFIXES: Mapping[str, str] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".arrow": "ipc",
}


def read_column(place: str) -> list[Any]:
    """Read ``FILE:COLUMN``; the text of a CSV stays text, and empty cells are no items.

    Raises:
        Problem: no such file or column, or polars cannot read it.
    """
    import polars as pl

    name, colon, column = place.rpartition(":")
    if not colon or not name or not column:
        raise Problem(f"--column takes FILE:COLUMN, such as symbols.csv:symbol, not {place!r}")
    form = _form(name, "--column")
    if not Path(name).is_file():
        raise Problem(f"there is no file {name}")
    try:
        scan: Callable[..., pl.LazyFrame] = getattr(pl, f"scan_{form}")
        table = scan(name, **({"infer_schema": False} if form == "csv" else {}))
        known = table.collect_schema().names()
        if column not in known:
            near = difflib.get_close_matches(column, known, n=1, cutoff=0.5)
            rest = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise Problem(f"{name} has no column {column!r}; {rest}")
        values = table.select(column).collect()[column].drop_nulls().to_list()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise Problem(f"{name} cannot be read: {error}") from error
    stripped = (value.strip() if isinstance(value, str) else value for value in values)
    return [value for value in stripped if value != ""]


def check_target(name: str, option: str, form: str | None = None) -> None:
    """Refuse, before anything starts, a file that could not be written at the end.

    Raises:
        Problem: an unknown suffix, no such folder, or no right to write there.
    """
    if form is None:
        _form(name, option)
    path = Path(name)
    folder = path.resolve().parent
    if path.is_dir() or (path.exists() and not path.is_file()):
        raise Problem(f"{option} {name} is there already, and is no file")
    if not folder.is_dir():
        raise Problem(f"{option} {name}: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Problem(f"{option} {name}: the folder {folder} is not writable")


def write(frame: pl.DataFrame, name: str) -> None:
    """Write a frame in the format of the file's suffix; ``-`` is CSV on standard output.

    Raises:
        Trouble: it cannot be written; the file, if there was one, is as before.
    """
    import polars as pl

    try:
        if name == "-":
            _print_csv(frame)
            return
        with _replacing(Path(name)) as file:
            getattr(frame, f"write_{_form(name, '--out')}")(file)
    except pl.exceptions.PolarsError as error:
        raise _cannot_hold(name, error) from error
    except OSError as error:
        if name == "-":
            raise  # a pipe that was closed; click ends quietly
        raise Trouble(f"{name} cannot be written: {error.strerror or error}") from error


def sink(rows: pl.LazyFrame, name: str, form: str | None = None) -> None:
    """Write rows as they are read, in the format of the file's suffix if no other is said; ``-`` as in ``write``.

    Raises:
        Trouble: it cannot be written; the file, if there was one, is as before.
    """
    import polars as pl

    try:
        if name == "-":
            _print_csv(rows.collect())
            return
        with _replacing(Path(name)) as file:
            getattr(rows, f"sink_{form or _form(name, 'OUT')}")(file)
    except pl.exceptions.DuplicateError as error:
        raise Trouble(
            f"{name} is not written: the frames have a column 'key' of their own; give --key-column another name, "
            "or none"
        ) from error
    except pl.exceptions.PolarsError as error:
        raise _cannot_hold(name, error) from error
    except OSError as error:
        if name == "-":
            raise  # as in ``write``
        raise Trouble(f"{name} cannot be written: {error.strerror or error}") from error


def _cannot_hold(name: str, error: Exception) -> Trouble:
    advice = "" if name.lower().endswith(".parquet") else "; a .parquet file may"
    return Trouble(f"{name} cannot hold the frame, so it is not written: {error}{advice}")


def _print_csv(frame: pl.DataFrame) -> None:
    # Written by Python, whose error for a pipe that nobody reads any more is the one that ends quietly.
    header = True
    for part in frame.iter_slices() if frame.height else [frame]:
        sys.stdout.buffer.write(part.write_csv(include_header=header).encode())
        header = False
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside ``path`` that takes its place when it is complete, and leaves nothing behind else."""
    path = path.resolve()  # a link stays one
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _form(name: str, option: str) -> str:
    suffix = Path(name).suffix.lower()
    try:
        return SUFFIXES[suffix]
    except KeyError:
        known = ", ".join(SUFFIXES)
        raise Problem(f"{option} {name}: the format is told by the suffix, one of {known}") from None
