"""Runs that were stored: looking at them, reading them, going on with them, looking after them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fetchline.batch import Batch
from fetchline.columns import Hit, Reading, to_result
from fetchline.deciding import find, registry_of
from fetchline.errors import StoreError, UnknownName
from fetchline.fetchers import Policies
from fetchline.interfaces import ObjectStore, Verdict
from fetchline.items import key_of
from fetchline.journal.asked import asked_of
from fetchline.journal.encoding import decode
from fetchline.journal.entries import EMPTY, FAILURE
from fetchline.journal.journal import Journal, Rows, as_store_failed, read
from fetchline.journal.owner import is_owned
from fetchline.journal.reading import IDENTITY, Standing, read_standing
from fetchline.journal.settling import settled
from fetchline.results import Result
from fetchline.runner import run
from fetchline.stores import objects_of
from fetchline.summary import Summary

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "RunState",
    "asked_before",
    "compact",
    "list_runs",
    "open_run",
    "resume",
    "run_places",
    "run_state",
    "settle",
    "verify",
]

_log = logging.getLogger("fetchline")


@dataclass(frozen=True, slots=True)
class RunState:
    """How a stored run stands.

    Attributes:
        store: where it is.
        fetcher, version, params: what it is of; params as they were said.
        status: ``running`` (somebody is at it), ``completed`` (it reached its end, be it with failures), ``stopped``
            (by Ctrl-C, a deadline, an error), or ``interrupted`` (it was killed).
        total: items it was asked for the last time; None if they came from an iterator.
        succeeded, failed: items with such an outcome in the store.
        codes: failures by error code.
        rows: rows of all frames.
        size: bytes of all values.
        started, updated: when it began the first time, and when it was last written, in UTC.
    """

    store: str
    fetcher: str
    version: str
    params: dict[str, str]
    status: Literal["running", "completed", "stopped", "interrupted"]
    total: int | None
    succeeded: int
    failed: int
    codes: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    size: int = 0
    started: datetime | None = None
    updated: datetime | None = None

    @property
    def missing(self) -> int | None:
        """Items that were asked for and have no outcome; None if it is not known how many were asked for."""
        return None if self.total is None else max(0, self.total - self.succeeded - self.failed)


def run_state(store: Any) -> RunState:
    """Say how a stored run stands; nothing of its values is read.

    Raises:
        StoreError: there is no run, or it is damaged.

    >>> import fetchline as fl
    >>> _ = fl.run(abs, [-1, -2], store="memory://docs-state", progress=None)
    >>> state = fl.run_state("memory://docs-state")
    >>> state.fetcher, state.status, state.succeeded
    ('abs', 'completed', 2)
    """
    objects = objects_of(store)
    return _state(objects, _there(objects))


def list_runs(folder: str | Path = ".") -> Iterator[RunState]:
    """Find the runs in a directory and in those below it; damaged ones are named in the log, and left out.

    Raises:
        NotADirectoryError: there is no such directory.
    """
    for place in run_places(folder):
        try:
            yield run_state(place)
        except StoreError as error:
            _log.warning("%s", error)


def run_places(folder: str | Path = ".") -> Iterator[Path]:
    """Find where runs are, in a directory and in those below it, the damaged ones too.

    Raises:
        NotADirectoryError: there is no such directory.
    """
    root = Path(folder)
    if not root.is_dir():
        raise NotADirectoryError(f"{folder} is no directory")
    for path in sorted(root.rglob(IDENTITY)):
        if (path.parent / "log").is_dir():
            yield path.parent


def open_run(store: Any, fetcher: Any = None) -> Batch[Any]:
    """Read the batch of a stored run, without running anything; values are read when they are looked at.

    Its results stand in the order of the items of the last run; those that were not reached are failures with the
    code ``cancelled``. Where the items came from an iterator, it has those that are in the store, in their order.

    Args:
        store: where it is, as for ``run``.
        fetcher: whose schema and format are used; the one registered under the name of then, if there is one.

    Raises:
        StoreError: there is no run, or it is damaged.

    >>> import fetchline as fl
    >>> _ = fl.run(abs, [-1, -2], store="memory://docs-open", progress=None)
    >>> fl.open_run("memory://docs-open").values
    [1, 2]
    """
    objects = objects_of(store)
    standing = _there(objects)
    assert standing.identity is not None
    name = standing.identity["fetcher"]
    policies = _policies(name, fetcher)
    rows = Rows(objects, standing)
    table = _results_table(objects, standing)
    reading = Reading(
        fetcher=name,
        schema=policies.schema,
        decode=policies.decode,
        store=rows,
    )
    results = _StoredResults(table, reading)
    return Batch(
        results,
        reading=reading,
        summary=_summary(name, table),
        complete=bool(standing.runs)
        and (standing.runs[-1]["end"] or {"stopped": "killed"})["stopped"] is None,
    )


def resume(store: Any, fetcher: Any = None, **options: Any) -> Batch[Any]:
    """Go on with a stored run: the same fetcher, params and items as the last time.

    Args:
        store: where it is.
        fetcher: what to run; the one registered under the name of then, if it is not given.
        options: of ``run``.

    Raises:
        StoreError: there is no run, or its items are not in the store, as they came from an iterator.
        UnknownName: no fetcher of that name is registered.
        others: as ``run``.
    """
    found, items, options = asked_before(store, fetcher, options)
    return run(found, items, **options)


def asked_before(
    store: Any, fetcher: Any, options: Mapping[str, Any]
) -> tuple[Any, list[Any], dict[str, Any]]:
    """The fetcher, items and options with which a stored run goes on; see ``resume``."""
    objects = objects_of(store)
    standing = _there(objects)
    assert standing.identity is not None
    asked = asked_of(objects, standing)
    if asked is None:
        raise StoreError(
            f"{objects.url} does not know all items of its run, as they came from an iterator: call run again with "
            "them"
        )
    keys = asked["key"].to_list()
    items = [_item(objects, key, text) for key, text in zip(keys, asked["item"].to_list(), strict=True)]
    params = {}
    for name, text in standing.identity["params"].items():
        try:
            params[name] = decode(text)
        except ValueError:
            raise StoreError(
                f"the parameter {name!r} was {text}, which is not in the store: pass params="
            ) from None
    options = {"params": params, **options, "store": store}
    registry = registry_of(options, options.get("config"))
    key = options.get("key") or _policies(standing.identity["fetcher"], fetcher, registry).key
    for known, item in zip(keys[:100], items[:100], strict=True):
        if (key or key_of)(item) != known:
            raise StoreError(
                f"the item {item!r} had the key {known!r} in {objects.url}: pass the key= of then"
            )
    return standing.identity["fetcher"] if fetcher is None else fetcher, items, options


def verify(store: Any, *, repair: bool = False) -> dict[str, str]:
    """Read every file of a store and see whether it is what was written.

    Args:
        store: where it is.
        repair: put aside what is not, under ``damaged/``: the next run fetches it again. Writes are not sent
            again: their outcome is unknown then.

    Returns:
        what is wrong, by name of the file; nothing, if all is well.

    Raises:
        StoreError: there is nothing at all.
        StoreBusy: a run is at it, and it was to be repaired.
        StoreFailed: it could not be read.
        StoreTooNew: a newer fetchline wrote it.

    >>> import fetchline as fl
    >>> _ = fl.run(abs, [-1, -2], store="memory://docs-verify", progress=None)
    >>> fl.verify("memory://docs-verify")
    {}
    """
    from fetchline.journal.repairing import check, put_right

    objects = objects_of(store)
    with as_store_failed(objects):
        if next(iter(objects.list()), None) is None:
            raise StoreError(f"there is no run in {objects.url}")
    return put_right(objects) if repair else check(objects)


def compact(store: Any) -> None:
    """Put the values of a store into as few files as it takes, and its log into one record.

    Raises:
        StoreBusy: a run is at it.
        StoreDamaged: files are missing, or not what was written.
        StoreFailed: it could not be read or written.
    """
    objects = objects_of(store)
    _there(objects)
    journal = Journal(objects, "compact")
    try:
        journal.compact()
    finally:
        journal.close()


def settle(store: Any, *, sent: Mapping[str, Any] | Iterable[str] = (), not_sent: Iterable[str] = ()) -> None:
    """Say what became of writes of unknown outcome, after a look on the other side.

    Then call the run again: it takes what was sent as done, and sends what was not.

    Args:
        store: where the run is.
        sent: keys of those that have arrived; a mapping gives what the fetcher would have returned for them.
            Without that they are empty successes, whose value is None: they have no rows in a frame.
        not_sent: keys of those that have not.

    What was said may be said again otherwise, until a run has acted on it.

    Raises:
        ValueError: a key is in both, or its outcome is not unknown; nothing was changed.
        TypeError: what is no key, or a value that cannot be stored; nothing was changed.
        StoreError: there is no run, a run is at it, or it is damaged, or cannot be read or written.

    >>> import fetchline as fl
    >>> def order(symbol: str) -> str:
    ...     raise TimeoutError("the answer was lost")
    >>> write = fl.Fetcher.of(order, idempotent=False)
    >>> _ = fl.run(write, ["AAPL", "MSFT"], store="memory://docs-settle", progress=None)
    >>> fl.settle("memory://docs-settle", sent={"AAPL": "order 17"}, not_sent=["MSFT"])
    >>> fl.open_run("memory://docs-settle")[0].value
    'order 17'
    """
    values = dict(sent) if isinstance(sent, Mapping) else {}
    arrived, gone = _keys("sent", sent), _keys("not_sent", not_sent)
    if both := arrived.keys() & gone.keys():
        raise ValueError(f"{min(both)!r} is said to be sent, and not to be: leave it out of one of them")
    objects = objects_of(store)
    _there(objects)
    journal = Journal(objects, "settle")
    try:
        with as_store_failed(objects):
            standing = read_standing(objects)
        journal.write(settled(standing, values, [key for key in arrived if key not in values], gone))
    finally:
        journal.close()


def _keys(name: str, keys: Any) -> dict[str, None]:
    if isinstance(keys, str) or not isinstance(keys, Iterable):
        raise TypeError(f"{name}= takes several keys, such as a list, not {keys!r}")
    keys = list(keys)
    for key in keys:
        if not isinstance(key, str):
            kind = type(key).__name__
            raise TypeError(f"{name}= takes keys, texts such as the .key of a failure, not a {kind}: {key!r}")
    return dict.fromkeys(keys)


# -- reading -----------------------------------------------------------------------------------------------


def _there(objects: ObjectStore) -> Standing:
    standing = read(objects)
    if standing.identity is None:
        raise StoreError(f"there is no run in {objects.url}")
    return standing


def _policies(name: str, fetcher: Any, registry: Any = None) -> Policies:
    """Get what the fetcher declares; a stored run can be read where nobody knows its fetcher."""
    try:
        return find(name if fetcher is None else fetcher, registry).policies
    except (UnknownName, ImportError):
        return Policies()


def _item(objects: ObjectStore, key: str, text: str | None) -> Any:
    if text is None:
        return key
    if not text:
        raise StoreError(
            f"the item {key!r} is not in {objects.url}, as it has no text: call run again with the items"
        )
    return decode(text)


def _results_table(objects: ObjectStore, standing: Standing) -> pl.DataFrame:
    """A row for each result: of each item asked for, if they are known, or else of each that is stored."""
    asked = asked_of(objects, standing)
    columns = ["key", "item", "row", "kind", "rows", "attempts", "waited_s", "ran_s", "code"]
    entries = standing.entries
    if asked is None:
        return entries.select(columns)
    return asked.join(entries.drop("item"), on="key", how="left", maintain_order="left").select(columns)


def _state(objects: ObjectStore, standing: Standing) -> RunState:
    import polars as pl

    assert standing.identity is not None
    table = _results_table(objects, standing)
    last = standing.runs[-1] if standing.runs else {"end": None, "total": None}
    end = last["end"]
    status: Any = "completed" if end is not None and end["stopped"] is None else "stopped"
    if end is None:
        status = "running" if is_owned(objects) else "interrupted"
    failed = table.filter(pl.col("kind") == FAILURE)
    return RunState(
        store=objects.url,
        fetcher=standing.identity["fetcher"],
        version=standing.identity["version"],
        params=standing.identity["params"],
        status=status,
        total=table.height if standing.asked is not None else None,
        succeeded=table.filter(pl.col("kind") != FAILURE).height,
        failed=failed.height,
        codes=Counter(failed["code"].to_list()),
        rows=int(standing.entries["rows"].sum()),
        size=sum(segment.size for segment in standing.segments),
        started=_utc(standing.runs[0]["at"]) if standing.runs else None,
        updated=_utc(standing.written) if standing.written else None,
    )


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _summary(name: str, table: pl.DataFrame) -> Summary:
    import polars as pl

    summary = Summary(fetcher=name, executor="store", total=table.height)
    summary.empty = table.filter(pl.col("kind") == EMPTY).height
    summary.succeeded = summary.stored = table.filter(pl.col("kind") != FAILURE).height
    failed = table.select(
        "key",
        pl.when(pl.col("kind").is_null())
        .then(pl.lit("cancelled"))
        .when(pl.col("kind") == FAILURE)
        .then("code")
        .alias("code"),
    )
    for key, code in failed.filter(pl.col("code").is_not_null()).iter_rows():
        summary.failed += 1
        summary.codes[code] += 1
        summary.first_keys.setdefault(code, key)
    summary.attempts = summary.calls = int(table["attempts"].sum())
    summary.ran_s = float(table["ran_s"].sum())
    return summary


class _StoredResults:
    """Results that are read from a store when they are looked at."""

    def __init__(self, table: pl.DataFrame, reading: Reading) -> None:
        self._table = table
        self._reading = reading

    def __len__(self) -> int:
        return self._table.height

    def get(self, index: int) -> Result[Any]:
        key, text, row, kind, _, attempts, waited_s, ran_s, code = self._table.row(index)
        item = key if text is None else decode(text) if text else None
        if kind is None:
            return to_result(self._reading, index, item, None, 0, Verdict("stop", "cancelled"), 0.0, 0.0, key)
        verdict = None
        if kind == EMPTY:
            verdict = Verdict("no_data", code or "error")
        elif kind == FAILURE:
            verdict = Verdict("permanent", code)
        return to_result(self._reading, index, item, Hit(row), attempts, verdict, waited_s, ran_s, key)

    def row(self, index: int) -> int | None:
        row, kind = self._table.item(index, "row"), self._table.item(index, "kind")
        return None if kind is None or kind in (EMPTY, FAILURE) else row
