"""What processes that are killed do to a store, and what is looked at afterwards.

Every function here is called in a process of its own: see ``forks``. It notes what it was told, where a kill does not
reach it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

import fetchline as fl
from fetchline import keeping
from fetchline.drive import host
from fetchline.hookspecs import hookimpl
from fetchline.journal.entries import EMPTY, FAILURE
from fetchline.journal.reading import read_standing
from fetchline.stores import objects_of

__all__ = ["CHORES", "ITEMS", "Notes", "problems_of", "rows_of", "spoil", "writes_again"]

ITEMS = [f"S{n}" for n in range(12)]
NOTHING, BAD = "S3", "S7"
WITH_VALUES = [key for key in ITEMS if key not in (NOTHING, BAD)]


def rows_of(key: str) -> list[dict[str, Any]]:
    return [{"of": key, "close": float(n)} for n in range(2)]


class Notes:
    """Lines of a file, on the disk when ``note`` returns."""

    def __init__(self, path: str | Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_DSYNC, 0o666)
        self._path = path

    def note(self, kind: str, key: str) -> None:
        os.write(self._file, f"{kind} {key}\n".encode())

    def all(self, kind: str) -> list[str]:
        lines = [line.partition(" ") for line in Path(self._path).read_text().splitlines()]
        return [key for found, _, key in lines if found == kind]


class _Told:
    """Notes what a run reports."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    @hookimpl
    def fetchline_item_finished(self, run: Any, result: Any) -> None:
        self._notes.note("told", result.key)


def fetcher_of(notes: Notes) -> Any:
    """Frames, values as text, nothing, and a failure."""

    def prices(symbol: str) -> Any:
        notes.note("call", symbol)
        if symbol == NOTHING:
            raise fl.NoData
        if symbol == BAD:
            raise ValueError(f"no such symbol: {symbol}")
        rows = rows_of(symbol)
        return rows if int(symbol[1:]) % 3 == 2 else pl.DataFrame(rows)

    return fl.Fetcher.of(prices, "prices", schema={"of": pl.String, "close": pl.Float64})


def _often(entries: int) -> None:
    """Write after so many results, and look after each: what is written when does not depend on the clock."""
    keeping._MOST_ENTRIES = entries
    keeping.FLUSH_S = 3600.0
    host._BURST_S = 0.0


def run(store: Path, notes: Notes, **options: Any) -> Any:
    _often(3)
    told = {"plugins": [_Told(notes)], "progress": None, "store": store, "executor": "serial"}
    return fl.run(fetcher_of(notes), ITEMS, **{**told, **options})


def threads(store: Path, notes: Notes) -> Any:
    return run(store, notes, executor="thread", workers=2)


def stream(store: Path, notes: Notes) -> None:
    for result in fl.stream(fetcher_of(notes), iter(ITEMS), store=store, executor="serial"):
        notes.note("told", result.key)


def refetch(store: Path, notes: Notes) -> None:
    """Fetch everything again: old values are cleared away at the end."""
    run(store, notes, reuse="none")


def compact(store: Path, notes: Notes) -> None:
    fl.compact(store)


def repair(store: Path, notes: Notes) -> None:
    fl.verify(store, repair=True)


def writer_of(notes: Notes) -> Any:
    """Sends something that must not be sent twice."""

    def send(symbol: str) -> str:
        notes.note("call", symbol)
        return f"sent {symbol}"

    return fl.Fetcher.of(send, "send", idempotent=False)


def writes(store: Path, notes: Notes, **options: Any) -> Any:
    _often(3)
    told = {"plugins": [_Told(notes)], "progress": None, "store": store, "executor": "serial"}
    return fl.run(writer_of(notes), ITEMS, **{**told, **options})


def writes_in_threads(store: Path, notes: Notes) -> Any:
    return writes(store, notes, executor="thread", workers=2)


CHORES: dict[str, Callable[[Path, Notes], Any]] = {
    "run": run,
    "threads": threads,
    "stream": stream,
    "refetch": refetch,
    "compact": compact,
    "repair": repair,
    "writes": writes,
    "writes in threads": writes_in_threads,
}


def in_parts(store: Path, notes: Notes) -> None:
    """A store with what several runs left: outdated values, small files, a longer log."""
    _often(2)
    for count in (4, 8, 12, 12):
        fl.run(fetcher_of(notes), ITEMS[:count], store=store, executor="serial", progress=None)


