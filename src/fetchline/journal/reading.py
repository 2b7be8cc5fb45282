"""A run's store, as it stands: what its log says, and which of its files are not as they should be.

Layout:

    run.json               what is asked for: fetcher, version, params, schema; for people, as the log has it too
    log/00000001           records, see ``records``; each is created exclusively, so that one writer makes it
    data/00000001-0.parquet   values, under one another; the record of that number says what is where
    staged/...             values whose record is not in the log yet, or that have not been given their name
    owner/00000001         who writes

Kinds of records: ``run`` (a run begins), ``results`` (outcomes, where their values are, memos of tasks that are not
ready, and writes that begin), ``end`` (a run has ended), ``snapshot`` (all of these so far: what older records say of
them is void; of those it ``keeps`` the ones that say of runs).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from fetchline.errors import StoreError
from fetchline.interfaces import ObjectStore
from fetchline.journal.encoding import decode
from fetchline.journal.entries import FAILURE, GONE, NO_FILE, TASK_GOES_ON, Begun, Entry, table_of
from fetchline.journal.records import Broken, Record, unseal
from fetchline.journal.segments import Segment

if TYPE_CHECKING:
    import polars as pl

__all__ = ["IDENTITY", "Standing", "based", "log_name", "read_standing"]

IDENTITY = "run.json"
_AT_ONCE = 8
_OWN = ("log/", "data/", "staged/", "owner/", "damaged/")


def log_name(number: int) -> str:
    return f"log/{number:08d}"


@dataclass(slots=True)
class Standing:
    """What a store holds.

    Attributes:
        identity: what is asked for; None if nothing was stored yet.
        last: the number of the newest record; 0 if there is none.
        first: the number of the record that the outcomes begin with.
        segments: files of values, in the order of the outcomes' ``file``.
        tables: outcomes, oldest first; ``file`` is a position in ``segments``.
        memos: what tasks that are not ready left behind, by key.
        begun: writes that were about to start when the record was made, and have had no outcome since, by key.
        runs: heads of ``run`` records, oldest first, with ``number``; ``end`` is that of the run's end, or None.
        asked: number of the record that lists the items of the last run; None if they were not at hand.
        staged: segments that are in the log and have not been given their name.
        problems: what is wrong, by name.
        drops: objects that a snapshot made superfluous, and that are still there.
        strays: staged objects that are in no record, or have been given their name.
        written: when the newest record was, in seconds since 1970.
        is_of_writes: something in it must not be sent twice.
        is_mistold: what people read in ``run.json`` is not what the log says: it is damaged, or of a run that was
            killed before its record was there.
    """

    identity: dict[str, Any] | None = None
    last: int = 0
    first: int = 1
    segments: list[Segment] = field(default_factory=list)
    tables: list[pl.DataFrame] = field(default_factory=list)
    memos: dict[str, str] = field(default_factory=dict)
    begun: dict[str, Begun] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    asked: int | None = None
    staged: list[Segment] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    drops: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    written: float = 0.0
    is_of_writes: bool = False
    is_mistold: bool = False

    def begin_anew(self) -> None:
        """No outcome of before counts any more: it is of something else."""
        self.tables.clear()
        self.memos.clear()
        self.begun.clear()

    def end_begun(self) -> pl.DataFrame | None:
        """Nobody is at it any more: the outcome of a write that had begun is unknown, if it left no memo to ask by.

        Returns:
            these outcomes; None if there are none.
        """
        lost = {
            key: begun
            for key, begun in self.begun.items()
            if decode(self.memos.get(key, "[null]"))[0] is None
        }
        return (
            self.lose(lost, "the run was killed before it was known whether this write arrived")
            if lost
            else None
        )

    def lose(self, writes: Mapping[str, Begun], why: str) -> pl.DataFrame:
        """Nobody knows whether these writes arrived: give their outcomes, which are among the ``tables`` now."""
        lost = [
            Entry(key, index, FAILURE, item=item, code="unknown_outcome", error=why, at=self.written)
            for key, (index, item) in writes.items()
        ]
        table = table_of(lost, [(NO_FILE, 0, 0)] * len(lost))
        self.tables.append(table.select(self.tables[0].columns) if self.tables else table)
        _forget(self, table)
        return table

    @property
    def entries(self) -> pl.DataFrame:
        """The newest outcome of each key; ``row`` is its number among all outcomes.

        They stand in the order of the items, as of the run that first had an outcome of each.
        """
        newest = self.newest
        return newest.filter(newest["kind"] != GONE).sort("index", maintain_order=True)

    @property
    def newest(self) -> pl.DataFrame:
        """What was said last of each key, also that there is no outcome of it any more."""
        import polars as pl

        whole = pl.concat(self.tables or [table_of([], [])]).with_row_index("row")
        last = whole.unique("key", keep="last", maintain_order=True)
        if last.height < whole.height:
            first = whole.unique("key", keep="first", maintain_order=True).select("key", "index")
            last = last.drop("index").join(first, on="key", how="left", maintain_order="left")
            last = last.select(whole.columns)
        return last


def read_standing(objects: ObjectStore, columns: Sequence[str] | None = None) -> Standing:
    """Read the log of a store and look whether its files are there; what they hold is looked at when it is read.

    Args:
        objects: where it is.
        columns: those of the tables that are wanted; None is all of them.

    Raises:
        StoreError: there is something else at that place.
        StoreTooNew: a newer fetchline wrote it.
    """
    there = {one.name: one.size for one in objects.list()}
    standing = Standing()
    _read_identity(objects, there, standing)
    numbers = sorted(int(name[4:]) for name in there if name.startswith("log/") and name[4:].isdigit())
    standing.last = numbers[-1] if numbers else 0
    records: dict[int, Record] = {}
    names = [log_name(number) for number in numbers]
    for number, name, data in zip(numbers, names, _get_all(objects, names), strict=True):
        try:
            if data is None:  # it was there a moment ago: somebody is at work
                raise Broken("is missing")
            records[number] = _narrowed(unseal(name, data), columns)
        except Broken as error:
            standing.problems[name] = str(error)
    snapshots = [number for number, record in records.items() if record.head["kind"] == "snapshot"]
    standing.first = snapshots[-1] if snapshots else 1
    kept = records[snapshots[-1]].head.get("keeps", ()) if snapshots else ()
    for number in (*kept, *range(standing.first, standing.last)):
        if number not in numbers:
            standing.problems[log_name(number)] = "is missing"
    for number, record in records.items():
        _take(standing, number, record)
    if standing.asked not in records:  # it was put aside
        standing.asked = None
    if standing.runs and standing.identity is not None:
        known = standing.runs[-1]["identity"]
        standing.is_mistold = standing.identity != known
        standing.identity = known
    _look_at_files(standing, there, records)
    return standing


def _get_all(objects: ObjectStore, names: Sequence[str]) -> Iterator[bytes | None]:
    if len(names) <= _AT_ONCE:
        yield from map(partial(_get, objects), names)
        return
    with ThreadPoolExecutor(_AT_ONCE, "fetchline-log") as pool:  # each takes a while in a bucket
        yield from pool.map(partial(_get, objects), names)


def _get(objects: ObjectStore, name: str) -> bytes | None:
    try:
        return objects.get(name)
    except FileNotFoundError:
        return None


def _narrowed(record: Record, columns: Sequence[str] | None) -> Record:
    if record.table is None or columns is None:
        return record
    return Record(
        record.head, record.table.select(*(name for name in columns if name in record.table.columns))
    )


def _read_identity(objects: ObjectStore, there: dict[str, int], standing: Standing) -> None:
    if IDENTITY in there:
        try:
            standing.identity = json.loads(objects.get(IDENTITY))
        except ValueError:
            standing.problems[IDENTITY] = "is not what was written"
        return
    others = [name for name in there if not name.startswith(_OWN)]
    if others:
        raise StoreError(
            f"{objects.url} is no run of fetchline, and not empty: it has {', '.join(sorted(others)[:3])}; give an "
            "empty place"
        )
    if any(name.startswith("log/") for name in there):
        standing.problems[IDENTITY] = "is missing"


def _take(standing: Standing, number: int, record: Record) -> None:
    head = record.head
    standing.written = head["at"]
    standing.is_of_writes |= head.get("idempotent") is False or bool(head.get("begun"))
    match head["kind"]:
        case "run":
            standing.runs.append({**head, "number": number, "end": None})
            if head.get("anew"):
                standing.begin_anew()
            standing.asked = head.get("same_as", None if record.table is None else number)
        case "end":
            if standing.runs:
                standing.runs[-1]["end"] = {**head, "number": number}
        case "results" | "snapshot" if number >= standing.first:
            base = len(standing.segments)
            standing.segments += [Segment(**one) for one in head["files"]]
            standing.memos.update(head.get("memos", {}))
            if record.table is not None:
                standing.tables.append(based(record.table, base))
                if head["kind"] == "results":  # of what a snapshot says, nothing is outdated
                    _forget(standing, record.table)
            _begin(standing, head.get("begun", {}))


def _forget(standing: Standing, table: pl.DataFrame) -> None:
    """A task that has ended is not asked about again, unless it was only not waited for any longer."""
    if standing.memos or standing.begun:
        for key, code in table.select("key", "code").iter_rows():
            standing.begun.pop(key, None)
            if code not in TASK_GOES_ON:
                standing.memos.pop(key, None)


def _begin(standing: Standing, begun: Mapping[str, Sequence[Any] | None]) -> None:
    """Writes begin, or did not come to it."""
    for key, one in begun.items():
        if one is None:
            standing.begun.pop(key, None)
        else:
            standing.begun[key] = one[0], one[1]


def based(table: pl.DataFrame, base: int) -> pl.DataFrame:
    """The table with its files counted from ``base``."""
    import polars as pl

    if base == 0:
        return table
    shifted = pl.when(pl.col("file") == NO_FILE).then(NO_FILE).otherwise(pl.col("file") + base)
    return table.with_columns(shifted.cast(pl.Int32).alias("file"))


def _look_at_files(standing: Standing, there: dict[str, int], records: dict[int, Record]) -> None:
    known: set[str] = set()
    for segment in standing.segments:
        known.add(segment.name)
        if segment.name in there:  # with its staged one, if its renaming was interrupted
            if there[segment.name] != segment.size:
                standing.problems[segment.name] = f"has {there[segment.name]:,} bytes of {segment.size:,}"
        elif segment.staged in there:
            known.add(segment.staged)
            standing.staged.append(segment)
        else:
            standing.problems[segment.name] = "is missing"
    dropped = {name for record in records.values() for name in record.head.get("drops", ())}
    old = [
        log_name(n)
        for n in records
        if n < standing.first and records[n].head["kind"] in ("results", "snapshot")
    ]
    standing.drops = [*(name for name in dropped if name in there), *old]
    for name in there:
        if name.startswith("data/") and name not in known and name not in dropped:
            standing.problems[name] = "is of no record"
        elif name.startswith("staged/") and name not in known:
            standing.strays.append(name)
