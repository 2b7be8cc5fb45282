"""Files that several runs share: one object for each key, under a name made of the item."""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from fetchline.errors import StoreDamaged, StoreFailed
from fetchline.interfaces import ObjectStore
from fetchline.items import Args, key_of
from fetchline.journal.encoding import decode
from fetchline.journal.entries import BODY, EMPTY, FAILURE, FRAME, TEXT, Begun, Entry
from fetchline.journal.scanning import scan_object
from fetchline.journal.segments import to_parquet
from fetchline.reuse import Reuse, Stored, chosen

if TYPE_CHECKING:
    import polars as pl

__all__ = ["FIELD", "FileLedger", "Files", "namer"]

FIELD = re.compile(r"\{([^{}]*)\}")


class Files:
    """One file for each item, shared by runs: what is there is not fetched again.

    A file is put there whole, and only when it was fetched; failures leave nothing. Files that something else put
    there count as well. Fetchers return frames for ``.parquet``, what JSON can say for ``.json``, bytes for any other
    ending.

    Everything that a file's content depends on must be in its name: of several runs, one would else take another's
    files for its own.

    Args:
        template: a path or URL with the names of the fetcher's parameters in braces, or ``{key}``.
        ignore: parameters that the content does not depend on.

    Raises:
        ValueError: the template names nothing.

    >>> Files("daily/{symbol}/{period}.parquet").fields
    ('symbol', 'period')
    """

    def __init__(self, template: str, *, ignore: str | Sequence[str] = ()) -> None:
        self.template = template
        self.ignore = frozenset([ignore] if isinstance(ignore, str) else ignore)
        self.fields = tuple(FIELD.findall(template))
        if not self.fields or not all(name.isidentifier() for name in self.fields):
            raise ValueError(
                "a template names what tells the files apart, such as 'daily/{symbol}.parquet', "
                f"and {template!r} does not"
            )
        before = template[: template.index("{")]
        self.root = before[: before.rfind("/") + 1] or "./"
        self.names = template[len(self.root) if before.rfind("/") >= 0 else 0 :]
        self.suffix = "." + template.rpartition(".")[2] if "." in template.rpartition("/")[2] else ""

    def __repr__(self) -> str:
        return f"Files({self.template!r})"


def namer(
    files: Files, function: Callable[..., Any], params: Mapping[str, Any], key: Callable[[Any], str] | None
) -> Callable[[Any], str]:
    """Give what makes the name of an item's file.

    Raises:
        ValueError: the template names something that the function has no parameter for.
    """
    parameters = inspect.signature(function).parameters
    named = [name for name, one in parameters.items() if one.kind is not inspect.Parameter.VAR_POSITIONAL]
    open_ended = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    for name in files.fields:
        if name != "key" and name not in named and not open_ended:
            raise ValueError(
                f"{files!r} names {name!r}, which is no parameter of the fetcher: it has "
                f"{', '.join(named) or 'none'}, and 'key' is the item's key"
            )

    by_key = "key" in files.fields and "key" not in named

    def name_of(item: Any) -> str:
        args, kwargs = (item.args, item.kwargs) if isinstance(item, Args) else ((item,), {})
        given = {**params, **dict(zip(named, args, strict=False)), **kwargs}
        named_not = (params if by_key else given).keys() - set(files.fields) - files.ignore
        if named_not:
            raise ValueError(
                f"{files!r} does not name {', '.join(sorted(named_not))}: runs that differ in it would take each "
                "other's files for their own; name it in braces, or in ignore= if the content does not depend on it"
            )
        parts = {}
        for name in files.fields:
            if name == "key" and by_key:
                parts[name] = key_of(item) if key is None else key(item)
            elif name in given:
                parts[name] = key_of(given[name])
            else:
                raise ValueError(f"{files!r} names {name!r}, which {item!r} does not give")
        return FIELD.sub(lambda match: _escaped(parts[match[1]]), files.names)

    return name_of


def _escaped(part: str) -> str:
    """Make one part of a path of a text."""
    part = part.replace("%", "%25").replace("/", "%2F").replace("\\", "%5C").replace("\0", "%00")
    return part.replace(".", "%2E") if part in (".", "..") or not part.strip(".") else part


