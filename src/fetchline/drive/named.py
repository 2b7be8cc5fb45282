"""Paces with a name: kept in a small database on this machine, for every run and process that uses the name.

SQLite brings what is needed: transactions between processes, and a file that survives them. Limiter libraries count
requests, but do not space them, nor share a cooldown; so the few lines of arithmetic are the same as the core's.
Times in the database are those of the system's clock, because monotonic ones do not outlive the machine's start.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fetchline.drive.gates import ThreadGate
from fetchline.interfaces import Verdict
from fetchline.pace import Pace
from fetchline.verdict import RETRY_AFTER_CAP

if TYPE_CHECKING:
    from fetchline.drive.source import Source

__all__ = ["NamedPace", "Pacer", "state_folder"]

_BUSY_S = 30.0
_TABLES = """
create table if not exists starts (at real not null);
create index if not exists starts_at on starts (at);
create table if not exists state (name text primary key, value real not null);
insert or ignore into state values ('next', 0), ('cool_until', 0);
create table if not exists rates (said text primary key, longest real not null, at real not null);
"""
_RECENT_S = 3600.0
_log = logging.getLogger("fetchline")


def state_folder() -> Path:
    """Where paces are kept: ``FETCHLINE_STATE``, or ``fetchline`` in the user's state folder (XDG)."""
    said = os.environ.get("FETCHLINE_STATE")
    if said:
        return Path(said)
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "fetchline"


class NamedPace:
    """A pace shared by all that open the same name; safe from any thread and process.

    Nobody holds a start in advance: who wants one asks when it is due, and again if somebody else was first. So a
    program that is interrupted while it waits takes nothing with it.

    Args:
        pace: one with a name and rates.
    """

    def __init__(self, pace: Pace) -> None:
        self._windows = pace.windows
        count, period = self._windows[0]
        self._interval = period / count
        folder = state_folder()
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._base = sqlite3.connect(
            folder / f"pace-{pace.name}.sqlite",
            timeout=_BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )
        # A fetcher's plain calls keep theirs for as long as the fetcher lives.
        self._end = weakref.finalize(self, self._base.close)
        self._prepare()
        self._longest = self._say(pace)

    def _say(self, pace: Pace) -> float:
        """Write down at which rates the name is used; the longest window of all who use it, in seconds."""
        longest, now = self._windows[-1][1], time.time()
        with self._lock, self._base as base:
            base.execute(
                "insert into rates values (?, ?, ?) on conflict (said) do update set at = excluded.at",
                (pace.rates, longest, now),
            )
            rows = base.execute("select said, longest, at from rates").fetchall()
        others = [
            said for said, _, at in rows if at > now - _RECENT_S and Pace(said).windows != self._windows
        ]
        if others:
            _log.warning(
                "the pace %r is %s here, and was %s in the last hour: give it the same rates everywhere, as each "
                "of them keeps to its own",
                pace.name,
                pace.rates,
                " and ".join(others),
            )
        return float(max(seconds for _, seconds, _ in rows))

    def _prepare(self) -> None:
        """Make the tables; of several that do so at once, the change of mode lets only one through."""
        until = time.monotonic() + _BUSY_S
        while True:
            try:
                if self._base.execute("pragma journal_mode").fetchone() != ("wal",):
                    self._base.execute("pragma journal_mode = wal")
                self._base.execute("pragma synchronous = normal")
                self._base.executescript(_TABLES)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.01)
            else:
                return

    def take(self) -> float:
        """Take a start, if one is due: 0; else the seconds until there may be one."""
        with self._lock, self._base as base:
            base.execute("begin immediate")
            now = time.time()
            state = dict(base.execute("select name, value from state"))
            # Nothing lies further ahead than this, unless the clock has been set back.
            follows = state["next"] if state["next"] <= now + self._interval else now
            pause = state["cool_until"] if state["cool_until"] <= now + RETRY_AFTER_CAP else now
            base.execute("delete from starts where at < ? or at > ?", (now - self._longest, now))
            due: float = max(now, pause, follows)
            for count, period in self._windows:
                row = base.execute(
                    "select at from starts order by at desc limit 1 offset ?", (count - 1,)
                ).fetchone()
                if row is not None:
                    due = max(due, row[0] + period)
            if due > now:
                return due - now
            # As in the core: a start that comes late keeps its place.
            follows = (follows if now - follows < self._interval else now) + self._interval
            base.execute("update state set value = ? where name = 'next'", (follows,))
            base.execute("insert into starts values (?)", (now,))
            return 0.0

    def cool_down(self, seconds: float) -> None:
        """Nobody starts for so long."""
        with self._lock, self._base as base:
            until = time.time() + seconds
            base.execute("update state set value = max(value, ?) where name = 'cool_until'", (until,))

    def close(self) -> None:
        with self._lock:
            self._end()


class Pacer:
    """Takes the starts of a named pace for one run, on a thread of its own, when the run wants one.

    Attributes:
        gate: rung when there is something to do for it.
    """

    def __init__(self, source: Source, pace: Pace) -> None:
        self._source = source
        self._pace = pace
        self._cool_until = 0.0
        self._wanted = False
        self.gate = ThreadGate()

    def start(self) -> None:
        threading.Thread(target=self._work, name="fetchline-pace", daemon=True).start()

    def want(self) -> None:
        """The schedule waits for a start; with the source's lock held."""
        if not self._wanted:
            self._wanted = True
            self.gate.ring()

    def cool_down(self, until: float) -> None:
        """A server asked for a pause, until a time on the source's clock; others shall keep to it too."""
        self._cool_until = max(self._cool_until, until)
        self.gate.ring()

    def hear(self, misses: Iterable[tuple[object, Verdict]], now: float) -> None:
        """Of the items of a bulk call some were refused for now."""
        for _, verdict in misses:
            if verdict.kind == "throttled":
                self.cool_down(now + verdict.delay)

    def _work(self) -> None:
        source = self._source
        try:
            pace = NamedPace(self._pace)
            try:
                told = 0.0
                while not source.closed:
                    if self._cool_until > told:
                        told = self._cool_until
                        pace.cool_down(told - source.clock())
                    wait = pace.take() if self._wanted else -1
                    if wait == 0:
                        self._grant()
                    else:
                        self.gate.wait(wait)
            finally:
                pace.close()
        except BaseException as bug:  # a run that waits for a start for ever would hang
            source.broke(bug)

    def _grant(self) -> None:
        source = self._source
        with source.lock:
            self._wanted = False
            traffic = source.schedule.traffic
            assert traffic is not None  # a run whose starts are granted has it from the beginning
            traffic.grant(source.clock())
        source.watch()
        source.poke()
