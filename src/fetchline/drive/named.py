"""Paces with a name: kept in a small database on this machine, for every run and process that uses the name.

SQLite brings what is needed: transactions between processes, and a file that survives them. Limiter libraries count
requests, but do not space them, nor share a cooldown; so the few lines of arithmetic are the same as the core's.
Times in the database are those of the system's clock, because monotonic ones do not outlive the machine's start.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fetchline.core.limits import NEVER, Grants
from fetchline.drive.gates import ThreadGate
from fetchline.pace import Pace

if TYPE_CHECKING:
    from fetchline.drive.source import Source

__all__ = ["NamedPace", "Pacer", "state_folder"]

_BUSY_S = 30.0
_TABLES = """
create table if not exists starts (at real not null);
create index if not exists starts_at on starts (at);
create table if not exists state (name text primary key, value real not null);
insert or ignore into state values ('next', 0), ('cool_until', 0);
"""


def state_folder() -> Path:
    """Where paces are kept: ``FETCHLINE_STATE``, or ``fetchline`` in the user's state folder (XDG)."""
    said = os.environ.get("FETCHLINE_STATE")
    if said:
        return Path(said)
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "fetchline"


class NamedPace:
    """A pace shared by all that open the same name; safe from any thread and process.

    Args:
        pace: one with a name and rates.
    """

    def __init__(self, pace: Pace) -> None:
        self._windows = pace.windows
        folder = state_folder()
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._base = sqlite3.connect(
            folder / f"pace-{pace.name}.sqlite",
            timeout=_BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )
        self._base.execute("pragma journal_mode = wal")
        self._base.execute("pragma synchronous = normal")
        self._base.executescript(_TABLES)

    def reserve(self) -> float:
        """Take the next start; its time on the system's clock."""
        with self._lock, self._base as base:
            base.execute("begin immediate")
            now = time.time()
            state = dict(base.execute("select name, value from state"))
            due: float = max(now, state["cool_until"], state["next"])
            for count, period in self._windows:
                row = base.execute(
                    "select at from starts order by at desc limit 1 offset ?", (count - 1,)
                ).fetchone()
                if row is not None:
                    due = max(due, row[0] + period)
            count, period = self._windows[0]
            interval = period / count
            # As in the core: a start that comes late keeps its place.
            follows = (state["next"] if due - state["next"] < interval else due) + interval
            base.execute("update state set value = ? where name = 'next'", (follows,))
            base.execute("insert into starts values (?)", (due,))
            base.execute("delete from starts where at < ?", (now - self._windows[-1][1],))
            return due

    def give_back(self, at: float) -> None:
        """A start that was reserved is not made."""
        with self._lock, self._base as base:
            base.execute("begin immediate")
            base.execute(
                "delete from starts where rowid = (select rowid from starts where at = ? limit 1)", (at,)
            )
            count, period = self._windows[0]
            base.execute(
                "update state set value = ? where name = 'next' and value = ?", (at, at + period / count)
            )

    def cool_down(self, until: float) -> None:
        """Nobody starts before ``until``, on the system's clock."""
        with self._lock, self._base as base:
            base.execute("update state set value = max(value, ?) where name = 'cool_until'", (until,))

    def close(self) -> None:
        with self._lock:
            self._base.close()


class Pacer:
    """Fetches the starts of a named pace for one run, on a thread of its own, one ahead of what the run wants."""

    def __init__(self, source: Source, pace: Pace) -> None:
        self._source = source
        self._pace = NamedPace(pace)
        self.gate = ThreadGate()
        self._cool_until = 0.0
        self._cooled = 0.0
        self.wanted = False

    def start(self) -> None:
        threading.Thread(target=self._work, name="fetchline-pace", daemon=True).start()

    def want(self) -> None:
        """The schedule waits for a start; with the source's lock held."""
        if not self.wanted:
            self.wanted = True
            self.gate.ring()

    def cool_down(self, until: float) -> None:
        """A server asked for a pause, until a time on the source's clock; others shall keep to it too."""
        self._cool_until = max(self._cool_until, until)
        self.gate.ring()

    def _work(self) -> None:
        source, pace = self._source, self._pace
        unused: float | None = None
        try:
            while not source.closed:
                if self._cool_until > self._cooled:
                    self._cooled = self._cool_until
                    pace.cool_down(time.time() + self._cooled - source.clock())
                if self.wanted:
                    unused = pace.reserve()
                    self._grant(source.clock() + unused - time.time())
                else:
                    self.gate.wait()
        except BaseException as bug:  # a run that waits for a start for ever would hang
            source.broke(bug)
        finally:
            if unused is not None and self._gate_of_starts.at != NEVER:
                pace.give_back(unused)
            pace.close()

    @property
    def _gate_of_starts(self) -> Grants:
        traffic = self._source.schedule.traffic
        assert traffic is not None and isinstance(traffic.gate, Grants)
        return traffic.gate

    def _grant(self, at: float) -> None:
        source = self._source
        with source.lock:
            self.wanted = False
            self._gate_of_starts.at = at
        source.watch()
        source.poke()