def spoil(store: Path, notes: Notes) -> None:
    """Flip a bit of a file of values and of a record, and lose another file."""
    in_parts(store, notes)
    files = sorted((store / "data").iterdir())
    for path in (files[0], store / "log/00000006"):
        body = bytearray(path.read_bytes())
        body[len(body) // 2] ^= 1
        path.write_bytes(body)
    files[-1].unlink()


# -- what must be true afterwards --------------------------------------------------------------------------


def stored_in(store: Path) -> dict[str, int]:
    """The kind of what is stored of each key."""
    standing = read_standing(objects_of(store))
    assert not standing.problems, standing.problems
    return dict(standing.entries.select("key", "kind").iter_rows())


def problems_of(store: Path, told: list[str], notes: Notes, *, mended: bool = False) -> list[str]:
    """Run the same call again; what is not as guarantee 13 says.

    Args:
        told: keys whose results were reported before.
        notes: for this call.
        mended: what was damaged has been put aside, and may be fetched again.
    """
    return list(_problems(store, told, notes, mended))


def _problems(store: Path, told: list[str], notes: Notes, mended: bool) -> Iterator[str]:
    stored = stored_in(store)
    if not mended and (lost := set(told) - set(stored)):
        yield f"reported, and not stored: {lost}"
    twice = [key for key, count in Counter(told).items() if count > 1]
    if twice:
        yield f"reported twice: {twice}"
    _often(3)
    batch = run(store, notes)
    calls = notes.all("call")
    done = {key for key, kind in stored.items() if kind != FAILURE}
    if again := done & set(calls):
        yield f"stored, and fetched again: {again}"
    if missing := set(ITEMS) - done - set(calls):
        yield f"not stored, and not fetched: {missing}"
    if len(calls) != len(set(calls)):
        yield f"fetched twice: {calls}"
    yield from _problems_at_the_end(store, batch, notes)


def _problems_at_the_end(store: Path, batch: Any, notes: Notes) -> Iterator[str]:
    if [result.key for result in batch] != ITEMS:
        yield f"not one result an item: {[result.key for result in batch]}"
    if [failure.key for failure in batch.failures] != [BAD]:
        yield f"failures: {batch.failures}"
    expected = [{"key": key, **row} for key in WITH_VALUES for row in rows_of(key)]
    for name, one in (("the batch", batch), ("the store", fl.open_run(store, fetcher_of(notes)))):
        if one.frame().to_dicts() != expected:
            yield f"{name} has other rows: {one.frame().to_dicts()}"
    if wrong := fl.verify(store):
        yield f"verify says {wrong}"
    standing = read_standing(objects_of(store))
    left = [*standing.staged, *standing.strays, *standing.drops, *(store / "staged").glob("*")]
    if left or any((store / "owner").iterdir()):
        yield f"left behind: {left}, {list((store / 'owner').iterdir())}"
    kinds = dict(standing.entries.select("key", "kind").iter_rows())
    if kinds.get(NOTHING) != EMPTY or kinds.get(BAD) != FAILURE:
        yield f"kinds: {kinds}"
    yield from _problems_of_files(store)


def writes_again(store: Path, sent: list[str], told: list[str], notes: Notes, workers: int) -> dict[str, Any]:
    """Run the same call again, of writes; what is not as it must be, and of how many nobody knows.

    Args:
        sent: keys that arrived before the kill.
        told: keys whose results were reported before.
        workers: how many there were.
    """
    batch = writes(store, notes)
    calls = notes.all("call")
    good = {result.key for result in batch if result.is_success}
    lost = {failure.key for failure in batch.failures if failure.error_code == "unknown_outcome"}
    claims = {
        "nothing is sent twice": len({*sent, *calls}) == len(sent) + len(calls),
        "there is one result an item": [result.key for result in batch] == ITEMS,
        "what is no success is unknown": good | lost == set(ITEMS),
        "what is a success was sent": good <= {*sent, *calls},
        "what was reported is known": not lost & set(told),
        "only what could be under way is unknown": len(lost) <= 3 * workers,
        "what is unknown stays so": {failure.key for failure in writes(store, notes).failures} == lost,
        "the files are what was written": fl.verify(store) == {},
    }
    return {"problems": [claim for claim, holds in claims.items() if not holds], "unknown": len(lost)}


def _problems_of_files(store: Path) -> Iterator[str]:
    """Whoever reads the files themselves has each row once."""
    found: Counter[str] = Counter()
    for path in (store / "data").glob("*.parquet"):
        found.update(pl.read_parquet(path, columns=["_key"])["_key"].to_list())
    lists = {key for key in WITH_VALUES if int(key[1:]) % 3 == 2}
    if found != {key: 1 if key in lists else 2 for key in WITH_VALUES}:
        yield f"rows in the files: {found}"


def threads_left() -> list[str]:
    """Threads of a run that did not end, of those that must within a moment."""
    deadline = time.monotonic() + 5.0
    while True:
        left = [one.name for one in threading.enumerate() if one.name.startswith("fetchline")]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.002)
