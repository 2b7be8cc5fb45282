"""A run's store, in the hands of the one who writes it.

A step is committed by *creating* the next record of the log. Its values are staged before, and given their names
after. So a step is whole or has not happened, whatever is killed when; and of two who believe they are the owner, one
finds the number taken, and writes no more.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
import uuid
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fetchline.columns import Hit
from fetchline.core.twins import Known
from fetchline.errors import StoreBusy, StoreDamaged, StoredError, StoreError, StoreFailed, StoreMismatch
from fetchline.interfaces import ObjectStore, Verdict
from fetchline.journal.asked import digest_of, table_of_asked
from fetchline.journal.entries import EMPTY, FAILURE, FRAME, GONE, Begun, Entry, table_of
from fetchline.journal.owner import Owner, is_owned
from fetchline.journal.reading import IDENTITY, Standing, based, log_name, read_standing
from fetchline.journal.records import Broken, Record, seal
from fetchline.journal.segments import Segment, Shelf, pack, staged_segment

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Journal", "Rows", "as_store_failed", "damaged", "put_identity", "read", "recover", "refuse_other"]

_COLUMNS = ("key", "index", "kind", "file", "offset", "rows", "code", "error", "at")
_MANY = 64  # records, or tiny files: more are gathered at the end of a run
_LONG = 1000  # records: more are gathered while the run goes on
_TINY = 1 << 20
_LOOKS = 5
_log = logging.getLogger("fetchline")
_SMALL = 32 << 20


class Rows:
    """Where each stored value is: a row for each outcome, numbered as they were written."""

    def __init__(self, objects: ObjectStore, standing: Standing) -> None:
        self.objects = objects
        self.segments = standing.segments
        self._staged = {segment.name for segment in standing.staged}
        self._shelf = Shelf(self._fetch)
        self._file, self._offset, self._rows = array("i"), array("I"), array("I")
        self._kinds = bytearray()
        self._failures: dict[int, tuple[str, str]] = {}
        self._later: tuple[Rows, dict[str, int]] | None = None
        for table in standing.tables:
            self.add(table)

    def __len__(self) -> int:
        return len(self._kinds)

    def add(self, table: pl.DataFrame) -> None:
        """Take a table whose files are among ``segments``."""
        start = len(self)
        self._file.extend(table["file"].to_list())
        self._offset.extend(table["offset"].to_list())
        self._rows.extend(table["rows"].to_list())
        self._kinds += bytes(table["kind"].to_list())
        if table["code"].null_count() < table.height:
            failed = table.with_row_index("row").filter(table["code"].is_not_null())
            for row, code, error in failed.select("row", "code", "error").iter_rows():
                self._failures[start + row] = code, error

    def load(self, row: int, key: str) -> Any:
        """Read the value of a row, which is that of a key; of a failure, its error; of an empty one, None.

        Raises:
            StoreDamaged: its file is missing, or not what was written.
            StoreFailed: it could not be read.
        """
        kind = self._kinds[row]
        if kind == EMPTY:
            return None
        if kind == FAILURE:
            return StoredError(self._failures[row][1])
        if self._later is not None:
            return self._load_later(key)
        segment = self.segments[self._file[row]]
        try:
            return self._shelf.value(segment, self._offset[row], self._rows[row])
        except FileNotFoundError:
            return self._load_later(key)
        except Broken as error:
            raise damaged(self.objects, {segment.name: str(error)}) from error
        except OSError as error:
            raise StoreFailed(f"{segment.name} of {self.objects.url} could not be read: {error}") from error

    def _load_later(self, key: str) -> Any:
        """Read a value from where it has been put since, its file having been replaced."""
        if self._later is None:
            standing = read_standing(self.objects)
            if standing.problems:
                raise damaged(self.objects, standing.problems)
            rows = Rows(self.objects, standing)
            self._later = rows, rows.by_key(standing)
        rows, row_of = self._later
        if key not in row_of:
            raise damaged(self.objects, {"data/": f"has no value of {key!r} any more"})
        return rows.load(row_of[key], key)

    def scan(self, rows: Sequence[int]) -> pl.LazyFrame | None:
        """Read frames lazily, in the order in which they are stored, the keys first; None if they are no frames.

        Raises:
            StoreDamaged: a file is missing, or not what was written.
        """
        from fetchline.journal.scanning import scan

        if any(self._kinds[row] != FRAME for row in rows):
            return None
        places: dict[int, list[tuple[int, int]]] = {}
        for row in rows:
            places.setdefault(self._file[row], []).append((self._offset[row], self._rows[row]))
        return scan(self.objects, [(self.segments[file], spans) for file, spans in sorted(places.items())])

    def by_key(self, standing: Standing) -> dict[str, int]:
        """The newest row of each key."""
        keys = [key for table in standing.tables for key in table["key"].to_list()]
        return {key: row for row, key in enumerate(keys)}

    def known(self, row: int) -> Any:
        """What a run is told of a key whose outcome is in this row."""
        kind = self._kinds[row]
        if kind == EMPTY:
            code: Any = self._failures.get(row, ("error", None))[0]
            return Known(Hit(row), Verdict("no_data", code))
        if kind == FAILURE:
            code = self._failures[row][0]
            return Known(Hit(row), Verdict("permanent", code))
        return Hit(row)

    def _fetch(self, segment: Segment) -> bytes:
        if segment.name in self._staged:
            try:
                return self.objects.get(segment.staged)
            except FileNotFoundError:  # its owner has come to it
                self._staged.discard(segment.name)
        return self.objects.get(segment.name)


class Journal:
    """The store of one run, open for writing; ``begin`` comes first, ``close`` last.

    Args:
        objects: where it is.
        run: the run's id.
        as_it_is: open it although it is damaged, to be put right.

    Raises:
        StoreBusy: another run is at it.
        StoreDamaged: files are missing or not what was written.
        StoreFailed: it could not be read or written.
    """

    def __init__(self, objects: ObjectStore, run: str, *, as_it_is: bool = False) -> None:
        self._objects = objects
        self._run = run
        self._token = uuid.uuid4().hex[:8]
        self._broken: BaseException | None = None
        with as_store_failed(objects):
            self._owner = Owner(objects, run)
        try:
            with as_store_failed(objects):
                self.standing = read_standing(objects, None if as_it_is else _COLUMNS)
                recover(objects, self.standing)
            if not as_it_is and self.standing.problems:
                raise damaged(objects, self.standing.problems)
            self._next = self.standing.last + 1
            self._records = self._next - self.standing.first
            lost = None if as_it_is else self.standing.end_begun()
            if lost is not None:
                self._commit(Record({"kind": "results", "files": []}, lost))
            self.rows = Rows(objects, self.standing)
        except BaseException:
            self._owner.release()
            raise
        self._began = False
        self._superseded = False

    def begin(
        self,
        identity: Mapping[str, Any],
        *,
        keys: Sequence[str] | None,
        items: Callable[[], Iterable[str | None]] | None,
        about: Mapping[str, Any],
        on_change: str = "refuse",
        part: bool = False,
    ) -> None:
        """Say that a run begins.

        Args:
            identity: what the results depend on.
            keys: those of all items, if they are at hand.
            items: gives the items themselves, as text; None if they are the numbers that their keys say.
            about: more to be said of the run.
            on_change: what to do if the store is of another identity: ``refuse``, ``keep`` its outcomes, or
                ``refetch`` them: none of those before counts any more.
            part: it goes over some items of the last run again; that one stays what was asked for.

        Raises:
            StoreMismatch: the store holds the results of something else.
        """
        known = self.standing.identity
        anew = known is not None and refuse_other(self._objects, known, identity, on_change)
        if known != identity:
            with as_store_failed(self._objects):
                put_identity(self._objects, identity)
            self.standing.identity = dict(identity)
        head: dict[str, Any] = {"kind": "run", "run": self._run, "identity": identity, **about}
        if anew:
            head["anew"] = True
        table = None
        last = self.standing.runs[-1] if self.standing.asked is not None else {}
        if part:
            head |= {"asked": last["asked"]} if "asked" in last else {}
            if self.standing.asked is not None:
                head["same_as"] = self.standing.asked
        elif keys is not None:
            head["asked"] = digest_of(keys)
            if last.get("asked") == head["asked"]:
                head["same_as"] = self.standing.asked
            else:
                table = table_of_asked(keys, items and items())
                if items is None:
                    head["items"] = "int"
        self._commit(Record(head, table))
        if anew:
            self.standing.begin_anew()
        self._began = True

    def load(self, row: int, key: str) -> Any:
        return self.rows.load(row, key)

    def scan(self, rows: Sequence[int]) -> pl.LazyFrame | None:
        return self.rows.scan(rows)

    def known(self, row: int) -> Any:
        return self.rows.known(row)

    def write(
        self,
        entries: Sequence[Entry],
        memos: Mapping[str, str] = MappingProxyType({}),
        begun: Mapping[str, Begun | None] = MappingProxyType({}),
    ) -> list[int | Exception | None]:
        """Write what has become of items; on the disk when this returns.

        Args:
            entries: outcomes.
            memos: what tasks that are not ready left behind, by key.
            begun: items that have an unknown outcome, by key, until there is one; None takes that back.

        Returns:
            for each entry its row, or why its value cannot be stored.

        Raises:
            StoreBusy: another run has taken the store over.
            StoreFailed: it could not be written: it is not known which of them are stored, and none was reported.
        """
        packed = pack(entries)
        files = [
            staged_segment(f"{self._next:08d}-{number}", self._token, file)
            for number, file in enumerate(packed.files)
        ]
        kept = [at for at in range(len(entries)) if at not in packed.refused]
        table = table_of([entries[at] for at in kept], [packed.places[at] for at in kept])
        head: dict[str, Any] = {"kind": "results", "files": [one.to_json() for one in files]}
        if memos:
            head["memos"] = dict(memos)
        if begun:
            head["begun"] = dict(begun)
        self._commit(
            Record(head, table), [(one, file[1]) for one, file in zip(files, packed.files, strict=True)]
        )
        if self._records > _LONG:
            self.compact(smaller_than=None)
        start, base = len(self.rows), len(self.rows.segments)
        self.rows.segments += files
        self.rows.add(based(table, base))
        row_of: list[int | Exception | None] = [packed.refused.get(at, start) for at in range(len(entries))]
        for row, at in enumerate(kept, start):
            row_of[at] = row
        return row_of

    def _commit(self, record: Record, payloads: Sequence[tuple[Segment, bytes | None]] = ()) -> None:
        """Create the next record; ``payloads`` are the values it tells of, or None if they are staged already."""
        if self._broken is not None:
            raise StoreFailed(
                f"{self._objects.url} could not be written before, and is not written any more: {self._broken}"
            )
        objects = self._objects
        try:
            for segment, data in payloads:
                if data is not None:
                    objects.put(segment.staged, data)
            if not objects.create(log_name(self._next), seal(_dated(record))):
                for segment, _ in payloads:
                    objects.delete(segment.staged)
                raise StoreBusy(
                    f"{objects.url} was taken over by another run while this one did not move; what it had not "
                    "reported is not stored"
                )
            self._next += 1
            self._records += 1
            for segment, _ in payloads:
                objects.rename(segment.staged, segment.name)
        except BaseException as error:
            # Whether the record is there is not known: only who reads the log again may go on.
            self._broken = error
            if isinstance(error, OSError):
                raise StoreFailed(f"{objects.url} could not be written: {error}") from error
            raise

    def forget_standing(self) -> None:
        """What was read at the opening has been taken, and need not be kept."""
        self.standing = Standing()

    def forget(self, keys: Sequence[str]) -> None:
        """Say that there is nothing of these keys any more."""
        self.write([Entry(key=key, index=0, kind=GONE, at=time.time()) for key in keys])
        self.supersede()

    def without(self, names: frozenset[str]) -> None:
        """Say that what is in these files is not stored any more."""
        from fetchline.journal.compacting import gathered

        self._commit(gathered(self.standing, names))
        self.supersede()

    def supersede(self) -> None:
        """Rows of older outcomes are in the files of values: they are to be cleared away at the end."""
        self._superseded = True

    def close(self, end: Mapping[str, Any] | None = None) -> None:
        """Say how the run ended, if it began, and let others write."""
        try:
            if self._broken is None:
                if self._began:
                    self._commit(Record({"kind": "end", "run": self._run, **(end or {})}))
                try:
                    self._tidy()
                except StoreError as error:  # everything is stored; it could be in fewer files
                    _log.warning("%s was not tidied up: %s", self._objects.url, error)
        finally:
            self._owner.release()

    def _tidy(self) -> None:
        tiny = sum(segment.size < _TINY for segment in self.rows.segments)
        if self._superseded or tiny > _MANY:
            self.compact(smaller_than=_TINY if tiny > _MANY else 0)
        elif self._records > _MANY:
            self.compact(smaller_than=None)

    def compact(self, *, smaller_than: int | None = _SMALL) -> None:
        """Gather the log to one record, and put values that are in a file with outdated ones into new files.

        Args:
            smaller_than: the values of files with fewer bytes, too; None leaves all files as they are.
        """
        from fetchline.journal.compacting import gathered, rewritten

        with as_store_failed(self._objects):
            standing = read_standing(self._objects)
            if smaller_than is not None:
                prefix = f"{self._next:08d}-%d"
                try:
                    record, staged = rewritten(
                        self._objects, standing, prefix, self._token, smaller_than=smaller_than
                    )
                except Broken as error:
                    what, name = error.args
                    raise damaged(self._objects, {name: what}) from error
            else:
                record, staged = gathered(standing), []
            self._commit(record, [(segment, None) for segment in staged])
            self._records = 1
            recover(self._objects, read_standing(self._objects))


def _dated(record: Record) -> Record:
    return Record({**record.head, "at": time.time()}, record.table)


def recover(objects: ObjectStore, standing: Standing) -> None:
    """Bring to its end what another run had begun."""
    if standing.problems:
        return
    if standing.is_mistold and standing.identity is not None:
        put_identity(objects, standing.identity)
    for segment in standing.staged:
        objects.rename(segment.staged, segment.name)
    standing.staged.clear()
    for name in (*standing.strays, *standing.drops):
        objects.delete(name)


def read(objects: ObjectStore) -> Standing:
    """Read a store without taking it.

    Raises:
        StoreDamaged: files are missing, or not what was written.
        StoreFailed: it could not be read.
    """
    with as_store_failed(objects):
        last = None
        for _ in range(_LOOKS):
            standing = read_standing(objects)
            if standing.problems:
                # While somebody writes, what was listed first may be older than what was listed last.
                continue
            if not standing.begun or is_owned(objects):
                return standing
            if standing.last == last:
                standing.end_begun()
                return standing
            # Its owner may have ended it since: only a log that stays so is a dead one's.
            last = standing.last
    if standing.problems:
        raise damaged(objects, standing.problems)
    return standing


def put_identity(objects: ObjectStore, identity: Mapping[str, Any]) -> None:
    """Write, for people too, what the store is of."""
    objects.put(IDENTITY, json.dumps(identity, indent=2, ensure_ascii=False).encode())


def refuse_other(
    objects: ObjectStore, known: Mapping[str, Any], wanted: Mapping[str, Any], on_change: str
) -> bool:
    """Refuse a store that holds the results of something else; whether none of them counts, if that was said.

    Raises:
        StoreMismatch: what is different is shown.
    """
    if on_change == "refuse" and (differences := _differences(known, wanted)):
        raise StoreMismatch(objects.url, differences)
    return on_change == "refetch" and dict(known) != dict(wanted)


def damaged(objects: ObjectStore, problems: Mapping[str, str]) -> StoreDamaged:
    # What is missing is often only what a damaged record would have told of.
    first = sorted(problems.items(), key=lambda one: (one[1] in ("is missing", "is of no record"), one[0]))
    listed = "".join(f"\n  {name} {what}" for name, what in first[:10])
    more = f"\n  and {len(problems) - 10:,} more" if len(problems) > 10 else ""
    return StoreDamaged(
        f"{objects.url} is damaged:{listed}{more}\n`fetchline runs verify {objects.url} --repair` puts what is "
        "damaged aside: the next run fetches it again, unless they are writes",
        dict(problems),
    )


@contextlib.contextmanager
def as_store_failed(objects: ObjectStore) -> Iterator[None]:
    try:
        yield
    except StoreFailed:
        raise
    except OSError as error:
        raise StoreFailed(f"{objects.url} could not be read or written: {error}") from error


def _differences(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    both = ((name, known.get(name), wanted.get(name)) for name in dict.fromkeys([*known, *wanted]))
    return {name: (was, now) for name, was, now in both if was != now}
