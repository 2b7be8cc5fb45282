"""Any order of runs, kills, cancels, takeovers and housekeeping: the store is what a dict of outcomes says it is."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from dicts import Dict, Killed
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import fetchline as fl
from fetchline import keeping
from fetchline.drive import host
from fetchline.hookspecs import hookimpl
from fetchline.journal import owner
from fetchline.journal.entries import EMPTY, FAILURE
from fetchline.journal.reading import read_standing
from fetchline.reuse import Stored

KEYS = "ABCDEFGH"
ITEMS = st.lists(st.sampled_from(KEYS), min_size=1, max_size=10)
SCHEMA = {"of": pl.String, "revision": pl.Int64}

Outcome = tuple[str, int | None]  # status, and of a success the revision


class Told:
    """Notes the results that a run reports."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}

    @hookimpl
    def fetchline_item_finished(self, run: Any, result: Any) -> None:
        if result.is_success or result.error_code != "cancelled":
            self.outcomes[result.key] = _outcome(result)


def _outcome(result: Any) -> Outcome:
    if result.status != "success":
        return result.status, None
    rows = result.value if isinstance(result.value, list) else result.value.to_dicts()
    assert [row["of"] for row in rows] == [result.key] * 2
    return "success", rows[0]["revision"]


@contextlib.contextmanager
def _set(place: Any, **values: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setattr(place, name, value)
        yield


class StoreMachine(RuleBasedStateMachine):
    """``stored`` is the model; ``held`` what is on the disk."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, tuple[bytes, float]] = {}
        self.stored: dict[str, Outcome] = {}
        self.version: str | None = None  # of the store
        self.wanted = "1"  # of the fetcher
        self.revision = 1
        self.bad: set[str] = set()
        self.empty: set[str] = set()
        self.asked: list[str] | None = None
        self.calls: list[str] = []
        self.on_call: Callable[[], None] = lambda: None
        self._patches = contextlib.ExitStack()
        self._patches.enter_context(_set(keeping, FLUSH_S=3600.0))
        self._patches.enter_context(_set(host, _BURST_S=0.0))
        log = logging.getLogger("fetchline")
        self._patches.callback(log.setLevel, log.level)
        log.setLevel(logging.CRITICAL)

    def teardown(self) -> None:
        self._patches.close()
        assert not [one for one in threading.enumerate() if one.name == "fetchline-store-owner"]

    # -- what a run would do --------------------------------------------------------------------------------

    def fetcher(self) -> Any:
        def rows(key: str) -> Any:
            self.calls.append(key)
            self.on_call()
            if key in self.bad:
                raise ValueError("no such key")
            if key in self.empty:
                raise fl.NoData
            found = [{"of": key, "revision": self.revision}] * 2
            return pl.DataFrame(found) if key < "E" else found

        return fl.Fetcher.of(rows, "rows", version=self.wanted, schema=SCHEMA)

    def fetched(self, key: str) -> Outcome:
        if key in self.bad:
            return "failure", None
        return ("empty", None) if key in self.empty else ("success", self.revision)

    def is_used(self, key: str, reuse: Any) -> bool:
        """Whether what is stored of a key is used."""
        known = self.stored.get(key)
        if known is None or reuse == "none":
            return False
        if callable(reuse):
            return bool(reuse(Stored(key, known[0], datetime.now(UTC))))  # type: ignore[arg-type]
        return reuse == "all" or known[0] != "failure"

    def options(self, reuse: Any = None, on_change: str | None = None, **more: Any) -> dict[str, Any]:
        return {"progress": None, "reuse": reuse, "on_change": on_change, "executor": "serial", **more}

    def settle(
        self, items: list[str], told: dict[str, Outcome], before: dict[str, Outcome], *, anew: bool = False
    ) -> None:
        """After a run that did not reach its end: what was told is stored, of others nobody knows.

        ``anew``: it was to fetch everything again; once the store is of the new version, nothing old is in it.
        """
        standing = read_standing(Dict(self.held))
        assert standing.problems == {}
        if standing.identity is not None:
            self.version = standing.identity["version"]
            if anew and self.version == self.wanted:
                before = {}
        found = _stored_in(self.held)
        for key in KEYS:
            allowed = (
                [told[key]]
                if key in told
                else [before.get(key), *([self.fetched(key)] if key in items else [])]
            )
            assert found.get(key) in allowed, (key, found.get(key), allowed)
        self.stored = found

    def has_changed(self) -> bool:
        return self.version not in (None, self.wanted)

    # -- rules ----------------------------------------------------------------------------------------------

    @rule(key=st.sampled_from(KEYS), what=st.sampled_from(["bad", "empty"]))
    def toggle(self, key: str, what: str) -> None:
        getattr(self, what).__ixor__({key})

    @rule()
    def the_source_moves_on(self) -> None:
        self.revision += 1

    @rule(version=st.sampled_from("12"))
    def another_version(self, version: str) -> None:
        self.wanted = version

    @rule(
        items=ITEMS,
        reuse=st.sampled_from(["successes", "all", "none", "but E"]),
        way=st.sampled_from(["run", "threads", "iterator", "stream"]),
        entries=st.integers(1, 4),
        on_change=st.sampled_from(["refuse", "keep", "refetch"]),
    )
    def run(self, items: list[str], reuse: Any, way: str, entries: int, on_change: str) -> None:
        if reuse == "but E":
            reuse = _but_e
        self.calls.clear()
        options = self.options(reuse, on_change, store=Dict(self.held))
        with _set(keeping, _MOST_ENTRIES=entries):
            if self.has_changed() and on_change == "refuse":
                with pytest.raises(fl.StoreMismatch):
                    fl.run(self.fetcher(), items, **options)
                return
            results: Any
            if way == "stream":
                del options["progress"]
                results = list(fl.stream(self.fetcher(), iter(items), **options))
            else:
                if way == "threads":
                    options |= {"executor": "thread", "workers": 2}
                batch = fl.run(self.fetcher(), iter(items) if way == "iterator" else items, **options)
                results = list(batch)
        if on_change == "refetch" and self.has_changed():
            self.stored = {}
        used = {key for key in items if self.is_used(key, reuse)}
        assert sorted(self.calls) == sorted(set(items) - used)
        self.stored |= {key: self.fetched(key) for key in items if key not in used}
        self.version, self.asked = self.wanted, items if way in ("run", "threads") else None
        assert [(one.key, one.index, _outcome(one)) for one in results] == [
            (key, index, self.stored[key]) for index, key in enumerate(items)
        ]
        for one in results:
            assert (one.attempts == 0) == (one.key in used or one.key in items[: one.index])
        self.look_at_everything()

    @rule(
        items=ITEMS,
        lives=st.integers(0, 60),
        after=st.booleans(),
        entries=st.integers(1, 4),
        reuse=st.sampled_from(["successes", "none"]),
        way=st.sampled_from(["run", "threads", "stream"]),
        on_change=st.sampled_from(["keep", "refetch"]),
    )
    def killed(
        self, items: list[str], lives: int, after: bool, entries: int, reuse: Any, way: str, on_change: str
    ) -> None:
        before, told = dict(self.stored), Told()
        anew = on_change == "refetch" and self.has_changed()
        options = self.options(reuse, on_change, store=Dict(self.held, lives, after=after), plugins=[told])
        with _set(keeping, _MOST_ENTRIES=entries), contextlib.suppress(Killed):
            if way == "stream":
                del options["progress"]
                for one in fl.stream(self.fetcher(), iter(items), **options):
                    assert one.key in told.outcomes or one.origin == "store"
            else:
                if way == "threads":
                    options |= {"executor": "thread", "workers": 2}
                fl.run(self.fetcher(), items, **options)
        self.settle(items, told.outcomes, before, anew=anew)
        self.asked = None

    @rule(items=ITEMS, at=st.integers(1, 5), way=st.sampled_from(["job", "stream"]))
    def cancelled(self, items: list[str], at: int, way: str) -> None:
        """A job is cancelled, or the consumer of a stream leaves."""
        before, told = dict(self.stored), Told()
        options = self.options(None, "keep", store=Dict(self.held), plugins=[told])
        del options["progress"]
        if way == "stream":
            with contextlib.closing(fl.stream(self.fetcher(), items, **options)) as stream:
                for _, _ in zip(range(at), stream, strict=False):
                    pass
        else:
            options |= {"executor": "thread", "workers": 2}
            jobs: list[Any] = []
            there = threading.Event()
            self.calls.clear()

            def cancel() -> None:
                if len(self.calls) >= at:
                    assert there.wait(20)
                    jobs[0].cancel()

            self.on_call = cancel
            jobs.append(fl.submit(self.fetcher(), items, **options))
            there.set()
            with contextlib.suppress(fl.BatchCancelled):
                jobs[0].result()
            self.on_call = lambda: None
        self.settle(items, told.outcomes, before)
        self.asked = None
        self.look_at_everything()

    @rule(items=ITEMS, others=ITEMS, at=st.integers(1, 3))
    def taken_over(self, items: list[str], others: list[str], at: int) -> None:
        """Somebody else takes the store; whoever had it writes nothing more."""
        before, told = dict(self.stored), Told()
        options = self.options(None, "keep", plugins=[told])
        del options["progress"]
        stream = iter(fl.stream(self.fetcher(), items, store=Dict(self.held), **options))
        for _ in range(min(at, len(items))):
            next(stream)
        with pytest.raises(fl.StoreBusy, match=f"process {os.getpid()}"):
            fl.run(self.fetcher(), others, store=Dict(self.held), **self.options())
        self.settle(items, told.outcomes, before)
        with _set(owner, STALE_S=-1.0):
            fl.run(self.fetcher(), others, store=Dict(self.held), **self.options(on_change="keep"))
        self.stored |= {key: self.fetched(key) for key in others if not self.is_used(key, "successes")}
        self.version, self.asked = self.wanted, others
        left = dict(self.held)
        with pytest.raises(fl.StoreBusy, match="taken over"):
            list(stream)
        assert self.held == left
        self.look_at_everything()

    @precondition(lambda self: self.version is not None)
    @rule(lives=st.none() | st.integers(0, 25), after=st.booleans())
    def compact(self, lives: int | None, after: bool) -> None:
        with contextlib.suppress(Killed):
            fl.compact(Dict(self.held, lives, after=after))
        if lives is None:
            assert sum(name.startswith("data/") for name in self.held) <= 2
            self.look_at_everything()

    # -- what is always so ----------------------------------------------------------------------------------

    @invariant()
    def reads_as_the_model_says(self) -> None:
        if self.held:
            assert fl.verify(Dict(self.held)) == {}
        if self.version is None:
            return
        assert _stored_in(self.held) == self.stored
        batch = fl.open_run(Dict(self.held), self.fetcher())
        if self.asked is not None:
            assert [one.key for one in batch] == self.asked
        for one in batch:
            known = self.stored.get(one.key)
            assert _outcome(one) == (known or ("failure", None))
            assert known or one.error_code == "cancelled"

    def look_at_everything(self) -> None:
        """After a run that was not killed, nothing lies about, and each row is in the files once."""
        folders = Counter(name.partition("/")[0] for name in self.held)
        assert folders.keys() <= {"run.json", "log", "data"}, sorted(self.held)
        rows: Counter[str] = Counter()
        for name, (data, _) in self.held.items():
            if name.startswith("data/"):
                rows.update(pl.read_parquet(io.BytesIO(data))["_key"].to_list())
        expected = {
            key: 2 if key < "E" else 1 for key, (status, _) in self.stored.items() if status == "success"
        }
        assert rows == expected


def _but_e(stored: Stored) -> bool:
    return stored.key != "E"


def _stored_in(held: dict[str, tuple[bytes, float]]) -> dict[str, Outcome]:
    from fetchline.journal.journal import Rows

    standing = read_standing(Dict(held))
    rows = Rows(Dict(held), standing)
    found: dict[str, Outcome] = {}
    for key, row, kind in standing.entries.select("key", "row", "kind").iter_rows():
        status = {EMPTY: "empty", FAILURE: "failure"}.get(kind, "success")
        value = rows.load(row, key) if status == "success" else None
        if value is not None:
            value = (value if isinstance(value, list) else value.to_dicts())[0]["revision"]
        found[key] = status, value
    return found


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=2000 if os.environ.get("FETCHLINE_LONG") else 30, stateful_step_count=20, deadline=None
)
