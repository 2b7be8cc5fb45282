"""Where results are kept: what ``store=`` means, and what a run finds there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fetchline.catalog import catalog
from fetchline.columns import Hit
from fetchline.core.twins import Pending
from fetchline.errors import StoreFailed
from fetchline.interfaces import ObjectStore, RunInfo, Use
from fetchline.journal.encoding import decode, encode, is_text
from fetchline.journal.entries import EMPTY, FAILURE
from fetchline.journal.files import FileLedger, Files, namer
from fetchline.journal.journal import Journal, Rows, read, refuse_other
from fetchline.journal.reading import Standing
from fetchline.reuse import Reuse, Stored, chosen

if TYPE_CHECKING:
    import polars as pl

    from fetchline.fetchers import Fetcher
    from fetchline.keeping import Ledger

__all__ = ["RunStore", "identity_of", "memos_of", "objects_of", "reusable"]


def objects_of(store: Any) -> ObjectStore:
    """Get the objects meant by a path, a URL, ``use(name, ...)`` or an object store.

    Raises:
        UnknownName: nobody provides such a store.
        TypeError: it is none of these.
        StoreFailed: it cannot be reached.
    """
    try:
        if isinstance(store, Use):
            return catalog().store(store.name).factory(**store.options)
        if isinstance(store, str | os.PathLike):
            where = os.fspath(store)
            if "://" in where:
                return catalog().store(where).factory(where)
            return catalog().store("directory").factory(where)
    except OSError as error:
        raise StoreFailed(str(error)) from error
    if isinstance(store, ObjectStore):
        return store
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


def reusable(standing: Standing, reuse: Reuse, known: Any) -> tuple[dict[str, Any], int]:
    """What a run knows of keys beforehand, and how many values it will fetch again although they are stored.

    Args:
        known: gives what is known of a row.
    """
    import polars as pl

    if not standing.tables:
        return {}, 0
    whole = pl.concat(
        [table.select("key", "kind", "code", "at") for table in standing.tables]
    ).with_row_index("row")
    last = whole.unique("key", keep="last", maintain_order=True)
    if reuse == "successes":
        used = last.filter((pl.col("kind") != FAILURE) | (pl.col("code") == "unknown_outcome"))
    else:
        keep = chosen(reuse, _stored(last))
        used = last.filter(pl.Series(keep, dtype=pl.Boolean))
    plain = used.filter(pl.col("kind") < EMPTY)
    found: dict[str, Any] = dict(zip(plain["key"].to_list(), map(Hit, plain["row"].to_list()), strict=True))
    for row, key in used.filter(pl.col("kind") >= EMPTY).select("row", "key").iter_rows():
        found[key] = known(row)
    return found, last.filter(pl.col("kind") < EMPTY).height - plain.height


def _stored(last: pl.DataFrame) -> list[Stored]:
    status: tuple[Any, ...] = ("success", "success", "success", "empty", "failure")
    return [
        Stored(key, status[kind], datetime.fromtimestamp(at, UTC), code)
        for key, kind, code, at in last.select("key", "kind", "code", "at").iter_rows()
    ]


def memos_of(standing: Standing) -> dict[str, Pending]:
    """What tasks that were not ready left behind."""
    return {key: Pending(*decode(text)) for key, text in standing.memos.items()}


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
    ) -> None:
        self._fetcher, self._params = fetcher, params
        self._on_change = on_change or "refuse"
        self._reuse: Reuse = "none" if on_change == "refetch" else reuse or "successes"
        self._files = store if isinstance(store, Files) else None
        self._name_of = None if self._files is None else namer(self._files, fetcher.function, params, key)
        self.objects = objects_of(store if self._files is None else self._files.root)
        self.known: dict[str, Any] = {}
        self._ledger: FileLedger | Journal | None = None

    def open(self, run: RunInfo, keys: Sequence[str] | None, items: Callable[[], Iterable[Any]]) -> Ledger:
        """Take the store, find out what is in it, and say there that a run begins.

        Raises:
            StoreError: it is busy, damaged, of something else, or cannot be read or written.
        """
        if self._files is not None:
            self._ledger = self._open_files()
            return self._ledger
        for key in keys or ():
            if not is_text(key):
                raise ValueError(f"the key {key!r} is no Unicode text, and cannot be stored: pass key=")
        journal = self._ledger = Journal(self.objects, run.id)
        try:
            about = {"executor": run.executor, "concurrency": run.concurrency, "total": run.total}
            journal.begin(
                identity_of(self._fetcher, self._params),
                keys=keys,
                items=items,
                about=about,
                on_change=self._on_change,
            )
            self.known.update(memos_of(journal.standing))
            found, unused = reusable(journal.standing, self._reuse, journal.known)
            self.known.update(found)
            if unused:
                journal.supersede()
            journal.forget_standing()
        except BaseException:
            journal.close()
            raise
        return journal

    def peek(self) -> dict[str, Any]:
        """Find out what is in the store, without taking it.

        Raises:
            StoreError: as ``open``, but for a store that is busy.
        """
        if self._files is not None:
            self._ledger = self._open_files()
            return self.known
        standing = read(self.objects)
        if standing.identity is not None:
            refuse_other(
                self.objects, standing.identity, identity_of(self._fetcher, self._params), self._on_change
            )
        rows = Rows(self.objects, standing)
        self.known.update(reusable(standing, self._reuse, rows.known)[0])
        return self.known

    def _open_files(self) -> FileLedger:
        assert self._files is not None and self._name_of is not None
        return FileLedger(self.objects, self._files, self._name_of, self._reuse, self._empty)

    def _empty(self) -> Any:
        import polars as pl

        return pl.DataFrame(schema=self._fetcher.policies.schema)

    @property
    def meets(self) -> bool:
        """Whether it wants to hear of every item beforehand."""
        return self._files is not None

    def meet(self, item: Any, key: str) -> None:
        """An item is taken in."""
        if isinstance(self._ledger, FileLedger):
            known = self._ledger.meet(item, key)
            if known is not None:
                self.known[key] = known

    def load(self, row: int, key: str) -> Any:
        """Read a value."""
        assert self._ledger is not None
        return self._ledger.load(row, key)

    def scan(self, rows: Sequence[int]) -> pl.LazyFrame | None:
        """Read rows lazily."""
        assert self._ledger is not None
        return self._ledger.scan(rows)