class FileLedger:
    """Files, as a run reads and writes them.

    Args:
        objects: where they are.
        files: how they are named.
        name_of: gives the name of an item's file.
        reuse: which of those that are there are used.
        empty: gives the frame of an item without data.
    """

    def __init__(
        self,
        objects: ObjectStore,
        files: Files,
        name_of: Callable[[Any], str],
        reuse: Reuse,
        empty: Callable[[], Any],
    ) -> None:
        self._objects = objects
        self._files = files
        self._name_of = name_of
        self._empty = empty
        self._names: list[str] = []
        self._row_of: dict[str, int] = {}
        self._key_of: dict[str, str] = {}
        now = datetime.now(UTC)
        prefix = files.names[: files.names.index("{")]
        there = [
            Stored(one.name, "success", now - timedelta(seconds=one.age_s))
            for one in objects.list(prefix)
            if one.name.endswith(files.suffix)
        ]
        self._there = {one.key for one, used in zip(there, chosen(reuse, there), strict=True) if used}

    def meet(self, item: Any, key: str) -> Any:
        """An item is to be fetched: what is known of it, or None."""
        row = self._row_of.get(key)
        if row is None:
            name = self._name_of(item)
            other = self._key_of.setdefault(name, key)
            if other != key:
                raise ValueError(
                    f"{key!r} and {other!r} would have the same file, {name!r}: name more in {self._files!r}"
                )
            row = self._row_of[key] = len(self._names)
            self._names.append(name)
        return row if self._names[row] in self._there else None

    def write(
        self, entries: Sequence[Entry], memos: Mapping[str, str], begun: Mapping[str, Begun | None]
    ) -> list[int | Exception | None]:
        """Put files; see ``Journal.write``. There is no place for what has not ended."""
        return [self._put(entry) for entry in entries]

    def _put(self, entry: Entry) -> int | Exception | None:
        if entry.kind == FAILURE:
            return None
        row = self._row_of[entry.key]
        name, suffix = self._names[row], self._files.suffix
        if entry.kind == EMPTY and suffix != ".parquet":
            return None
        value = self._empty() if entry.kind == EMPTY else entry.value
        wanted = {".parquet": (FRAME, EMPTY), ".json": (TEXT,)}.get(suffix, (BODY,))
        if entry.kind not in wanted:
            what = {FRAME: "a frame", TEXT: "neither a frame nor bytes", BODY: "bytes"}[entry.kind]
            return TypeError(
                f"the value of {entry.key!r} is {what}, and cannot be stored in {name!r}: .parquet takes frames, "
                ".json what JSON can say, and any other ending bytes"
            )
        try:
            data = (
                to_parquet(value) if suffix == ".parquet" else value.encode() if entry.kind == TEXT else value
            )
        except Exception as error:  # polars has several
            return TypeError(f"the value of {entry.key!r} cannot be stored: {error}")
        try:
            self._objects.put(name, data)
        except OSError as error:
            raise StoreFailed(f"{name} of {self._objects.url} could not be written: {error}") from error
        self._there.add(name)
        return row

    def known(self, row: int) -> Any:
        return row

    def load(self, row: int, key: str) -> Any:
        """Read a file.

        Raises:
            StoreDamaged: it does not parse, or is not there any more.
        """
        import polars as pl

        name, suffix = self._names[row], self._files.suffix
        try:
            data = self._objects.get(name)
            if suffix == ".parquet":
                return pl.read_parquet(io.BytesIO(data))
            return decode(data.decode()) if suffix == ".json" else data
        except FileNotFoundError as error:
            why = "is missing"
            cause: Exception = error
        except OSError as error:
            raise StoreFailed(f"{name} of {self._objects.url} could not be read: {error}") from error
        except (pl.exceptions.PolarsError, ValueError) as error:
            why, cause = f"does not parse: {error}", error
        raise StoreDamaged(
            f"{name} of {self._objects.url}, the file of {key!r}, {why}; without it, the next run fetches it again",
            {name: why},
        ) from cause

    def scan(self, rows: Sequence[int]) -> pl.LazyFrame | None:
        """Read files lazily, the key of each in the first column."""
        import polars as pl

        if self._files.suffix != ".parquet":
            return None
        keys = {row: key for key, row in self._row_of.items()}
        return pl.concat(
            [
                scan_object(
                    self._objects, self._names[row], partial(self._objects.get, self._names[row])
                ).select(pl.lit(keys[row], dtype=pl.String).alias("key"), pl.all())
                for row in rows
            ],
            how="vertical_relaxed",
        )

    def close(self, end: Mapping[str, Any] | None = None) -> None:
        """Nothing is left to be done: every file is whole."""
