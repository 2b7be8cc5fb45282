"""Where results are kept: what ``store=`` means, and what a run finds there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fetchline.catalog import catalog
from fetchline.core.twins import Known, Pending
from fetchline.errors import StoreFailed
from fetchline.interfaces import ObjectStore, RunInfo, Use, Verdict
from fetchline.journal.encoding import decode, encode, is_text
from fetchline.journal.entries import EMPTY
from fetchline.journal.files import FIELD, FileLedger, Files, namer
from fetchline.journal.journal import Journal, Rows, read, refuse_other
from fetchline.journal.reading import Standing
from fetchline.reuse import Reuse, Stored, chosen
from fetchline.rows import RowOf

if TYPE_CHECKING:
    import polars as pl

    from fetchline.fetchers import Fetcher
    from fetchline.keeping import Ledger

__all__ = ["RunStore", "go_on", "identity_of", "learn", "objects_of"]


def objects_of(store: Any) -> ObjectStore:
    """Get the objects meant by a path, a URL, ``use(name, ...)`` or an object store.

    Raises:
        UnknownName: nobody provides such a store.
        TypeError: it is none of these.
        ValueError: it is a template of names.
        StoreFailed: it cannot be reached.
    """
    try:
        if isinstance(store, Use):
            return catalog().store(store.name).factory(**store.options)
        if isinstance(store, str | os.PathLike):
            where = os.fspath(store)
            if any(name.isidentifier() for name in FIELD.findall(where)):
                raise ValueError(f"one file for each item is store=fetchline.Files({where!r})")
            if "://" in where:
                return catalog().store(where).factory(where)
            return catalog().store("directory").factory(where)
    except OSError as error:
        raise StoreFailed(str(error)) from error
    if isinstance(store, ObjectStore):
        return store
    if isinstance(store, Files):
        raise TypeError(f"{store!r} has no log of a run: run again with it, or read the files")
    raise TypeError(
        "store must be a path, a URL such as 's3://bucket/prefix', fetchline.Files(...), fetchline.use(name, ...), "
        f"or an object store, not {store!r}"
    )


def identity_of(fetcher: Fetcher[Any, Any, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """What the results of a run depend on, beside its items."""
    schema = fetcher.policies.schema
    return {
        "fetcher": fetcher.name,
        "version": str(fetcher.policies.version),
        "params": {name: _text(value) for name, value in sorted(params.items())},
        "schema": None if schema is None else {name: str(kind) for name, kind in dict(schema).items()},
    }


def _text(value: Any) -> str:
    try:
        return encode(value)
    except TypeError:
        return repr(value)


def learn(known: dict[str, Any], standing: Standing, reuse: Reuse, of_row: Callable[[int], Any]) -> int:
    """Take in what a run knows of keys beforehand; how many stored values or rows are outdated, or soon will be.

    Args:
        known: what is filled.
        standing: its tables are used up.
        of_row: gives what is known of a row that has no value.
    """
    values = sum(int((table["kind"] < EMPTY).sum()) for table in standing.tables)
    rows = sum(int(table["rows"].sum()) for table in standing.tables)
    forgotten = sum(segment.rows for segment in standing.segments) - rows  # by a log that was gathered
    if reuse == "successes":
        _learn_successes(known, standing, of_row)
    else:
        entries = standing.entries
        wanted = chosen(reuse, _stored(entries))
        for row, key, kind in entries.filter(wanted).select("row", "key", "kind").iter_rows():
            known[key] = row if kind < EMPTY else of_row(row)
    return forgotten + values - sum(type(one) is int for one in known.values())


def _learn_successes(known: dict[str, Any], standing: Standing, of_row: Callable[[int], Any]) -> None:
    # The usual case, and there may be millions: one table after the other, of which the later one is right.
    start = 0
    tables, standing.tables = standing.tables[::-1], []
    while tables:
        table = tables.pop()
        known.update(zip(table["key"].to_list(), range(start, start + table.height), strict=True))
        odd = table.with_row_index("row", start).filter(table["kind"] >= EMPTY)
        for row, key, kind, code in odd.select("row", "key", "kind", "code").iter_rows():
            if known.get(key) != row:  # there is a later one in the same table
                continue
            if kind == EMPTY or code == "unknown_outcome":
                known[key] = of_row(row)
            else:
                del known[key]
        start += table.height


def _stored(last: pl.DataFrame) -> list[Stored]:
    status: tuple[Any, ...] = ("success", "success", "success", "empty", "failure")
    return [
        Stored(key, status[kind], datetime.fromtimestamp(at, UTC), code)
        for key, kind, code, at in last.select("key", "kind", "code", "at").iter_rows()
    ]


def go_on(known: dict[str, Any], standing: Standing) -> None:
    """Take in what tasks that are not ready left behind: they are asked about, not begun again."""
    for key, text in standing.memos.items():
        if key not in known:
            known[key] = Pending(*decode(text))


class RunStore:
    """The store of one run: what it knows of keys, and where the run's results are written once it is open.

    Attributes:
        known: what is known of keys; filled by ``open``, or by ``meet`` as items come.
    """

    def __init__(
        self,
        store: Any,
        reuse: Reuse | None,
        on_change: str | None,
        *,
        fetcher: Fetcher[Any, Any, Any],
        params: Mapping[str, Any],
        key: Callable[[Any], str] | None,
        part: bool = False,
    ) -> None:
        self._part = part
        self._fetcher, self._params = fetcher, params
        self._on_change = on_change or "refuse"
        self._reuse: Reuse = reuse or "successes"
        self._files = store if isinstance(store, Files) else None
        self._name_of = None if self._files is None else namer(self._files, fetcher.function, params, key)
        self.objects = objects_of(store if self._files is None else self._files.root)
        self.known = RowOf()
        self._ledger: FileLedger | Journal | None = None

    def open(
        self, run: RunInfo, keys: Sequence[str] | None, items: Callable[[], Iterable[Any]] | None
    ) -> Ledger:
        """Take the store, find out what is in it, and say there that a run begins.

        Raises:
            StoreError: it is busy, damaged, of something else, or cannot be read or written.
        """
        if self._files is not None:
            self._ledger = self._open_files()
            return self._ledger
        for key in keys or ():
            self.check(key)
        journal = self._ledger = Journal(self.objects, run.id)
        try:
            about = {
                "executor": run.executor,
                "concurrency": run.concurrency,
                "total": run.total,
                "idempotent": self._fetcher.policies.idempotent,
            }
            journal.begin(
                identity_of(self._fetcher, self._params),
                keys=keys,
                items=items,
                about=about,
                on_change=self._on_change,
                part=self._part,
            )
            if learn(self.known, journal.standing, self._reuse, journal.known):
                journal.supersede()
            go_on(self.known, journal.standing)
            journal.forget_standing()
        except BaseException:
            journal.close()
            raise
        return journal

    def peek(self) -> None:
        """Find out what is in the store, without taking it.

        Raises:
            StoreError: as ``open``, but for a store that is busy.
        """
        if self._files is not None:
            self._ledger = self._open_files()
            return
        standing = read(self.objects)
        if standing.identity is not None:
            identity = identity_of(self._fetcher, self._params)
            if refuse_other(self.objects, standing.identity, identity, self._on_change):
                standing.begin_anew()
        rows = Rows(self.objects, standing)
        learn(self.known, standing, self._reuse, rows.known)

    def has(self, key: str) -> bool:
        """Whether there is an outcome of this key that is used."""
        return key in self.known

    def forget(self, run: str, items: Mapping[str, Any]) -> None:
        """Have nothing of these items, given by key, any more.

        Raises:
            StoreError: it is busy, damaged, or cannot be written.
        """
        if self._name_of is not None:
            try:
                for item in items.values():
                    self.objects.delete(self._name_of(item))
            except OSError as error:
                raise StoreFailed(f"{self.objects.url} could not be written: {error}") from error
            return
        journal = Journal(self.objects, run)
        try:
            journal.forget(list(items))
        finally:
            journal.close()

    def _open_files(self) -> FileLedger:
        assert self._files is not None and self._name_of is not None
        return FileLedger(self.objects, self._files, self._name_of, self._reuse, self._empty)

    def _empty(self) -> Any:
        import polars as pl

        return pl.DataFrame(schema=self._fetcher.policies.schema)

    @property
    def meets(self) -> bool:
        """Whether it wants to hear of every item of a whole input."""
        return self._files is not None

    def check(self, key: str) -> None:
        """Look whether what comes of this key can be stored.

        Raises:
            ValueError: it cannot.
        """
        if self._files is None and not is_text(key):
            raise ValueError(f"the key {key!r} is no Unicode text, and cannot be stored: pass key=")

    def meet(self, item: Any, key: str) -> None:
        """An item is taken in; one that cannot be stored is not fetched.

        Raises:
            ValueError: another one would have its file.
        """
        if isinstance(self._ledger, FileLedger):
            known = self._ledger.meet(item, key)
            if known is not None:
                self.known[key] = known
            return
        try:
            self.check(key)
        except ValueError as error:
            self.known[key] = Known(error, Verdict("permanent", "error"))

    def load(self, row: int, key: str) -> Any:
        """Read a value."""
        assert self._ledger is not None
        return self._ledger.load(row, key)

    def scan(self, rows: Sequence[int]) -> pl.LazyFrame | None:
        """Read rows lazily."""
        assert self._ledger is not None
        return self._ledger.scan(rows)
